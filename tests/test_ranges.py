"""The range of every number that a config may set: it stands at the signature, and what is outside is refused."""
import importlib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

import data.sources
import pretrain.models
import pretrain.objectives
import pretrain.programs
import pretrain.views
from data.wrap import long_tailed
from pretrain import config, optim
from pretrain.config import ConfigError, Range
from pretrain.machine import sharding
from pretrain.programs import label

ROOT = Path(__file__).parents[1]
PACKAGES = (data.sources, pretrain.models, pretrain.objectives, pretrain.programs, pretrain.views,
            optim.optimizers, optim.schedules)


def called() -> Iterator[Callable]:
  """What is given to `config.call` and `config.check` by its name."""
  for path in sorted([*ROOT.glob('pretrain/**/*.py'), *ROOT.glob('data/**/*.py')]):
    if names := re.findall(r'configs\.(?:call|check)\(([\w.]+),', path.read_text()):
      scope: Any = importlib.import_module('.'.join(path.relative_to(ROOT).with_suffix('').parts))
      for name in names:
        first, *rest = name.split('.')
        if found := getattr(scope, first, None):  # not what is a variable there
          for each in rest:
            found = getattr(found, each)
          yield found


BUILT = {config.find(package, name): f'{package.__name__}.{name}' for package in PACKAGES
         for name in config.names(package)}
TAKEN = BUILT | {function: f'{function.__module__}.{function.__name__}'
                 for function in (*called(), label.write_labels, sharding.mesh_sizes, long_tailed)}
SCHEMAS = {name: config.schema(function) for function, name in TAKEN.items()}


def test_the_list_is_whole():
  assert {'pretrain.run.prepare', 'pretrain.run.Saving', 'pretrain.run.Subset', 'pretrain.run.Unlabeled',
          'pretrain.run.Reading', 'pretrain.run.NonFinite', 'pretrain.evaluate.run.Evaluation', 'data.wrap.few_labels',
          'pretrain.interop.initialize.Initialize', 'pretrain.programs.continual.Set', 'data.encoded.Decoding',
          'pretrain.machine.sharding.make_mesh'} <= SCHEMAS.keys()


def bare(kind) -> bool:
  """Whether a number without a range is in an annotation; what the program gives (a schedule) is none."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated:
    return not isinstance(inner[1], Range) and bare(inner[0])
  if origin in (Callable, typing.Literal):
    return False
  return kind in (int, float) or any(map(bare, inner))


def test_every_number_declares_its_range():
  without = [f'{where}: {p}' for where, schema in SCHEMAS.items() for p in schema.values() if bare(p.annotation)]
  assert not without, '\n'.join(without)


def good(kind) -> Any:
  """A value that fits."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated and isinstance(inner[1], Range):
    low, high = inner[1].low, inner[1].high
    between = 0 if low == -math.inf else low + 1 if high == math.inf else (low + high) / 2
    return inner[0](between) if inner[1].holds(between) else low
  if origin is Annotated:
    return good(inner[0])
  if origin is tuple:
    return tuple(good(each) for each in inner if each is not Ellipsis)
  return inner[0]


def bad(kind) -> Iterator[tuple[Any, str]]:
  """Values just outside, or NaN or infinite, and words of what is wanted instead."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated and isinstance(limits := inner[1], Range):
    step = (lambda x, to: x + int(math.copysign(1, to))) if inner[0] is int else math.nextafter
    outside = [end if excluded else step(end, way) for end, excluded, way in (
        (limits.low, limits.above, -math.inf), (limits.high, limits.below, math.inf)) if math.isfinite(end)]
    yield from ((value, limits.words) for value in (*outside, math.nan, math.inf, -math.inf))
  elif origin is Annotated:
    yield from bad(inner[0])
    part = typing.get_args(inner[0])[0]
    yield (good(part) + (1 if typing.get_args(part)[0] is int else 1e-3), good(part)), 'ascending'
  elif origin is tuple:
    parts = inner[:1] if inner[-1] is Ellipsis else inner
    for place, part in enumerate(parts):
      for value, words in bad(part):
        yield (*map(good, parts[:place]), value, *map(good, parts[place + 1:])), words
  elif origin in (typing.Union, types.UnionType):
    for part in inner:
      yield from bad(part)


@pytest.mark.parametrize(('function', 'where'), [pytest.param(*item, id=item[1]) for item in TAKEN.items()])
def test_values_outside_are_refused_and_defaults_are_inside(function, where):
  for name, p in SCHEMAS[where].items():
    if p.default not in (inspect.Parameter.empty, None):
      config.check(function, {name: p.default}, 'config.part', SCHEMAS[where].keys() - {name})
    for value, words in bad(p.annotation):
      with pytest.raises(ConfigError) as refused:
        config.check(function, {name: value}, 'config.part')
      message = str(refused.value)
      assert f'config.part.{name}: wanted' in message and words in message and repr(value) in message


@pytest.mark.parametrize(('limits', 'inside', 'outside', 'words'), [
    (Range(0, 1), (0, 1, 0.5), (-1e-9, 1.1), 'in [0, 1]'),
    (Range(0, 1, above=True, below=True), (0.5,), (0, 1), 'in (0, 1)'),
    (Range(1), (1, 10**9), (0,), 'of at least 1'),
    (Range(0, above=True), (1e-9,), (0, -1), 'above 0'),
    (Range(high=2), (2, -1e9), (2.1,), 'of at most 2'),
    (Range(high=2, below=True), (1.9,), (2,), 'below 2'),
    (Range(), (-1e9, 0), (), 'that is finite')])
def test_ranges(limits, inside, outside, words):
  assert all(map(limits.holds, inside)) and not any(map(limits.holds, (*outside, math.nan, math.inf, -math.inf)))
  assert limits.words == words
