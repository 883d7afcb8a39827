"""The networks of the twins of whole objectives: forward passes in NumPy float64, of parameters that are given.

A network is made of its nested dict of parameters; those with batch normalisation get a dict of running statistics,
too, which a pass with train=True replaces in place, as one after the other does in the real one.
"""
import math

import numpy as np
from scipy.special import erf


def wide(x):
  """x in float64, or in complex128 where it is complex: some twins differentiate by complex steps."""
  x = np.asarray(x)
  return x.astype(np.result_type(x, np.float64))


def softmax(x, axis=-1):
  x = wide(x)
  e = np.exp(x - x.max(axis, keepdims=True))
  return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis=-1):
  x = wide(x)
  x = x - x.max(axis, keepdims=True)
  return x - np.log(np.exp(x).sum(axis, keepdims=True))


def unit(x, axis=-1):
  """x divided by its Euclidean length, float64."""
  x = wide(x)
  return x / np.sqrt((x ** 2).sum(axis, keepdims=True))


def relu(x):
  return np.maximum(x, 0)


def gelu(x):
  """Exact: x times the normal distribution function of x."""
  return x * (1 + erf(x / math.sqrt(2))) / 2


def linear(p, x, axes=1):
  """Over the last `axes` axes of x."""
  return np.tensordot(x, p['kernel'], axes) + p.get('bias', 0.)


def layer_norm(p, x, epsilon=1e-6):
  mean = x.mean(-1, keepdims=True)
  return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * p['scale'] + p['bias']


def batch_norm(p, statistics, x, train, momentum=0.9, epsilon=1e-5):
  """Over all axes but the last; `statistics` {'mean', 'var'} move if `train`."""
  if not train:
    return (x - statistics['mean']) / np.sqrt(statistics['var'] + epsilon) * p.get('scale', 1.) + p.get('bias', 0.)
  flat = x.reshape(-1, x.shape[-1])
  mean = flat.mean(0)
  var = ((flat - mean) ** 2).mean(0)
  for name, new in (('mean', mean), ('var', var)):
    statistics[name] = momentum * statistics[name] + (1 - momentum) * new
  return (x - mean) / np.sqrt(var + epsilon) * p.get('scale', 1.) + p.get('bias', 0.)


def in_order(tree):
  """The entries of a list's dict, {'0': ..., '1': ...}."""
  return [tree[key] for key in sorted(tree, key=int)]


class Tiny:
  """The forward pass of `tests.twin.tiny`: linear, BatchNorm where there is one, tanh, noise when training, linear."""

  def __init__(self, params, statistics):
    self.p, self.statistics = params, statistics

  def __call__(self, images, train=False, noise=None):
    """images [b, ...]; noise [b, hidden]: what a pass with a key has drawn, None for one without -> [b, width]."""
    x = linear(self.p['first'], images.reshape(len(images), -1) - 0.5)
    if 'norm' in self.p:
      x = batch_norm(self.p['norm'], self.statistics['norm'], x, train)
    x = np.tanh(x)
    if noise is not None:
      x = x * (0.5 + noise)
    return linear(self.p['last'], x)


def mlp(p, statistics, x, train=False, activation=relu):
  """`heads.MLP`: its 'layers', and its 'norms' where there are some, with or without gain and offset.

  `statistics` is that of the head, {} without BatchNorm.
  """
  layers, norms = in_order(p['layers']), p.get('norms', {})
  running = statistics.get('norms', {})
  for i, layer in enumerate(layers):
    x = linear(layer, x)
    if str(i) in running or i in running:
      key = str(i) if str(i) in running else i
      x = batch_norm(norms.get(key, {}), running[key], x, train)
    if i < len(layers) - 1:
      x = activation(x)
  return x


def prototypes(p, x):
  """`heads.PrototypeHead`: an MLP with GELU, a point on the sphere, cosines with the prototypes, times their gain."""
  z = unit(mlp(p['mlp'], {}, x, activation=gelu))
  cosines = z @ unit(p['prototypes'], 0)
  return cosines * p['gain'][0] if 'gain' in p else cosines


