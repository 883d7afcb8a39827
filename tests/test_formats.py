"""Run directories that earlier versions wrote go on: one of each format is kept in tests/formats.

N.tar.xz is a run of `CONFIG` that was stopped after step 4 of 8, without its lock and TensorBoard's files.
"""
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pretrain import train
from pretrain.config import ConfigError
from pretrain.machine import checkpoint
from pretrain.train import DONE
from tests.test_train import events, losses, tiny

FORMATS = Path(__file__).parent / 'formats'
CONFIG = tiny('batch=8', 'steps=8', 'schedule.warmup_steps=2', 'checkpoint.every_steps=100', 'backbone.width=8',
              'backbone.heads=1', 'backbone.mlp=8', 'objective.hidden=(8,)', 'objective.dim=4')


@pytest.fixture
def stopped(tmp_path):
  def unpack(number: int) -> Path:
    with tarfile.open(FORMATS / f'{number}.tar.xz') as file:
      file.extractall(tmp_path, filter='data')
    return tmp_path
  return unpack


def meta_of(workdir: Path) -> Path:
  return workdir / 'checkpoints/4/meta/data.json'


def test_there_is_a_run_of_each_format():
  assert sorted(int(path.name.split('.')[0]) for path in FORMATS.iterdir()) == list(range(1, checkpoint.FORMAT + 1))


@pytest.mark.parametrize('number', range(1, checkpoint.FORMAT + 1))
def test_a_run_of_this_format_goes_on(number, stopped):
  workdir = stopped(number)
  assert json.loads(meta_of(workdir).read_text()).get('format', 1) == number
  before = losses(workdir)
  assert train.train(CONFIG, workdir, quiet=True) == DONE
  after = losses(workdir)
  assert list(before) == [1, 2, 3, 4] and list(after) == list(range(1, 9))
  assert all(after[step] == before[step] for step in before) and np.isfinite(list(after.values())).all()
  assert json.loads((workdir / 'checkpoints/8/meta/data.json').read_text())['format'] == checkpoint.FORMAT
  assert json.loads((workdir / 'format.json').read_text())['format'] == checkpoint.FORMAT


@pytest.mark.parametrize('change', [
    ('"next_index": 4', '"next_index": 5'), ('"step": 4', '"step": 5'), ('"peak": 0.001', '"peak": 0.002'),
    ('"format": 2', '"format": 1'), ('"format": 2', '"gormat": 2'), ('"digest"', '"digesu"'),
    ('"names": "', '"names": "0'), ('"fingerprint": [', '"fingerprint": [1, ')])
def test_any_change_beside_the_arrays_is_noticed(change, stopped):
  workdir = stopped(2)
  text = meta_of(workdir).read_text()
  assert change[0] in text
  meta_of(workdir).write_text(text.replace(*change, 1))
  words = 'checkpoint 4 in .* is damaged: what stands beside its arrays is not what was saved; there is no earlier one'
  with pytest.raises(checkpoint.Damaged, match=words):
    train.train(CONFIG, workdir, quiet=True)
  assert events(workdir)[-1] == 'error'


def test_a_checkpoint_under_the_number_of_another_step_is_noticed(stopped):
  workdir = stopped(2)
  (workdir / 'checkpoints/4').rename(workdir / 'checkpoints/6')
  with pytest.raises(checkpoint.Damaged, match='checkpoint 6 in .* is damaged'):
    train.train(CONFIG, workdir, quiet=True)


def test_a_checkpoint_of_a_later_version_is_left_alone(stopped):
  workdir = stopped(2)
  meta = json.loads(meta_of(workdir).read_text()) | {'format': 99, 'more': 1}
  meta_of(workdir).write_text(json.dumps(meta | {'digest': checkpoint.digest(meta)}))
  with pytest.raises(ConfigError, match='is of format 99, and this version reads up to 2: it was saved by a later one'):
    train.train(CONFIG, workdir, quiet=True)
  assert (workdir / 'checkpoints/4').is_dir()
