"""The peers' side of `peers.py`: train steps of PyTorch, of lightly's and timm's parts, as a child that does rounds.

Written as their users write them, after lightly's examples: crops of one size in one pass, fused optimizers where
PyTorch has them, autocast for bfloat16.
"""
from collections.abc import Callable, Iterator

import kornia.augmentation as K
import numpy as np
import timm
import torch
import torchvision
from lightly import loss, transforms
from lightly.models import utils
from lightly.models.modules import MaskedVisionTransformerTIMM, heads
from lightly.models.modules.masked_autoencoder_timm import MAEDecoderTIMM
from lightly.utils.lars import LARS
from lightly.utils.scheduler import cosine_schedule
from peers import FORMS, OPTIMIZERS, TOLERANCE, serve  # the benchmark beside this one
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler, Subset
from torchvision.transforms import v2 as T

HALF = dict(mean=[0.5] * 3, std=[0.5] * 3)  # what our backbones subtract and divide by
TOKENS = ('cls_token', 'pos_embed', 'mask_token')  # not decayed, as vectors


# Backbones ------------------------------------------------------------------------------------------------------------

class WideBlock(nn.Module):
  """A pre-activation block, as in TorchSSL's and kekmodel's FixMatch."""

  def __init__(self, in_: int, out: int, stride: int, activate_first: bool):
    super().__init__()
    self.activate_first = activate_first
    self.norm1 = nn.BatchNorm2d(in_, momentum=0.001, eps=1e-3)
    self.conv1 = nn.Conv2d(in_, out, 3, stride, 1, bias=False)
    self.norm2 = nn.BatchNorm2d(out, momentum=0.001, eps=1e-3)
    self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
    self.shortcut = nn.Conv2d(in_, out, 1, stride, bias=False) if in_ != out else None

  def forward(self, x):
    y = F.leaky_relu(self.norm1(x), 0.1, inplace=True)
    if self.activate_first:
      x = y
    y = self.conv2(F.leaky_relu(self.norm2(self.conv1(y)), 0.1, inplace=True))
    return y + (x if self.shortcut is None else self.shortcut(x))


