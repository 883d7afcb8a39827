"""Learning rates: functions of the step alone."""
import itertools
import sys
from typing import Annotated, Literal

import jax.numpy as jnp
import optax

from pretrain import config as configs
from pretrain.config import Count, Natural, NonNegative, Positive, Range


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
