"""iSogCLR: Not All Semantics are Created Equal (contrastive, with a temperature for each example)."""
from collections.abc import Callable
from typing import Annotated

import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, NonNegative, Ordered, Part, Positive, Range
from pretrain.method.objective import Objective, embed_together, in_parts, plain
from pretrain.method.per_example import remember
from pretrain.models.functional import functional
from pretrain.models.heads import MLP

Warm = Annotated[float, Range(0.03)]


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

  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=True, last_bias=False,
                                              dtype=f.dtype, rngs=rngs))

  net = functional(parts)
  shared = plain(net, couples_batch=True)

  def init(key):
    params, memory = shared['init'](key)
    return params, memory | {'average': jnp.zeros(examples), 'velocity': jnp.zeros(examples),
                             'temperature': jnp.full(examples, temperature)}

  def couple(params, h, carry, memory, batch, step):
    del step
    z, statistics = net.apply(params, carry['statistics'], lambda m: m.projector(h, train=True))
    at = batch['index']
    tau = memory['temperature'][at]
    value, new = losses.isogclr(z[:, 0], z[:, 1], memory['average'][at], tau, rho, average_rate, chunk)
    gradient = jnp.clip(new['temperature_gradient'], -3., 3.)
    velocity = (1 - gradient_rate) * memory['velocity'][at] + gradient_rate * gradient
    rows = {'average': new['average'], 'velocity': velocity,
            'temperature': jnp.clip(tau - temperature_rate * velocity, low, high)}
    return value, ({'statistics': statistics, 'index': at, 'rows': rows}, {'temperature': jnp.mean(tau)})

  def update(params, memory, carry, step):
    del step
    rows = {name: remember(memory[name], carry['index'], new) for name, new in carry['rows'].items()}
    return params, {'statistics': carry['statistics']} | rows

  return Objective({'views': 'b 2 h w c', 'index': 'b'}, **in_parts(net, embed_together(net), couple),
                   **shared | {'init': init, 'update': update})
