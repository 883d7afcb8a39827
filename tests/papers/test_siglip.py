"""SigLIP: arXiv:2303.15343v4, section 3.2 and algorithm 1.

The whole and the loss against their twins, points by hand, invariances.
"""
import math
from functools import partial

import jax
import numpy as np

from pretrain.models.text import text
from pretrain.objectives.siglip import siglip, siglip_loss
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.checks import PAIRS, Z1, Z2, Loss, assert_close, basis, check_loss, normal
from tests.papers.test_clip import (
  LENGTH,
  WORDS,
  B,
  batch,
  check_invariances,
  check_start,
  check_towers,
  of_images,
  of_texts,
)
from tests.reference.networks import Tiny, unit
from tests.twin import Run, Twin, check_moves, check_values, copied, tiny


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  images = of_images(params, statistics, batch['image'], True, noise)
  texts = of_texts(params, batch['tokens'], causal=False, pool='mean')
  scale = np.exp(params['log_scale'])
  loss = 0.
  for i in range(B):
    for j in range(B):
      logit = scale * images[i] @ texts[j] + params['bias']
      loss += np.log(1 + np.exp(-logit if i == j else logit)) / B  # - log sigmoid(z logit)
  return loss, {'temperature': 1 / scale}, lambda params: (params, {'statistics': statistics})


CASE = cases.Case(dict(text=cases.TEXT, dim=16, temperature=0.2, bias=-1.), supervised_views(size=cases.SIZE, pad=0),
                  cases.pairs)
built = partial(siglip, tiny(), text=text(vocabulary=WORDS, length=LENGTH, width=8, depth=1, heads=2, mlp=16,
                pool='mean'), dim=5, temperature=0.3, bias=-1.5)
TWIN = Twin(
    built(), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'image': {'loss'}, 'tokens': {'loss'}})


def test_its_twin():
  run = Run(TWIN)
  check_moves(run)
  check_values(run)
  check_towers(run, causal=False, pool='mean')


def test_its_twin_in_chunks():
  check_values(Run(TWIN._replace(objective=built(chunk=1))))



# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss = jax.jit(siglip_loss)


def loss_twin(image, text, scale, bias):
  """-1/b sum_i sum_j log sigmoid(label_ij (scale x_i.y_j + bias)), label 1 on the diagonal and -1 elsewhere.

  arXiv:2303.15343v4 section 3.2 and algorithm 1: a sum over all b^2 pairs, divided by b.

  Args:
    image, text: [b, d], not normalised; row i of both is one pair.
    scale: positive float, exp(t') in the algorithm.
    bias: float.

  Returns:
    float.
  """
  image, text = unit(image), unit(text)
  total = 0.0
  for i in range(len(image)):
    for j in range(len(text)):
      label = 1 if i == j else -1
      logit = label * (float(scale) * (image[i] @ text[j]) + float(bias))
      total += max(-logit, 0) + math.log1p(math.exp(-abs(logit)))  # -log sigmoid(logit)
  return total / len(image)


LOSS = Loss(
    jit_loss, loss_twin, moving=(0, 1, 2, 3),
    points=[(normal(0, 2, 3), normal(1, 2, 3), np.float32(1), np.float32(0.3)),
            (normal(2, 5, 4, scale=3), normal(3, 5, 4), np.float32(10), np.float32(-10))],
    extremes=[*((*pair, 1e4, -10.0) for pair in PAIRS), *((*pair, 1.0, 1e4) for pair in PAIRS),
              *((Z1, Z2, *numbers) for numbers in [(1e4, 1e4), (1e4, -1e4), (0.0, 0.0)])],
    refused=[((Z1, normal(0, 4, 1), 1.0, 0.0), ['(4, 8)', '(4, 1)']),
             ((Z1, normal(0, 5, 8), 1.0, 0.0), ['(4, 8)', '(5, 8)'])])


def test_loss():
  check_loss(LOSS)


def test_siglip_by_hand():
  image, text = np.array([[3, 4]], np.float32), np.array([[1, 0]], np.float32)  # cosine 0.6
  # one pair: softplus of minus the logit
  assert_close(jit_loss(image, text, scale=2.0, bias=-0.2), math.log(1 + math.exp(-1)))
  for b in (1, 4):  # at logits of 0 each of the b^2 pairs costs log(2), over b
    assert_close(jit_loss(normal(0, b, 3), normal(1, b, 3), scale=0.0, bias=0.0), b * math.log(2))
  # the paper's start, scale 10 and bias -10: logits 0 of the pairs and -10 of the others
  for b in (2, 5):
    near, far = (math.log(2) + (b - 1) * math.log1p(math.exp(x)) for x in (-10, 10))
    assert_close(jit_loss(basis(b), basis(b), scale=10.0, bias=-10.0), near)
    assert_close(jit_loss(basis(b), -basis(b), scale=10.0, bias=10.0), far)


def test_invariances():
  check_invariances(partial(jit_loss, scale=5.0, bias=-2.0))


# --- The objective -------------------------------------------------------------------------------------------------

def test_its_start():
  check_start(partial(siglip, temperature=0.1, bias=-10.0), 0.1, partial(siglip_loss, scale=10.0, bias=-10.0))