def attention(p, x, sees=None):
  """Softmax attention of tokens [b, n, d]; sees bool[b, n, n]: whom a token (row) looks at; None: at all."""
  q, k, v = linear(p['qkv'], x).transpose(2, 0, 3, 1, 4)  # [b, heads, n, d] each
  scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1])
  if sees is not None:
    scores = np.where(sees[:, None], scores, -np.inf)
  return linear(p['out'], (softmax(scores) @ v).swapaxes(1, 2), 2)


def transformer(p, x, sees=None):
  """What each block gives, and the last one normalised: ([[b, n, d], ...], [b, n, d])."""
  outputs = []
  for block in in_order(p['blocks']):
    x = x + attention(block['attention'], layer_norm(block['norm1'], x), sees) * block.get('scale1', 1.)
    x = x + linear(block['mlp2'], gelu(linear(block['mlp1'], layer_norm(block['norm2'], x)))) * block.get('scale2', 1.)
    outputs.append(x)
  return outputs, layer_norm(p['norm'], x)


def patchify(images, size):
  """[b, h, w, c] -> [b, n, size * size * c], row by row."""
  b, h, w, _ = images.shape
  return np.stack([images[:, i:i + size, j:j + size].reshape(b, -1)
                   for i in range(0, h, size) for j in range(0, w, size)], 1)


def sincos(rows, columns, width):
  """Sines and cosines of the column, then of the row, of each patch: [rows * columns, width]."""
  table, quarter = np.zeros((rows * columns, width)), width // 4
  for i in range(rows):
    for j in range(columns):
      for f in range(quarter):
        w = 10_000. ** (-f / quarter)
        table[i * columns + j, [f, quarter + f, 2 * quarter + f, 3 * quarter + f]] = (
            math.sin(j * w), math.cos(j * w), math.sin(i * w), math.cos(i * w))
  return table


