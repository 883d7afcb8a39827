"""What contrastive papers share: views of one example attract, others repel; codes use all prototypes equally."""
import jax
import jax.numpy as jnp

from pretrain.losses import chunked
from pretrain.losses.basic import f32, normalize, other_views, same_shape


def nt_xent(z1, z2, *, temperature, chunk=None, queue=None):
  """Normalised temperature-scaled cross entropy between two views, mean over all 2b anchors.

  arXiv:2002.05709v3, eq. 1 and algorithm 1. The authors' code sums the means of the two directions, twice this value:
  LARS and Adam cancel the factor, plain SGD does not.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all 2b + q.
    queue: [q, d] of any scale (normalised here), more negatives of every anchor, without a gradient: the memory of
      arXiv:2006.10029v2, section 2.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit, b < 2 (there would be no negatives), or the chunk does not divide the columns.
  """
  if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
    raise ValueError(f'nt_xent wants two arrays [b, d] of one shape with b >= 2, got {z1.shape} and {z2.shape}')
  z, itself = jnp.concatenate([normalize(z1), normalize(z2)]), jnp.arange(2 * len(z1))  # [2b, d], [2b]
  other_view, keys = jnp.roll(itself, len(z1)), z
  if queue is not None:
    same_shape('nt_xent', z1=z1.shape[1:], queue=queue.shape[1:])
    keys = jnp.concatenate([z, jax.lax.stop_gradient(normalize(queue))])  # [2b + q, d]
  return jnp.mean(chunked.cross_entropy(z, keys, scale=1 / temperature, positive=other_view, excluded=(itself,),
                                        chunk=chunk))


def info_nce(query, keys, *, positive, temperature, chunk=None):
  """Cross-entropy of telling each query's positive from all keys by cosine similarity, mean over the queries.

  arXiv:1807.03748v2, eq. 4, with cosine / temperature as the log of its score.

  Args:
    query, keys: [b, d], [m, d] of any scale (normalised here).
    positive: i32[b] in [0, m), the row of each query's positive.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all m.
  Returns:
    f32[], nats. The gradient flows to both sides; the caller stops it where a paper does.
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('info_nce', query=query.shape[1:], keys=keys.shape[1:])
  same_shape('info_nce', queries=query.shape[:1], positive=positive.shape)
  return jnp.mean(chunked.cross_entropy(normalize(query), normalize(keys), scale=1 / temperature, positive=positive,
                                        chunk=chunk))


def both_views(z1, z2, *, what):
  """f32[2b, d], both views' projections normalised, and f32[b], the cosines of the pairs; `what` is for the error."""
  if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
    raise ValueError(f'{what} wants two arrays [b, d] of one shape with b >= 2, got {z1.shape} and {z2.shape}')
  z1, z2 = normalize(z1), normalize(z2)
  return jnp.concatenate([z1, z2]), jnp.sum(z1 * z2, -1)


def without_positives(z):
  """Of z [2b, d] of `both_views` the columns i32[2b] that are no negatives of a row: its own and the other view's."""
  itself = jnp.arange(len(z))
  return itself, jnp.roll(itself, len(z) // 2)


def sinkhorn(logits, epsilon, *, iterations, use=None):
  """Soft assignments that use all prototypes equally: the entropic optimal transport of examples to prototypes.

  arXiv:2006.09882v5, eq. 3 to 5 and appendix A.1, in the logarithm. No gradient flows back.

  Args:
    logits: [b, k] inner products with the prototypes.
    epsilon: > 0, weight of the entropy; 0.05 in the paper.
    iterations: >= 1, static; 3 in the paper. Each makes the columns' sums equal, then the rows'.
    use: bool[b], which rows the columns' sums are over; at least one, all if None. The others are assigned, too.
  Returns:
    f32[b, k], rows sum to 1, columns (over the rows in use) to about their number / k.
  Raises:
    ValueError: iterations < 1.
  """
  if iterations < 1:
    raise ValueError(f'sinkhorn wants at least one iteration, got {iterations}')
  log_codes = jax.lax.stop_gradient(logits).astype(f32) / epsilon
  for _ in range(iterations):
    log_codes -= jax.nn.logsumexp(log_codes, 0, keepdims=True, where=None if use is None else use[:, None])
    log_codes = jax.nn.log_softmax(log_codes, 1)
  return jnp.exp(log_codes)


def swav(logits, codes, *, temperature):
  """Swapped prediction: each view predicts the codes of every other view that has some; mean over these pairs and b.

  arXiv:2006.09882v5, eq. 2 and 6 (a mean where the paper sums, as in the authors' code).

  Args:
    logits: [v, b, k] inner products with the prototypes; the first g views are those of the codes.
    codes: [g, b, k], rows sum to 1; no gradient.
    temperature: > 0, dimensionless.
  Returns:
    f32[], nats.
  Raises:
    ValueError: fewer views than codes, or only one (there would be no pair); other shapes differ.
  """
  v, g = len(logits), len(codes)
  if v < max(2, g):
    raise ValueError(f'swav wants at least 2 views and no fewer than the codes; got {v} and {g}')
  same_shape('swav', logits=logits.shape[1:], codes=codes.shape[1:])
  return other_views(logits, jax.lax.stop_gradient(codes).astype(f32), temperature=temperature)
