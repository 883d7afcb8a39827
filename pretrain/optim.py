"""Learning-rate schedules, functions of the step alone, and optimizers that treat a parameter by its path.

A path is the parameter's keys joined by '/', as in 'backbone/trunk/blocks/0/norm1/scale'.
"""
import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pretrain import config as configs
from pretrain.config import Count, Decay, Natural, NonNegative, Part, Positive, Range
from pretrain.models.functional import Leaf

# Schedules ------------------------------------------------------------------------------------------------------------

def constant(*, peak: NonNegative, steps: Count, warmup_steps: Natural = 0) -> optax.Schedule:
  """Linear warm-up from 0, then `peak` for ever.

  Args:
    peak: learning rate after the warm-up.
    steps: of the run.
    warmup_steps: steps until `peak`; the very first step has rate 0 if there are any (1706.02677v2 section 2.2).
  Returns:
    step i32[] -> rate f32[].
  Raises:
    ValueError: the warm-up is longer than the run.
  """
  _check_phases(steps, warmup_steps=warmup_steps)
  return _join(_warmup(peak, warmup_steps), (None, optax.constant_schedule(peak)))


def cosine(*, peak: NonNegative, steps: Count, warmup_steps: Natural = 0, end: NonNegative = 0.,
           linspace: bool = False) -> optax.Schedule:
  """Linear warm-up from 0, then half a cosine from `peak` to `end` at `steps`, constant afterwards.

  1608.03983v5 equation 5 without restarts.

  Args:
    peak, end: learning rates; `end` is absolute, not a share of the peak.
    steps: of the run, warm-up included.
    warmup_steps: steps until `peak`.
    linspace: the warm-up is np.linspace(0, peak, warmup_steps): it ends at the peak, with which the cosine then begins;
      the code of DINO, iBOT (utils.py, cosine_scheduler) and DINOv2 (dinov2/utils/utils.py, CosineScheduler).
  Returns:
    step i32[] -> rate f32[].
  Raises:
    ValueError: the warm-up leaves no step to the cosine, or end > peak.
  """
  _check_phases(steps - 1, warmup_steps=warmup_steps, what=f'cosine wants a step after the warm-up: of {steps} steps, ')
  _check_rates(end=end, peak=peak)
  alpha = end / peak if peak else 0.
  warmup = _warmup(peak, warmup_steps, last=linspace)
  return _join(warmup, (None, optax.cosine_decay_schedule(peak, steps - warmup_steps, alpha)))


def partial_cosine(*, peak: NonNegative, steps: Count,
                   part: Annotated[float, Range(0, 0.5, above=True)] = 7 / 16) -> optax.Schedule:
  """The first part of a cosine: peak cos(pi part n / steps) at step n, constant from `steps` on, without warm-up.

  2001.07685v2 section 2.4, where part is 7/16, so that the last rate is 0.195 of the peak; half-way it is 0.773 of it,
  that of `cosine` to the same end 0.598. FixMatch's family has it; where its code can warm up, it does so over 0 steps.

  Args:
    peak: learning rate at step 0.
    steps: of the run.
    part: of half a period of the cosine; 1/2 ends at 0.
  Returns:
    step i32[] -> rate f32[].
  """
  turn = jnp.pi * part
  return _join((None, lambda step: peak * jnp.maximum(jnp.cos(turn * jnp.clip(step / steps, 0, 1)), 0)))


