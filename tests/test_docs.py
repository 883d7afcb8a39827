"""README and docs: the code on the pages is the project's, runs, and names only what exists."""
import ast
import re
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from PIL import Image

import data.sources
from pretrain import config
from pretrain.__main__ import FLAGS
from pretrain.machine import sharding
from pretrain.models.vit import vit
from pretrain.step import compile_step
from pretrain.train import prepare
from pretrain.views.simclr import simclr as simclr_views
from tests.checks import assert_close, assert_gradient, normal

ROOT = Path(__file__).parents[1]
PAGES = ['README.md', *(f'docs/{path.name}' for path in sorted((ROOT / 'docs').glob('*.md'))
                        if path.name != 'papers.md')]  # is made; its sources name files of other repositories
every_page = pytest.mark.parametrize('page', PAGES)


def text(page: str) -> str:
  return (ROOT / page).read_text()


def blocks(page: str, language: str = 'python') -> list[str]:
  return re.findall(rf'^```{language}\n(.*?)^```$', text(page), re.S | re.M)


def squeezed(code: str) -> str:
  return re.sub(r'\s+', '', code)


@every_page
def test_pages_are_filled_in_and_their_code_parses(page):
  assert '@@' not in text(page), 'a marker that waits for numbers'
  assert text(page).count('```') % 2 == 0
  for block in blocks(page):
    ast.parse(block)


@every_page
def test_what_pages_name_exists(page):
  for path in set(re.findall(r'(?:configs|docs|pretrain|data|tests|benchmarks)/[\w/]+\.(?:py|md|png)', text(page))):
    assert (ROOT / path).is_file(), path
  for file, row in set(re.findall(r'(configs/\w+\.py):(\w+)', text(page))):
    assert row in config.rows(config.from_file(str(ROOT / file))), f'{file}:{row}'
  for folder in set(re.findall(r'`((?:configs|docs|pretrain|data|tests)/[\w/]*)`', text(page))):
    assert (ROOT / folder).is_dir(), folder
  targets = re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.M)
  code = '\n'.join([*re.findall(r'`([^`\n]+)`', text(page)), *blocks(page, 'sh')])
  assert set(re.findall(r'\bmake ([a-z]+)', code)) <= set(targets)
  assert set(re.findall(r'-m pretrain ([a-z]+)', code)) <= set(FLAGS)
  assert set(re.findall(r'-m data ([a-z]+)', code)) <= {'prepare', 'describe', 'tokenizer', 'split', 'labels'}
  for name in set(re.findall(r'`(pretrain(?:\.\w+)+)`', text(page))):
    module, _, attribute = name.rpartition('.')
    assert hasattr(__import__(module, fromlist=[attribute]), attribute), name


def test_pages_name_every_source_and_test_file():
  assert all(f'`tests/{path.name}`' in text('README.md') for path in (ROOT / 'tests').glob('test_*.py'))
  assert all(f'`{name}`' in text('docs/data.md') for name in config.names(data.sources))


def test_readme_shows_the_whole_of_simclr_and_its_case():
  assert (ROOT / 'pretrain/objectives/simclr.py').read_text() in blocks('README.md')
  case = re.search(r"`(CASE = .*?)`", text('README.md'), re.S)
  assert squeezed(case[1]) in squeezed((ROOT / 'tests/papers/test_simclr.py').read_text())


