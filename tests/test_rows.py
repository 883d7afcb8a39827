"""Tables: their source, the encoder of rows, subsets of columns, and what T-JEPA learns of them."""
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import LogisticRegression

from data.loader import loader
from data.sources.table import table as source
from pretrain import config
from pretrain.config import ConfigError
from pretrain.method.masks import column_subsets
from pretrain.models.functional import functional
from pretrain.models.table import table
from pretrain.objectives.t_jepa import t_jepa
from pretrain.run import prepare
from pretrain.train import train
from tests.checks import assert_close, normal

KEY = jax.random.key(2)
TINY = dict(numeric=3, categories=(2, 4), width=16, depth=1, heads=2, mlp=16)


def rows(seed: int, b: int):
  rng = np.random.default_rng(seed)
  codes = np.stack([rng.integers(0, 2, b), rng.integers(0, 4, b)], 1)
  return np.concatenate([normal(seed, b, 3), codes], 1).astype(np.float32)


def test_a_csv_file_gives_numbers_first_then_categories(tmp_path):
  lines = [f'{"red" if i % 3 else "blue"},{i},{10 * i},{"no" if i < 5 else "yes"}' for i in range(10)]
  (tmp_path / 'a.csv').write_text('colour,x,y,bought\n' + '\n'.join(lines))
  train, test = (source(path=str(tmp_path / 'a.csv'), split=split, label='bought') for split in ('train', 'test'))
  assert (len(train), len(test), train.shape, train.classes) == (8, 2, (3,), ('no', 'yes'))
  assert train.examples.categories == (2,)
  both = [s.batch(np.arange(len(s))) for s in (train, test)]
  index = np.concatenate([batch['index'] for batch in both])
  values = np.concatenate([batch['row'] for batch in both])[np.argsort(index)]
  assert sorted(index) == list(range(10)) and values.dtype == np.float32
  assert values[:, 2].tolist() == [0. if i % 3 == 0 else 1. for i in range(10)]
  assert_close(both[0]['row'][:, :2].mean(0), [0, 0], atol=1e-6)
  assert_close(both[0]['row'][:, :2].std(0), [1, 1])
  assert_close(np.diff(values[:, 0]), np.full(9, np.diff(values[:, 0])[0]), rtol=1e-4)
  assert train.labels.tolist() == [int(i >= 5) for i in both[0]['index']]
  assert 'label' not in train.unlabeled().batch(np.arange(2)) and train.take(np.array([3]))[0]['index'] == index[3]
  with loader(train, batch=8, seed=0) as batches:
    assert sorted(next(batches)['index']) == sorted(both[0]['index'])
  with pytest.raises(IndexError, match='8 examples'):
    train[8]


def test_tables_that_are_none_are_refused(tmp_path):
  for content, message in [('a,b\n', 'got 0 rows'), ('a,b\n1,2\n3\n', 'line 3: wanted 2 cells as in the header, got 1'),
                           ('a,b\n1,\n,2\n', '2 of 4 cells are empty')]:
    (tmp_path / 'a.csv').write_text(content)
    with pytest.raises(ValueError, match=message):
      source(path=str(tmp_path / 'a.csv'), split='train')
  (tmp_path / 'a.csv').write_text('colour\nred\n')
  with pytest.raises(ValueError, match="nearest: 'colour'"):
    source(path=str(tmp_path / 'a.csv'), split='train', label='color')
  with pytest.raises(FileNotFoundError, match='tables that need none'):
    source(path=str(tmp_path / 'b.csv'), split='train')
  with pytest.raises(ValueError, match="nearest: 'train'"):
    source(path='iris', split='trian')


def test_columns_of_context_and_targets_are_never_the_same():
  index = np.arange(200)
  draw = jax.jit(lambda i: column_subsets(KEY, i, 9, context=4, targets=3, target=2))
  context, target = map(np.asarray, draw(index))
  assert context.shape == (200, 4) and target.shape == (200, 3, 2)
  for c, t in zip(context, target, strict=True):
    assert len(set(c)) == 4 and not set(c) & set(t.ravel()) and all(len(set(x)) == 2 for x in t)
  assert (np.bincount(context.ravel(), minlength=9) > 60).all()
  assert len(np.unique(target.reshape(200, -1), axis=0)) > 150
  np.testing.assert_array_equal(np.asarray(draw(index[::-1])[1])[::-1], target)
  with pytest.raises(ValueError, match='6 \\+ 4 of 9 columns'):
    column_subsets(KEY, index, 9, context=6, targets=1, target=4)


