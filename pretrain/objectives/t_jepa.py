"""T-JEPA: Augmentation-Free Self-Supervised Learning for Tabular Data (masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay
from pretrain.method.masks import column_subsets
from pretrain.method.objective import Objective
from pretrain.method.teacher import linear, with_teacher
from pretrain.models.decoder import BlockPredictor
from pretrain.models.functional import functional


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, predictor=BlockPredictor(f.width, width=predictor_width, depth=predictor_depth,
                                                         heads=predictor_heads, rngs=rngs, **f.levers))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    keys, rows = jax.random.split(key), batch['row']

    def predict(m):
      f = m.backbone
      context, target = column_subsets(keys[0], batch['index'], f.columns, context=context_columns, targets=targets,
                                       target=target_columns)  # [b, k], [b, m, t]
      tokens = jnp.take_along_axis(f.embed(rows), context[..., None], 1)
      tokens = f.encode(tokens, train=True, key=keys[1])  # [b, k, d]
      return m.predictor(tokens, context, target, (1, f.columns)), target

    (predicted, target), statistics = net.apply(params, memory['statistics'], predict)
    whole, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                                          lambda m: m.backbone.encode(m.backbone.embed(rows), train=True))  # [b, f, d]
    flat = target.reshape(len(target), -1)  # [b, m t]
    wanted = jnp.take_along_axis(whole, flat[..., None], 1)  # [b, m t, d]
    value = losses.masked_mse(predicted.reshape(wanted.shape), wanted, jnp.ones(flat.shape, bool))
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics}
    return value, (carry, {'target_std': whole.std(0).mean()})

  return Objective({'row': 'b f', 'index': 'b'}, loss=loss,
                   **with_teacher(net, linear(momentum, 1., steps), encoder='teacher'))
