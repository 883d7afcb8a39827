"""Tolerance, as 'Understanding the Behaviour of Contrastive Loss' (arXiv:2012.09740v2) defines it."""

from .vectors import unit


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
