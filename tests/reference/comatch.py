"""CoMatch: memory-smoothed pseudo-labels, graph, loss."""

import math

import numpy as np

from .pseudo_label import supervised_mean
from .supervised import log_softmax
from .vectors import unit


def smoothed(probabilities, z, memory_z, memory_probabilities, temperature, share):
  """alpha p + (1 - alpha) sum_k a_k p_k, a the softmax of the similarities over t, arXiv:2011.11183v2 eq. 5 and 6."""
  result = []
  z, memory_z = unit(z), unit(memory_z)
  for p, row in zip(probabilities, z, strict=True):
    near = np.exp(log_softmax([row @ other / temperature for other in memory_z]))
    mean = sum(a * np.asarray(q, np.float64) for a, q in zip(near, memory_probabilities, strict=True))
    result.append(share * np.asarray(p, np.float64) + (1 - share) * mean)
  return np.array(result)


def comatch(labeled, label, probabilities, strong, first, second, threshold, temperature, edge_threshold,
            unlabeled_weight, contrast_weight):
  """L_x + lambda_cls L_cls + lambda_ctr L_ctr, arXiv:2011.11183v2 section 3.2.

  The graph of pseudo-labels has 1 on its diagonal and q_i q_j elsewhere if that reaches T; rows are divided by their
  sums. L_ctr is the cross-entropy of the softmax of the similarities of row i with all rows of the second view.

  Args:
    labeled, label: [b, k] logits, int [b].
    probabilities, strong: [u, k], probabilities (constants) and logits.
    first, second: [u, d].
    threshold, temperature, edge_threshold, unlabeled_weight, contrast_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'contrast', 'use_ratio'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  u, consistency, used, contrast = len(strong), 0.0, 0, 0.0
  for p, row in zip(probabilities, strong, strict=True):
    if max(p) >= threshold:
      used += 1
      consistency -= sum(float(q) * log for q, log in zip(p, log_softmax(row), strict=True)) / u
  first, second = unit(first), unit(second)
  for i in range(u):
    edges = []
    for j in range(u):
      weight = 1.0 if i == j else sum(float(a) * float(b) for a, b in zip(probabilities[i], probabilities[j],
                                                                         strict=True))
      edges.append(weight if weight >= edge_threshold else 0.0)
    logs = log_softmax([first[i] @ second[j] / temperature for j in range(u)])
    contrast -= math.fsum(w * log for w, log in zip(edges, logs, strict=True)) / sum(edges) / u
  terms = {'supervised': supervised, 'consistency': consistency, 'contrast': contrast, 'use_ratio': used / u}
  return supervised + unlabeled_weight * consistency + contrast_weight * contrast, terms
