"""What 'Understanding the Behaviour of Contrastive Loss' (arXiv:2012.09740v2) defines, on SimCLR's 2b anchors.

The paper's own anchors are N instances, each with one positive and N - 1 negatives. Here an anchor is one of the 2b
views of a batch (view 1's rows, then view 2's), its positive is the other view of its image and its negatives are the
2b - 2 views of the other images. s is the cosine similarity.
"""

import math

import numpy as np

from .vectors import unit


def hard_nt_xent(z1, z2, temperature, share):
  """The paper's explicit hard-negative ('hard contrastive') loss, as a mean over the 2b anchors.

  L_hard(x_i) = -log( exp(s_ii / t) / (sum over s_ik >= s_alpha(i) of exp(s_ik / t) + exp(s_ii / t)) ), where s_ii is
  the positive's similarity and s_alpha(i) the upper alpha quantile of the anchor's similarities with its negatives.
  Here alpha is `share`, and exactly ceil(share * (2b - 2)) negatives of the highest similarity count, also where others
  equal the last of them (the value is the same whichever of the equal ones is taken). A share of 1 gives NT-Xent.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.
    share: float in (0, 1].

  Returns:
    float.
  """
  z = [*unit(z1), *unit(z2)]  # 2b rows of [d]
  b = len(z) // 2
  total = 0.0
  for i in range(2 * b):
    remaining = []
    for k in range(2 * b):
      if k % b != i % b:
        remaining.append(z[i] @ z[k])
    hardest = []
    for _ in range(math.ceil(share * (2 * b - 2))):
      hardest.append(max(remaining))
      remaining.remove(hardest[-1])
    positive = z[i] @ z[(i + b) % (2 * b)]
    highest = max([positive, *hardest])
    denominator = math.exp((positive - highest) / temperature)
    for similarity in hardest:
      denominator += math.exp((similarity - highest) / temperature)
    total += (highest - positive) / temperature + math.log(denominator)
  return float(total / (2 * b))


def penalties(z1, z2, temperature):
  """Relative penalty of each negative, r_i(s_ij) = exp(s_ij / t) / sum over the negatives k of i of exp(s_ik / t).

  It is |dL/ds_ij| / |dL/ds_ii| of anchor i's loss L, s_ii being the positive's similarity; each row has the sum 1.

  Args:
    z1, z2: [b, d], not normalised; row i of both comes from one image; b > 1.
    temperature: positive float.

  Returns:
    float64 [2b, 2b], a row for each anchor, zero at the anchor itself and at its positive; rows and columns are view
    1's rows and then view 2's.
  """
  z = [*unit(z1), *unit(z2)]  # 2b rows of [d]
  b = len(z) // 2
  result = np.zeros((2 * b, 2 * b))
  for i in range(2 * b):
    negatives = [k for k in range(2 * b) if k % b != i % b]
    highest = max(z[i] @ z[k] for k in negatives)
    total = 0.0
    for k in negatives:
      total += math.exp((z[i] @ z[k] - highest) / temperature)
    for j in negatives:
      result[i, j] = math.exp((z[i] @ z[j] - highest) / temperature) / total
  return result


def tolerance(features, labels):
  """Mean cosine similarity over the ordered pairs of two different rows that have the same label.

  The paper describes tolerance as the mean similarity of samples of the same class and writes it as
  T = E over x, y of f(x).f(y) [l(x) = l(y)]. This is the expectation over pairs of one class: pairs of two classes do
  not count, not even as zeros. All pairs weigh the same, so a class of n rows has n (n - 1) of them.

  Args:
    features: [n, d], not normalised.
    labels: int [n]; at least one of them occurs twice.

  Returns:
    float.
  """
  features = unit(features)
  total, pairs = 0.0, 0
  for i in range(len(features)):
    for j in range(len(features)):
      if i != j and labels[i] == labels[j]:
        total += features[i] @ features[j]
        pairs += 1
  return float(total / pairs)
