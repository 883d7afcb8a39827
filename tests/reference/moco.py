"""InfoNCE with given keys, and with MoCo's queue."""

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


def moco(query, key, queue, temperature):
  """Mean over the queries of eq. 1 of arXiv:1911.05722v3: K keys of the queue and one positive.

  Algorithm 1: logits of one query are [q.k, q.queue_1, ..., q.queue_K] / temperature and the label is 0. A query's
  negatives are the queue alone, not the other keys of the batch. Vectors have length 1 (section 3.3, 'normalized by
  its L2-norm').

  Args:
    query: [b, d], not normalised.
    key: [b, d], not normalised; a constant.
    queue: [q, d], keys of earlier steps, of length 1; a constant.
    temperature: positive float.

  Returns:
    float.
  """
  query, key, queue = unit(query), unit(key), unit(queue)
  total = 0.0
  for q, k in zip(query, key, strict=True):
    total -= log_softmax([q @ k / temperature, *(q @ old / temperature for old in queue)])[0]
  return total / len(query)
