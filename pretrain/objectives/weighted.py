"""Weighted sums of objectives over one backbone."""
import jax

from pretrain.method.combine import checked, over_one_backbone, parameters_of, updated
from pretrain.method.objective import Objective

PAPER = None  # a combination of objectives


def weighted(*, parts: tuple) -> Objective:
  """The sum of the losses of several objectives, each times its weight, of one backbone and heads of their own.

  Metrics of a part, and its loss before the weight, are '<part>/<metric>'. The features are those of the first part's
  `encode`. One part of weight 1 is that objective. A part's `update` sees what those before it made of the backbone.

  Args:
    parts: (name, objective, weight) of each; weights >= 0, not all 0.
  Raises:
    ValueError: what is no such triple; what `combine.over_one_backbone` raises.
  """
  methods, weights = checked('weighted', 'weight', parts, float)
  if not any(weights):
    raise ValueError(f'weighted wants a weight above 0, got {weights}')

  def loss(params, memory, batch, key, step):
    losses, carries, metrics = [], {}, {}
    for place, (name, part) in enumerate(methods.items()):
      own = jax.random.fold_in(key, place) if place else key
      value, (carries[name], found) = part.loss(parameters_of(params, name), memory[name], batch, own, step)
      losses.append(weights[place] * value)
      metrics |= {f'{name}/{metric}': number for metric, number in {'loss': value, **found}.items()}
    return sum(losses[1:], losses[0]), (carries, metrics)

  def update(params, memory, carry, step):
    for name, part in methods.items():
      params, memory = updated(part, name, params, memory, carry[name], step)
    return params, memory

  return Objective(loss=loss, update=update, **over_one_backbone('weighted', methods))
