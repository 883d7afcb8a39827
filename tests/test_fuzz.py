"""Configs with something wrong in them: a message in words before anything is compiled, no accident inside JAX."""
import copy
import functools
import os
import re
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.__main__ import main as launch_main
from launch.table import main as table_main
from pretrain import config
from pretrain.__main__ import main as pretrain_main
from pretrain.config import ConfigError
from pretrain.programs import stages
from pretrain.train import check_traces, prepare
from tests.shipped import ROWS

ROOT = Path(__file__).parents[1]
TINY = [str(ROOT / 'tests/tiny.py')]
SHIPPED = [f'{ROOT}/configs/{name}' for name in ROWS if 'fashion_mnist' in name or name.startswith('demo.py')]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 9), st.sampled_from([0.5, -1., 1e9, float('nan'), float('inf')]),
    st.sampled_from(['', 'simclr', 'vit', 'float16', 'x']), st.just(()), st.just((1, 2)), st.just({}),
    st.just({'name': 'x'}), st.integers(10**5, 10**7))


def places(tree: dict, above: tuple = ()) -> list[tuple]:
  """The paths of all keys."""
  found = []
  for key, value in tree.items():
    found.append((*above, key))
    if isinstance(value, dict):
      found += places(value, (*above, key))
  return found


@st.composite
def mutated(draw, files):
  """A shipped config, with one or two of: another value, no value, a misspelt key, a key too many, a scaled number."""
  tree = copy.deepcopy(config.load(draw(st.sampled_from(files)), []))
  for _ in range(draw(st.integers(1, 2))):
    *above, key = draw(st.sampled_from(places(tree)))
    node = tree
    for name in above:
      node = node[name]
    kind = draw(st.sampled_from(['value', 'number', 'number', 'number', 'delete', 'rename', 'add']))
    value = node[key]
    if kind == 'number' and isinstance(value, int | float) and not isinstance(value, bool):
      node[key] = draw(st.sampled_from([value + 1, value - 1, value * 2, value * 3, -value, type(value)(0)]))
    elif kind == 'delete':
      del node[key]
    elif kind == 'rename':
      node[key + draw(st.sampled_from(['s', '_']))] = node.pop(key)
    elif kind == 'add':
      node[draw(st.sampled_from(['name', 'size', 'steps', 'x']))] = copy.deepcopy(draw(VALUES))
    else:
      node[key] = copy.deepcopy(draw(VALUES))
  return tree


class Begun(Exception):
  """The first run of a program would begin to train."""


def begin(tree: dict, *_, traced: bool = True, **__) -> None:
  """All of a run that can fail before its first step is compiled."""
  run = config.call(prepare, tree, 'config')
  if traced:
    check_traces(run)
  raise Begun


def check(tree: dict, traced: bool = True) -> None:
  try:
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
      warnings.simplefilter('ignore')
      patch.setattr(stages, 'train', functools.partial(begin, traced=traced))
      if isinstance(tree.get('program'), dict):
        stages.program(tree, folder, quiet=True)
      else:
        begin(tree, traced=traced)
  except Begun:
    pass
  except (ConfigError, OSError) as error:
    assert 10 < len(str(error)) < 3000
  except ValueError as error:
    assert 'Traceback' not in str(error) and 'jax' not in str(error) and len(str(error)) > 10


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(mutated(TINY))
def test_mutations_of_a_config_are_refused_in_words_or_run(tree):
  check(tree)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), database=None,
          print_blob=True)
@given(mutated(SHIPPED), st.integers(0, 19))
def test_ten_thousand_mutations_of_the_shipped_configs(tree, turn):
  """A twentieth of them as far as the tracing of the first step, which takes most of the time."""
  check(tree, traced=turn == 0)


# command lines

COMMANDS = [
    ['train', '--config=tests/tiny.py', '--workdir=W/run', '--config.seed=1', '--quiet'],
    ['train', '--config=tests/tiny.py', '--workdir=W/run', '--profile=3:5', '--config.optimizer.weight_decay=0.1'],
    ['evaluate', '--workdir=W/run', '--config.mesh.data=8'],
    ['report', '--workdir=W/run'],
    ['label', '--workdir=W/run', '--out=W/store', '--config.batch=64', '--config.probabilities=False'],
    ['program', '--config=configs/self_training.py:fashion_mnist', '--workdir=W/program', '--quiet'],
    ['plan', '--config=tests/tiny.py', '--topology=v5e:2x2', '--free', '--slices=1', '--price=1.5', '--json'],
]
LAUNCHES = [
    ['--config=tests/tiny.py', '--workdir=W/run', '--processes=2', '--devices=2', '--restarts=3', '--env=A=b'],
    ['--engine=slurm', '--config=tests/tiny.py', '--workdir=W/run', '--nodes=2', '--hours=2', '--partition=p',
     '--account=a', '--name=n', '--after=3'],
    ['--engine=k8s', '--config=tests/tiny.py', '--workdir=/runs/a', '--image=r/i:1', '--queue=q', '--volume=c:/runs',
     '--topology=v5e:2x4'],
    ['--engine=slurm', '--nodes=2', '--', 'python', '-m', 'pretrain', 'label', '--workdir=W/run', '--out=W/store'],
]
TABLES = [
    ['launch/tables/dcl_batch_size.py', 'status', '--runs=W/runs'],
    ['launch/tables/dcl_batch_size.py', 'run', '--runs=W/runs', '--workers=2', '--engine=local'],
    ['launch/tables/dcl_batch_size.py', 'collect', '--runs=W/runs', '--out=W/out'],
]
HOSTILE = ('', ' ', '-1', '0', 'nan', 'inf', '1e999', '9' * 400, '\n', '\0', '\x1b[31m', '%s%n', '$(touch x)', '`x`',
           ';', '"', "'", '..', '/dev/null', 'gs://b/x', '~nobody/x', 'ünïcode', '{', 'dict(', '[' * 500, 'x' * 5000,
           'None', 'True', '-' * 9, '=', '--', '*', '{"a": 1}', '(1, 2', 'lambda: 1', '__import__("os")')