def warmup_stable_decay(*, peak: NonNegative, steps: Count, warmup_steps: Natural, decay_steps: Natural,
                        end: NonNegative = 0., shape: Literal['linear', 'sqrt']) -> optax.Schedule:
  """Linear warm-up, `peak`, then a decay to `end` over the last `decay_steps`, constant afterwards (WSD).

  The three phases are 2404.06395v3's; with x the share of the decay that is done, shape 'linear' goes from peak to end
  as 1 - x and 'sqrt' as 1 - sqrt(x) (2405.18392, "1-sqrt"). Deviation: 2404.06395v3 itself decays exponentially.
  No rate before steps - decay_steps depends on `steps`: a longer run may continue from a checkpoint of that phase.

  Args:
    peak, end: learning rates.
    steps: of the run, all phases together.
    warmup_steps, decay_steps: lengths of the first and the last phase.
  Returns:
    step i32[] -> rate f32[].
  Raises:
    ValueError: the phases are longer than the run, or end > peak.
  """
  _check_phases(steps, warmup_steps=warmup_steps, decay_steps=decay_steps)
  _check_rates(end=end, peak=peak)
  if shape == 'linear':
    decay = optax.linear_schedule(peak, end, decay_steps)
  elif shape == 'sqrt':
    decay = lambda step: peak + (end - peak) * jnp.sqrt(jnp.clip(step / max(decay_steps, 1), 0, 1))  # noqa: E731
  else:
    raise ValueError(f"wanted shape 'linear' or 'sqrt', got {shape!r}")
  stable = (steps - decay_steps, optax.constant_schedule(peak))
  return _join(_warmup(peak, warmup_steps), stable, (None, decay if decay_steps else optax.constant_schedule(peak)))


def infinite(*, peak: Positive, steps: Count, warmup_steps: Natural, cooldown_steps: Natural, constant: Positive,
             annealing_steps: Natural, end: Positive) -> optax.Schedule:
  """Warm-up, cosine cool-down to `constant`, `constant` for as long as it takes, exponential annealing to `end`.

  2403.08763v4 section 7 and 2503.02844v2 ("Inf Cos"). With n counted from the start of a phase and N its length:

    warm-up    peak n / N
    cool-down  constant + (peak - constant) (1 + cos(pi n / N)) / 2
    constant   constant
    annealing  constant (end / constant)^(n / N)

  The rates join without a jump. Before the annealing nothing depends on `steps`: with annealing_steps=0 the run is a
  trunk that goes on from data set to data set, and a model is annealed from any of its checkpoints by a run with
  steps = that step + annealing_steps. Deviation: phases have lengths in steps, the authors' code has shares of a task.

  Args:
    peak, constant, end: learning rates, 0 < end <= constant <= peak.
    steps: of the run, all phases together; the constant phase is what the others leave.
    warmup_steps, cooldown_steps, annealing_steps: lengths of the phases; 0 leaves a phase out.
  Returns:
    step i32[] -> rate f32[].
  Raises:
    ValueError: the phases are longer than the run, or the rates are not in that order.
  """
  _check_phases(steps, warmup_steps=warmup_steps, cooldown_steps=cooldown_steps, annealing_steps=annealing_steps)
  _check_rates(end=end, constant=constant, peak=peak)
  cooldown, stable, annealing = [], (None, optax.constant_schedule(constant)), []
  if cooldown_steps:
    cooldown = [(warmup_steps + cooldown_steps, optax.cosine_decay_schedule(peak, cooldown_steps, constant / peak))]
  if annealing_steps:
    stable = (steps - annealing_steps, optax.constant_schedule(constant))
    annealing = [(None, optax.exponential_decay(constant, annealing_steps, end / constant, end_value=end))]
  return _join(_warmup(peak, warmup_steps), *cooldown, stable, *annealing)


def lowered(*, schedule: dict, factor: Positive, steps: Count) -> optax.Schedule:
  """Another schedule times `factor`, from where it stands: what a run goes on with after it has been rolled back.

  Args:
    schedule: of this file, as in a config.
    factor: of the rates.
    steps: of the run.
  """
  planned = configs.build(sys.modules[__name__], schedule, 'config.schedule', steps=steps)
  return lambda step: factor * planned(step)


def restarted(*, schedule: dict, at: tuple[Count, ...], steps: Count) -> optax.Schedule:
  """Another schedule, anew from each of some steps, every time over the steps up to the next: such as repeated cosine.

  What continual pretraining does without an infinite schedule (2503.02844v2, from memory).

  Args:
    schedule: of this file, as in a config.
    at: steps at which it begins again, ascending, between 0 and `steps`.
    steps: of the run, all of its parts together.
  Raises:
    ValueError: steps that do not ascend; what the schedule raises for the length of a part.
  """
  edges = (0, *at, steps)
  if any(a >= b for a, b in itertools.pairwise(edges)):
    raise ValueError(f'restarted wants steps that ascend between 0 and the last one, {steps}, got {at}')
  parts = [configs.build(sys.modules[__name__], schedule, 'config.schedule', steps=b - a)
           for a, b in itertools.pairwise(edges)]
  return optax.join_schedules(parts, list(at))


