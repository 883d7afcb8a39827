"""SigLIP as a whole against its twin: arXiv:2303.15343v4, section 3.2 and algorithm 1."""
import numpy as np

from pretrain.models.text import text
from pretrain.objectives.siglip import siglip
from pretrain.views.supervised import supervised as supervised_views
from tests import cases
from tests.papers.test_clip import LENGTH, WORDS, B, batch, check_towers, of_images, of_texts
from tests.reference.networks import Tiny
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
TWIN = Twin(
    siglip(tiny(), text=text(vocabulary=WORDS, length=LENGTH, width=8, depth=1, heads=2, mlp=16, pool='mean'), dim=5,
           temperature=0.3, bias=-1.5), batch, twin,
    encode=lambda params, memory, x: Tiny(params['backbone'], memory['statistics']['backbone'])(x),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)),
    moves={'image': {'loss'}, 'tokens': {'loss'}})


def test_its_twin():
  run = Run(TWIN)
  check_moves(run)
  check_values(run)
  check_towers(run, causal=False, pool='mean')
