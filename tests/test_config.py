"""Configs: what is refused before anything is compiled, and in which words; every config of the project fits."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pretrain import config
from pretrain.__main__ import main
from pretrain.config import ConfigError, fits
from pretrain.train import fingerprint, prepare

ROOT = Path(__file__).parents[1]
TINY = str(ROOT / 'tests' / 'tiny.py')


def refused(capsys, tmp_path, *flags: str) -> str:
  """The one line with which `train` refuses."""
  assert main(['train', f'--config={TINY}', f'--workdir={tmp_path / "run"}', *flags]) == 1
  captured = capsys.readouterr()
  assert captured.err.startswith('error: ') and 'Traceback' not in captured.err
  return captured.err


@pytest.mark.parametrize(('flags', 'words'), [
    (['--config.objektive=1'], ['config.objektive', 'read by nothing', "nearest: 'objective'"]),
    (['--config.objective.temprature=1.'], ['config.objective.temprature', "nearest: 'temperature'"]),
    (['--config.objective.name=simclrr'], ['simclrr', "nearest: 'simclr'"]),
    (['--config.backbone.name=vitt'], ['vitt', "nearest: 'vit'"]),
    (['--config.backbone.name=heads'], ["no 'heads'", "all: ['resnet', 'table', 'text', 'vit', 'wide_resnet']"]),
    (['--config.source.name=digit'], ['digit', "nearest: 'digits'"]),
    (['--config.views.name=simcl'], ["nearest: 'simclr'"]),
    (['--config.optimizer.name=adam'], ["nearest: 'adamw'"]),
    (['--config.schedule.warmup=3'], ["nearest: 'warmup_steps'"]),
    (['--config.schedule.steps=3'], ['config.schedule.steps', 'set by the program']),
    (['--config.batch=many'], ['config.batch', 'wanted a whole number of at least 1', "'many' (str)"]),
    (['--config.seed=1.5'], ['config.seed', 'wanted a whole number in [0, 4294967295]', '1.5']),
    (['--config.objective.temperature=True'], ['config.objective.temperature', 'wanted a number above 0', 'True']),
    (['--config.views.scale=(1,2,3)'], ['config.views.scale', '(a number in (0, 1], a number in (0, 1]) ascending']),
    (['--config.views.scale=(0.9,0.1)'], ['config.views.scale', 'ascending', '(0.9, 0.1)']),
    (['--config.batch=12'], ['config.batch', '12', '8 shares', 'nearest: 16']),
    (['--config.batch=0'], ['config.batch', '0']),
    (['--config.mesh.data=3'], ['config.mesh', '8 devices']),
    (['--config.mesh.dataa=8'], ["nearest: 'data'"]),
    (['--config.steps=0'], ['config.steps', 'at least 1', 'got 0']),
    (['--config.steps=-5'], ['config.steps', 'at least 1', 'got -5']),
    (['--config.steps=None'], ['one of steps and epochs']),
    (['--config.epochs=2'], ['one of steps and epochs']),
    (['--config.accumulate=2'], ['config.accumulate', 'depends on the others']),
    (['--config.source.split=trian'], ['trian', 'train']),
    (['--config.checkpoint.every_steps=0'], ['checkpoint.every_steps', '0']),
    (['--config.log_every_steps=0'], ['log_every_steps']),
    (['--config.objective=3'], ['config.objective', 'wanted dict', '3 (int)']),
    (['--config.objective={}'], ['config.objective', "dict(name='...'"]),
    (['--config.backbone.channels=3'], ['channels', '3', '1']),
    (['--config.backbone.image=16', '--config.views.size=10'], ['10', '4']),
    (['--config.steps'], ['wanted --config.key=value']),
    (['--confg=x'], ['--confg', "nearest: '--config'"]),
    (['--topology=v5e:2x2'], ['--topology: train does not use it; wanted it for plan alone']),
    (['--price=3'], ['--price: train does not use it']),
    (['--out=x'], ['--out: train does not use it; wanted it for label alone']),
    (['--quiet', '--quiet'], ['--quiet is given 2 times; wanted it once']),
    (['--config.seed=4294967296'], ['config.seed', 'in [0, 4294967295]', '4294967296']),
    (['--config.steps=2147483648'], ['less than 2^31', '2147483648']),
])
def test_bad_config_is_one_line_that_says_what_is_near(flags, words, capsys, tmp_path):
  message = refused(capsys, tmp_path, *flags)
  for word in words:
    assert word in message, message


@pytest.mark.parametrize(('text', 'words'), [
    ('def get_config(:', ['SyntaxError', 'line 1']),
    ('x = 1', ['get_config']),
    ('def get_config():\n  return 3', ['returns int', 'ConfigDict']),
    ('def get_config():\n  return 1 / 0', ['ZeroDivisionError']),
])
def test_a_config_file_that_gives_no_config(text, words, capsys, tmp_path):
  (tmp_path / 'c.py').write_text(text)
  assert main(['train', f'--config={tmp_path / "c.py"}', f'--workdir={tmp_path / "run"}']) == 1
  message = capsys.readouterr().err
  assert all(word in message for word in words), message


FILE = """
from json import dumps

