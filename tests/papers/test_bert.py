"""Masked language modelling as a whole against its twin: arXiv:1810.04805v2, section 3.1, task 1."""
import numpy as np

from pretrain.models.text import text
from pretrain.objectives.bert import bert
from tests import cases
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
                       pool='mean'), 'tokens', draws=True)
TWIN = Twin(
    bert(text(vocabulary=WORDS, length=LENGTH, width=8, depth=2, heads=2, mlp=16, pool='mean'), mask_ratio=0.35),
    batch, twin, encode=lambda params, _, x: Text(params['backbone'], causal=False, pool='mean')(x),
    images=lambda rng: batch(rng)['tokens'],
    moves={name: {'loss', 'accuracy'} for name in ('tokens', 'index', 'targets')} | {'context': {'loss'}},
    changes={'targets': other_words(True), 'context': other_words(False)})


def test_its_twin():
  check(TWIN)
  assert len(KINDS) == 3
