"""The small files of a run directory, cut at every byte and with each value gone or of another type: never an accident.

What the run itself can tell without a file is taken from there, and said.
"""
import contextlib
import copy
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data import labels as stores
from pretrain import train
from pretrain.__main__ import main
from pretrain.config import ConfigError
from pretrain.machine import rundir
from pretrain.machine.checkpoint import FORMAT
from pretrain.machine.metrics import Recorder, goodput, read_events, read_metrics
from pretrain.report import report
from pretrain.train import DONE, STOPPED
from tests.test_labels import made
from tests.test_train import StopAfter, losses, tiny

pytestmark = pytest.mark.suite('system')

OTHER = (None, 'x', -1, 0.5, True, [], {}, 10 ** 400, ['x'], {'x': 1})
CONFIG = tiny('steps=4', 'checkpoint.every_steps=2')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A run that is over, went back once, and was evaluated; its config is short."""
  workdir = tmp_path_factory.mktemp('whole')
  assert train.train(CONFIG, workdir, quiet=True) == DONE
  rundir.roll_back(workdir, 1)
  rows = [{'features': 'pretrained backbone', 'knn': 0.5, 'linear': 0.75, 'linear_std': 0.01}]
  (workdir / 'evaluation.json').write_text(json.dumps({'rows': rows, 'test': 10}))
  return workdir


@pytest.fixture
def run(whole, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(whole, workdir)
  return workdir


def changed(tree, of=None) -> Iterator:
  """The tree with each value, of dicts and lists nested at will, gone or another one."""
  of = of or (lambda: copy.deepcopy(tree))
  for place in paths(tree):
    for value in ('gone', *OTHER):
      new = of()
      node = new
      for key in place[:-1]:
        node = node[key]
      if value == 'gone':
        del node[place[-1]]
      else:
        node[place[-1]] = value
      yield new


def paths(tree, above=()) -> list[tuple]:
  pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
  return [place for key, value in pairs for place in ((*above, key), *paths(value, (*above, key)))]


def damages(path: Path) -> Iterator[bytes]:
  data = path.read_bytes()
  yield from (data[:n] for n in range(len(data)))
  yield from (b'', b'\xff', b'[' * 5000, b'NaN', b'{"a": 1e999}', b'[]', b'3', b'null', data + b'}', data + data)
  if path.suffix == '.json':
    yield from (json.dumps(tree).encode() for tree in changed(json.loads(data)))
  else:
    rows = [json.loads(line) for line in data.splitlines()]
    first, last = rows[0], rows[-1]
    for row in (first, last):
      for tree in changed(row):
        yield b'\n'.join(json.dumps(tree if each is row else each).encode() for each in rows) + b'\n'


def read_all(workdir: Path, config: dict, page: bool) -> None:
  """All that a start and a report read; errors are sentences."""
  try:
    train.complete(workdir, config)
    rundir.config_of(workdir)
  except ConfigError as error:
    assert str(workdir) in str(error) and len(str(error)) > 40
  assert rundir.rollbacks(workdir) >= 0
  rows, useful = read_metrics(workdir), goodput(read_events(workdir))
  assert all(row['step'] >= 0 for row in rows) and (useful is None or 0 <= useful <= 1)
  if page:
    with contextlib.suppress(ValueError):  # neither a config nor a row
      report(workdir)


@pytest.mark.parametrize('name', ['config.json', 'result.json', 'metrics.jsonl', 'events.jsonl', 'rollbacks.json',
                                  'evaluation.json', 'format.json'])
def test_a_damaged_file_is_a_sentence_or_left_out(name, run, monkeypatch):
  monkeypatch.setattr('pretrain.report.sections.chart', lambda _: ('', False))
  monkeypatch.setattr(rundir, 'saved_config', lambda _: None)  # the next test's
  shutil.rmtree(run / 'checkpoints')
  if name != 'config.json':
    (run / 'config.json').write_text('{"seed": 0}')
  found = list(damages(run / name))
  assert len(found) > 20
  for number, data in enumerate(found):
    (run / name).write_bytes(data)
    read_all(run, CONFIG if name == 'config.json' else {'seed': 0}, page=number % 5 == 0 or len(found) < 600)


@pytest.mark.parametrize('damage', [
    lambda path: path.unlink(), lambda path: os.truncate(path, 10), lambda path: os.truncate(path, 0),
    lambda path: path.write_text(path.read_text().replace('"batch": 32', '"batch": 31'))])
def test_the_newest_checkpoint_knows_the_config(run, damage, capsys):
  for name in ('result.json', 'rollbacks.json'):
    (run / name).unlink()
  before = (run / 'config.json').read_text()
  damage(run / 'config.json')
  assert (run / 'config.json').exists() is False or (run / 'config.json').read_text() != before
  assert train.train(CONFIG, run, quiet=True) == DONE
  assert json.loads((run / 'config.json').read_text()) == json.loads(before)
  said = capsys.readouterr().out
  assert 'checkpoint' in said and 'config.json' in said
  with pytest.raises(ConfigError, match=r'belongs to another config, in which these keys differ: batch: 32 -> 16'):
    (run / 'config.json').write_text('{')
    train.train(CONFIG | {'batch': 16}, run, quiet=True)


def test_a_result_that_is_damaged_is_written_again(run, capsys):
  result = json.loads((run / 'result.json').read_text())
  os.truncate(run / 'result.json', 20)
  assert train.train(CONFIG, run, quiet=True) == DONE
  assert 'result.json is damaged: wanted a JSON object' in capsys.readouterr().out
  again = json.loads((run / 'result.json').read_text())
  assert again['metrics'] == result['metrics'] and again['config'] == result['config']


def test_a_result_without_a_config_is_not_given_to_another_run(run):
  shutil.rmtree(run / 'checkpoints')
  (run / 'config.json').unlink()
  assert train.train(CONFIG, run, quiet=True) == DONE
  with pytest.raises(ConfigError, match='its result.json is of another config'):
    train.train(CONFIG | {'batch': 16}, run, quiet=True)


def test_rollbacks_are_told_by_the_events_where_their_file_is_damaged(run):
  (run / 'rollbacks.json').write_text('{"rollb')
  assert rundir.rollbacks(run) == 1
  (run / 'rollbacks.json').write_text('{"rollbacks": -3}')
  assert rundir.rollbacks(run) == 1


@pytest.mark.parametrize('name', ['metrics.jsonl', 'events.jsonl'])
def test_a_run_goes_on_over_rows_that_are_damaged(name, tmp_path, whole, monkeypatch):
  StopAfter(monkeypatch, 3)
  assert train.train(CONFIG, tmp_path, quiet=True) == STOPPED
  monkeypatch.undo()
  lines = (tmp_path / name).read_text().splitlines()
  bad = ['', '{', 'null', '{"step": "x", "loss": 1}', '{"step": -1}', '{"time": "x", "event": 3}', '{"time": 1}', '\0']
  (tmp_path / name).write_text('\n'.join([*bad, *lines, *bad]))
  assert train.train(CONFIG, tmp_path, quiet=True) == DONE
  assert losses(tmp_path) == losses(whole)
  report(tmp_path)


def test_a_directory_of_a_later_version_is_left_alone(run, capsys):
  assert json.loads((run / 'format.json').read_text()) == {'format': FORMAT}
  (run / 'format.json').write_text(json.dumps({'format': FORMAT + 1}))
  with pytest.raises(ConfigError, match=f'is of format {FORMAT + 1}, and this version reads up to {FORMAT}'):
    train.train(CONFIG, run, quiet=True)
  for command in ('evaluate', 'label'):
    flags = [f'--out={run}/store'] if command == 'label' else []
    assert main([command, f'--workdir={run}', *flags]) == 1
    assert f'is of format {FORMAT + 1}' in capsys.readouterr().err


def test_a_recorder_drops_no_row_that_is_one(tmp_path):
  (tmp_path / 'metrics.jsonl').write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo\n{"step": 3, "loss": NaN}\n'
                                          '{"step": 4, "loss": 1}\n')
  Recorder(tmp_path, steps=9, start=4, batch=1, quiet=True).close()
  assert [row['step'] for row in read_metrics(tmp_path)] == [1, 4]


def test_labels_json_is_written_again_and_never_believed(tmp_path):
  store = tmp_path / 'store'
  made(store)
  path = store / 'labels.json'
  good = path.read_bytes()
  for data in damages(path):
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
      stores.read(store)
  path.write_bytes(good[:-9])
  assert not stores.finished(store)
  with pytest.raises(ValueError, match='its labels.json is damaged; run `python -m pretrain label` again'):
    stores.read(store)