def test_the_encoder_makes_a_token_of_each_column_and_hides_its_registers():
  net = functional(table(**TINY, registers=2))
  params, mutable = net.init(KEY)
  x = rows(0, 3)
  tokens = np.asarray(net.apply(params, mutable, lambda m: m.embed(jnp.asarray(x)))[0])
  p = {name: np.asarray(params[name]) for name in ('weight', 'values', 'bias')}
  for i in range(3):
    for j in range(5):
      own = x[i, j] * p['weight'][j] if j < 3 else p['values'][(0, 2)[j - 3] + int(x[i, j])]
      assert_close(tokens[i, j], own + p['bias'][j])
  assert net.apply(params, mutable, lambda m: m.encode(m.embed(jnp.asarray(x))))[0].shape == (3, 5, 16)
  moved = params | {'register_tokens': -params['register_tokens']}
  call = lambda params: net.apply(params, mutable, lambda m: m(jnp.asarray(x)))[0]
  assert np.abs(call(moved) - call(params)).max() > 1e-4, 'registers are seen'
  with pytest.raises(ValueError, match=r'wanted rows \[b, 5\]'):
    net.apply(params, mutable, lambda m: m.embed(jnp.asarray(x[:, :4])))
  with pytest.raises(ValueError, match='columns'):
    table(**TINY | dict(numeric=0, categories=()), registers=1)


def test_tables_are_probed_beside_their_columns_and_another_table_is_refused_before_training(tmp_path):
  overrides = ['steps=2', 'batch=16', 'schedule.warmup_steps=1', 'backbone.width=8', 'backbone.mlp=8',
               'objective.predictor_width=8', 'checkpoint.every_steps=2']
  load = lambda *more: config.load('configs/t_jepa.py:breast_cancer', [*overrides, *more])
  train(load(), tmp_path)
  rows = json.loads((tmp_path / 'evaluation.json').read_text())['rows']
  assert [(row['features'], row['width']) for row in rows] == [
      ('raw columns', 30), ('random backbone', 8), ('pretrained backbone', 8)]
  page = (tmp_path / 'report.html').read_text()
  assert 'raw columns' in page and 'Nearest neighbours' not in page and 'Augmented views' not in page
  wine = str(dict(name='table', path='wine', split='train'))
  with pytest.raises(ConfigError, match=r'config.evaluate.train: another columns and another mean.*train of wine'):
    config.call(prepare, load(f'evaluate.train={wine}', f'evaluate.test={wine}'), 'config')


@pytest.mark.slow
def test_a_probe_of_wine_is_better_than_that_of_a_random_encoder_and_nothing_collapses():
  train, test = (source(path='wine', split=split) for split in ('train', 'test'))
  objective = t_jepa(table(numeric=13, width=32, depth=2, heads=2, mlp=64, registers=1), context_columns=4, targets=4,
                     target_columns=4, predictor_width=16, predictor_depth=2, predictor_heads=2, momentum=0.99,
                     steps=400)
  start, memory = objective.init(KEY)
  first, params, tx = memory, start, optax.adam(1e-3)
  optimizer = tx.init(params)

  @jax.jit
  def step(params, memory, optimizer, batch, key, i):
    (_, (carry, metrics)), grads = jax.value_and_grad(objective.loss, has_aux=True)(params, memory, batch, key, i)
    updates, optimizer = tx.update(grads, optimizer)
    params, memory = objective.update(optax.apply_updates(params, updates), memory, carry, i)
    return params, memory, optimizer, metrics

  for i in range(400):
    batch = train.batch(np.random.default_rng(i).integers(0, len(train), 64))
    batch.pop('label')
    params, memory, optimizer, metrics = step(params, memory, optimizer, batch, jax.random.key(i), i)
  assert metrics['target_std'] > 0.05

  def probe(params, memory):
    few = train.take(np.concatenate([np.flatnonzero(train.labels == c)[:2] for c in range(3)]))
    x, z = (np.asarray(objective.encode(params, memory, s.batch(np.arange(len(s)))['row'])) for s in (few, test))
    return LogisticRegression(max_iter=2000).fit(x, few.labels).score(z, test.labels)

  assert probe(params, memory) >= probe(start, first)