def _warmup(peak, warmup_steps, last=False):
  """From 0 to `peak` at the step after the warm-up, or at its `last`."""
  return warmup_steps, optax.linear_schedule(0., peak, max(warmup_steps - last, 1))


def _join(*phases) -> optax.Schedule:
  """(end, schedule) of each phase in order, the last end None; a schedule counts from its phase's start."""
  joined = optax.join_schedules([schedule for _, schedule in phases], [end for end, _ in phases[:-1]])
  return lambda step: jnp.asarray(joined(step), jnp.float32)


def _check_phases(steps: int, *, what: str | None = None, **phases: int) -> None:
  sizes = ' + '.join(f'{name}={size}' for name, size in phases.items())
  if sum(phases.values()) > steps:
    what = what or f'the phases of a schedule must fit into its steps={steps}, '
    raise ValueError(f'{what}got {sizes}; wanted at most {steps} in all')


def _check_rates(**rates: float) -> None:
  if list(rates.values()) != sorted(rates.values()):
    wanted, got = ' <= '.join(rates), ', '.join(f'{name}={rate}' for name, rate in rates.items())
    raise ValueError(f'the learning rates of a schedule want {wanted}, got {got}')


# Which parameters -----------------------------------------------------------------------------------------------------

Spec = Mapping[str, Leaf] | None  # `Objective.spec`: what parameters are, by path; others have the defaults of `Leaf`


def leaf_of(spec: Spec, path: str, value) -> Leaf:
  """What `spec` says of the parameter at a path, as 'backbone/trunk/blocks/0/norm1/scale'."""
  return (spec or {}).get(f'params/{path}') or Leaf(decay=True if value.ndim > 1 else None)


def decays(leaf: Leaf, decay_1d: bool = False) -> bool:
  """Whether weight decay applies to a parameter.

  Not to biases, gains of norms and layer scales, unless `decay_1d`; never to class, register and mask tokens and
  position embeddings. Deviation: DINO's and MAE's code decays tokens and positions, whose arrays have a leading
  dimension of 1 there.
  """
  return leaf.decay is True or (decay_1d and leaf.decay is None)


def layer_multipliers(params, layer_decay: float, spec: Spec):
  """For each parameter, layer_decay ** (depth + 1 - layer), a tree of floats: what multiplies its learning rate.

  Layer-wise decay of 2106.08254v2 and 2111.06377v3 table 9: block i of `depth` of the backbone is layer i + 1, what
  makes its tokens (patch projection, stem, embeddings, tokens, positions, and the mask token that stands among them) is
  layer 0. The last norm, heads, and a decoder with its own mask token keep the full rate.

  Raises:
    ValueError: layer_decay is not in (0, 1], or nothing in `spec` has a layer.
  """
  if not 0 < layer_decay <= 1:
    raise ValueError(f'wanted layer_decay in (0, 1], got {layer_decay}')
  leaves = jax.tree_util.tree_map_with_path(lambda path, x: leaf_of(spec, _name(path), x), params)
  layers = [leaf.layer for leaf in jax.tree.leaves(leaves, is_leaf=_is_leaf) if leaf.layer is not None]
  if not layers:
    paths = _names(params)
    raise ValueError('layer_decay wants a backbone that says which layer its parameters are of (a property `layers`); '
                     f'got {paths[:3]} and {max(len(paths) - 3, 0)} more; set layer_decay=None for this backbone')
  full = max(layers) + 1
  return jax.tree.map(lambda leaf: layer_decay ** (full - (full if leaf.layer is None else leaf.layer)), leaves,
                      is_leaf=_is_leaf)


