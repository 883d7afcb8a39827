"""VAT: Virtual Adversarial Training, A Regularization Method for (...) Semi-Supervised Learning (consistency)."""
from collections.abc import Callable

import jax

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Positive
from pretrain.method.objective import Objective
from pretrain.method.semi_supervised import averaged, classifier, classify


def vat(backbone: Callable, *, classes: Count, epsilon: Positive, iterations: Count, unlabeled_weight: NonNegative,
        entropy_weight: NonNegative, ema_momentum: Decay) -> Objective:
  """An unlabeled image and the worst image nearby predict the same.

  arXiv:1704.03976v2, section 3, eq. 5 to 8, algorithm 1; see `losses.virtual_adversarial`. As in the authors' code the
  consistency is of the unlabeled stream, which has the labeled images too. Deviations: the perturbed images have batch
  statistics of their own, which are not kept, and are searched with the dropout of the pass that they are for;
  evaluation by a moving average of the parameters (0 turns it off), with the batch statistics of training, as in
  google-research/mixmatch, vat.py.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    epsilon: length of the perturbation, of the whole image, whose pixels are in [0, 1]; the paper's (8 or 10 for
      CIFAR-10) are in other units: those of whitened images.
    iterations: of the power method, K; 1 in the paper.
    unlabeled_weight: alpha; 1 in the paper.
    entropy_weight: of the entropy of the predictions; 1 in the paper's VAT+EntMin, 0 in VAT.
    ema_momentum: of the average that encode and predict use.
  """
  net = classifier(backbone, classes)

  def loss(params, memory, batch, key, step):
    del step
    x, old = batch['weak'], memory['statistics']
    clean_key, direction_key, perturbed_key = jax.random.split(key, 3)
    (labeled, clean), statistics = classify(net, params, old, [batch['image'], x], clean_key)
    direction = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(direction_key, i), x.shape[1:]))(batch['index'])
    constant = jax.lax.stop_gradient(params)
    worst = losses.virtual_adversarial(lambda x: classify(net, constant, old, [x], perturbed_key)[0][0], x, direction,
                                       epsilon, iterations)
    (perturbed,), _ = classify(net, params, old, [x + worst], perturbed_key)
    value, metrics = losses.vat(labeled, batch['label'], clean, perturbed, unlabeled_weight, entropy_weight)
    return value, ({'statistics': statistics}, metrics)

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'index': 'u'}, loss=loss,
                   **averaged(net, lambda _: ema_momentum, 'shared'))
