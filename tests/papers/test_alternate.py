"""Objectives by turns against their twin: of the two small ones of `test_weighted`, two steps and one by turns."""
import numpy as np

from pretrain.objectives.alternate import alternate
from tests import cases
from tests.papers import test_weighted as parts
from tests.papers.test_weighted import IN, KEYS, first, held, of_part, rated, small
from tests.twin import Twin, check

TURNS = ['left', 'left', 'right'] * 3


def whose(step):
  """The part whose step it is, and its own number of it."""
  return TURNS[step], count(TURNS[step], step)


def twin(params, stopped, memory, batch, draws, step):
  del stopped
  name, own = whose(step)
  (_, noise), = draws
  loss, metrics, kept = parts.value(np, of_part(params, name), memory[name], batch[KEYS[name]], noise, own)
  metrics = {f'{name}/{key}': metric for key, metric in metrics.items()} | {f'{name}/loss': loss}
  others = {f'{other}/{key}': 0. for other in KEYS for key in ('size', 'loss') if other != name}

  def after(params):
    p, new = parts.updated(name, of_part(params, name), memory[name], kept, own)
    return params | {'backbone': p['backbone'], name: {'head': p['head']}}, memory | {name: new}

  return loss, metrics | others | {'part': list(KEYS).index(name)}, after


def count(name, step):
  return TURNS[:step].count(name)


def hold(step):
  """Heads of the others stand still; those of the part too if it wants so at the number that its step has."""
  wanted = {}
  for name in KEYS:
    idle = name != TURNS[step]
    wanted |= {name: idle} | {f'{name}/{path}': still or idle for path, still in held(name, count(name, step)).items()}
  return wanted


def rate(step):
  return {f'{name}/{path}': factor for name in KEYS for path, factor in rated(name, count(name, step)).items()}


CASE = cases.Case(dict(parts=(('simclr', parts.PARTS['simclr'], 1), ('mae', parts.PARTS['mae'], 2))),
                  parts.VIEWS_OF_PARTS, turn=2, draws=True, backbone=cases.VIT)
TWIN = Twin(
    alternate(parts=(('left', small('left'), 2), ('right', small('right'), 1))), parts.batch, twin,
    encode=first(parts.encoded), predict=first(parts.predicted), project=first(parts.projected),
    images=lambda rng: rng.normal(size=(3, IN)), memory=parts.filled, steps=(0, 1, 2, 3, 4, 5),
    hold=hold, rate=rate,
    moves={'views': set(), 'image': {'loss', 'right/loss', 'right/size'}, 'index': set()})


def test_its_twin():
  check(TWIN)