def _is_leaf(x) -> bool:
  return isinstance(x, Leaf)


def _name(path) -> str:
  return jax.tree_util.keystr(path, simple=True, separator='/')


def _mask(spec: Spec, decay_1d: bool = False) -> Callable:
  def mask(params):
    return jax.tree_util.tree_map_with_path(lambda path, x: decays(leaf_of(spec, _name(path), x), decay_1d), params)
  return mask


# Optimizers -----------------------------------------------------------------------------------------------------------

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
  adam = optax.chain(_scale_by_adam(b1, b2, eps), optax.add_decayed_weights(decay, _mask(spec, decay_1d)),
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
  decay = optax.add_decayed_weights(_decay(weight_decay, weight_decay_end, steps), _mask(spec))
  return optax.chain(_clip(clip_norm), _scale_by_adam(b1, b2, eps), decay,
                     optax.masked(optax.scale_by_trust_ratio(), _mask(spec)), optax.scale_by_learning_rate(schedule))


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
  decay = optax.add_decayed_weights(weight_decay, _mask(spec))
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
  made = optax.lars(schedule if rate_in_velocity else 1., weight_decay, _mask(spec), trust_coefficient,
                    trust_ratio_mask=_mask(spec), momentum=momentum)
  return optax.chain(_clip(clip_norm), made, *([] if rate_in_velocity else [optax.scale_by_schedule(schedule)]))


class Holding(NamedTuple):
  """An optimizer's state, and i32[] of each parameter that may stand still, by its path: the steps in which it did."""
  inner: Any
  stood: dict


def holding(tx: optax.GradientTransformation, hold: Callable | None) -> optax.GradientTransformationExtraArgs:
  """`tx`, whose state of a parameter, moments and count of its steps, stands still as long as the parameter does.

  `holding(tx, objective.hold)`; its `update` takes `held`, what `hold` gives for this step, besides. The learning
  rate's schedule and the decay's go on. The updates of held parameters mean nothing.

  Args:
    hold: step -> {path: bool[]}, see `Objective.hold`; None if nothing ever stands still.
  """
  tx = optax.with_extra_args_support(tx)
  if hold is None:
    return tx

  def init(params):
    held = hold(0)
    return Holding(tx.init(params), {name: jnp.int32(0) for name in _names(params) if _entry(held, name) is not None})

  def update(updates, state, params=None, *, held, **more):
    names = sorted(_names(updates), key=len, reverse=True)
    stood = {name: n + _entry(held, name) for name, n in state.stood.items()}
    updates, inner = tx.update(updates, state.inner, params, stood=stood, **more)

    def kept(path, new, old):
      path = f'/{_name(path)}'
      still = _entry(held, next((name for name in names if path.endswith(f'/{name}')), ''))
      return new if still is None else jnp.where(still, old, new)

    return updates, Holding(jax.tree_util.tree_map_with_path(kept, inner, state.inner), stood)

  return optax.GradientTransformationExtraArgs(init, update)  # pyrefly: ignore[bad-argument-type]


def by_path(given: dict[str, Any], change: Callable, tree, *rest):
  """`tree`; leaves at a path in `given` or below, the first that fits: change(given[path], leaf, *those of `rest`)."""
  def one(path, leaf, *others):
    value = _entry(given, _name(path))
    return leaf if value is None else change(value, leaf, *others)

  return jax.tree_util.tree_map_with_path(one, tree, *rest) if given else tree


def check_paths(params, given: dict[str, Any], what: str) -> None:
  """Raises ValueError unless each path in `given` is a parameter's, or leads to some; `what` gave it, for messages."""
  names = _names(params)
  if lost := [path for path in given if not any(_entry({path: path}, name) for name in names)]:
    raise ValueError(f'{what} names the parameter {lost[0]!r}; wanted one of {sorted(names)[:5]} and '
                     f'{max(len(names) - 5, 0)} more')


def _names(tree) -> list[str]:
  return [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def _entry(given: dict[str, Any], name: str):
  return next((value for path, value in given.items() if f'{name}/'.startswith(f'{path}/')), None)


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
