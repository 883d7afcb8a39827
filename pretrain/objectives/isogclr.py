"""iSogCLR: Not All Semantics are Created Equal (contrastive, with a temperature for each example)."""
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative, Ordered, Part, Positive, Range
from pretrain.losses import chunked
from pretrain.method.memory import write_rows
from pretrain.method.objective import Objective, embed_views, method
from pretrain.models.heads import MLP

PAPER = dict(title='Not All Semantics are Created Equal: Contrastive Self-supervised Learning with Automatic '
                   'Temperature Individualization',
             arxiv='2305.11965v1', family='contrastive', modality='image')

Warm = Annotated[float, Range(0.03)]


class Memory(NamedTuple):
  """Of each example of the source."""
  average: Any  # f32[examples], over negatives
  velocity: Any  # f32[examples], of the temperature
  temperature: Any  # f32[examples]


def isogclr(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive,
            temperature_range: Annotated[tuple[Warm, Warm], Ordered()], temperature_rate: NonNegative,
            gradient_rate: Part, rho: NonNegative, average_rate: Part, examples: Count,
            chunk: Count | None = None) -> Objective:
  """Views repel with a temperature that each example learns: high where many others are like it, low where few are.

  arXiv:2305.11965v1, algorithm 1, for images alone; projector, clipping of the temperatures' gradient to [-3, 3] and
  their upper end as in the authors' code. Memory holds three numbers for each example of the source;
  an average of 0 has not begun. The metric `temperature` is the mean of those that the batch was given.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector; (8192, 8192), 8192 in the authors' code.
    temperature: at first; 0.1 in the authors' script.
    temperature_range: lowest and highest, as (0.05, 1.0) in the authors' code; the lowest is at least 0.03.
    temperature_rate: eta, learning rate of the temperatures.
    gradient_rate: beta_1, share of the new gradient in the average that moves a temperature.
    rho: radius of the ball of distributions over negatives; 0.4 in the authors' script.
    average_rate: beta_0, share of the batch in the average over negatives; 0.8 in the authors' script.
    examples: in the source.
    chunk: columns of the 2b x 2b similarities to hold at a time; the same loss with less memory.
  Raises:
    ValueError: a temperature outside its range.
  """
  low, high = temperature_range
  if not low <= temperature <= high:
    raise ValueError(f'isogclr wants temperature_range[0] <= temperature <= temperature_range[1], got '
                     f'{low}, {temperature}, {high}')

  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                              dtype=f.dtype, rngs=rngs))

  def compare(student, h, memory, batch):
    z, at = student.projector(h, train=True), batch['index']  # [b, 2, dim], i32[b]
    average, velocity, tau = (table[at] for table in memory)
    value, new = isogclr_loss(z[:, 0], z[:, 1], average=average, temperature=tau, rho=rho, average_rate=average_rate,
                              chunk=chunk)
    gradient = jnp.clip(new['temperature_gradient'], -3., 3.)
    velocity = (1 - gradient_rate) * velocity + gradient_rate * gradient
    rows = Memory(new['average'], velocity, jnp.clip(tau - temperature_rate * velocity, low, high))
    return value, {'temperature': jnp.mean(tau)}, {'index': at, 'rows': rows}

  def remember(memory, kept, _):
    return Memory(*(write_rows(table, kept['index'], new) for table, new in zip(memory, kept['rows'], strict=True)))

  return method({'views': 'b 2 h w c', 'index': 'b'}, modules, embed=embed_views, compare=compare, couples_batch=True,
                memory=lambda _: Memory(jnp.zeros(examples), jnp.zeros(examples), jnp.full(examples, temperature)),
                remember=remember)


def isogclr_loss(z1, z2, *, average, temperature, rho, average_rate, chunk=None):
  """Robust contrast with a temperature for each example; a moving average stands in for a large batch.

  arXiv:2305.11965v1, section 4 and algorithm 1, mean over all 2b anchors. With h the similarity of an anchor to a
  negative minus that to its positive, and s the moving average of g = E exp(h / temperature) over the negatives, the
  value is temperature * (log s + rho); its gradient is algorithm 1's estimate temperature / s * grad g, that of the
  value over the rate of the average. As in the authors' code both views are anchors, each moves the average on its own
  to an s that its value and gradients use, and the mean of the two is kept; an average of 0 has not begun, and g takes
  its place as a whole. Deviation from that code: it averages exp(similarity / temperature) without the positive, which
  is the same for a rate of 1.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    average: f32[b] >= 0, s of each example; 0 before its first batch.
    temperature: f32[b], of each example; at least 0.03, for exp(2 / temperature) has to fit into float32.
    rho: >= 0; the larger, the smaller temperatures become.
    average_rate: in (0, 1], share of the batch in the new average.
    chunk: columns of the similarities to hold at a time, static; None: all 2b.
  Returns:
    f32[], a similarity, and {'average', 'temperature_gradient'}, f32[b]: the new s, and the derivative of the example's
    value in its temperature, both a mean of the two views; no gradient flows through them.
  Raises:
    ValueError: the shapes do not fit, or b < 2 (there would be no negatives).
  """
  losses.same_shape('isogclr', examples=z1.shape[:1], average=average.shape, temperature=temperature.shape)
  z, positive = losses.both_views(z1, z2, what='isogclr')
  sums = chunked.exponentials(z, z, scale=jnp.tile(1 / temperature, 2), shift=jnp.tile(positive, 2),
                              excluded=losses.without_positives(z), chunk=chunk)
  g, slope = (x.reshape(2, -1) / (2 * len(z1) - 2) for x in sums)  # [2, b]; the second is -t dg/dt
  rate = jnp.where(average > 0, average_rate, 1.)[None]  # [1, b]
  s = (1 - rate) * average[None] + rate * g
  value = temperature[None] * (jnp.log(s) + rho)
  fixed = jax.lax.stop_gradient(value)
  slope = jnp.log(s) + rho - slope / s
  return jnp.mean(fixed + (value - fixed) / rate), jax.lax.stop_gradient(
      {'average': jnp.mean(s, 0), 'temperature_gradient': jnp.mean(slope, 0)})
