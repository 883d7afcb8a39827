"""Masked language modelling as a whole against its twin: arXiv:1810.04805v2, section 3.1, task 1."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from data.sources.text import text as text_source
from pretrain.models.text import text
from pretrain.objectives.bert import bert, masked_words
from tests import cases
from tests.checks import assert_close, assert_finite, assert_gradient_in, assert_half_precision, normal
from tests.reference import supervised as slow
from tests.reference.networks import Text, gelu, layer_norm, linear, log_softmax
from tests.twin import Twin, check

B, WORDS, LENGTH, K = 7, 7, 10, 4  # K: round(10 * 0.35)
MASK, FIRST = 3, 4  # ids below FIRST are special
KINDS = set()  # of what stood for a word in any step


def batch(rng):
  """One text is shorter than the others, one has fewer words than are to be predicted."""
  tokens = rng.integers(FIRST, WORDS, size=(B, LENGTH))
  tokens[:, 0] = 1
  tokens[0, 7], tokens[0, 8:] = 2, 0
  tokens[1, 4], tokens[1, 5:] = 2, 0
  return {'tokens': tokens, 'index': rng.permutation(1000)[:B]}


def hide(tokens, draws):
  """[places to predict] of each text, and what is shown: of the places the drawn numbers say which, and what of it."""
  (_, noise), = draws
  places, shown, kinds = [], tokens.copy(), []
  for i, (order, u) in enumerate(noise):
    words = [place for place in np.argsort(order) if tokens[i, place] >= FIRST][:K]
    places.append(words)
    for j, place in enumerate(words):
      kinds.append('mask' if u[j] < 0.8 else 'other' if u[j] < 0.9 else 'same')
      if kinds[-1] == 'mask':
        shown[i, place] = MASK
      elif kinds[-1] == 'other':
        shown[i, place] = FIRST + int(u[K + j] * (WORDS - FIRST))
  return places, shown, kinds


def twin(params, stopped, memory, batch, draws, step):
  del stopped, step
  places, shown, kinds = hide(batch['tokens'], draws)
  assert [len(words) for words in places] == [4, 3, 4, 4, 4, 4, 4]
  KINDS.update(kinds)
  encoded = Text(params['backbone'], causal=False, pool='mean').encode(shown)
  head, losses, right = params['head'], [], []
  for i, words in enumerate(places):
    for place in words:
      x = layer_norm(head['norm'], gelu(linear(head['linear'], encoded[i, place])))
      logits = params['backbone']['tokens']['embedding'] @ x + head['bias']
      losses.append(-log_softmax(logits)[batch['tokens'][i, place]])
      right.append(np.argmax(logits) == batch['tokens'][i, place])
  assert 0 < sum(right) < len(right)
  return np.mean(losses), {'accuracy': np.mean(right)}, lambda params: (params, memory)


def other_words(hidden):
  """Other words where MASK stands, which are targets alone, or at the places that are not chosen."""
  def change(batch, draws, rng):
    places, shown, _ = hide(batch['tokens'], draws)
    tokens = batch['tokens'].copy()
    for i, place in np.ndindex(*tokens.shape):
      if tokens[i, place] >= FIRST and (shown[i, place] == MASK if hidden else place not in places[i]):
        tokens[i, place] = rng.integers(FIRST, WORDS)
    return batch | {'tokens': tokens}

  return change


CASE = cases.Case(dict(mask_ratio=0.25), cases.unchanged, cases.words,
                  text(vocabulary=cases.WORDS, length=cases.LENGTH, width=64, depth=1, heads=2, mlp=128,
                       pool='mean'), draws=True)
TWIN = Twin(
    bert(text(vocabulary=WORDS, length=LENGTH, width=8, depth=2, heads=2, mlp=16, pool='mean'), mask_ratio=0.35),
    batch, twin, encode=lambda params, _, x: Text(params['backbone'], causal=False, pool='mean')(x),
    images=lambda rng: batch(rng)['tokens'],
    moves={name: {'loss', 'accuracy'} for name in ('tokens', 'index', 'targets')} | {'context': {'loss'}},
    changes={'targets': other_words(True), 'context': other_words(False)})


def test_its_twin():
  check(TWIN)
  assert len(KINDS) == 3


# --- The loss ------------------------------------------------------------------------------------------------------

def words_twin(logits, words, hidden):
  """Mean negative log-likelihood of the words at the hidden places of all texts, and the share guessed.

  arXiv:1810.04805v2, section 3.1: the final vectors of the masked tokens are fed into a softmax over the vocabulary;
  only these are predicted.

  Args:
    logits: [b, k, v].
    words: int[b, k].
    hidden: bool[b, k], at least one.

  Returns:
    float, float.
  """
  total = right = count = 0
  for i in range(len(logits)):
    for j in range(len(logits[i])):
      if hidden[i][j]:
        total -= slow.log_softmax(logits[i][j])[words[i][j]]
        right += max(range(len(logits[i][j])), key=lambda k, row=logits[i][j]: row[k]) == words[i][j]
        count += 1
  return total / count, right / count


def test_masked_words_against_its_twin():
  logits, target = normal(0, 3, 4, 6, scale=2), np.random.default_rng(1).integers(0, 6, (3, 4))
  hidden = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
  got, wanted = masked_words(logits, target, hidden=hidden), words_twin(logits, target, hidden)
  assert_close(got[0], wanted[0])
  assert_close(got[1], wanted[1])
  value = lambda x: masked_words(x, target, hidden=hidden)[0]
  slow_value = lambda x: words_twin(x, target, hidden)[0]
  assert_gradient_in((0,), value, slow_value, logits)
  assert_half_precision(value, slow_value, logits)
  gradient = jax.grad(value)(jnp.asarray(logits))
  assert np.all(np.asarray(gradient)[~hidden] == 0), 'what is not hidden does not count'
  assert_close(masked_words(np.zeros((1, 2, 8), np.float32), target[:1, :2], hidden=hidden[:1, :2])[0], math.log(8))
  nothing = masked_words(logits, target, hidden=np.zeros_like(hidden))
  assert float(nothing[0]) == 0 and float(nothing[1]) == 0
  assert_finite(value, (1e4 * logits,), (np.zeros_like(logits),))
  with pytest.raises(ValueError, match='masked_words wants equal shapes'):
    masked_words(logits, target, hidden=hidden[:, :2])


# --- The objective -------------------------------------------------------------------------------------------------

def test_bert_learns_more_than_the_frequencies_of_words(tmp_path):
  """Every sequence repeats one letter: the others tell the hidden one, the frequencies alone tell nothing."""
  (tmp_path / 'letters.txt').write_text(''.join(letter * 11 for letter in 'abcdefghij' * 10))
  source = text_source(path=str(tmp_path / 'letters.txt'), tokenizer='bytes', length=12)
  objective = bert(text(vocabulary=260, length=12, width=32, depth=1, heads=2, mlp=64), mask_ratio=0.15)
  params, memory = objective.init(jax.random.key(0))
  tx = optax.adam(1e-2)
  optimizer = tx.init(params)

  @jax.jit
  def step(params, optimizer, batch, key):
    (loss, _), gradient = jax.value_and_grad(objective.loss, has_aux=True)(params, memory, batch, key, 0)
    updates, optimizer = tx.update(gradient, optimizer)
    return optax.apply_updates(params, updates), optimizer, loss

  for i in range(60):
    batch = source.batch(np.random.default_rng(i).integers(0, len(source), 32))
    params, optimizer, loss = step(params, optimizer, batch, jax.random.key(i))
  assert float(loss) < 0.5 < math.log(10), 'ten letters, all as frequent'