def first():
  return {'row': 1}

def second():
  return {'row': 2}

def helper(width):
  return width

def _private():
  return {}
"""


@pytest.mark.parametrize(('file', 'row', 'wanted'), [
    (FILE, ':first', {'row': 1}),
    (FILE, ':second', {'row': 2}),
    (FILE, ':secnd', "no row 'secnd' in {}; nearest: 'second'; all: ['first', 'second']"),
    (FILE, '', "{} has rows; wanted --config={}:ROW; all: ['first', 'second']"),
    (FILE, ':helper', "no row 'helper'"),  # it has arguments
    (FILE, ':dumps', "no row 'dumps'"),  # it is imported
    (FILE, ':_private', "no row '_private'"),
    ("def get_config():\n  return {'row': 0}", '', {'row': 0}),
    ("def get_config():\n  return {'row': 0}", ':get_config', {'row': 0}),
    ("def get_config():\n  return {'row': 0}", ':first', "no row 'first'"),
    ("def get_config(row):\n  return {'row': row}", ':first', {'row': 'first'}),  # as ml_collections has it
    ("def get_config(row='none'):\n  return {'row': row}", '', {'row': 'none'}),
    ("def get_config(row):\n  return {'row': row}\n\ndef first():\n  return {'row': 1}", ':first', {'row': 1}),
    ("get_config = lambda row: {'row': row}", ':first', {'row': 'first'}),
    ('def first():\n  return 3', ':first', 'first() in {} returns int, wanted a ConfigDict'),
    ('def first():\n  return 1 / 0', ':first', 'ZeroDivisionError'),
])
def test_a_row_is_a_function_of_its_file(file, row, wanted, tmp_path):
  path = tmp_path / 'c.py'
  path.write_text(file)
  if isinstance(wanted, dict):
    assert config.load(f'{path}{row}', []) == wanted
    return
  with pytest.raises(ConfigError) as caught:
    config.load(f'{path}{row}', [])
  assert wanted.replace('{}', str(path)) in str(caught.value)


@pytest.mark.parametrize('given', ['/elsewhere', None])
def test_compiled_programs_are_kept_where_the_user_s_caches_are(given, monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', given or '')
  if not given:
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR')
  main(['train', '--workdir=x'])
  assert os.environ['JAX_COMPILATION_CACHE_DIR'] == (given or f'{tmp_path}/pretrain/compiled')


def test_missing_files_flags_and_commands(capsys, tmp_path):
  for argv, word in [(['train', '--config=configs/dmo.py', '--workdir=x'], "nearest: 'configs/demo.py'"),
                     (['train', f'--config={TINY}'], '--workdir'), (['train', '--workdir=x'], '--config'),
                     (['trian', '--workdir=x'], "nearest: 'train'"),
                     ([], 'wanted a command'), (['evaluate', f'--workdir={tmp_path}', '--config.seed=1'], 'seed'),
                     (['evaluate', f'--workdir={tmp_path}'], 'config.json'),
                     (['report', f'--workdir={tmp_path}'], 'config.json')]:
    assert main(argv) == 1
    assert word in capsys.readouterr().err


@pytest.mark.parametrize('make', ['missing', 'empty', 'no_classes', 'no_image'])
def test_data_that_is_not_there(make, capsys, tmp_path):
  folder = tmp_path / 'images'
  words = {'missing': 'images', 'empty': 'image', 'no_classes': 'labels', 'no_image': 'broken'}[make]
  if make != 'missing':
    folder.mkdir()
  if make in ('no_classes', 'no_image'):
    from PIL import Image
    inside = folder if make == 'no_classes' else folder / 'a'
    inside.mkdir(exist_ok=True)
    for i in range(40):
      if make == 'no_image':
        (inside / f'{i}.jpg').write_text('not an image')
      else:
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(inside / f'{i}.png')
  flags = [f'--config.source={dict(name="folder", path=str(folder), size=8, channels=1)}']
  if make == 'no_classes':
    flags += [f'--config.objective={dict(name="supervised", classes=10)}',
              f'--config.views={dict(name="supervised", size=8, pad=1)}']
  assert words in refused(capsys, tmp_path, *flags).lower()


def test_types_of_literals():
  assert fits(1, float) and fits(None, int | None) and fits([1, 2], tuple[int, int]) and fits((1,), tuple[float, ...])
  assert not fits(True, int) and not fits(1.0, int) and not fits((1,), tuple[int, int]) and not fits('1', float)


def test_fewer_classes_than_labels_are_refused(capsys, tmp_path):
  flags = ["--config.views=dict(name='supervised', size=8, pad=1)",
           "--config.objective=dict(name='supervised', classes=9)"]
  message = refused(capsys, tmp_path, *flags)
  assert 'config.objective.classes: 9' in message and 'at least 10' in message
  assert not (tmp_path / 'run').exists(), 'a refused config leaves a directory behind'


@pytest.mark.parametrize(('objective', 'words'), [
    ("dict(name='byol', hidden=32, dim=16, predictor_hidden=32, momentum=1.5)", 'momentum: wanted a number in [0, 1]'),
    ("dict(name='mean_teacher', momentum_start=-0.1, momentum=0.9)", 'momentum_start: wanted a number in [0, 1)'),
    ("dict(name='simclr', hidden=(32,), dim=16, temperature=0.0)", 'temperature: wanted a number above 0'),
    ("dict(name='swav', prototypes=1438)", 'prototypes: wanted at most as many as examples of the source, 1437')])
def test_numbers_that_no_objective_can_use_are_refused(objective, words, capsys, tmp_path):
  assert f'config.objective.{words}' in refused(capsys, tmp_path, f'--config.objective={objective}')


@pytest.mark.parametrize(('objective', 'labels', 'words'), [
    ({'name': 'simclr', 'hidden': (32,), 'dim': 16, 'temperature': 0.5}, {'per_class': 1, 'seed': 0}, 'at most 10'),
    ({'name': 'weighted', 'parts': (('a', {'name': 'simclr', 'hidden': (32,), 'dim': 16, 'temperature': 0.5}, 1.),)},
     {'per_class': 1, 'seed': 0}, 'at most 10'),
    ({'name': 'simclr', 'hidden': (32,), 'dim': 16, 'temperature': 0.5}, {'per_class': 2, 'seed': 0}, None),
    ({'name': 'simsiam', 'hidden': (32,), 'dim': 16, 'predictor_hidden': 8}, {'per_class': 1, 'seed': 0}, None)])
def test_a_batch_of_more_examples_than_there_are_is_refused_where_they_are_compared(objective, labels, words):
  tree = config.load(TINY, ['batch=16', 'evaluate=None']) | {'objective': objective, 'labels': labels}
  if words is None:
    assert config.call(prepare, tree, 'config').examples == 16
    return
  with pytest.raises(ConfigError, match=f'config.batch: .*of 10 examples some would be twice.*of 16.*{words}'):
    config.call(prepare, tree, 'config')


@pytest.mark.parametrize(('source', 'words'), [
    ("dict(name='digits', split='tset')", 'test'),
    ("dict(name='folder', path='nowhere', size=8)", 'nowhere')])
def test_a_set_of_the_evaluation_that_cannot_be_opened_is_told_before_training(source, words, capsys, tmp_path):
  train = "dict(name='digits', split='train')"
  assert words in refused(capsys, tmp_path, f'--config.evaluate=dict(train={train}, test={source})')


def test_differences_name_the_keys_and_fingerprints_ignore_what_trains_no_number():
  old = {'a': {'b': 1, 'c': (1, 2)}, 'mesh': {'data': 1}}
  new = {'a': {'b': 2, 'c': [1, 2]}, 'mesh': {'data': 8}, 'd': 0}
  assert config.differences(old, new, ignore=('mesh',)) == ['a.b: 1 -> 2', 'd: (absent) -> 0']
  assert fingerprint(old) == fingerprint(old | {'mesh': {'data': 4}}) != fingerprint(new)


def test_an_override_may_set_a_key_of_a_default():
  tree = config.load(TINY, ['objective.dim=8', 'mesh.fsdp=2', 'seed=7'])
  assert tree['objective']['dim'] == 8 and tree['mesh'] == {'fsdp': 2} and tree['seed'] == 7
  assert config.load(TINY, ["objective=dict(name='mae', parts=dict(k=(1, 2)))"])['objective'] == {
      'name': 'mae', 'parts': {'k': (1, 2)}}
  assert config.load(TINY, ['source.path=a/b-c', 'steps=None'])['source']['path'] == 'a/b-c'
  with pytest.raises(ConfigError, match='has no keys'):
    config.load(TINY, ['batch.size=3'])


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
@pytest.mark.parametrize(('given', 'wanted'), [
    ({}, 'hugetlb=1'), ({'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=0'}, 'hugetlb=0')])
def test_a_command_asks_for_large_pages_where_the_user_does_not(given, wanted, tmp_path):
  (tmp_path / 'c.py').write_text("import os\n\n\ndef get_config():\n  raise ValueError(os.environ['GLIBC_TUNABLES'])\n")
  rest = {key: value for key, value in os.environ.items() if key != 'GLIBC_TUNABLES'}
  command = [sys.executable, '-m', 'pretrain', 'train', f'--config={tmp_path}/c.py', f'--workdir={tmp_path}/run']
  done = subprocess.run(command, cwd=ROOT, env=rest | given, capture_output=True, text=True)
  assert done.returncode == 1 and wanted in done.stderr
