"""CLIP as a whole against its twin: arXiv:2103.00020v1, sections 2.3 to 2.5 and figure 3."""
import math

import jax
import numpy as np

from pretrain.models.text import text
from pretrain.objectives.clip import clip
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.reference.networks import Text, Tiny, linear, log_softmax, unit
from tests.twin import Run, Twin, check_moves, check_values, close, copied, numpy_tree, tiny

B, WORDS, LENGTH = 5, 12, 6


def batch(rng):
  """Texts of 2 to 6 words, padding behind them."""
  tokens = rng.integers(1, WORDS, size=(B, LENGTH))
  for i, length in enumerate(rng.permutation([2, 3, 4, 5, 6])):
    tokens[i, length:] = 0
  return {'image': rng.uniform(size=(B, 4, 4, 1)), 'tokens': tokens}


def of_images(params, statistics, images, train=False, noise=None):
  return unit(linear(params['image_head'], Tiny(params['backbone'], statistics['backbone'])(images, train, noise)))


def of_texts(params, tokens, **pool):
  return unit(linear(params['text_head'], Text(params['text'], **pool)(tokens)))


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  images = of_images(params, statistics, batch['image'], True, noise)
  texts = of_texts(params, batch['tokens'], causal=True, pool='last')
  scale = np.exp(params['log_scale'])
  loss = 0.
  for i in range(B):
    loss -= log_softmax(np.array([scale * images[i] @ text for text in texts]))[i] / (2 * B)  # its text
    loss -= log_softmax(np.array([scale * image @ texts[i] for image in images]))[i] / (2 * B)  # its image

  def after(params):
    assert np.exp(params['log_scale']) < 100
    return params, {'statistics': statistics}

  return loss, {'temperature': 1 / scale}, after


CASE = cases.Case(dict(text=cases.TEXT, dim=16, temperature=0.2), supervised_views(size=cases.SIZE, pad=0), cases.pairs)
TWIN = Twin(
    clip(tiny(), text=text(vocabulary=WORDS, length=LENGTH, width=8, depth=1, heads=2, mlp=16, causal=True,
                           pool='last'), dim=5, temperature=0.2), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'image': {'loss'}, 'tokens': {'loss'}})


def check_towers(run, **pool):
  """Those of evaluation: running statistics, no noise."""
  params, memory, given = map(numpy_tree, (run.params, run.memory, run.batch()))
  image, words = map(jax.jit, run.case.objective.towers)
  close(image(run.params, run.memory, given['image']), of_images(params, memory['statistics'], given['image']), 'image')
  close(words(run.params, run.memory, given['tokens']), of_texts(params, given['tokens'], **pool), 'text')


def test_its_twin():
  run = Run(TWIN)
  check_moves(run)
  check_values(run)
  check_towers(run, causal=True, pool='last')


def test_no_step_scales_by_more_than_100():
  for scale, after in ((99., 99.), (101., 100.)):
    params, memory = TWIN.objective.update({'log_scale': math.log(scale), 'backbone': 3.}, {'statistics': 1.},
                                           {'statistics': 2.}, 0)
    close(math.exp(params['log_scale']), after, 'scale')
    assert params['backbone'] == 3 and memory == {'statistics': 2.}
