"""Self-distillation for further pre-training against its twin: arXiv:2210.02871v3, section 3.2 and algorithm 2.

Its distance against the twin; as MAE and a distance that is zero where the weights coincide.
"""
import jax
import numpy as np
import pytest

from pretrain.models.vit import vit
from pretrain.objectives.mae import mae
from pretrain.objectives.self_distillation_fpt import hidden_distance, self_distillation_fpt
from pretrain.views.mae import mae as mae_views
from tests import cases
from tests.checks import assert_close, assert_gradient, normal
from tests.papers.test_mae import MEAN, PATCH, RATIO, SIDE, STD, B, backbone, batch, mae_loss
from tests.twin import Twin, check

WEIGHT = 0.7


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  student, teacher = backbone(params)(batch['image']), backbone(memory['frozen_teacher'])(batch['image'])
  reconstruction, distillation = mae_loss(params, batch['image'], noise), 0.
  for i in range(B):
    distillation += np.sum((student[i] - teacher[i]) ** 2) / B
  metrics = {'masked': reconstruction, 'distance': distillation}
  return reconstruction + WEIGHT * distillation, metrics, lambda params: (params, memory)


CASE = cases.Case(dict(weight=1., mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2,
                       standardize=True), mae_views(size=cases.SIZE, scale=(0.2, 1.)), draws=True, backbone=cases.VIT)
TWIN = Twin(
    self_distillation_fpt(
        vit(image=SIDE, channels=2, patch=PATCH, width=8, depth=2, heads=2, mlp=16, mean=MEAN, std=STD), weight=WEIGHT,
        mask_ratio=RATIO, decoder_width=12, decoder_depth=1, decoder_heads=3, standardize=True), batch, twin,
    encode=lambda params, _, x: backbone(params)(x),
    images=lambda rng: rng.uniform(size=(3, SIDE, SIDE, 2)),
    moves={'image': {'loss', 'masked', 'distance'}, 'index': {'loss', 'masked'}})


def test_its_twin():
  check(TWIN)


# --- The loss ------------------------------------------------------------------------------------------------------

def distance_twin(student, teacher):
  """Mean over the examples of the squared Euclidean distance of their hidden representations: [b, ..., d] -> float.

  A sum, not a mean, over everything but the examples. In the authors' code (trainer.py: MSELoss(reduction='sum') over
  the batch size) a representation is one vector, [b, d]: the class token after the encoder's last normalisation, of the
  whole image (nothing hidden), for the student as for the teacher. Given tokens, [b, n, d], it is the squared norm of
  the matrix.
  """
  student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
  total = 0.0
  for position in np.ndindex(*student.shape):
    total += (student[position] - teacher[position]) ** 2
  return total / len(student)


def loss_twin(masked_loss, student, teacher, weight):
  """Masked loss + weight times hidden_distance, arXiv:2210.02871 section 3.2; 1 is the authors' code's weight.

  The section's number is from memory.

  Args:
    masked_loss: float, MAE's (images) or BERT's (text) loss of the student's masked input.
    student, teacher: hidden representations [b, ..., d] of the whole input; the teacher's are constants.
    weight: float.

  Returns:
    (loss, {'masked', 'distance'}), floats.
  """
  terms = {'masked': float(masked_loss), 'distance': distance_twin(student, teacher)}
  return terms['masked'] + weight * terms['distance'], terms


def test_the_distance_of_hidden_representations_is_its_twin():
  student, teacher = normal(0, 5, 4), normal(1, 5, 4)
  assert_close(hidden_distance(student, teacher), distance_twin(student, teacher))
  assert_gradient(lambda h: hidden_distance(h, teacher), lambda h: distance_twin(h, teacher), student)
  assert np.all(np.asarray(jax.grad(hidden_distance, 1)(student, teacher)) == 0)
  assert hidden_distance(student, student) == 0
  assert_close(hidden_distance(np.eye(2), np.zeros((2, 2))), 1)
  with pytest.raises(ValueError, match='equal shapes'):
    hidden_distance(student, teacher[:1])


# --- The objective -------------------------------------------------------------------------------------------------

def test_further_pretraining_is_mae_and_a_distance_that_is_zero_where_the_weights_coincide():
  small = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  options = dict(mask_ratio=0.5, decoder_width=16, decoder_depth=1, decoder_heads=2, standardize=True)
  plain, key = mae(small, **options), jax.random.key(0)
  batch = {'image': jax.random.uniform(key, (4, 8, 8, 1)), 'index': np.arange(4)}

  @jax.jit
  def value(weight, params, memory):
    return self_distillation_fpt(small, weight=weight, **options).loss(params, memory, batch, key, 0)

  params, memory = jax.jit(self_distillation_fpt(small, weight=1., **options).init)(key)
  encode = jax.jit(lambda params: plain.encode(params, {'statistics': {}}, batch['image']))
  wanted = jax.jit(lambda params: plain.loss(params, {'statistics': {}}, batch, key, 0)[0])(params)
  memory['frozen_teacher'] = {'backbone': params['backbone']}  # read from another run, as a rule
  loss, (_, metrics) = value(0.5, params, memory)
  assert_close(loss, wanted)
  assert metrics['distance'] == 0
  memory['frozen_teacher'] = jax.tree.map(lambda x: x + 0.01, memory['frozen_teacher'])
  student, teacher = encode(params), encode(params | memory['frozen_teacher'])
  for weight in (0., 0.5):
    loss, (_, metrics) = value(weight, params, memory)
    assert_close(loss, loss_twin(wanted, student, teacher, weight)[0])
    assert_close(metrics['distance'], distance_twin(student, teacher))
    assert_close(metrics['masked'], wanted)
