"""CLIP: arXiv:2103.00020v1, sections 2.3 to 2.5 and figure 3.

The whole and the loss against their twins, points by hand, invariances.
"""
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from data.text import BEGIN, END, PAD
from pretrain import losses
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.objectives.clip import clip, clip_loss
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.checks import PAIRS, Z1, Loss, assert_close, basis, check_loss, normal, rotation
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
built = partial(clip, tiny(), text=text(vocabulary=WORDS, length=LENGTH, width=8, depth=1, heads=2, mlp=16, causal=True,
                pool='last'), dim=5, temperature=0.2)
TWIN = Twin(
    built(), batch, twin,
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


def test_its_twin_in_chunks():
  check_values(Run(TWIN._replace(objective=built(chunk=1))))



def test_no_step_scales_by_more_than_100():
  for scale, after in ((99., 99.), (101., 100.)):
    params, memory = TWIN.objective.update({'log_scale': math.log(scale), 'backbone': 3.}, {'statistics': 1.},
                                           {'statistics': 2.}, 0)
    close(math.exp(params['log_scale']), after, 'scale')
    assert params['backbone'] == 3 and memory == {'statistics': 2.}


# --- the loss --------------------------------------------------------------------------------------------------------

jit_loss, jit_info_nce = jax.jit(clip_loss), jax.jit(losses.info_nce)


def loss_twin(image, text, scale):
  """Mean of the two cross-entropies of arXiv:2103.00020v1 figure 3: over the texts for each image, and the reverse.

  Args:
    image, text: [b, d], not normalised; row i of both is one pair.
    scale: positive float that multiplies the cosine similarities, exp(t) in the figure.

  Returns:
    float.
  """
  image, text = unit(image), unit(text)
  b, scale = len(image), float(scale)
  of_image = of_text = 0.0
  for i in range(b):
    of_image -= log_softmax([scale * (image[i] @ text[j]) for j in range(b)])[i] / b
    of_text -= log_softmax([scale * (image[j] @ text[i]) for j in range(b)])[i] / b
  return (of_image + of_text) / 2


LOSS = Loss(
    jit_loss, loss_twin, moving=(0, 1, 2),
    points=[(normal(0, 2, 3), normal(1, 2, 3), np.float32(1)),
            (normal(2, 5, 4, scale=3), normal(3, 5, 4), np.float32(1 / 0.07))],
    extremes=[(*pair, scale) for pair in PAIRS for scale in (1e4, 0.0)],
    refused=[((Z1, normal(0, 1, 8), 1.0), ['(4, 8)', '(1, 8)']), ((Z1, normal(0, 5, 8), 1.0), ['(4, 8)', '(5, 8)'])])


def test_loss():
  check_loss(LOSS)


def test_clip_by_hand():
  for b, scale in ((2, 1.0), (5, 3.0)):
    assert_close(jit_loss(basis(b), basis(b), scale=scale), math.log(1 + (b - 1) * math.exp(-scale)))
  # logits [[1, 0], [1, 0]]: of the images log(1 + 1/e) and log(1 + e), of the texts log(2) twice
  image, text = basis(2)[[0, 0]], basis(2)
  images = (math.log(1 + 1 / math.e) + math.log(1 + math.e)) / 2
  assert_close(jit_loss(image, text, scale=1.0), (images + math.log(2)) / 2)
  same = np.tile(normal(0, 1, 6), (5, 1))
  assert_close(jit_loss(same, same, scale=100.0), math.log(5))


def test_clip_is_the_mean_of_two_cross_entropies():
  image, text, own = normal(0, 5, 8), normal(1, 5, 8), np.arange(5)
  by_image = jit_info_nce(image, text, positive=own, temperature=0.1)
  by_text = jit_info_nce(text, image, positive=own, temperature=0.1)
  assert abs(by_image - by_text) > 1e-2
  assert_close(jit_loss(image, text, scale=10.0), (by_image + by_text) / 2)


def check_invariances(loss):
  """Of a loss of pairs (image, text) of any scale."""
  image, text = normal(0, 5, 8), normal(1, 5, 8)
  value = loss(image, text)
  order, scales, turn = np.array([3, 0, 4, 1, 2]), np.exp(normal(2, 5, 1)), rotation(3, 8)
  assert_close(loss(text, image), value)
  assert_close(loss(image[order], text[order]), value)
  assert_close(loss(scales * image, text / scales), value)
  assert_close(loss(image @ turn, text @ turn), value)
  assert abs(loss(image, text[order]) - value) > 1e-2


def test_invariances():
  check_invariances(partial(jit_loss, scale=5.0))


# --- The objective -------------------------------------------------------------------------------------------------

def check_start(method, temperature, loss):
  """The first loss is that of the towers' embeddings, of length 1, at the first temperature; in chunks, too."""
  images = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  words = text(vocabulary=24, length=8, width=16, depth=2, heads=2, mlp=24, pool='last')
  pairs = {'image': normal(0, 4, 8, 8, 1) % 1, 'tokens': np.array(
      [[BEGIN, 5 + i, 6 + i, END, PAD, PAD, PAD, PAD] for i in range(4)], np.int32)}
  key, objective = jax.random.key(0), method(images, text=words, dim=6)
  params, memory = objective.init(key)
  image, words_of = (tower(params, memory, pairs[name]) for tower, name in zip(objective.towers, pairs, strict=True))
  np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, rtol=1e-5)
  value, (_, metrics) = objective.loss(params, memory, pairs, key, 0)
  assert_close(value, loss(image, words_of), rtol=1e-4)
  assert_close(metrics['temperature'], temperature)
  assert objective.encode(params, memory, pairs['image']).shape == (4, 16), 'the backbone, not its projection'
  chunked = method(images, text=words, dim=6, chunk=2)
  assert_close(chunked.loss(params, memory, pairs, key, 0)[0], value, rtol=1e-5)


def test_its_start():
  check_start(partial(clip, temperature=0.07), 0.07, partial(clip_loss, scale=1 / 0.07))


def test_its_scale_stays_below_100():
  images = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
  words = text(vocabulary=24, length=8, width=16, depth=2, heads=2, mlp=24, pool='last')
  objective = clip(images, text=words, dim=6, temperature=0.07)
  params, memory = objective.init(jax.random.key(0))
  for before, after in ((math.log(1e3), math.log(100)), (1.0, 1.0)):
    updated, _ = objective.update(params | {'log_scale': jnp.float32(before)}, memory, {}, 0)
    assert_close(updated['log_scale'], after)
