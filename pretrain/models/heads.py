"""What sits on a backbone's features while it trains: projectors, predictors, prototypes, classifiers."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.losses import normalize
from pretrain.models import layers
from pretrain.models.layers import gelu

LECUN = nnx.initializers.lecun_normal()


class MLP(nnx.Module):
  """A projector or predictor: float[..., in_] -> f32[..., out] through hidden layers of the given widths.

  A hidden layer is linear, BatchNorm if `batch_norm`, activation; the last is linear, and BatchNorm if
  `last_batch_norm`. A linear layer that a BatchNorm follows has no bias, as it would cancel.

  - 2002.05709v3 section 2.1: hidden=(in_,), batch_norm=True, last_batch_norm=True (as its code, whose BatchNorm of the
    output also has a gain, but no offset)
  - 2006.07733v3 section 3.3: hidden=(4096,), batch_norm=True
  - 2011.10566v1 section 3: projector hidden=(2048, 2048), batch_norm=True, last_batch_norm=True;
    predictor hidden=(512,), batch_norm=True

  Args:
    in_, hidden, out: widths.
    batch_norm, last_batch_norm: normalise the hidden layers, the output.
    last_affine: whether the output's BatchNorm has a gain and an offset.
    last_bias: whether the last linear layer has a bias where no BatchNorm follows it.
    activation: of the hidden layers.
    kernel_init: of the kernels; the default is LeCun's normal.
    dtype: of the computation.
  """

  def __init__(self, in_: int, hidden: tuple[int, ...], out: int, *, batch_norm: bool, last_batch_norm: bool = False,
               last_affine: bool = False, last_bias: bool = True, activation: Callable = jax.nn.relu,
               kernel_init: Callable = LECUN, dtype: str = 'float32', rngs: nnx.Rngs):
    widths, last = (in_, *hidden, out), len(hidden)
    normed = [batch_norm] * last + [last_batch_norm]
    self.activation = activation
    self.layers = nnx.List([
      layers.Linear(a, b, use_bias=not normed[i] and (i < last or last_bias), kernel_init=kernel_init,
                    dtype=jnp.dtype(dtype), rngs=rngs,
                    kernel_metadata=layers.SPLIT[i % 2]['kernel_metadata'])
      for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))])
    self.norms = nnx.List([
      layers.batch_norm(b, affine=i < last or last_affine, dtype=dtype, rngs=rngs) if normed[i] else None
      for i, b in enumerate(widths[1:])])

  def __call__(self, x, *, train: bool = False):
    for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
      x = layer(x)
      if norm is not None:
        x = norm(x, use_running_average=not train)
      if i < len(self.layers) - 1:
        x = self.activation(x)
    return x.astype(jnp.float32)


class PrototypeHead(nnx.Module):
  """Cosine logits f32[..., out] of learned prototypes, for features float[..., in_] (2104.14294v2 appendix C).

  An MLP of `layers` layers (GELU, no BatchNorm) to a bottleneck, L2 normalisation, then the inner product with
  prototypes of length 1 (a weight normalisation with its gain fixed to 1). As the authors' (vision_transformer.py,
  DINOHead): MLP kernels are a normal of 0.02 truncated at two standard deviations, the prototypes before normalisation
  uniform within 1 / sqrt(bottleneck), so that they start with a length of about 0.58: the shorter they are, the faster
  a step turns them.

  Args:
    in_, hidden, bottleneck, out: widths; `out` is the number of prototypes.
    layers: linear layers of the MLP.
    normalize_last: False gives each prototype a learned gain, initially 1; `gain` is [1, out], a matrix as the
      authors' weight_g, which weight decay applies to.
    dtype: of the computation; the normalisations and the sum of the inner product are float32.
  """

  def __init__(self, in_: int, out: int, *, hidden: int = 2048, bottleneck: int = 256, layers: int = 3,
               normalize_last: bool = True, dtype: str = 'float32', rngs: nnx.Rngs):
    self.dtype, self.normalize_last = jnp.dtype(dtype), normalize_last
    self.mlp = MLP(in_, (hidden,) * (layers - 1), bottleneck, batch_norm=False, activation=gelu,
                   kernel_init=nnx.initializers.truncated_normal(0.02), dtype=dtype, rngs=rngs)
    most = bottleneck ** -0.5
    self.prototypes = nnx.Param(jax.random.uniform(rngs.params(), (bottleneck, out), minval=-most, maxval=most),
                                axes=(None, 'tensor'))
    if not normalize_last:
      self.gain = nnx.Param(jnp.ones((1, out), jnp.float32))

  def __call__(self, x, *, train: bool = False):
    z = normalize(self.mlp(x, train=train)).astype(self.dtype)
    prototypes = normalize(self.prototypes[...], axis=0).astype(self.dtype)
    logits = layers.product(z, prototypes, dtype='float32')
    return logits if self.normalize_last else logits * self.gain[...]


class Classifier(nnx.Module):
  """A linear layer with bias: float[..., in_] -> logits f32[..., classes].

  The kernel starts at zero, or, with zero=False, as a normal of 0.02 truncated at two standard deviations.
  """

  def __init__(self, in_: int, classes: int, *, zero: bool = True, rngs: nnx.Rngs):
    init = nnx.initializers.zeros_init() if zero else nnx.initializers.truncated_normal(0.02)
    self.linear = layers.Linear(in_, classes, kernel_init=init, rngs=rngs)

  def __call__(self, x, *, train: bool = False):
    del train  # for the signature that heads share
    return self.linear(x)


class MaskedWords(nnx.Module):
  """Logits of words f32[..., vocabulary] from tokens [..., width]: linear, GELU, norm, products with their embeddings.

  The head of 1810.04805v2's code; its last kernel is the encoder's table of tokens, which the call is given.
  """

  def __init__(self, width: int, vocabulary: int, *, dtype: str = 'float32', rngs: nnx.Rngs):
    self.dtype = jnp.dtype(dtype)
    self.linear = layers.Linear(width, width, kernel_init=nnx.initializers.xavier_uniform(), dtype=self.dtype,
                                rngs=rngs)
    self.norm = layers.layer_norm(width, dtype=dtype, rngs=rngs)
    self.bias = nnx.Param(jnp.zeros((vocabulary,), jnp.float32))

  def __call__(self, x, table):
    x = self.norm(gelu(self.linear(x)))
    return layers.product(x, table.T.astype(self.dtype), dtype='float32') + self.bias[...]
