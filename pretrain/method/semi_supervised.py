"""What semi-supervised methods share: a classifier, one pass for all views, alignment, mixtures and rotations."""
from collections.abc import Callable
from itertools import accumulate

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.method.memory import enqueue
from pretrain.method.objective import Network
from pretrain.models.heads import Classifier

BATCH = {'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}  # labeled, and two unlabeled views


def classifier(backbone: Callable, classes: int) -> Callable:
  """Modules: a `backbone` and a linear `head`."""
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, classes, zero=False, rngs=rngs))
  return modules


def classify(network: Network, images, key=None):
  """Logits ([n_i, k], ...) of several batches of images [n_i, h, w, c] in one pass, which so share batch statistics.

  Args:
    key: for the backbone's own randomness; None is without.
  """
  return split_like(network.head(network.backbone(jnp.concatenate(images), train=True, key=key)), images)


def probabilities(network: Network, images):
  """A `predict`: f32[b, k]."""
  return jax.nn.softmax(network.head(network.backbone(images)))


def split_like(rows, like):
  """Rows [n, ...] cut into pieces as long as each of `like`."""
  return jnp.split(rows, list(accumulate(len(x) for x in like))[:-1])


def aligned(probabilities, window, step):
  """Probabilities f32[u, k] whose mean over the last batches is made uniform, and these means with that of this batch.

  Args:
    window: f32[n, k], the means of the last n batches, rows of zeros before; for n = 0 nothing is aligned.
    step: places this batch.
  """
  if not len(window):
    return probabilities, window
  window = enqueue(window, jnp.mean(probabilities, 0, keepdims=True), step)
  average = jnp.sum(window, 0) / jnp.sum(window)
  return losses.align(probabilities, jnp.full_like(average, 1 / len(average)), average=average), window


def mix(key, images, targets, alpha: float):
  """MixUp of all images with each other, and of their targets, more of themselves than of the other.

  arXiv:1905.02249v2, section 3.3 and algorithm 1, lines 10 to 13; a share for each pair, as in the authors' code.

  Args:
    images, targets: [n, h, w, c], f32[n, k].
    alpha: of the Beta distribution of the shares.
  """
  order_key, share_key = jax.random.split(key)
  order = jax.random.permutation(order_key, len(images))
  share = jax.random.beta(share_key, alpha, alpha, (len(images),))
  share = jnp.maximum(share, 1 - share)
  return losses.mixup(images, order, share=share), losses.mixup(targets, order, share=share)


def rotations(images):
  """Square images [n, h, h, c] -> [n, 4, h, h, c], turned by 0, 1, 2 and 3 quarters, anticlockwise.

  Raises ValueError unless they are square.
  """
  if images.shape[1] != images.shape[2]:
    raise ValueError(f'rotations want square images, got {images.shape[1]} x {images.shape[2]}')
  return jnp.stack([jnp.rot90(images, turns, (1, 2)) for turns in range(4)], 1)
