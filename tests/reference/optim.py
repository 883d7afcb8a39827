"""Schedules (a float for a step) and optimizers (one step on one array), in float64 and element by element."""

import math

import numpy as np


def warmup(step, *, peak, warmup_steps):
  """Linear warm-up, peak * step / warmup_steps: 0 at step 0, peak at warmup_steps and constant afterwards."""
  return peak * step / warmup_steps if step < warmup_steps else peak


def cosine(step, *, peak, end, warmup_steps, steps):
  """Linear warm-up, then half a cosine down to `end` at `steps`, then `end`.

  arXiv:1608.03983v5 eq. 5 without restarts, after the warm-up of arXiv:1706.02677v2 section 2.2; the fine-tuning and
  pretraining schedule of SimCLR, MAE and DINO. `steps` counts the warm-up.
  """
  if step < warmup_steps:
    return peak * step / warmup_steps
  if step >= steps:
    return end
  progress = (step - warmup_steps) / (steps - warmup_steps)
  return end + (peak - end) * (1 + math.cos(math.pi * progress)) / 2


def partial_cosine(step, *, peak, part, steps):
  """The peak times the horizontal coordinate of a point that has gone `part` of a half circle when `steps` are over.

  eta cos(7 pi k / (16 K)) of arXiv:2001.07685v2 section 2.4, part 7/16; then it stays.
  """
  return peak * (complex(-1) ** (part * min(step, steps) / steps)).real


def linspace_cosine(*, peak, end, warmup_steps, steps):
  """The table float64[steps] of DINO's and DINOv2's rates: the warm-up ends at the peak, with which the cosine begins.

  facebookresearch/dino, utils.py, lines 187 to 198, and facebookresearch/dinov2, dinov2/utils/utils.py, lines 66 to 82.
  """
  table = list(np.linspace(0., peak, warmup_steps))
  for i in range(steps - warmup_steps):
    table.append(end + (peak - end) * (1 + math.cos(math.pi * i / (steps - warmup_steps))) / 2)
  return np.array(table)


def warmup_stable_decay(step, *, peak, end, warmup_steps, decay_steps, steps, shape):
  """Linear warm-up, `peak` until steps - decay_steps, then down to `end` at `steps`, then `end` (WSD).

  arXiv:2404.06395v3 section 4 and arXiv:2405.18392v3 section 3, with x the share of the decay that is done:
  shape 'linear' takes 1 - x of the way from `end` to `peak`, shape 'sqrt' takes 1 - sqrt(x). `end` is 0 in the latter.
  """
  if step < warmup_steps:
    return peak * step / warmup_steps
  if step < steps - decay_steps:
    return peak
  if step >= steps:
    return end
  x = (step - (steps - decay_steps)) / decay_steps
  left = {'linear': 1 - x, 'sqrt': 1 - math.sqrt(x)}[shape]
  return end + (peak - end) * left


def infinite(step, *, peak, constant, end, warmup_steps, cooldown_steps, anneal_start=None, anneal_steps=None):
  """The infinite schedule: continuous at its joins, and no step before `anneal_start` depends on how the run ends.

  arXiv:2503.02844v2 eq. 1 ('Inf Cos'), after arXiv:2403.08763v4 ('Infinite learning rate schedules'). With n the step:

  | phase    | n                                      | rate                                                       |
  |----------|----------------------------------------|------------------------------------------------------------|
  | warm-up  | n < warmup                             | peak n / warmup                                            |
  | cooldown | up to warmup + cooldown                | constant + (peak - constant) (1 + cos(pi x)) / 2, x from 0 |
  |          |                                        | to 1 over the phase                                        |
  | constant | up to anneal_start (for ever if None)  | constant                                                   |
  | anneal   | up to anneal_start + anneal_steps      | constant (end / constant)^((n - anneal_start) / anneal)    |
  | after    |                                        | end                                                        |

  The anneal's length is that of its own phase, as in the authors' code (the exponent is 1 at the last step). `peak`,
  `constant` and `end` are positive; anneal_start >= warmup_steps + cooldown_steps.
  """
  if step < warmup_steps:
    return peak * step / warmup_steps
  if step < warmup_steps + cooldown_steps:
    x = (step - warmup_steps) / cooldown_steps
    return constant + (peak - constant) * (1 + math.cos(math.pi * x)) / 2
  if anneal_start is None or step < anneal_start:
    return constant
  if step >= anneal_start + anneal_steps:
    return end
  return constant * (end / constant) ** ((step - anneal_start) / anneal_steps)