def test_readme_config_of_a_folder_can_be_prepared_with_and_without_labels(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for path in ('photos/train/cat', 'photos/train/dog', 'photos/test/cat', 'heap'):
    Path(path).mkdir(parents=True)
    for i in range(12):
      Image.fromarray(np.full((80, 90 + i, 3), i, np.uint8)).save(f'{path}/{i}.png')
  code, = (block for block in blocks('README.md') if "path='photos'" in block)
  Path('photos.py').write_text(code)
  command, = re.findall(r'-m pretrain train --config=photos.py --workdir=runs/heap (.*?)\n#', text('README.md'), re.S)
  flags = re.findall(r'--config\.(\w+)=(?:"([^"]*)"|(\S+))', command)
  assert len(flags) == 2
  for overrides in ([], [f'{key}={quoted or plain}' for key, quoted, plain in flags]):
    tree = config.load('photos.py', ['epochs=10000', 'batch=8', *overrides])  # of a few images each
    run = config.call(prepare, tree, 'config')
    assert run.abstract_batch['image'].shape == (8, 72, 72, 3) and ('label' in run.abstract_batch) != bool(overrides)
    _, metrics = jax.eval_shape(run.training.step, run.training.abstract, run.abstract_batch)
    assert metrics['loss'].shape == ()


def example() -> tuple[str, str, str]:
  """The twin of the equation, the paper's file and the equation's test of docs/add_a_paper.md."""
  twin, paper, test, *_ = blocks('docs/add_a_paper.md')
  return twin, paper, test


def run_example(twin: str, paper: str, test: str) -> dict:
  """Runs the page's test on the page's equation and twin; the names that the paper's file defines."""
  twins: dict = {}
  made: dict = {}
  exec(twin, twins)
  exec(paper, made)
  found = dict(align_uniform_loss=jax.jit(made['align_uniform_loss']), twin=SimpleNamespace(**twins),
               normal=normal, assert_close=assert_close, assert_gradient=assert_gradient, partial=partial, np=np)
  exec(test, found)
  found['test_align_uniform']()
  return made


def test_the_example_objective_works():
  made = run_example(*example())
  entry, = blocks('docs/add_a_paper.md', 'text')
  case = eval(f'{{{entry}}}', {'SIZE': 8, 'simclr_views': simclr_views, 'Case': lambda *args: args})
  kwargs, views = case['align_uniform']
  backbone = vit(image=8, channels=1, patch=4, width=32, depth=1, heads=2, mlp=64)
  built = config.call(made['align_uniform'], kwargs, 'test', backbone=backbone, steps=3)
  shape = lambda kind, *more: jax.ShapeDtypeStruct((16, *more), kind)
  batch = {'image': shape(np.uint8, 8, 8, 1), 'index': shape(np.int32), 'epoch': shape(np.int32)}
  training = compile_step(built, views, optax.sgd(0.1), optax.constant_schedule(0.1), seed=0, batch=batch,
                          mesh=sharding.make_mesh())
  state, metrics = jax.eval_shape(training.step, training.abstract, batch)
  assert metrics['loss'].shape == ()
  features = jax.eval_shape(built.encode, state.params, state.memory, shape(np.float32, 8, 8, 1))
  assert features.shape == (16, 32)


def test_the_example_row_fits_the_example_objective():
  made, namespace = {}, {}
  exec(blocks('docs/add_a_paper.md')[1], made)
  exec(blocks('docs/add_a_paper.md')[4], namespace)
  row, = config.rows(namespace).values()
  tree = row().to_dict()
  name = tree['objective'].pop('name')
  config.check(made[name], tree['objective'], 'config.objective', given=('backbone',))
  assert tree['views']['name'] == 'simclr' and tree['steps'] * tree['batch'] == 300 * 256


@pytest.mark.parametrize(('old', 'new'), [
    ('', ''), ('jnp.split(z, 2)', '(z[::2], z[1::2])'), ('weight=weight)', 'weight=1.)'),
    ("[batch['views'][:, 0]", "[batch['views'][:, 1]"), ('student.backbone(', 'student.at(student.params).backbone(')])
def test_the_example_twin_of_the_whole_holds_and_fails_for_a_wrong_objective(old, new, monkeypatch):
  twin, paper, test = example()
  assert not old or paper.count(old) == 1
  made = run_example(twin, paper.replace(old, new) if old else paper, test)  # the equation is right in each
  monkeypatch.setitem(sys.modules, 'pretrain.objectives.align_uniform',
                      SimpleNamespace(align_uniform=made['align_uniform']))
  whole: dict = {}
  exec(blocks('docs/add_a_paper.md')[3], whole)
  if old:
    with pytest.raises(AssertionError):
      whole['test_its_twin']()
  else:
    whole['test_its_twin']()


@pytest.mark.parametrize(('old', 'new'), [
    ('align + weight', 'align - weight'), ('z1 - z2', 'z1 - jax.lax.stop_gradient(z2)'), ('-jnp.inf', '0.'),
])
def test_the_example_test_fails_for_a_wrong_loss(old, new):
  twin, paper, test = example()
  assert paper.count(old) == 1
  with pytest.raises(AssertionError):
    run_example(twin, paper.replace(old, new), test)