class ViT:
  """`models.vit` in its parts: without positions of another grid than its own unless they are fixed."""

  def __init__(self, params, *, patch, registers=0, pool='cls', mean=0.5, std=0.5):
    self.p, self.patch, self.registers, self.pooling, self.mean, self.std = params, patch, registers, pool, mean, std

  def __call__(self, images):
    return self.pool(self.encode(self.embed(images)))

  def pixels(self, images):
    """Patches of the normalised pixels, [b, n, p]."""
    return patchify((images - self.mean) / self.std, self.patch)

  def embed(self, images, mask=None, mask_token=None):
    """Tokens [b, n, d] with positions; `mask_token` in place of the patches where `mask` bool[b, n]."""
    x = linear(self.p['project'], self.pixels(images))
    if mask is not None:
      x = np.where(mask[..., None], mask_token, x)
    if 'position_table' in self.p:
      return x + self.p['position_table'][1:]
    return x + sincos(images.shape[1] // self.patch, images.shape[2] // self.patch, x.shape[-1])

  def extended(self, tokens):
    first = self.p['cls'] + (self.p['position_table'][0] if 'position_table' in self.p else 0)
    extra = np.concatenate([first[None], self.p['register_tokens']]) if self.registers else first[None]
    return np.concatenate([np.broadcast_to(extra, (len(tokens), *extra.shape)), tokens], 1)

  def encode(self, tokens):
    """[b, n, d] -> [b, 1 + registers + n, d], normalised."""
    return transformer(self.p['trunk'], self.extended(tokens))[1]

  def outputs(self, tokens):
    """As `encode`, what each block gives, not normalised."""
    return transformer(self.p['trunk'], self.extended(tokens))[0]

  def pool(self, tokens):
    return tokens[:, 0] if self.pooling == 'cls' else self.patches(tokens).mean(1)

  def patches(self, tokens):
    return tokens[:, 1 + self.registers:]


def patch_decoder(p, tokens, visible, rows, columns):
  """`decoder.PatchDecoder`: tokens [b, e + k, d] (e extra ones), visible int[b, k] -> [b, rows * columns, p]."""
  x = linear(p['embed'], tokens)
  extra = x.shape[1] - visible.shape[1]
  full = np.zeros((len(x), rows * columns, x.shape[-1])) + p['mask_token']
  for i, places in enumerate(visible):
    for j, place in enumerate(places):
      full[i, place] = x[i, extra + j]
  full = full + sincos(rows, columns, x.shape[-1])
  return linear(p['predict'], transformer(p['trunk'], np.concatenate([x[:, :extra], full], 1))[1][:, extra:])


class Text:
  """`models.text`: token ids [b, l] to tokens; PAD (id 0) is seen by PAD alone, if causal nothing that comes later."""

  def __init__(self, params, *, causal, pool, pad=0):
    self.p, self.causal, self.pooling, self.pad = params, causal, pool, pad

  def __call__(self, tokens):
    return self.pool(self.encode(tokens), tokens)

  def encode(self, tokens):
    b, n = tokens.shape
    x = self.p['tokens']['embedding'][tokens] + self.p['position_table'][:n]
    sees = np.zeros((b, n, n), bool)
    for i in range(b):
      for q in range(n):
        for k in range(n):
          sees[i, q, k] = k <= q if self.causal else (tokens[i, q] == self.pad) == (tokens[i, k] == self.pad)
    return transformer(self.p['trunk'], x, sees)[1]

  def pool(self, x, tokens):
    if self.pooling == 'cls':
      return x[:, 0]
    rows = []
    for i, row in enumerate(tokens):
      there = [j for j, token in enumerate(row) if token != self.pad]
      rows.append(x[i, there].mean(0) if self.pooling == 'mean' else x[i, there[-1]])
    return np.stack(rows)


def layout(p, statistics=None):
  """What an MLP that `mlp` takes is made of, layer by layer: (inputs, outputs, 'bias norm gain offset' or less)."""
  norms, running, said = p.get('norms', {}), (statistics or {}).get('norms', {}), []
  for i, layer in enumerate(in_order(p['layers'])):
    gain = norms.get(str(i), {})
    words = (('bias', 'bias' in layer), ('norm', str(i) in running), ('gain', 'scale' in gain),
             ('offset', 'bias' in gain))
    said.append((*layer['kernel'].shape, ' '.join(word for word, there in words if there)))
  return said


def projected(p, statistics, images, train=False, noise=None):
  """`Tiny` and the projector of its features: [b, dim]; both move their batch statistics if `train`."""
  h = Tiny(p['backbone'], statistics['backbone'])(images, train, noise)
  return mlp(p['projector'], statistics['projector'], h, train)


def classifier(p, statistics, images, train=False, noise=None):
  """`Tiny` and a linear layer on its features: logits [b, k]; `statistics` those of the whole, or its average."""
  return linear(p['head']['linear'], Tiny(p['backbone'], statistics['backbone'])(images, train, noise))


def one_pass(p, statistics, batch, noise):
  """Training logits of labeled, weak and strong images, which share batch statistics."""
  return classifier(p, statistics, np.concatenate([batch['image'], batch['weak'], batch['strong']]), True, noise)


def of_average(statistics, average='ema'):
  """`encode` and `predict` of a classifier's average, memory's entry of that name, with those batch statistics."""
  def encode(params, memory, images):
    del params
    return Tiny(memory[average]['backbone'], memory[statistics]['backbone'])(images)

  def predict(params, memory, images):
    del params
    return softmax(classifier(memory[average], memory[statistics], images))

  return dict(encode=encode, predict=predict)


def averaged(old, new, momentum):
  """momentum * old + (1 - momentum) * new, of trees."""
  return {key: averaged(value, new[key], momentum) if isinstance(value, dict)
          else momentum * value + (1 - momentum) * new[key] for key, value in old.items()}


def gradient(function, params, step=1e-30):
  """That of a real function of a tree of parameters, as a tree, by complex steps: exact, a pass for each number."""
  def at(here, put):
    tree = {}
    for key, value in here.items():
      if isinstance(value, dict):
        tree[key] = at(value, lambda x, key=key, here=here: put(here | {key: x}))
        continue
      tree[key] = np.zeros(value.shape)
      for place in np.ndindex(value.shape):
        moved = value.astype(complex)
        moved[place] += 1j * step
        tree[key][place] = function(put(here | {key: moved})).imag / step
    return tree

  return at(params, lambda tree: tree)


def combined(function, one, other):
  """function(x, y) of the arrays of two trees."""
  return {k: combined(function, x, other[k]) if isinstance(x, dict) else function(x, other[k]) for k, x in one.items()}


def conv(kernel, x, stride=1, bias=0.):
  """x [b, h, w, c] with a kernel [k, k, c, d], as many zeros around x on each side as PyTorch's padding=k // 2."""
  k = len(kernel)
  x = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
  rows, columns = (x.shape[1] - k) // stride + 1, (x.shape[2] - k) // stride + 1
  y = 0.
  for i in range(k):
    for j in range(k):
      y = y + x[:, i:i + stride * rows:stride, j:j + stride * columns:stride][:, :rows, :columns] @ kernel[i, j]
  return y + bias


def masked_batch_norm(p, statistics, x, train, seen=None):
  """`batch_norm` of the positions bool[b, h, w] alone; the others become 0."""
  if seen is None:
    return batch_norm(p, statistics, x, train)
  y = np.zeros_like(x)
  y[seen] = batch_norm(p, statistics, x[seen], train)
  return y


def enlarged(mask, x):
  """A mask bool[b, rows, columns] at the size of maps x [b, h, w, c]: bool[b, h, w]."""
  return np.kron(mask, np.ones((x.shape[1] // mask.shape[1], x.shape[2] // mask.shape[2]))) > 0


class ResNet:
  """`models.resnet` with BatchNorm, the stem 'cifar' and blocks of two 3 x 3 convolutions."""

  def __init__(self, params, statistics, *, mean=0.5, std=0.5):
    self.p, self.statistics, self.mean, self.std = params, statistics, mean, std

  def __call__(self, images, train=False):
    return self.outputs(images, train)[-1].mean((1, 2))

  def outputs(self, images, train=False, visible=None):
    """The maps at the end of each stage. visible bool[b, rows, columns]: after all that is linear the rest is 0."""
    def seen(x):
      return x if visible is None else x * enlarged(visible, x)[..., None]

    def norm(p, statistics, x):
      return masked_batch_norm(p['norm'], statistics['norm'], x, train,
                               None if visible is None else enlarged(visible, x))

    p, s = self.p, self.statistics
    x = seen(conv(p['stem']['kernel'], seen((images - self.mean) / self.std)))
    x, maps = relu(norm(p['stem_norm'], s['stem_norm'], x)), []
    for key in sorted(p['blocks'], key=int):
      block, running = p['blocks'][key], s['blocks'][key]
      width = block['convs']['0']['kernel'].shape[-1]
      stride = 2 if maps and width != x.shape[-1] else 1
      y = relu(norm(block['norms']['0'], running['norms']['0'], seen(conv(block['convs']['0']['kernel'], x, stride))))
      y = norm(block['norms']['1'], running['norms']['1'], seen(conv(block['convs']['1']['kernel'], y)))
      if 'shortcut' in block:
        x = norm(block['shortcut_norm'], running['shortcut_norm'], seen(conv(block['shortcut']['kernel'], x, stride)))
      if maps and stride == 1:
        maps.pop()  # of the same stage
      x = relu(x + y)
      maps.append(x)
    return maps


def doubled(kernel, x, bias=0.):
  """A transposed convolution [4, 4, c, d] of stride 2: [b, h, w, c] -> [b, 2 h, 2 w, d].

  A position (i, j) adds to 4 x 4 pixels, from (2 i - 1, 2 j - 1) on; `nnx.ConvTranspose` has the kernel's ends swapped.
  """
  b, h, w, _ = x.shape
  y = np.zeros((b, 2 * h + 2, 2 * w + 2, kernel.shape[-1]))
  for i in range(4):
    for j in range(4):
      y[:, i:i + 2 * h:2, j:j + 2 * w:2] += x @ kernel[3 - i, 3 - j]
  return y[:, 1:-1, 1:-1] + bias
