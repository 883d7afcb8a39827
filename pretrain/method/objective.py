"""The one interface between a paper and the loop, and what several papers share around it."""
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pretrain.models.functional import Net


class Objective(NamedTuple):
  """A method as pure functions over explicit state, after the shape of `optax.GradientTransformation`.

  `params` is what the optimizer trains; `memory` is everything else that the method keeps (teacher, centre, queue,
  batch statistics, arrays of length n addressed by the batch's global `index`). Both are plain pytrees of arrays.

  batch:   {key: shape}, what the views must deliver, e.g. {'views': 'b 2 h w c'}; letters are bound across keys,
           numbers are literal. Checked before the first compile.
  init:    key -> (params, memory).
  loss:    (params, memory, batch, key, step) -> (loss, (carry, metrics)). Differentiated in `params` alone, written
           over the global batch: no axis names, no collectives, no device count.
  update:  (params, memory, carry, step) -> (params, memory). Runs after the optimizer.
  encode:  (params, memory, images f32[b, h, w, c] in [0, 1]) -> features f32[b, d]. All that kNN and probes ever see.
  predict: (params, memory, images) -> probabilities f32[b, k], where the method has classes.
  hold:    step -> {path: bool[]}: parameters ('head/prototypes', or 'head' for all below) that stand still in this
           step, as where PyTorch's gradient is None: the step keeps their value and the optimizer's state of them.
  rate:    step -> {path: f32[]}: what multiplies the optimizer's step of parameters; its state goes on.
  project: (params, memory, images) -> what a projector makes of the features, f32[b, d], where the method has one:
           evaluation tells how it is spread out.
  couples_batch: True if one example's loss depends on the others, so that accumulating gradients would change them.
  compares: True if the examples of a batch are told from each other, so that one that is there twice is taken for two.
  towers:  (image, text) where the method matches the two: (params, memory, images, or tokens i32[b, l]) ->
           embeddings f32[b, d] of length 1, for classification by names.
  parts:   (embed, couple) where the loss is made of two, see `in_parts`, and examples meet only in the second: then the
           gradient of the whole batch can be had in chunks (`config.grad_cache`).
  """
  batch: dict[str, str]
  init: Callable
  loss: Callable
  update: Callable
  encode: Callable
  predict: Callable | None = None
  couples_batch: bool = False
  compares: bool = False
  parts: tuple[Callable, Callable] | None = None
  towers: tuple[Callable, Callable] | None = None
  project: Callable | None = None
  hold: Callable | None = None
  rate: Callable | None = None


def in_parts(net: Net, embed: Callable, couple: Callable) -> dict[str, Any]:
  """`loss`, `parts` and `compares` of a method that embeds examples, each alone, and compares them, for `Objective`.

  Args:
    net: if its `backbone` has batch statistics, examples meet in `embed` already, and there are no `parts`.
    embed: (params, memory, batch, key, step) -> (h, carry); h a pytree of arrays [b, ...], by example.
    couple: (params, h, carry, memory, batch, step) -> (loss, (carry, metrics)), with the small heads; not the images.
  """
  def loss(params, memory, batch, key, step):
    h, carry = embed(params, memory, batch, key, step)
    return couple(params, h, carry, memory, batch, step)

  return dict(loss=loss, compares=True, parts=None if 'backbone' in net.coupled else (embed, couple))


def embed_together(net: Net) -> Callable:
  """An `embed` of `in_parts`: features [b, v, d] of batch['views'], all views in one pass, sharing batch statistics."""
  def embed(params, memory, batch, key, step):
    del step
    views = batch['views']
    h, statistics = net.apply(params, memory['statistics'], lambda m: m.backbone(flat(views), train=True, key=key))
    return h.reshape(*views.shape[:2], -1), {'statistics': statistics}

  return embed


def embed_apart(net: Net) -> Callable:
  """As `embed_together`, but a pass for each of two views, which so have batch statistics of their own."""
  def embed(params, memory, batch, key, step):
    del step
    views = zip(jnp.unstack(batch['views'], axis=1), jax.random.split(key), strict=True)
    h, statistics = net.apply(params, memory['statistics'],
                              lambda m: [m.backbone(x, train=True, key=k) for x, k in views])
    return jnp.stack(h, 1), {'statistics': statistics}

  return embed


def flat(views):
  """[b, v, ...] -> [b * v, ...], the views of an example beside each other: no example leaves its device."""
  return views.reshape(-1, *views.shape[2:])


def keep(params, memory, carry, step):
  """The plain `update`: what the forward pass carries out (batch statistics) replaces the same keys of memory."""
  del step
  return params, memory | carry


def plain(net: Net, couples_batch: bool = False) -> dict[str, Any]:
  """What methods share that keep nothing but batch statistics, as keyword arguments of `Objective`.

  Args:
    net: with a part `backbone`, whose features `encode` gives, and perhaps a `projector` of these.
    couples_batch: whether the loss makes examples depend on each other, even if the net does not.
  """
  def init(key):
    params, statistics = net.init(key)
    return params, {'statistics': statistics}

  return dict(init=init, update=keep, couples_batch=couples_batch or net.couples_batch,
              **seen(net, lambda params, memory: (params, memory['statistics'])))


def seen(net: Net, of: Callable) -> dict[str, Any]:
  """`encode` and, if the net has a projector, `project`, of what `of(params, memory)` gives: parameters, statistics."""
  def through(call):
    return lambda params, memory, images: net.apply(*of(params, memory), lambda m: call(m, images))[0]

  return dict(encode=through(lambda m, x: m.backbone(x)),
              project=through(lambda m, x: m.projector(m.backbone(x))) if 'projector' in net.parts else None)


def ema(old, new, momentum):
  """momentum * old + (1 - momentum) * new, leaf by leaf, in the dtype of `old`."""
  return jax.tree.map(lambda o, n: (o + (1 - momentum) * (n.astype(o.dtype) - o)).astype(o.dtype), old, new)


def cosine(start: float, end: float, steps: int) -> Callable:
  """Half a cosine from `start` at step 0 to `end` at `steps`, constant afterwards: a function of the step."""
  def value(step):
    progress = jnp.clip(step / steps, 0., 1.)
    return end + (start - end) * (1 + jnp.cos(jnp.pi * progress)) / 2
  return value


def check_batch(objective: Objective, batch) -> None:
  """Raises ValueError unless `batch` holds what `objective.batch` declares; letters must agree across keys."""
  sizes, shapes = {}, {key: tuple(value.shape) for key, value in batch.items()}
  for key, pattern in objective.batch.items():
    wanted = f"the objective wants batch[{key!r}] of shape '{pattern}'"
    if key not in shapes:
      hint = ' (the source has no labels: a folder wants its images in one folder per class)' if key == 'label' else ''
      raise ValueError(f'{wanted}; the views deliver {shapes}{hint}')
    letters = pattern.split()
    if len(letters) != len(shapes[key]):
      raise ValueError(f'{wanted}, got {shapes[key]}')
    for letter, size in zip(letters, shapes[key], strict=True):
      want = int(letter) if re.fullmatch(r'\d+', letter) else sizes.setdefault(letter, size)
      if want != size:
        raise ValueError(f'{wanted}, got {shapes[key]}: {letter} is {want}, not {size}')