@st.composite
def command_line(draw, lines):
  """A command that is right, with one to three of: an argument gone, twice, moved, misspelt, with a hostile value."""
  line = list(draw(st.sampled_from(lines)))
  for _ in range(draw(st.integers(1, 3))):
    if not line:
      break
    place = draw(st.integers(0, len(line) - 1))
    flag, equals, _ = line[place].partition('=')
    hostile = draw(st.sampled_from(HOSTILE))
    match draw(st.sampled_from(['drop', 'twice', 'move', 'misspell', 'value', 'value', 'bare', 'add', 'key'])):
      case 'drop':
        del line[place]
      case 'twice':
        line.insert(draw(st.integers(0, len(line))), line[place])
      case 'move':
        line.insert(draw(st.integers(0, len(line) - 1)), line.pop(place))
      case 'misspell':
        line[place] = flag[:-1] + draw(st.sampled_from(['', 's', '-'])) + line[place][len(flag):]
      case 'value':
        line[place] = f'{flag}={hostile}' if equals else hostile
      case 'bare':
        line[place] = flag
      case 'add':
        line.insert(place, draw(st.sampled_from([hostile, f'--workdir={hostile}', f'--config={hostile}', '--quiet',
                                                 '-h', f'--engine={hostile}', f'--{hostile}'])))
      case 'key':
        line.insert(place, f'--config.{draw(st.sampled_from(["seed", "batch", "optimizer", "views.size", "x.y", ""]))}'
                           f'={hostile}')
  return line


def checked(config: dict, *_, **__) -> int:
  """Stands for `train` and programs: a config that they are given fits the signatures."""
  stages.check('config', config) if 'program' not in config else None
  return 0


def told(main, line: list[str], capsys) -> int:
  """The exit code of a command, after a look at what it said."""
  with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
    for name in ('pretrain.train.train', 'pretrain.programs.stages.program'):
      patch.setattr(name, checked)
    patch.setattr('launch.local.Local.run', lambda *_: [0])
    for name in ('launch.slurm.submit', 'launch.k8s.submit'):
      patch.setattr(name, lambda *_, **__: '7')
    patch.setattr('pretrain.machine.processes.check_devices', lambda: None)
    patch.setattr(os, '_exit', lambda code: pytest.fail(f'left with {code}'))
    try:
      code = main([arg.replace('W/', f'{folder}/') for arg in line])
    except SystemExit as error:  # --help
      code = error.code
  said = capsys.readouterr()
  assert code in (0, 1), (line, code)
  assert 'Traceback' not in said.err + said.out
  assert code == 0 or re.search(r'error: .{8}', said.err, re.S), (line, said.err)
  return code


COMMAND_LINES = {'pretrain': COMMANDS, 'launch': LAUNCHES, 'launch.table': TABLES}


@pytest.mark.parametrize('program', COMMAND_LINES)
def test_the_command_lines_themselves_are_right(program, capsys):
  """But for a run, which is not there."""
  for line in COMMAND_LINES[program]:
    code = told(mains()[program], line, capsys)
    assert code == (1 if {'evaluate', 'report', 'label', 'collect'} & set(line[:2]) else 0), line


def mains() -> dict:
  return {'pretrain': pretrain_main, 'launch': launch_main, 'launch.table': table_main}


@pytest.mark.parametrize(('program', 'line'), [
    ('launch', ['--engine=slurm', '--config=tests/tiny.py', '--workdir=W/run', '--nodes=--']),
    ('launch', ['--config=tests/tiny.py', '--workdir=--']), ('launch', ['--nodes=--', '--', 'true']),
    ('launch.table', ['launch/tables/dcl_batch_size.py', 'status', '--workers=--']),
    ('pretrain', ['train', '--config=tests/tiny.py', '--workdir=--']),
    ('pretrain', ['plan', '--config=tests/tiny.py', '--topology=v5e:2x2', '--slices=--'])])
def test_two_dashes_are_no_value(program, line, capsys):
  """Of them Python's parser makes an empty list."""
  assert mains()[program](line) == 1
  assert 'wanted a value, got --' in capsys.readouterr().err


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(st.data())
def test_mutations_of_command_lines_end_in_words(capsys, data):
  program = data.draw(st.sampled_from(list(COMMAND_LINES)))
  told(mains()[program], data.draw(command_line(COMMAND_LINES[program])), capsys)


@pytest.mark.slow
@settings(max_examples=3_000, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True)
@given(st.data())
def test_three_thousand_mutations_of_command_lines(capsys, data):
  program = data.draw(st.sampled_from(list(COMMAND_LINES)))
  told(mains()[program], data.draw(command_line(COMMAND_LINES[program])), capsys)