def layer_decay(layer, *, depth, decay):
  """What layer-wise decay multiplies the rate of one layer by: decay^(depth + 1 - layer).

  arXiv:2106.08254v2 (BEiT) and arXiv:2111.06377v3 table 9, after arXiv:2003.10555v1: `layer` 0 is the patch
  embedding with the position embedding and class token, 1 to `depth` are the blocks from the input on, and depth + 1
  is everything behind them (final norm, head), whose multiplier is 1.
  """
  multiplier = 1.0
  for _ in range(depth + 1 - layer):
    multiplier *= decay
  return multiplier


def adamw(param, grad, first, second, *, step, learning_rate, b1, b2, epsilon, weight_decay):
  """One step of AdamW, arXiv:1711.05101v3 algorithm 2 (green) and arXiv:1412.6980v9 algorithm 1.

  The decay is decoupled from the moments but multiplied by the rate, as in PyTorch and optax (the paper's schedule
  multiplier times alpha is our `learning_rate`; its lambda is then learning_rate * weight_decay).

  Args:
    param, grad, first, second: arrays of one shape; `first` and `second` are the moments, 0 before the first step.
    step: 1 for the first step (bias correction).
    learning_rate, b1, b2, epsilon, weight_decay: floats; epsilon is outside of the square root.

  Returns:
    (param, first, second) after the step, float64.
  """
  param, grad, first, second = (np.array(x, np.float64) for x in (param, grad, first, second))
  for i in np.ndindex(*param.shape):
    first[i] = b1 * first[i] + (1 - b1) * grad[i]
    second[i] = b2 * second[i] + (1 - b2) * grad[i] ** 2
    corrected_first = first[i] / (1 - b1**step)
    corrected_second = second[i] / (1 - b2**step)
    direction = corrected_first / (math.sqrt(corrected_second) + epsilon)
    param[i] = param[i] - learning_rate * (direction + weight_decay * param[i])
  return param, first, second


def lamb(param, grad, first, second, *, step, learning_rate, b1, b2, epsilon, weight_decay, excluded):
  """One step of LAMB on one layer's array, arXiv:1904.00962v5 algorithm 2 with phi(z) = z, bias-corrected moments.

  x <- x - rate |x| / |r + weight_decay x| (r + weight_decay x), with r = m / (sqrt(v) + epsilon); the ratio is 1 where
  |x| or its denominator is 0.

  Args:
    param, grad, first, second: arrays of one shape; `first` and `second` are the moments, 0 before the first step.
    step: 1 for the first step.
    learning_rate, b1, b2, epsilon, weight_decay: floats.
    excluded: bool, True for an array that is neither decayed nor scaled.

  Returns:
    (param, first, second) after the step, float64.
  """
  param, grad, first, second = (np.array(x, np.float64) for x in (param, grad, first, second))
  direction = np.zeros_like(param)
  for i in np.ndindex(*param.shape):
    first[i] = b1 * first[i] + (1 - b1) * grad[i]
    second[i] = b2 * second[i] + (1 - b2) * grad[i] ** 2
    direction[i] = first[i] / (1 - b1**step) / (math.sqrt(second[i] / (1 - b2**step)) + epsilon)
    if not excluded:
      direction[i] += weight_decay * param[i]
  ratio = 1.0
  if not excluded and norm(param) > 0 and norm(direction) > 0:
    ratio = norm(param) / norm(direction)
  for i in np.ndindex(*param.shape):
    param[i] -= learning_rate * ratio * direction[i]
  return param, first, second


