"""T-JEPA as a whole against its twin: arXiv:2410.05016, section 3, and the authors' train.py, predictors.py."""
import numpy as np

from pretrain.models.table import table
from pretrain.objectives.t_jepa import t_jepa
from tests import cases
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
                  'row', draws=True)
TWIN = Twin(
    t_jepa(table(numeric=NUMBERS, categories=CATEGORIES, width=8, depth=2, heads=2, mlp=16, registers=1),
           context_columns=CONTEXT, targets=TARGETS, target_columns=TARGET, predictor_width=12, predictor_depth=1,
           predictor_heads=3, momentum=MOMENTUM, steps=STEPS), batch, twin, encode=pooled,
    images=lambda rng: rows(rng, 3),
    moves={'row': {'loss', 'target_std'}, 'index': {'loss'}, 'hidden': {'loss', 'target_std'}},
    changes={'hidden': other_numbers})


def test_its_twin():
  check(TWIN)
