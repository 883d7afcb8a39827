"""FixMatch as a whole against its twin: arXiv:2001.07685v2, eq. 3 and 4, algorithm 1; google-research/fixmatch.

As there, in fixmatch.py, one pass holds labeled, weak and strong images: they share batch statistics.
"""
import chex
import jax

from pretrain import losses
from pretrain.objectives.fixmatch import fixmatch
from pretrain.objectives.pseudo_label import pseudo_label_loss
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests import few_labels as few
from tests.checks import assert_close
from tests.reference.networks import averaged, log_softmax, of_average, one_pass, softmax
from tests.twin import Twin, check, copied, tiny

B, U, K = 4, 6, 3
THRESHOLD, WEIGHT, EMA = 0.75, 0.7, 0.6


def batch(rng):
  images = {key: rng.uniform(size=(n, 4, 4, 1)) for key, n in (('image', B), ('weak', U), ('strong', U))}
  return images | {'label': rng.integers(0, K, B)}


def twin(params, stopped, memory, batch, draws, step):
  del step
  (_, noise), = draws
  statistics = copied(memory['statistics'])
  made = one_pass(params, statistics, batch, noise)
  weak = one_pass(stopped, copied(memory['statistics']), batch, noise)[B:B + U]
  supervised = consistency = 0.
  for i in range(B):
    supervised -= log_softmax(made[i])[batch['label'][i]] / B
  used = []
  for i in range(U):
    q = softmax(weak[i])
    used.append(q.max() >= THRESHOLD)
    if used[-1]:
      consistency -= log_softmax(made[B + U + i])[q.argmax()] / U
  assert 0 < sum(used) < U, used

  def after(params):
    return params, {'statistics': statistics, 'ema': averaged(memory['ema'], params, EMA)}

  return supervised + WEIGHT * consistency, {'supervised': supervised, 'consistency': consistency,
                                             'use_ratio': sum(used) / U}, after


CASE = cases.Case(dict(classes=cases.CLASSES, threshold=0.26, unlabeled_weight=1., ema_momentum=0.9),
                  fixmatch_views(), cases.streams)
TWIN = Twin(
    fixmatch(tiny(width=5, hidden=9), classes=K, threshold=THRESHOLD, unlabeled_weight=WEIGHT,
             ema_momentum=EMA), batch, twin,
    **of_average('statistics'),
    images=lambda rng: rng.uniform(size=(3, 4, 4, 1)), grown={'head/linear/kernel': 60.},
    moves={'label': {'loss', 'supervised'}, 'image': {'loss', 'supervised', 'consistency'},
           'strong': {'loss', 'supervised', 'consistency', 'use_ratio'},
           'weak': {'loss', 'supervised', 'consistency', 'use_ratio'}})


def test_its_twin():
  check(TWIN)


# --- Limits and the average ----------------------------------------------------------------------------------------

def test_fixmatch_with_threshold_zero_and_one_view_is_pseudo_label():
  labeled, label, weak, strong = few.step(5, scale=3)
  of = lambda strong: losses.fixmatch(labeled, label, weak=weak, strong=strong, threshold=0.0, unlabeled_weight=1.5)
  got, metrics = of(weak)
  assert float(metrics['use_ratio']) == 1
  chex.assert_trees_all_equal(got, pseudo_label_loss(labeled, label, unlabeled=weak, unlabeled_weight=1.5)[0])
  assert float(of(strong)[1]['use_ratio']) == 1
  gradient = jax.grad(lambda w: pseudo_label_loss(labeled, label, unlabeled=w, unlabeled_weight=1.5)[0])(weak)
  pseudo = weak.argmax(-1)
  chex.assert_trees_all_equal(gradient, jax.grad(lambda w: of(w)[0])(weak))
  assert_close(gradient, 1.5 * (jax.nn.softmax(weak) - jax.nn.one_hot(pseudo, few.K)) / few.U)


def test_its_threshold_and_its_average():
  few.check_threshold(fixmatch)
  few.check_average('fixmatch', CASE, 'shared')
