"""Configs with something wrong in them: a message in words before anything is compiled, no accident inside JAX."""
import copy
import functools
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrain import config
from pretrain.config import ConfigError
from pretrain.programs import stages
from pretrain.train import prepare, written_down

ROOT = Path(__file__).parents[1]
TINY = [str(ROOT / 'tests/tiny.py')]
SHIPPED = sorted(str(path) for path in ROOT.glob('configs/*/fashion_mnist.py')) + [str(ROOT / 'configs/demo.py')]
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
    written_down(run)
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
