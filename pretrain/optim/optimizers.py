"""Optimizers that treat a parameter as its `Leaf` says."""
import jax
import jax.numpy as jnp
import optax

from pretrain.config import Decay, Natural, NonNegative, Part, Positive
from pretrain.optim.hold import by_path
from pretrain.optim.parameters import Spec, layer_multipliers, mask


def adamw(schedule: optax.Schedule, *, weight_decay: NonNegative, weight_decay_end: NonNegative | None = None,
          b1: Decay = 0.9, b2: Decay = 0.999, eps: Positive = 1e-8, clip_norm: Positive | None = None,
          layer_decay: Part | None = None, decay_1d: bool = False, steps: Natural = 0,
          spec: Spec = None) -> optax.GradientTransformation:
  """AdamW (1711.05101v3 algorithm 2), the decay multiplied by the learning rate as in PyTorch.

  Args:
    schedule: step -> learning rate.
    weight_decay: of the parameters that `decays` names.
    weight_decay_end: where half a cosine takes it to over the run (2104.14294v2 section 3), None for one all along.
    b1, b2, eps: of the moments (1412.6980v9 algorithm 1).
    clip_norm: largest global norm of the gradient, None for no clipping.
    layer_decay: base of `layer_multipliers` (decay included, as it is multiplied by the rate), None for one rate.
    decay_1d: also decay biases, norms and layer scales.
    steps: of the run.
    spec: of the parameters, `Objective.spec`.
  Raises:
    ValueError: weight_decay_end with a weight_decay or steps of 0; at `init`, what `layer_multipliers`
      raises.
  """
  decay = _decay(weight_decay, weight_decay_end, steps)
  adam = optax.chain(_scale_by_adam(b1, b2, eps), optax.add_decayed_weights(decay, mask(spec, decay_1d)),
                     optax.scale_by_learning_rate(schedule))
  made = [_clip(clip_norm), adam]
  return optax.chain(*made, *([] if layer_decay is None else [_scale_layers(layer_decay, spec)]))


def lamb(schedule: optax.Schedule, *, weight_decay: NonNegative, weight_decay_end: NonNegative | None = None,
         b1: Decay = 0.9, b2: Decay = 0.999, eps: Positive = 1e-6, clip_norm: Positive | None = None,
         steps: Natural = 0, spec: Spec = None) -> optax.GradientTransformation:
  """LAMB (1904.00962v5 algorithm 2): the step of AdamW, scaled to the norm of each array that it changes.

  Parameters that `decays` does not name (biases, norms, tokens) are neither decayed nor scaled, as in timm's code;
  deviation: the paper scales all. phi is the identity; the ratio is 1 where a norm is 0.

  Args:
    schedule: step -> learning rate.
    weight_decay, weight_decay_end, b1, b2, clip_norm, steps, spec: as for `adamw`.
    eps: of the moments, outside of the root.
  Raises:
    ValueError: weight_decay_end with a weight_decay or steps of 0.
  """
  decay = optax.add_decayed_weights(_decay(weight_decay, weight_decay_end, steps), mask(spec))
  return optax.chain(_clip(clip_norm), _scale_by_adam(b1, b2, eps), decay,
                     optax.masked(optax.scale_by_trust_ratio(), mask(spec)), optax.scale_by_learning_rate(schedule))


def sgd(schedule: optax.Schedule, *, momentum: Decay = 0.9, nesterov: bool = False, weight_decay: NonNegative = 0.,
        clip_norm: Positive | None = None, spec: Spec = None) -> optax.GradientTransformation:
  """SGD with momentum (1706.02677v2 equation 9): the decay is added to the gradient, the rate is outside the velocity.

  Args:
    schedule: step -> learning rate.
    momentum: of the velocity, without dampening.
    nesterov: step along gradient + momentum * velocity.
    weight_decay: of the parameters that `decays` names.
    clip_norm: largest global norm of the gradient before the decay, None for no clipping.
  """
  decay = optax.add_decayed_weights(weight_decay, mask(spec))
  return optax.chain(_clip(clip_norm), decay, optax.sgd(schedule, momentum, nesterov))


def lars(schedule: optax.Schedule, *, weight_decay: NonNegative, momentum: Decay = 0.9,
         trust_coefficient: Positive = 0.001, clip_norm: Positive | None = None,
         rate_in_velocity: bool = True, spec: Spec = None) -> optax.GradientTransformation:
  """LARS (1708.03888v3 algorithm 1): each array's gradient is scaled to trust_coefficient * its norm.

  Parameters that `decays` does not name (biases, norms, tokens) are neither decayed nor scaled: plain momentum SGD, as
  in 2002.05709v3. Deviations from the paper, those of SimCLR's code: the ratio has |g + weight_decay w| below, not
  |g| + weight_decay |w|; it is 1 where a norm is 0.

  Args:
    schedule: step -> learning rate.
    weight_decay, momentum: of the parameters that `decays` names, of all.
    trust_coefficient: the paper's eta.
    clip_norm: largest global norm of the gradient, None for no clipping.
    rate_in_velocity: whether the rate multiplies what enters the velocity (the paper, SimCLR's code), or the velocity:
      the code of BYOL (byol/utils/optimizers.py), Barlow Twins, VICReg and SwAV. The two differ where the rate changes.
  """
  made = optax.lars(schedule if rate_in_velocity else 1., weight_decay, mask(spec), trust_coefficient,
                    trust_ratio_mask=mask(spec), momentum=momentum)
  return optax.chain(_clip(clip_norm), made, *([] if rate_in_velocity else [optax.scale_by_schedule(schedule)]))


def _scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformationExtraArgs:
  """`optax.scale_by_adam`; `stood` of some parameters, i32[] by path, are steps of its count that were not theirs."""
  adam = optax.scale_by_adam(b1, b2, eps)

  def update(updates, state, params=None, *, stood: dict | None = None, **_):
    updates, state = adam.update(updates, state, params)
    assert isinstance(state, optax.ScaleByAdamState)

    def corrected(stood, _, first, second):
      count = jnp.maximum(state.count - stood, 1)
      first, second = (optax.tree.bias_correction(x, b, count) for x, b in ((first, b1), (second, b2)))
      return first / (jnp.sqrt(second) + eps)

    return by_path(stood or {}, corrected, updates, state.mu, state.nu), state

  return optax.GradientTransformationExtraArgs(adam.init, update)


def _decay(start: float, end: float | None, steps: int) -> optax.ScalarOrSchedule:
  if end is None:
    return start
  if start <= 0 or steps < 1:
    raise ValueError(f'weight_decay_end wants weight_decay > 0 and steps >= 1, got {start} and {steps}')
  return optax.cosine_decay_schedule(start, steps, end / start)


def _clip(clip_norm: float | None) -> optax.GradientTransformation:
  if clip_norm is None:
    return optax.identity()
  return optax.clip_by_global_norm(clip_norm)


def _scale_layers(layer_decay: float, spec: Spec) -> optax.GradientTransformation:
  def init(params):
    layer_multipliers(params, layer_decay, spec)  # a backbone without layers is an error before anything is compiled
    return optax.EmptyState()

  def update(updates, state, params=None):
    del params
    return jax.tree.map(jnp.multiply, updates, layer_multipliers(updates, layer_decay, spec)), state

  return optax.GradientTransformation(init, update)
