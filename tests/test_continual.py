"""Going on from another run's whole state, schedules that begin anew, and the program over several data sets."""
import hashlib
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from launch.spec import read
from pretrain import config, optim, train
from pretrain.config import ConfigError
from pretrain.programs.stages import program
from pretrain.train import DONE, STOPPED
from tests.test_train import StopAfter, assert_same, final, losses, tiny

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
INFINITE = dict(name='infinite', peak=1e-3, warmup_steps=1, cooldown_steps=1, constant=5e-4, annealing_steps=2,
                end=1e-5)


def digits(name: str, steps: int, split: str = 'train') -> dict:
  return dict(name=name, source=dict(name='digits', split=split), test=dict(name='digits', split='test'), steps=steps)


def tree(schedule: dict, *sets: dict) -> dict:
  run = {key: value for key, value in tiny('checkpoint.every_steps=100').items() if key not in ('source', 'steps')}
  return dict(program=dict(name='continual', size=8, sets=sets), train=run | {'schedule': schedule})


def contents(folder: Path) -> dict[str, str]:
  return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
          for path in sorted(folder.rglob('*')) if path.is_file() and path.name != 'lock'}


def result(workdir: Path) -> list[dict]:
  return json.loads((workdir / 'result.json').read_text())['stages']


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole')
  assert program(tree(INFINITE, digits('one', 3), digits('two', 3, 'test')), workdir, quiet=True) == DONE
  return workdir


def test_a_run_goes_on_from_the_whole_state_of_another_and_leaves_it_alone(tmp_path, monkeypatch):
  """On the same data and schedule the state is that of one run; data begin anew, so the first batch is the first."""
  trunk = tiny('steps=3', 'schedule.name=constant')
  assert train.train(trunk, tmp_path / 'trunk', quiet=True) == DONE
  before = contents(tmp_path / 'trunk')
  longer = trunk | {'steps': 6, 'seed': 5, 'continues': str(tmp_path / 'trunk')}
  with monkeypatch.context() as patch:
    StopAfter(patch, 2)
    assert train.train(longer, tmp_path / 'more', quiet=True) == STOPPED
  assert train.train(longer, tmp_path / 'more', quiet=True) == DONE
  assert train.train(longer, tmp_path / 'undisturbed', quiet=True) == DONE
  assert contents(tmp_path / 'trunk') == before
  assert list(losses(tmp_path / 'more')) == [4, 5, 6] and losses(tmp_path / 'more') == losses(tmp_path / 'undisturbed')
  state, meta = final(tmp_path / 'more', longer)
  assert_same(state, final(tmp_path / 'undisturbed', longer)[0])
  assert meta['data'] == {'next_index': 3} and int(state.step) == 6 and int(state.seed) == 5
  counts = [int(x) for x in jax.tree.leaves(state.opt_state) if x.dtype == np.int32 and x.ndim == 0]
  assert counts and set(counts) == {6}  # the optimizer went on counting


@pytest.mark.parametrize(('change', 'words'), [
    (dict(continues='nowhere'), 'config.continues: nowhere is not the directory of a run'),
    (dict(continues='{one}', steps=3), 'config.steps: wanted more than the 3 of .*, got 3'),
    (dict(continues='{one}', steps=None, epochs=1.), 'wanted steps, and no initialize'),
    (dict(continues='{one}', initialize=dict(workdir='{one}', parts=('backbone',))), 'wanted steps, and no initialize'),
    (dict(continues='{one}', optimizer=dict(name='sgd')), 'another architecture'),
])
def test_a_run_that_cannot_go_on_is_refused_in_words(change, words, whole, tmp_path):
  place = lambda value: str(whole / 'one') if value == '{one}' else value
  change = {key: {k: place(v) for k, v in value.items()} if isinstance(value, dict) else place(value)
            for key, value in change.items()}
  with pytest.raises(ConfigError, match=words):
    train.train(tiny('steps=6') | change, tmp_path / 'run', quiet=True)
  assert not (tmp_path / 'run').exists()


