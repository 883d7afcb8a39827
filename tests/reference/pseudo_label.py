"""Pseudo-Label's loss (D.-H. Lee, ICML 2013 workshop on challenges in representation learning)."""

from .supervised import log_softmax


def largest(row):
  """The class of the largest entry of one row, the lowest of equals: [k] -> int."""
  best = 0
  for c in range(len(row)):
    if row[c] > row[best]:
      best = c
  return best


def supervised_mean(logits, label):
  """Mean over the rows of -log softmax(logits)[label]: [b, k], int [b] -> float."""
  total = 0.0
  for row, wanted in zip(logits, label, strict=True):
    total += -log_softmax(row)[int(wanted)]
  return total / len(label)


def pseudo_label(labeled, label, unlabeled, unlabeled_weight):
  """1/n sum L(y, f) + alpha(t) 1/n' sum L(y', f'), Lee 2013, 'pseudo-label' and overall loss.

  y' is the class of the largest output of the same f'; it is a constant. Lee's networks end in sigmoid units, whose L
  sums a binary cross-entropy over the classes; here L is the cross-entropy of the softmax.

  Args:
    labeled: [b, k] logits.
    label: int [b].
    unlabeled: [u, k] logits.
    unlabeled_weight: float, alpha at this step.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  consistency = 0.0
  for row in unlabeled:
    consistency += -log_softmax(row)[largest(row)] / len(unlabeled)
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}
