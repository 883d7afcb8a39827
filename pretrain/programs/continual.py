"""Continual pretraining over a sequence of data sets (any method), and how much of the earlier ones is forgotten."""
import json
from pathlib import Path
from typing import NamedTuple

import jax

from pretrain import config as configs
from pretrain.config import ConfigError, Count
from pretrain.evaluate.linear import linear_probe
from pretrain.evaluate.run import Evaluation, Measured, encoder, features, judge, open_sets
from pretrain.files import write_json
from pretrain.programs import label as labeling
from pretrain.programs.stages import check, fit, kept

PAPER = dict(title='Beyond Cosine Decay: On the effectiveness of Infinite Learning Rate Schedule for Continual '
                   'Pre-training',
             arxiv='2503.02844v2', family='schedule', modality='any')


class Set(NamedTuple):
  """An entry of `sets`: what is trained on for so many steps, and the labeled test set of the probe on it."""
  name: str
  source: dict
  test: dict
  steps: Count


def continual(*, workdir: Path, train: dict, sets: tuple[dict, ...], size: Count) -> list[dict]:
  """Trains on one set after the other, each time from the last state, optimizer included.

  arXiv:2503.02844v2 ("Beyond Cosine Decay"; from memory). With the schedule `infinite` the stages are a trunk at the
  constant rate, which is never annealed; after each set a branch from its last checkpoint, which stays as it is, is
  annealed for schedule.annealing_steps on the same set, and is the model of the stage. Any other schedule begins anew
  with each set, such as repeated cosine, and the model is the stage's last state. No earlier set is seen again: there
  is no replay.

  Args:
    train: config of every run, without source and steps.
    sets: of `Set`, in order; folders of the stages have their names, those of branches '<name>_annealed'.
    size: side of the images in the probes.
  Returns:
    A row for each stage: the accuracies of linear probes on the features of the sets so far, by their names; and, from
    the second on, 'forgetting', the mean over the earlier sets of what is lost since their own stage.
  Raises:
    ConfigError: no set, one that lacks something, two of one name.
  """
  check('train', train, given=('source', 'steps', 'epochs', 'continues', 'initialize'))
  stages = [configs.call(Set, spec, f'config.program.sets[{place}]') for place, spec in enumerate(sets)]
  names = [each.name for each in stages]
  if not stages or len(set(names)) < len(names):
    raise ConfigError(f'config.program.sets: wanted sets of names of their own, got {sets}')
  schedule, infinite = train['schedule'], train['schedule']['name'] == 'infinite'
  starts, total, trunk, rows = [], 0, None, []
  for number, each in enumerate(stages):
    starts, total = [*starts, total], total + each.steps
    planned = schedule | {'annealing_steps': 0} if infinite else \
        dict(name='restarted', schedule=schedule, at=tuple(starts[1:]))
    run = train | {'source': each.source, 'steps': total, 'schedule': planned}
    model = trunk = fit(run | ({'continues': str(trunk)} if trunk else {}), workdir / each.name)
    if infinite and schedule['annealing_steps']:
      branch = run | {'steps': total + schedule['annealing_steps'], 'schedule': schedule, 'continues': str(trunk)}
      model = fit(branch, workdir / f'{each.name}_annealed')
    row = {'stage': model.name, **probes(model, stages[:number + 1], size)}
    if rows:
      lost = [own[earlier] - row[earlier] for earlier, own in zip(names, rows, strict=False)]
      row['forgetting'] = sum(lost) / len(lost)
    rows.append(row)
  return rows


def probes(stage: Path, sets: list[Set], size: int) -> dict[str, float]:
  """{name: accuracy} of linear probes on the features of a finished run; kept in its directory, as probes.json."""
  path, asked = stage / 'probes.json', json.loads(json.dumps({'sets': sets, 'size': size}))
  known = kept(path, asked=dict, accuracies=dict)
  if known.get('asked') != asked:
    model, found = labeling.open_model(stage), {}
    state = model.state()
    for each in sets:
      opened = open_sets(Evaluation(train=each.source, test=each.test, size=size), None)
      run = model.run._replace(evaluation=opened)
      encode = encoder(run, state)
      measured = Measured(*features(run, encode, opened.train), *features(run, encode, opened.test))
      judge(run, [measured], stage)
      found[each.name] = linear_probe(*measured.readable(), classes=len(opened.classes), seed=run.seed)['accuracy']
    known = {'asked': asked, 'accuracies': found}
    if jax.process_index() == 0:
      write_json(path, known)
  return known['accuracies']
