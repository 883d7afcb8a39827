"""T-JEPA as a whole against its twin: arXiv:2410.05016, section 3, and the authors' train.py, predictors.py.

Its loss against the twin.
"""
import jax
import jax.numpy as jnp
import numpy as np

from pretrain.method.masks import column_subsets
from pretrain.models.functional import functional
from pretrain.models.table import table
from pretrain.objectives.t_jepa import t_jepa
from tests import cases
from tests.checks import assert_close, normal
from tests.reference import numeric
from tests.reference.networks import averaged, linear, sincos, transformer
from tests.twin import Twin, check

B, NUMBERS, CATEGORIES, MOMENTUM, STEPS = 5, 4, (4, 3), 0.7, 5
COLUMNS, CONTEXT, TARGETS, TARGET = 6, 2, 3, 3


def rows(rng, count):
  codes = np.stack([rng.integers(0, values, count) for values in CATEGORIES], 1)
  return np.concatenate([rng.normal(size=(count, NUMBERS)), codes], 1)


def batch(rng):
  return {'row': rows(rng, B), 'index': rng.permutation(1000)[:B]}


def embed(p, rows):
  """A token for each column: number times weight, or the value's own, and the column's bias."""
  tokens = np.zeros((len(rows), COLUMNS, p['bias'].shape[1]))
  for i, row in enumerate(rows):
    for column, value in enumerate(row):
      if column < NUMBERS:
        tokens[i, column] = value * p['weight'][column]
      else:
        tokens[i, column] = p['values'][sum(CATEGORIES[:column - NUMBERS]) + int(value)]
  return tokens + p['bias']


def encode(p, tokens):
  """With a regularisation token, which is left out again."""
  first = np.broadcast_to(p['register_tokens'], (len(tokens), 1, tokens.shape[-1]))
  return transformer(p['trunk'], np.concatenate([first, tokens], 1))[1][:, 1:]


def subsets(draws):
  """Of each row the columns of the context, and those of each target among the others."""
  (_, noise), = draws
  for first, *others in noise:
    context = np.argsort(first)[:CONTEXT]
    yield context, [[c for c in np.argsort(other) if c not in context][:TARGET] for other in others]


def twin(params, stopped, memory, batch, draws, step):
  del stopped  # the targets are the teacher's
  p, columns = params['predictor'], list(subsets(draws))
  teacher = memory['teacher']['backbone']
  whole = encode(teacher, embed(teacher, batch['row']))
  tokens = embed(params['backbone'], batch['row'])
  seen = encode(params['backbone'], np.stack([x[context] for x, (context, _) in zip(tokens, columns, strict=True)]))
  places = sincos(1, COLUMNS, p['mask_token'].shape[0])
  errors = []
  for i, (context, targets) in enumerate(columns):
    for target in targets:
      x = np.concatenate([linear(p['embed'], seen[i]) + places[context], p['mask_token'] + places[target]])
      predicted = linear(p['predict'], transformer(p['trunk'], x[None])[1][0, CONTEXT:])
      errors.append(np.mean((predicted - whole[i, target]) ** 2))
  assert len(errors) == B * TARGETS

  def after(params):
    tau = MOMENTUM + (1 - MOMENTUM) * step / STEPS
    return params, {'teacher': averaged(memory['teacher'], params, tau)}

  return np.mean(errors), {'target_std': whole.std(0).mean()}, after


def pooled(params, memory, rows):
  del params  # the teacher's, as in the authors' probes
  p = memory['teacher']['backbone']
  return encode(p, embed(p, rows)).mean(1)


def other_numbers(batch, draws, rng):
  """Of columns that are in no context: the student does not see them."""
  changed = batch['row'].copy()
  for row, (context, _) in zip(changed, subsets(draws), strict=True):
    for column in range(NUMBERS):
      if column not in context:
        row[column] = rng.normal()
  return batch | {'row': changed}


