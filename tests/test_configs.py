"""The rows of configs/: each names what there is, can be prepared, and says what it costs and gives.

Those of programs are prepared in tests/test_programs.py.
"""
import dataclasses
import functools
import inspect
import json
import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import data.sources
import pretrain.models
import pretrain.objectives
import pretrain.views
from data import source as of_source
from data.source import Arrays, Source
from data.sources import array_record, clips, folder, pairs, table, text
from data.sources.clips import Clips
from data.sources.table import Rows
from data.text import Tokenizer
from pretrain import config
from pretrain.optim import optimizers, schedules
from pretrain.run import MODELS
from pretrain.train import prepare
from tests.shipped import FILES, RUNS, shallow

ROOT = Path(__file__).parents[1]
PACKAGES = dict(source=data.sources, views=pretrain.views, backbone=pretrain.models, objective=pretrain.objectives,
                optimizer=optimizers, schedule=schedules)


def imitate(monkeypatch, module, made) -> None:
  """Puts what made(**kwargs) returns behind a source that reads files of data sets; its signature stays."""
  name = module.__name__.rpartition('.')[2]
  real = getattr(module, name)

  @functools.wraps(real)
  def source(**kwargs):
    return made(**kwargs) if kwargs['path'].startswith('data_sets/') else real(**kwargs)

  monkeypatch.setattr(module, name, source)


def images(n: int, size, channels=3, length=None, **kwargs) -> Source:
  """n black images of 10 classes, perhaps with texts."""
  del kwargs
  pixels = np.broadcast_to(np.uint8(0), (n, size, size, channels))
  made = of_source.images(pixels, np.arange(n) % 10, tuple('0123456789'))
  texts = {'tokens': np.broadcast_to(np.uint16(1), (n, length or 1))}  # by a tokenizer of no size: it fits every model
  return dataclasses.replace(made, beside={**made.beside, **texts}, tokenizer=Tokenizer(0)) if length else made


def test_every_row_names_what_there_is():
  """Functions, their arguments, types and ranges, without building anything; `prepare` says the rest, below."""
  for name in RUNS:
    tree = config.load(f'{ROOT}/configs/{name}', [])
    json.dumps(tree)
    config.check(prepare, tree, 'config')
    for key, package in PACKAGES.items():
      if tree.get(key):
        check(package, tree[key], f'config.{key}')


def check(package, spec: dict, where: str) -> None:
  """Raises unless a spec, and those in it, name functions that take what they give."""
  function = config.find(package, spec['name'])
  assert function, f'{where}: no {spec["name"]}'
  rest = {key: value for key, value in spec.items() if key != 'name'}
  parts = rest.pop('parts', None)
  for model in MODELS:
    if model in rest:
      check(pretrain.models, rest.pop(model), f'{where}.{model}')
  for part in parts.values() if isinstance(parts, dict) else [part for _, part, _ in parts or ()]:
    check(package, part, f'{where}.parts')
  known = {'backbone', 'steps', 'examples', 'schedule', 'spec', 'parts', *MODELS} & config.schema(function).keys()
  config.check(function, rest, where, given=known)


@pytest.mark.parametrize('name', RUNS)
def test_every_row_can_be_prepared(name, monkeypatch):
  """Shapes are traced, of a step too; data sets that are not embedded are imitated."""
  for module, made in {
      folder: partial(images, 50_000),           # CIFAR-10
      array_record: partial(images, 1_281_167),  # ImageNet-1k
      pairs: partial(images, 1_000_000),         # LAION-400M, WebLI
      clips: lambda frames, every, **kwargs: Source(
          Clips(images(100_000, **kwargs).examples, np.arange(5000), frames, every), 'clips'),
      text: lambda length, **_: Source(Arrays({'tokens': np.broadcast_to(np.uint16(1), (1_000_000, length))}), 'texts',
                                       tokenizer=Tokenizer(30522)),
      table: lambda **_: Source(Rows({'row': np.broadcast_to(np.float32(0), (66_986, 54))}), 'rows')}.items():  # Jannis
    imitate(monkeypatch, module, made)
  tree = config.load(f'{ROOT}/configs/{name}', [])
  run = config.call(prepare, shallow(**tree), 'config')
  state, metrics = jax.eval_shape(run.training.step, run.training.abstract, run.abstract_batch)
  assert metrics['loss'].shape == ()
  assert jax.tree.map(lambda x: x.shape, state) == jax.tree.map(lambda x: x.shape, run.training.abstract)


@pytest.mark.parametrize('path', [path for path in FILES if path.stem != 'demo'], ids=lambda path: path.stem)
def test_a_papers_file_says_what_its_rows_cost_and_give(path):
  """A command that names a row; of each row the cost, and a number that stands in the page named, or in PUBLISHED."""
  namespace = config.from_file(str(path))
  rows, about = config.rows(namespace), ' '.join(namespace['__doc__'].split())
  command, = re.findall(r'python -m pretrain (\w+) --config=configs/(\w+\.py):(\w+) --workdir=runs/\w+', about)
  assert command == ('program' if 'program' in rows[command[2]]() else 'train', path.name, next(iter(rows)))
  for name, row in rows.items():
    said = ' '.join(row.__doc__.split())
    cost, last = re.search(r' Cost: (.*) (?:Result|Published): (.*)$', said).groups()
    assert len(inspect.getsource(row).splitlines()) <= 40
    if 'Published:' in said:
      assert 'not run here' in cost
      assert all(entry['value'] in last for entry in namespace['PUBLISHED'] if entry['config'] == name)
      assert re.search(r'\d', last) or last == 'no number published in this setting.'
    else:
      pages = ''.join((ROOT / page).read_text() for page in re.findall(r'docs/[\w/]+\.md', last))
      numbers = re.findall(r'\d+\.\d+ ± \d+\.\d+|\d+\.\d+', last)
      assert re.search(r'\(n=\d+, this row', last) or all(number in pages for number in numbers), last
      assert re.search(r'n=\d', last) or last == 'no number measured.'


def test_published_numbers_name_their_sources():
  """Literal lists, so that a table can be held against them; where nothing was found the docstring says so."""
  for path in FILES:
    if path.stem != 'demo':
      about = config.from_file(str(path))
      assert about['PUBLISHED'] or any(words in about['__doc__'].replace('\n', ' ')
                                       for words in ('could not be looked up', 'no row of a paper'))
      for entry in about['PUBLISHED']:
        assert list(entry) == ['config', 'metric', 'value', 'source', 'seen'] and entry['metric'] and entry['source']
        assert entry['config'] is None or entry['config'] in config.rows(about)
        assert re.search(r'\d', entry['value']) and re.match(r'read$|quoted in .', entry['seen'])
