"""FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence (pseudo-label)."""
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence',
             arxiv='2001.07685v2', family='pseudo-labels', modality='image')


def fixmatch(backbone: Callable, *, classes: Count, threshold: Share, unlabeled_weight: NonNegative,
             ema_momentum: Decay) -> Objective:
  """Confident predictions on weakly augmented images are labels for their strongly augmented versions.

  arXiv:2001.07685v2, section 2.2, eq. 3 and 4, algorithm 1. Evaluation is by the moving average of the parameters, with
  the batch statistics of training, as in the authors' code (google-research/fixmatch: fixmatch.py averages the
  `model_vars` of libml/utils.py, which are the trainable ones).

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    threshold: tau in [0, 1]; 0.95 in the paper.
    unlabeled_weight: lambda_u; 1 in the paper.
    ema_momentum: of the average that encode and predict use; 0.999 in the authors' code.
  """
  def loss(student, batch, key):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    return losses.fixmatch(labeled, batch['label'], weak=weak, strong=strong, threshold=threshold,
                           unlabeled_weight=unlabeled_weight)

  return method(BATCH, classifier(backbone, classes), loss, ema=Average(ema_momentum), encode='ema',
                predict=probabilities)
