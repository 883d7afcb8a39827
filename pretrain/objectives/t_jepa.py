"""T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data (masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay
from pretrain.method.masks import column_subsets
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import linear
from pretrain.models.decoder import BlockPredictor

PAPER = dict(title='T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data',
             arxiv='2410.05016', family='masked modelling', modality='table')


def t_jepa(backbone: Callable, *, context_columns: Count, targets: Count, target_columns: Count, predictor_width: Count,
           predictor_depth: Count, predictor_heads: Count, momentum: Decay, steps: Count) -> Objective:
  """From the tokens of some columns a predictor says what the student's moving average makes of others.

  arXiv:2410.05016, section 3. The teacher sees whole rows. Deviations from the authors' code: the numbers of columns
  are fixed (theirs are drawn for each batch), and the predictor does not see the regularisation tokens. 'target_std' is
  the deviation over the batch of the teacher's tokens, the mean of all columns and features: 0 if they have collapsed.

  Args:
    backbone: of rows, build(rngs) -> module with `embed`, `encode`, `columns`; collapse wants `registers` in it.
    context_columns, target_columns: columns of the context, and of each target; they are never in both.
    targets: sets of columns to predict, each on its own; 4 in the authors' script.
    predictor_width, predictor_depth, predictor_heads: 16, 16, 4 in the authors' script.
    momentum: of the teacher at step 0, a line up to 1 at the last step; 0.996 in the authors' script.
    steps: of the whole run.
  Raises:
    ValueError: more columns are wanted than there are.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, predictor=BlockPredictor(f.width, width=predictor_width, depth=predictor_depth,
                                                         heads=predictor_heads, rngs=rngs, **f.levers))

  def loss(student, teacher, batch, key):
    keys, rows, f = jax.random.split(key), batch['row'], student.backbone
    whole = teacher.backbone.encode(teacher.backbone.embed(rows), train=True)  # [b, f, d]

    context, target = column_subsets(keys[0], batch['index'], f.columns, context=context_columns, targets=targets,
                                     target=target_columns)  # [b, k], [b, m, t]
    tokens = jnp.take_along_axis(f.embed(rows), context[..., None], 1)
    tokens = f.encode(tokens, train=True, key=keys[1])  # [b, k, d]
    predicted = student.predictor(tokens, context, target, (1, f.columns))  # [b, m, t, d]

    places = target.reshape(len(target), -1)  # [b, m t]
    wanted = jnp.take_along_axis(whole, places[..., None], 1)  # [b, m t, d]
    value = losses.masked_mse(predicted.reshape(wanted.shape), wanted, mask=jnp.ones(places.shape, bool))
    return value, {'target_std': whole.std(0).mean()}

  return method({'row': 'b f', 'index': 'b'}, modules, loss,
                teacher=Average(linear(momentum, 1., steps), 'own', of=('backbone',)), encode='teacher')
