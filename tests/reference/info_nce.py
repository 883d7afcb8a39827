"""InfoNCE with given keys."""

from .supervised import log_softmax
from .vectors import unit


def info_nce(query, keys, positive, temperature):
  """Mean over the queries of -log( exp(q.k_positive / temperature) / sum over all keys of exp(q.k / temperature) ).

  arXiv:1807.03748v2 eq. 4, with the cosine similarity over a temperature as the logarithm of its density ratio
  (arXiv:1911.05722v3 eq. 1).

  Args:
    query: [b, d], not normalised.
    keys: [m, d], not normalised.
    positive: int [b], each query's row of `keys`.
    temperature: positive float.

  Returns:
    float.
  """
  query, keys = unit(query), unit(keys)
  total = 0.0
  for i in range(len(query)):
    total -= log_softmax([query[i] @ key / temperature for key in keys])[int(positive[i])]
  return total / len(query)
