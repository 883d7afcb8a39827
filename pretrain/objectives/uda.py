"""UDA: Unsupervised Data Augmentation for Consistency Training (pseudo-label)."""
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Positive, Share
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import BATCH, classifier, classify, probabilities

PAPER = dict(title='Unsupervised Data Augmentation for Consistency Training',
             arxiv='1904.12848v6', family='consistency', modality='image')


def uda(backbone: Callable, *, classes: Count, threshold: Share, temperature: Positive, unlabeled_weight: NonNegative,
        ema_momentum: Decay) -> Objective:
  """Confident predictions on unlabeled images, sharpened, are targets for their augmented versions.

  arXiv:1904.12848v6, section 2, eq. 1 and section 2.4; unlabeled images are weakly augmented for their targets, as
  there. Evaluation is by moving averages of the parameters and of the batch statistics, as in the authors' code
  (google-research/uda, image/utils.py: `get_all_variable`). Deviations: no training signal annealing (off by default
  there) and no entropy term.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    threshold: beta in [0, 1], of the confidence; 0.8 for CIFAR-10.
    temperature: tau > 0 of the targets; 0.4 for CIFAR-10.
    unlabeled_weight: lambda; 1 in the authors' code.
    ema_momentum: of the average that encode and predict use.
  """
  def loss(student, batch, key):
    labeled, weak, strong = classify(student, [batch['image'], batch['weak'], batch['strong']], key)
    return losses.uda(labeled, batch['label'], weak=weak, strong=strong, threshold=threshold, temperature=temperature,
                      unlabeled_weight=unlabeled_weight)

  return method(BATCH, classifier(backbone, classes), loss, ema=Average(ema_momentum, 'averaged'), encode='ema',
                predict=probabilities)