CASE = cases.Case(dict(context_columns=3, targets=2, target_columns=2, predictor_width=32, predictor_depth=1,
                       predictor_heads=2, momentum=0.9), cases.unchanged, cases.rows,
                  table(numeric=6, categories=(4, 3), width=64, depth=1, heads=2, mlp=128, registers=1),
                  draws=True)
TWIN = Twin(
    t_jepa(table(numeric=NUMBERS, categories=CATEGORIES, width=8, depth=2, heads=2, mlp=16, registers=1),
           context_columns=CONTEXT, targets=TARGETS, target_columns=TARGET, predictor_width=12, predictor_depth=1,
           predictor_heads=3, momentum=MOMENTUM, steps=STEPS), batch, twin, encode=pooled,
    images=lambda rng: rows(rng, 3),
    moves={'row': {'loss', 'target_std'}, 'index': {'loss'}, 'hidden': {'loss', 'target_std'}},
    changes={'hidden': other_numbers})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def loss_twin(predicted, whole, target):
  """Mean squared difference of predictions and the target encoder's tokens, over rows, targets, columns and features.

  arXiv:2410.05016, section 3 (a mean where the norm is squared, as in the authors' code).

  Args:
    predicted: [b, m, t, d].
    whole: [b, f, d], the target encoder's tokens of all columns.
    target: int[b, m, t], which columns.

  Returns:
    float.
  """
  total = count = 0
  for i in range(len(target)):
    for j in range(len(target[i])):
      for k, column in enumerate(target[i][j]):
        for p, w in zip(predicted[i][j][k], whole[i][column], strict=True):
          total += (float(p) - float(w)) ** 2
          count += 1
  return total / count


def test_the_loss_is_that_of_loops_and_the_teacher_has_no_gradient():
  key = jax.random.key(2)
  backbone = table(numeric=3, categories=(2, 4), width=16, depth=1, heads=2, mlp=16, registers=1)
  objective = t_jepa(backbone, context_columns=2, targets=2, target_columns=2, predictor_width=16, predictor_depth=1,
                     predictor_heads=2, momentum=0.9, steps=10)
  params, memory = objective.init(key)
  params['predictor']['predict']['kernel'] *= 0.  # it predicts its bias
  params['predictor']['predict']['bias'] += 0.5
  rng = np.random.default_rng(1)
  codes = np.stack([rng.integers(0, 2, 4), rng.integers(0, 4, 4)], 1)
  x, index = jnp.asarray(np.concatenate([normal(1, 4, 3), codes], 1), jnp.float32), np.arange(4)
  batch = {'row': x, 'index': index}
  net = functional(backbone)
  whole, _ = net.apply(memory['teacher']['backbone'], {}, lambda m: m.encode(m.embed(x)))
  _, target = column_subsets(jax.random.split(key)[0], index, 5, context=2, targets=2, target=2)
  wanted = loss_twin(np.full((4, 2, 2, 16), 0.5), np.asarray(whole), np.asarray(target))
  assert_close(objective.loss(params, memory, batch, key, 0)[0], wanted)
  slope = numeric.gradient(lambda bias: loss_twin(np.tile(bias, (4, 2, 2, 1)), np.asarray(whole), np.asarray(target)),
                           np.full(16, 0.5, np.float32))
  grads = jax.grad(lambda p: objective.loss(p, memory, batch, key, 0)[0])(params)
  assert_close(grads['predictor']['predict']['bias'], slope, atol=1e-4 * np.abs(slope).max())
  teacher = lambda m: objective.loss(params, memory | {'teacher': m}, batch, key, 0)[0]
  context = jax.grad(lambda p: objective.loss(p, memory, batch, key, 0)[0])(objective.init(key)[0])
  assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(context['backbone'])) > 0
  moved = jax.tree.map(lambda t: t + 0.1, memory['teacher'])
  assert abs(float(teacher(moved)) - wanted) > 1e-3, 'targets come from the teacher'