class WideResNet(nn.Module):

  def __init__(self, depth: int, widen: int):
    super().__init__()
    self.stem, blocks, in_ = nn.Conv2d(3, 16, 3, 1, 1, bias=False), [], 16
    for stage in range(3):
      for i in range((depth - 4) // 6):
        out = 16 * widen << stage
        blocks.append(WideBlock(in_, out, 2 if stage and not i else 1, not stage and not i))
        in_ = out
    self.blocks, self.norm, self.width = nn.Sequential(*blocks), nn.BatchNorm2d(in_, momentum=0.001, eps=1e-3), in_

  def forward(self, x):
    return F.leaky_relu(self.norm(self.blocks(self.stem(x))), 0.1, inplace=True).mean((2, 3))


def resnet18() -> nn.Module:
  """torchvision's with the stem for small images."""
  net = torchvision.models.resnet18()
  net.conv1, net.maxpool, net.fc = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity(), nn.Identity()
  net.width = 512
  return net


def vit(variant: str, image: int, **options) -> nn.Module:
  size, patch = variant.split('/')
  net = timm.create_model(f'vit_{dict(Ti="tiny", S="small", B="base")[size]}_patch{patch}_224', img_size=image,
                          num_classes=0, **options)
  net.width = net.embed_dim
  return net


# Methods: modules whose forward pass is the loss ----------------------------------------------------------------------

class SimCLR(nn.Module):

  def __init__(self, tree: dict):
    super().__init__()
    spec, method = tree['backbone'], tree['objective']
    self.backbone = resnet18() if spec['name'] == 'resnet' else vit(spec['variant'], spec['image'])
    self.head = heads.SimCLRProjectionHead(self.backbone.width, *method['hidden'], method['dim'])
    self.criterion = loss.NTXentLoss(method['temperature'])

  def forward(self, views):
    return self.criterion(*self.head(self.backbone(torch.cat(views))).chunk(2))

  def after(self, step: int) -> None:
    pass


class MAE(nn.Module):

  def __init__(self, tree: dict):
    super().__init__()
    spec, method = tree['backbone'], tree['objective']
    encoder = vit(spec['variant'], spec['image'])
    self.ratio, self.patch = method['mask_ratio'], encoder.patch_embed.patch_size[0]
    self.backbone = MaskedVisionTransformerTIMM(encoder)
    self.backbone.mask_token.requires_grad = False  # not used: hidden patches do not enter the encoder
    self.decoder = MAEDecoderTIMM(
        encoder.patch_embed.num_patches, self.patch, embed_dim=encoder.width, decoder_embed_dim=method['decoder_width'],
        decoder_depth=method['decoder_depth'], decoder_num_heads=method['decoder_heads'])

  def forward(self, image, kept=None, hidden=None):
    size = (len(image), self.backbone.sequence_length)
    if kept is None:
      kept, hidden = utils.random_token_mask(size, self.ratio)
    x = self.decoder.embed(self.backbone.encode(image, idx_keep=kept))
    full = utils.repeat_token(self.decoder.mask_token, size)
    full = utils.set_at_index(full, kept, x.type_as(full))
    predicted = self.decoder.predict(utils.get_at_index(self.decoder.decode(full), hidden))
    target = utils.get_at_index(utils.patchify(image, self.patch), hidden - 1)
    return F.mse_loss(predicted, utils.normalize_mean_var(target))

  def after(self, step: int) -> None:
    pass


class DINO(nn.Module):

  def __init__(self, tree: dict):
    super().__init__()
    spec, method = tree['backbone'], tree['objective']
    backbone = vit(spec['variant'], spec['image'], dynamic_img_size=True)
    self.student = nn.Sequential(backbone, heads.DINOProjectionHead(
        backbone.width, method['hidden'], method['bottleneck'], method['prototypes']))
    self.teacher = nn.Sequential(vit(spec['variant'], spec['image'], dynamic_img_size=True), heads.DINOProjectionHead(
        backbone.width, method['hidden'], method['bottleneck'], method['prototypes']))
    self.teacher.load_state_dict(self.student.state_dict())
    utils.deactivate_requires_grad(self.teacher)
    self.criterion = loss.DINOLoss(
        method['prototypes'], method['teacher_temperature_start'], method['teacher_temperature'],
        student_temp=method['student_temperature'], center_momentum=method['center_momentum'])
    self.momentum = method['momentum']

  def forward(self, large, small):
    with torch.no_grad():
      teacher = self.teacher(torch.cat(large)).chunk(len(large))
    student = [x for crops in (large, small) for x in self.student(torch.cat(crops)).chunk(len(crops))]
    return self.criterion(teacher, student)

  def after(self, step: int) -> None:
    utils.update_momentum(self.student, self.teacher, cosine_schedule(step, 1000, self.momentum, 1.))


class FixMatch(nn.Module):

  def __init__(self, tree: dict):
    super().__init__()
    spec, self.method = tree['backbone'], tree['objective']
    backbone = WideResNet(spec['depth'], spec['widen'])
    self.net = nn.Sequential(backbone, nn.Linear(backbone.width, self.method['classes']))
    self.average = ModelEmaV3(self.net, decay=self.method['ema_momentum'], foreach=True)
    utils.deactivate_requires_grad(self.average)

  def forward(self, image, label, weak, strong):
    labeled, weak, strong = self.net(torch.cat([image, weak, strong])).split([len(image), len(weak), len(strong)])
    most, pseudo = weak.detach().softmax(-1).max(-1)
    used = (most >= self.method['threshold']).float()
    consistency = (F.cross_entropy(strong, pseudo, reduction='none') * used).mean()
    return F.cross_entropy(labeled, label) + self.method['unlabeled_weight'] * consistency

  def after(self, step: int) -> None:
    del step
    self.average.update(self.net)


METHODS = {'simclr': SimCLR, 'mae': MAE, 'dino': DINO, 'fixmatch': FixMatch}


def optimizer_of(model: nn.Module, tree: dict) -> torch.optim.Optimizer:
  """The config's, with weight decay for matrices and kernels alone."""
  options, rate, groups = tree['optimizer'], tree['schedule']['peak'], ([], [])
  for path, x in model.named_parameters():
    if x.requires_grad:
      groups[x.ndim > 1 and path.rpartition('.')[2] not in TOKENS].append(x)
  groups = [dict(params=groups[1], weight_decay=options['weight_decay']), dict(params=groups[0], weight_decay=0.)]
  if options['name'] == 'adamw':
    return torch.optim.AdamW(groups, rate, (0.9, options.get('b2', 0.999)), fused=True)
  if options['name'] == 'sgd':
    return torch.optim.SGD(groups, rate, 0.9, nesterov=options['nesterov'], fused=True)
  return LARS(groups, rate, 0.9)


def facts(model: nn.Module, optimizer: torch.optim.Optimizer, tree: dict, views: tuple) -> dict:
  """What must be equal on both sides, read from what is really there."""
  decayed, _ = optimizer.param_groups
  options = decayed | dict(zip(('b1', 'b2'), decayed.get('betas', ()), strict=False))
  name = type(optimizer).__name__.lower()
  shape = lambda x: [len(x[0]), len(x), *shape(x[0])[1:]] if isinstance(x, list) else [
      len(x), *x.shape[2:], x.shape[1]]
  names = {'simclr': ('views',), 'mae': ('image',), 'dino': ('global', 'local'),
           'fixmatch': ('image', 'label', 'weak', 'strong')}[tree['objective']['name']]
  shapes = {key: shape(x) for key, x in zip(names, views, strict=False) if key != 'label'}
  return {'parameters': sum(x.numel() for x in model.parameters() if x.requires_grad),
          'examples': tree['batch'] + tree.get('unlabeled', {}).get('batch', 0), 'views': shapes,
          'optimizer': {'name': name, 'lr': options['lr'], 'weight_decay': options['weight_decay'],
                        'decayed': sum(x.numel() for x in decayed['params']),
                        **{key: options[key] for key in OPTIMIZERS[name]}}}


# Our parameters in these modules --------------------------------------------------------------------------------------

def linear(p: dict, at: str, to: str, inputs: int = 1) -> Iterator[tuple[str, np.ndarray]]:
  """A kernel whose first `inputs` axes are the features that come in, and its bias if there is one."""
  kernel = p[f'{at}/kernel']
  yield f'{to}.weight', kernel.reshape(int(np.prod(kernel.shape[:inputs])), -1).T
  if f'{at}/bias' in p:
    yield f'{to}.bias', p[f'{at}/bias'].reshape(-1)


def norm(p: dict, at: str, to: str) -> Iterator[tuple[str, np.ndarray]]:
  yield f'{to}.weight', p[f'{at}/scale']
  yield f'{to}.bias', p[f'{at}/bias']


def conv(p: dict, at: str, to: str) -> Iterator[tuple[str, np.ndarray]]:
  yield f'{to}.weight', p[f'{at}/kernel'].transpose(3, 2, 0, 1)


def trunk(p: dict, at: str, blocks: str, last: str) -> Iterator[tuple[str, np.ndarray]]:
  for i in range(sum(path.startswith(f'{at}/blocks/') and path.endswith('norm1/scale') for path in p)):
    block, to = f'{at}/blocks/{i}', f'{blocks}.{i}'
    yield from norm(p, f'{block}/norm1', f'{to}.norm1')
    yield from linear(p, f'{block}/attention/qkv', f'{to}.attn.qkv')
    yield from linear(p, f'{block}/attention/out', f'{to}.attn.proj', inputs=2)
    yield from norm(p, f'{block}/norm2', f'{to}.norm2')
    yield from linear(p, f'{block}/mlp1', f'{to}.mlp.fc1')
    yield from linear(p, f'{block}/mlp2', f'{to}.mlp.fc2')
  yield from norm(p, f'{at}/norm', last)


def vit_weights(p: dict, to: str, patch: int = 16) -> Iterator[tuple[str, np.ndarray]]:
  yield f'{to}.cls_token', p['backbone/cls'][None, None]
  if 'backbone/position_table' in p:
    yield f'{to}.pos_embed', p['backbone/position_table'][None]
  kernel = p['backbone/project/kernel']
  yield f'{to}.patch_embed.proj.weight', kernel.reshape(patch, patch, 3, -1).transpose(3, 2, 0, 1)
  yield f'{to}.patch_embed.proj.bias', p['backbone/project/bias']
  yield from trunk(p, 'backbone/trunk', f'{to}.blocks', f'{to}.norm')


def resnet_weights(p: dict, to: str) -> Iterator[tuple[str, np.ndarray]]:
  yield from conv(p, 'backbone/stem', f'{to}.conv1')
  yield from norm(p, 'backbone/stem_norm/norm', f'{to}.bn1')
  for i in range(8):
    at, block = f'backbone/blocks/{i}', f'{to}.layer{i // 2 + 1}.{i % 2}'
    for k in range(2):
      yield from conv(p, f'{at}/convs/{k}', f'{block}.conv{k + 1}')
      yield from norm(p, f'{at}/norms/{k}/norm', f'{block}.bn{k + 1}')
    if f'{at}/shortcut/kernel' in p:
      yield from conv(p, f'{at}/shortcut', f'{block}.downsample.0')
      yield from norm(p, f'{at}/shortcut_norm/norm', f'{block}.downsample.1')


def wide_weights(p: dict, to: str) -> Iterator[tuple[str, np.ndarray]]:
  yield from conv(p, 'backbone/stem', f'{to}.stem')
  for i in range(sum(path.endswith('conv1/kernel') for path in p)):
    at, block = f'backbone/blocks/{i}', f'{to}.blocks.{i}'
    for k in '12':
      yield from norm(p, f'{at}/norm{k}', f'{block}.norm{k}')
      yield from conv(p, f'{at}/conv{k}', f'{block}.conv{k}')
    if f'{at}/shortcut/kernel' in p:
      yield from conv(p, f'{at}/shortcut', f'{block}.shortcut')
  yield from norm(p, 'backbone/norm', f'{to}.norm')


def weights(p: dict, tree: dict) -> Iterator[tuple[str, np.ndarray]]:
  """(name here, array) of each of our parameters."""
  name = tree['objective']['name']
  if name == 'simclr':
    yield from (resnet_weights if tree['backbone']['name'] == 'resnet' else vit_weights)(p, 'backbone')
    for i, at in enumerate((0, 3)):
      yield from linear(p, f'projector/layers/{i}', f'head.layers.{at}')
      yield from norm(p, f'projector/norms/{i}', f'head.layers.{at + 1}')
  elif name == 'mae':
    yield from vit_weights(p, 'backbone.vit')
    yield from linear(p, 'decoder/embed', 'decoder.decoder_embed')
    yield 'decoder.mask_token', p['decoder/mask_token'][None, None]
    yield from trunk(p, 'decoder/trunk', 'decoder.decoder_blocks', 'decoder.decoder_norm')
    yield from linear(p, 'decoder/predict', 'decoder.decoder_pred')
  elif name == 'dino':
    yield from vit_weights(p, 'student.0')
    for i, at in enumerate((0, 2, 4)):
      yield from linear(p, f'head/mlp/layers/{i}', f'student.1.layers.{at}')
    yield 'student.1.last_layer.weight_v', p['head/prototypes'].T
  else:
    yield from wide_weights(p, 'net.0')
    yield from linear(p, 'head/linear', 'net.1')


@torch.no_grad()
def copy_weights(model: nn.Module, p: dict, tree: dict) -> None:
  """Raises ValueError unless every trained parameter gets a value of its shape."""
  wanted = {path: x for path, x in model.named_parameters() if x.requires_grad}
  given = dict(weights(p, tree))
  if wanted.keys() != given.keys():
    raise ValueError(f'parameters without a counterpart: {sorted(wanted.keys() ^ given.keys())[:5]}')
  for path, x in wanted.items():
    if x.shape != given[path].shape:
      raise ValueError(f'{path}: wanted {tuple(x.shape)}, got {given[path].shape}')
    x.copy_(torch.from_numpy(np.ascontiguousarray(given[path])))
  if isinstance(model, DINO):
    model.teacher.load_state_dict(model.student.state_dict())


# Views ----------------------------------------------------------------------------------------------------------------

def given_views(arrays: dict, name: str) -> tuple:
  """Our views, images [..., h, w, c] in [0, 1], as a method here takes them."""
  def images(x):  # [b, h, w, c] -> [b, c, h, w]
    return torch.from_numpy((x - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous()

  several = lambda x: [images(view) for view in x.swapaxes(0, 1)]  # [b, v, h, w, c]
  if name == 'simclr':
    return several(arrays['views']),
  if name == 'mae':
    return images(arrays['image']),
  if name == 'dino':
    return several(arrays['global']), several(arrays['local'])
  return (images(arrays['image']), torch.from_numpy(arrays['label']).long(), images(arrays['weak']),
          images(arrays['strong']))


class Images(Dataset):
  """Images in memory, as Pillow's."""

  def __init__(self, images: np.ndarray, labels: np.ndarray, transform: Callable):
    self.images, self.labels, self.transform = images, labels, transform

  def __len__(self):
    return len(self.images)

  def __getitem__(self, i):
    return self.transform(T.functional.to_pil_image(self.images[i])), int(self.labels[i])


class WeakStrong:
  """FixMatch's two views of an unlabeled image."""

  def __init__(self, weak: Callable, strong: Callable):
    self.weak, self.strong = weak, strong

  def __call__(self, image):
    return self.weak(image), self.strong(image)


def transforms_of(views: dict) -> tuple[Callable, Callable | None]:
  """lightly's transform of these views; for FixMatch torchvision's of the labeled and the unlabeled."""
  if views['name'] == 'simclr':
    return transforms.SimCLRTransform(views['size'], cj_strength=views['jitter'], min_scale=views['scale'][0],
                                      gaussian_blur=views['blur'], normalize=HALF), None
  if views['name'] == 'mae':
    return transforms.MAETransform(views['size'], views['scale'][0], HALF), None
  if views['name'] == 'dino':
    return transforms.DINOTransform(views['size'], tuple(views['global_scale']), views['local_size'],
                                    tuple(views['local_scale']), views['local_crops'], normalize=HALF), None
  first = [T.RandomHorizontalFlip(), T.RandomCrop(32, padding=4, padding_mode='reflect')]
  last = [T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize(**HALF)]
  cutout = T.RandomErasing(p=1., scale=(0.25, 0.25), ratio=(1., 1.))
  weak = T.Compose([*first, *last])
  return weak, WeakStrong(weak, T.Compose([*first, T.RandAugment(), *last, cutout]))


def loaded(spec: dict, tree: dict) -> Iterator[tuple]:
  """Views from a DataLoader with as many workers as threads, from memory or from files, without end."""
  first, second = transforms_of(tree['views'])
  if spec['level'] == 'files':
    root = f'{spec["folder"]}/jpegs{spec["raw"]}/train'
    dataset = lambda transform: torchvision.datasets.ImageFolder(root, transform)
  else:
    data = np.load(f'{spec["folder"]}/images{spec["raw"]}/train.npz')
    images, labels = data['image'], data['label']
    dataset = lambda transform: Images(images, labels, transform)

  def batches(data, size):
    sampler = RandomSampler(data, replacement=True, num_samples=10 ** 8)
    return iter(DataLoader(data, size, sampler=sampler, num_workers=spec['threads'], drop_last=True))

  if second is None:
    name = tree['objective']['name']
    for views, _ in batches(dataset(first), tree['batch']):
      yield (views[0],) if name == 'mae' else (views,) if name == 'simclr' else (views[:2], views[2:])
  else:
    few = Subset(dataset(first), range(tree['labels']['per_class'] * tree['objective']['classes']))
    for (image, label), ((weak, strong), _) in zip(batches(few, tree['batch']), batches(
        dataset(second), tree['unlabeled']['batch']), strict=True):
      yield image, label, weak, strong


def kornia_views(spec: dict, tree: dict) -> Iterator[tuple]:
  """Views of whole batches in memory by kornia, in the main process, without end."""
  views = tree['views']
  images = np.load(f'{spec["folder"]}/images{spec["raw"]}/train.npz')['image'][:tree['batch']]
  images, last = torch.from_numpy(images).permute(0, 3, 1, 2), K.Normalize(torch.full((3,), 0.5), torch.full((3,), 0.5))

  def colour(jitter, blur, solarize):
    return [K.ColorJitter(*jitter, p=0.8), K.RandomGrayscale(p=0.2)] + [
        K.RandomGaussianBlur((23, 23), (0.1, 2.), p=blur)] * (blur > 0) + [K.RandomSolarize(0., 0., p=solarize)] * (
            solarize > 0)

  def chain(size, scale, *colours):
    return nn.Sequential(K.RandomResizedCrop((size, size), tuple(scale)), K.RandomHorizontalFlip(), *colours, last)

  if views['name'] == 'mae':
    chains = [chain(views['size'], views['scale'])]
  elif views['name'] == 'simclr':
    s = views['jitter']
    chains = [chain(views['size'], views['scale'], *colour((0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s), views['blur'], 0))] * 2
  else:
    make = lambda size, scale, *rest: chain(size, scale, *colour((0.4, 0.4, 0.2, 0.1), *rest))
    chains = [make(views['size'], views['global_scale'], 1., 0), make(views['size'], views['global_scale'], 0.1, 0.2)]
    chains += [make(views['local_size'], views['local_scale'], 0.5, 0)] * views['local_crops']
  while True:
    x = images.float() / 255
    made = [each(x) for each in chains]
    yield (made[0],) if views['name'] == 'mae' else (made,) if views['name'] == 'simclr' else (made[:2], made[2:])


# Rounds ---------------------------------------------------------------------------------------------------------------

def laid_out(views, layout: torch.memory_format):
  """The same views, images of them in this memory format."""
  if isinstance(views, tuple | list):
    return type(views)(laid_out(x, layout) for x in views)
  return views.contiguous(memory_format=layout) if views.ndim == 4 else views


def start(spec: dict) -> tuple[dict, Callable]:
  torch.set_num_threads(spec['threads'])
  torch.manual_seed(0)
  tree, level, at = spec['tree'], spec['level'], f'{spec["folder"]}/{spec["case"]}'
  channels_last, compiled = FORMS[spec['form']]
  layout = torch.channels_last if channels_last else torch.contiguous_format
  model = METHODS[tree['objective']['name']](tree).train().to(memory_format=layout)
  if level == 'check':
    copy_weights(model, np.load(f'{at}_params.npz'), tree)
  optimizer = optimizer_of(model, tree)
  loss_of = torch.compile(model) if compiled else model
  if level in ('views', 'files'):
    source = kornia_views(spec, tree) if spec['views'] == 'kornia' else loaded(spec, tree)
    read = lambda: laid_out(next(source), layout)
  else:
    views = laid_out(given_views(np.load(f'{at}_views.npz'), tree['objective']['name']), layout)
    read = lambda: views
  done = 0

  def loss_now(*more):
    with torch.autocast('cpu', torch.bfloat16, enabled=spec['dtype'] == 'bfloat16'):
      return loss_of(*read(), *more)

  def step(*more):
    nonlocal done
    optimizer.zero_grad(set_to_none=True)
    value = loss_now(*more)
    value.backward()
    optimizer.step()
    model.after(done)
    done += 1
    return value

  def work():
    for _ in range(spec['steps']):
      step()

  @torch.no_grad()
  def forward():
    for _ in range(spec['steps']):
      loss_now()

  about = facts(model, optimizer, tree, read())
  if level == 'check':
    masks = given_masks(np.load(f'{at}_params.npz'), model.backbone.sequence_length) if isinstance(model, MAE) else \
        [()] * len(TOLERANCE['float32'])
    about['losses'] = [step(*mask).item() for mask in masks]
  return about, forward if level == 'forward' else work


def given_masks(arrays: dict, tokens: int) -> list[tuple]:
  """(kept, hidden) tokens of each step that is compared, the class token among the kept."""
  masks = []
  for i in range(len(TOLERANCE['float32'])):
    visible = torch.from_numpy(arrays[f'visible{i}'].astype(np.int64)) + 1
    kept = torch.cat([torch.zeros(len(visible), 1, dtype=torch.int64), visible], 1)
    hidden = torch.ones(len(visible), tokens, dtype=torch.bool).scatter(1, kept, False).nonzero()[:, 1]
    masks.append((kept, hidden.reshape(len(visible), -1)))
  return masks


if __name__ == '__main__':
  serve(start)