def sgd(param, grad, velocity, *, learning_rate, momentum, nesterov, weight_decay):
  """One step of SGD with momentum; the decay is added to the gradient (L2), the rate stays outside of the velocity.

  velocity <- momentum velocity + g, then param <- param - learning_rate (velocity, or g + momentum velocity when
  `nesterov`), with g = grad + weight_decay param: arXiv:1706.02677v2 eq. 9 and remark 2, no dampening, as PyTorch.

  Args:
    param, grad, velocity: arrays of one shape; velocity is 0 before the first step.
    learning_rate, momentum, weight_decay: floats.
    nesterov: bool.

  Returns:
    (param, velocity) after the step, float64.
  """
  param, grad, velocity = (np.array(x, np.float64) for x in (param, grad, velocity))
  for i in np.ndindex(*param.shape):
    g = grad[i] + weight_decay * param[i]
    velocity[i] = momentum * velocity[i] + g
    param[i] = param[i] - learning_rate * (g + momentum * velocity[i] if nesterov else velocity[i])
  return param, velocity


def norm(array):
  """Euclidean norm of an array of any shape, as a float."""
  total = 0.0
  for value in np.asarray(array, np.float64).ravel():
    total += value * value
  return math.sqrt(total)


def lars(
  param, grad, velocity, *, learning_rate, momentum, weight_decay, trust_coefficient=0.001,
  excluded, norm_of_sum, rate_in_velocity,
):
  """One step of LARS on one layer's array, arXiv:1708.03888v3 algorithm 1, and what self-supervised code makes of it.

  ratio = trust_coefficient |w| / (|g| + weight_decay |w|), 1 where |w| or the denominator is 0.

  | source                        | norm_of_sum: |g + weight_decay w| below | rate_in_velocity                    |
  |-------------------------------|-----------------------------------------|-------------------------------------|
  | the paper                     | no                                      | yes: v <- m v + rate ratio (g + ..) |
  | SimCLR's code, optax.lars     | yes                                     | yes                                 |
  | BYOL's, Barlow Twins',        | yes                                     | no: v <- m v + ratio (g + ..)       |
  | VICReg's, MoCo v3's, MAE's    |                                         |                                     |
  | apex.LARC around SGD (SwAV),  | no                                      | no                                  |
  | solo-learn, lightly           |                                         |                                     |

  With a constant rate both forms of the velocity give the same parameters.

  Args:
    param, grad, velocity: arrays of one shape; velocity is 0 before the first step.
    learning_rate, momentum, weight_decay, trust_coefficient: floats.
    excluded: bool, True for a bias or a norm's parameter: neither decayed nor adapted (arXiv:2006.07733v3
      section 3.3 excludes them from both, as SimCLR's code; MoCo v3 takes all arrays of at most one dimension).
    norm_of_sum, rate_in_velocity: bools, see the table.

  Returns:
    (param, velocity) after the step, float64.
  """
  param, grad, velocity = (np.array(x, np.float64) for x in (param, grad, velocity))
  decay = 0.0 if excluded else weight_decay
  ratio = 1.0
  if not excluded:
    above = norm(param)
    below = norm(grad + decay * param) if norm_of_sum else norm(grad) + decay * norm(param)
    if above > 0 and below > 0:
      ratio = trust_coefficient * above / below
  for i in np.ndindex(*param.shape):
    scaled = ratio * (grad[i] + decay * param[i])
    if rate_in_velocity:
      velocity[i] = momentum * velocity[i] + learning_rate * scaled
      param[i] = param[i] - velocity[i]
    else:
      velocity[i] = momentum * velocity[i] + scaled
      param[i] = param[i] - learning_rate * velocity[i]
  return param, velocity
