"""DINOv2: Learning Robust Visual Features without Supervision (self-distillation and masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Parts, Positive
from pretrain.method.crops import encode_crops, views_first
from pretrain.method.masks import blockwise_mask
from pretrain.method.memory import Average
from pretrain.method.metrics import collapse
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import cosine, linspace
from pretrain.models.heads import PrototypeHead
from pretrain.models.layers import MaskToken

PAPER = dict(title='DINOv2: Learning Robust Visual Features without Supervision',
             arxiv='2304.07193v2', family='self-distillation', modality='image')


def dinov2(backbone: Callable, *, prototypes: Count, patch_prototypes: Count, hidden: Count, bottleneck: Count,
           patch_bottleneck: Count, mask_ratio: Parts, koleo_weight: NonNegative, student_temperature: Positive,
           teacher_temperature: Positive, teacher_temperature_start: Positive, teacher_warmup_steps: Natural,
           momentum: Decay, freeze_prototypes_steps: Natural, steps: Count, packed: bool = False) -> Objective:
  """DINO on class tokens, iBOT on hidden patches by another head, both targets of Sinkhorn-Knopp, and KoLeo.

  arXiv:2304.07193v2, section 4, weights and order of the authors' code: the teacher's assignment (3 iterations, epsilon
  its temperature) is over the class tokens of both global views, and over the hidden patches of the batch; KoLeo is of
  the student's class tokens before the head, a sum over the two global views. Prototypes have learned lengths.
  Metrics: the terms 'views', 'patches' and 'koleo', without its weight, and `metrics.collapse` of the class tokens.

  Args:
    backbone: a ViT with pool='cls', build(rngs) -> module with `embed`, `encode`, `pool`, `patches`.
    prototypes, patch_prototypes: of the two heads; the paper's are 131072 both for ViT-L and g.
    hidden, bottleneck, patch_bottleneck: of the heads; 2048, 384, 256 there.
    mask_ratio: one of the two global views, at random, hides a share uniform in the range of its patches, in blocks;
      (0.1, 0.5) in the paper. Deviation from the authors' code: there, half of all views, with evenly spread shares.
    koleo_weight: 0.1 in the paper.
    student_temperature: 0.1 in the paper.
    teacher_temperature, teacher_temperature_start, teacher_warmup_steps: linear from 0.04 to 0.07 in the paper,
      np.linspace(0.04, 0.07, teacher_warmup_steps) in the authors' code.
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.994 in the paper.
    freeze_prototypes_steps: steps in which the heads' last layers have a learning rate of 0.
    steps: of the whole run.
    packed: the student sees all crops of an image in one sequence (section 5), see `vit.ViT.together`.
  """
  def modules(rngs):
    f = backbone(rngs)
    options = dict(hidden=hidden, normalize_last=False, dtype=f.dtype, rngs=rngs)
    head = PrototypeHead(f.width, prototypes, bottleneck=bottleneck, **options)
    patch_head = PrototypeHead(f.width, patch_prototypes, bottleneck=patch_bottleneck, **options)
    return nnx.Dict(backbone=f, head=head, patch_head=patch_head, mask_token=MaskToken(f.width, rngs=rngs))

  temperature = linspace(teacher_temperature_start, teacher_temperature, teacher_warmup_steps)

  def loss(student, teacher, batch, key, step):
    b, keys = len(batch['global']), jax.random.split(key, 3)
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]

    f = student.backbone
    masks = one_of_two_masks(keys[0], batch['index'], f.cells.grid_of(large.shape), mask_ratio)  # [b, 2, n]
    crops = f.embed(large, flat(masks), student.mask_token()), f.embed(small)
    tokens, local = encode_crops(f, crops, b, keys[1:], packed)
    features, local = f.pool(tokens), student.head(f.pool(local))
    s = jnp.concatenate([views_first(student.head(features), b), views_first(local, b)])  # [2 + v, b, k]
    given = teacher.backbone.encode(teacher.backbone.embed(large), train=True)
    t = losses.sinkhorn(teacher.head(teacher.backbone.pool(given)), temperature(step), iterations=3)
    t = views_first(t, b)  # [2, b, k] probabilities

    masks, most = masks.reshape(b, -1), int(mask_ratio[1] * masks.shape[-1])  # [b, 2n]
    places = jnp.argsort(~masks, -1)[:, :most]  # int[b, m] in [0, 2n), of the two views' patches
    mask = jnp.take_along_axis(masks, places, 1)  # bool[b, m], which count

    def at_places(network, tokens):  # the head is wide: it sees hidden patches only
      patches = network.backbone.patches(tokens).reshape(b, -1, tokens.shape[-1])  # [b, 2n, d]
      return network.patch_head(jnp.take_along_axis(patches, places[..., None], 1))  # [b, m, l]

    s_patches, t_patches = at_places(student, tokens), at_places(teacher, given)
    t_patches = losses.sinkhorn(flat(t_patches), temperature(step), iterations=3, use=flat(mask))
    t_patches = t_patches.reshape(s_patches.shape)

    views = losses.swav(s, t, temperature=student_temperature)  # DINO's, with other targets
    patches = losses.hidden_mean(losses.soft_cross_entropy(t_patches, s_patches / student_temperature), mask)
    patches = patches / 2  # the mean over all global views, of which half hide nothing
    koleo = sum(losses.koleo(x) for x in views_first(features, b))
    metrics = {'views': views, 'patches': patches, 'koleo': koleo, **collapse(t)}
    return views + patches + koleo_weight * koleo, metrics

  return method({'global': 'b 2 h w c', 'local': 'b v s s c', 'index': 'b'}, modules, loss,
                teacher=Average(cosine(momentum, 1., steps), 'own', of=('backbone', 'head', 'patch_head')),
                encode='teacher', couples_batch=True, compares=True, rate=rate_of_last_layers(freeze_prototypes_steps))


def rate_of_last_layers(frozen: int) -> Callable:
  """`Objective.rate` of both heads: 0 for the last layers in so many steps; the moments of their gradients go on.

  As the authors' code (dinov2/train/train.py, last_layer_lr_schedule).
  """
  return lambda step: {f'{head}/{name}': jnp.float32(step >= frozen)
                       for head in ('head', 'patch_head') for name in ('prototypes', 'gain')}


def one_of_two_masks(key, index, grid: tuple[int, int], ratio: tuple[float, float]):
  """Blocks of hidden patches in one of the two global views of each example, none in the other.

  Rectangles as in the authors' code: from 4 patches to half of all, heights / widths from 0.3 to 1 / 0.3.

  Args:
    index: i32[b].
    ratio: range of the share of hidden patches.
  Returns:
    mask bool[b, 2, n], True where hidden.
  Raises:
    ValueError: the smallest share is no patch at all, or more than the largest.
  """
  n = grid[0] * grid[1]
  if not 1 <= int(ratio[0] * n) <= int(ratio[1] * n) <= n:
    raise ValueError(f'mask_ratio wants a range of shares of {n} patches, of at least {1 / n:.3g}, got {ratio}')
  keys = jax.random.split(key)
  u = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(keys[0], i), (2,)))(index)  # [b, 2]
  count = jnp.floor((ratio[0] + (ratio[1] - ratio[0]) * u[:, 1]) * n).astype(jnp.int32)
  mask = blockwise_mask(keys[1], index, grid, count, smallest=4, largest=n // 2)
  first = u[:, :1] < 0.5
  return jnp.stack([mask & first, mask & ~first], 1)
