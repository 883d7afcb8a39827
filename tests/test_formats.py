"""Run directories that earlier versions wrote go on: one of each format is kept in tests/formats.

N.tar.xz is a run of `CONFIG` that was stopped after step 4 of 8, without its lock and TensorBoard's files;
2.NAME.tar.xz that of an objective whose memory had other names in format 2.
"""
import contextlib
import functools
import json
import tarfile
from pathlib import Path

import jax
import numpy as np
import pytest

from pretrain import train
from pretrain.config import ConfigError
from pretrain.machine import checkpoint
from pretrain.train import DONE
from tests.test_train import events, final, losses, tiny

pytestmark = pytest.mark.suite('system')

FORMATS = Path(__file__).parent / 'formats'
SMALL = ('batch=8', 'steps=8', 'schedule.warmup_steps=2', 'checkpoint.every_steps=100', 'backbone.width=8',
         'backbone.heads=1', 'backbone.mlp=8')
CONFIG = tiny(*SMALL, 'objective.hidden=(8,)', 'objective.dim=4')
RENAMED = {  # the config's rest; an array here, and its name in format 2; an array that is there no more
  'mean_teacher': (('unlabeled={"batch": 8}', "views={'name': 'fixmatch'}", "labels={'per_class': 4, 'seed': 0}",
                    "objective={'name': 'mean_teacher', 'classes': 10, 'unlabeled_weight': 1., 'ramp_steps': 4, "
                    "'momentum_start': 0.9, 'momentum': 0.9}"),
                   'memory/teacher/backbone/cls', 'memory/ema/backbone/cls', None),
  'moco_v3': (("objective={'name': 'moco_v3', 'hidden': (8,), 'dim': 4, 'predictor_hidden': 8, 'temperature': 0.2, "
               "'momentum': 0.9, 'freeze_patches': True}",),
              'memory/fixed/backbone/project/kernel', 'memory/frozen/project/kernel', None),
  'data2vec': (("views={'name': 'mae', 'size': 8, 'scale': (0.5, 1.0)}",
                "objective={'name': 'data2vec', 'mask_ratio': 0.5, 'smallest_block': 1, 'layers': 1, 'beta': 2., "
                "'momentum_start': 0.9, 'momentum': 0.9, 'momentum_steps': 4}"),
               'memory/teacher/backbone/cls', 'memory/teacher/backbone/cls', 'memory/teacher/mask_token/mask_token'),
}


@pytest.fixture
def stopped(tmp_path):
  def unpack(number: int | str) -> Path:
    with tarfile.open(FORMATS / f'{number}.tar.xz') as file:
      file.extractall(tmp_path, filter='data')
    return tmp_path
  return unpack


def meta_of(workdir: Path) -> Path:
  return workdir / 'checkpoints/4/meta/data.json'


def test_there_is_a_run_of_each_format():
  assert {path.name.removesuffix('.tar.xz') for path in FORMATS.iterdir()} == {
      *map(str, range(1, checkpoint.FORMAT + 1)), *(f'2.{name}' for name in RENAMED)}


@pytest.mark.parametrize('name', RENAMED)
def test_arrays_that_had_another_name_are_read_and_the_run_goes_on(name, stopped):
  overrides, here, there, gone = RENAMED[name]
  config, workdir = tiny(*SMALL, *overrides), stopped(f'2.{name}')
  stored = json.loads(meta_of(workdir).read_text())['arrays']
  assert there in stored and (gone is None or gone in stored) and (here == there or here not in stored)
  state, _ = final(workdir, config)
  with contextlib.closing(checkpoint.Checkpoints(workdir / 'checkpoints')) as checkpoints:
    *keys, last = there.split('/')
    part = {last: jax.ShapeDtypeStruct(stored[there][0], stored[there][1])}
    for key in reversed(keys):
      part = {key: part}
    as_it_was, _ = checkpoints.restore(part, part=True)
  np.testing.assert_array_equal(*(functools.reduce(dict.__getitem__, path.split('/')[1:], tree['memory'])
                                  for path, tree in ((here, state._asdict()), (there, as_it_was))))
  assert train.train(config, workdir, quiet=True) == DONE
  assert list(losses(workdir)) == list(range(1, 9)) and np.isfinite(list(losses(workdir).values())).all()
  after = json.loads((workdir / 'checkpoints/8/meta/data.json').read_text())
  assert after['format'] == checkpoint.FORMAT and here in after['arrays'] and gone not in after['arrays']
  assert here == there or there not in after['arrays']


def test_a_parameter_that_is_of_another_kind_than_it_was_is_named(stopped, monkeypatch):
  """The code has changed: what decays, and of which layer it is, is a part of the run."""
  workdir = stopped(3)
  kinds = train.kinds
  monkeypatch.setattr(train, 'kinds', lambda spec: kinds(spec) | {'params/backbone/cls': [1, False]})
  with pytest.raises(ConfigError, match=r'params/backbone/cls.*were \[0, False\], now \[1, False\]'):
    train.train(CONFIG, workdir, quiet=True)


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
    ('"format": 3', '"format": 1'), ('"format": 3', '"gormat": 3'), ('[0, false]', '[1, false]'),
    ('"digest"', '"digesu"'), ('"names": "', '"names": "0'), ('"fingerprint": [', '"fingerprint": [1, ')])
def test_any_change_beside_the_arrays_is_noticed(change, stopped):
  workdir = stopped(3)
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
  with pytest.raises(ConfigError, match='is of format 99, and this version reads up to 3: it was saved by a later one'):
    train.train(CONFIG, workdir, quiet=True)
  assert (workdir / 'checkpoints/4').is_dir()