def test_trunks_and_branches(whole):
  assert {path.name for path in whole.iterdir()} == {'config.json', 'format.json', 'lock', 'result.json', 'one',
                                                     'one_annealed', 'two', 'two_annealed'}
  assert [list(losses(whole / name)) for name in ('one', 'one_annealed', 'two', 'two_annealed')] == \
      [[1, 2, 3], [4, 5], [4, 5, 6], [7, 8]]
  rates = {name: [row['lr'] for row in map(json.loads, (whole / name / 'metrics.jsonl').read_text().splitlines())]
           for name in ('two', 'two_annealed')}
  np.testing.assert_allclose(rates['two'], 5e-4, rtol=1e-5)  # the constant phase goes on
  np.testing.assert_allclose(rates['two_annealed'], [5e-4, 5e-4 * (1e-5 / 5e-4) ** 0.5], rtol=1e-5)


def test_what_is_forgotten(whole):
  one, two = result(whole)
  assert one.keys() == {'stage', 'one'} and two.keys() == {'stage', 'one', 'two', 'forgetting'}
  assert two['forgetting'] == one['one'] - two['one'] and 0.3 < one['one'] < 1
  again = json.loads((whole / 'two_annealed/probes.json').read_text())
  assert again['accuracies'] == {'one': two['one'], 'two': two['two']}


def test_repeated_cosine_goes_through_the_sets_and_is_continued_after_a_stop(tmp_path, monkeypatch):
  cosine = tree(dict(name='cosine', peak=1e-3, warmup_steps=1), digits('one', 2), digits('two', 3, 'test'))
  with monkeypatch.context() as patch:
    monkeypatch.setattr('pretrain.programs.continual.probes', lambda _, sets, size: dict.fromkeys(
        [each.name for each in sets], 0.5 + size / 100))
    StopAfter(patch, 3)  # in the second stage
    assert program(cosine, tmp_path, quiet=True) == STOPPED
  monkeypatch.setattr('pretrain.programs.continual.probes', lambda _, sets, size: dict.fromkeys(
      [each.name for each in sets], 0.5 + size / 100))
  assert program(cosine, tmp_path, quiet=True) == DONE
  rates = [row['lr'] for name in ('one', 'two')
           for row in map(json.loads, (tmp_path / name / 'metrics.jsonl').read_text().splitlines())]
  np.testing.assert_allclose(rates, [0, 1e-3, 0, 1e-3, 5e-4], atol=1e-9)
  assert [row['stage'] for row in result(tmp_path)] == ['one', 'two'] and result(tmp_path)[1]['forgetting'] == 0


def test_a_schedule_begins_anew():
  cosine = dict(name='cosine', peak=2., warmup_steps=1)
  twice = optim.restarted(schedule=cosine, at=(4,), steps=10)
  first, second = (optim.cosine(peak=2., warmup_steps=1, steps=steps) for steps in (4, 6))
  wanted = [first(i) for i in range(4)] + [second(i) for i in range(6)]
  np.testing.assert_allclose([twice(i) for i in range(10)], wanted, rtol=1e-6)
  once = optim.restarted(schedule=cosine, at=(), steps=4)
  np.testing.assert_allclose([once(i) for i in range(4)], wanted[:4], rtol=1e-6)
  for at in ((0,), (10,), (4, 4), (5, 2)):
    with pytest.raises(ValueError, match='steps that ascend'):
      optim.restarted(schedule=cosine, at=at, steps=10)


@pytest.mark.parametrize(('sets', 'words'), [
    ((), 'sets of names of their own'), ((digits('a', 0),), r'sets\[0\].steps: wanted a whole number of at least 1'),
    ((digits('a', 2), digits('a', 2)), 'names of their own'),
    (({'name': 'a'},), r"config.program.sets\[0\].*needs"), (({'nam': 'a'},), "nearest: 'name'"),
    ((3,), r'config.program.sets: wanted a tuple, each dict'),
])
def test_what_the_program_refuses(sets, words, tmp_path):
  with pytest.raises(ConfigError, match=words):
    program(tree(INFINITE, *sets), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_its_table_asks_for_numbers_that_the_program_gives():
  spec, cells = read(str(ROOT / 'launch/tables/continual.py'), Path('runs'))
  assert len(cells) == 10 and set(spec.metrics) == set(cells[0].metrics) == set(cells[-1].metrics)
  for cell in cells:
    config.check(train.prepare, cell.config['train'], 'config', given=('source', 'checkpoint'))
  ends = {path.split('/')[1].partition('_annealed')[1] for path in cells[0].metrics.values()}
  assert ends == {'_annealed'} and all('annealed' not in path for path in cells[-1].metrics.values())
