"""Contrastive losses: views of one example attract, others repel; or attract alone, while features decorrelate."""
import math

import jax
import jax.numpy as jnp

from pretrain.losses import chunked
from pretrain.losses.basic import f32, normalize, other_views, same_shape


def nt_xent(z1, z2, temperature, chunk=None, queue=None):
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
  return jnp.mean(chunked.cross_entropy(z, keys, 1 / temperature, other_view, excluded=(itself,), chunk=chunk))


def hard_nt_xent(z1, z2, temperature, share):
  """`nt_xent` whose denominators have the hardest negatives alone, mean over all 2b anchors.

  arXiv:2012.09740v2, section 3.3, eq. 9, the hard contrastive loss: an anchor's negatives from the upper quantile of
  its similarities, here the ceil(share * (2b - 2)) highest.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
    share: of the negatives, static, in (0, 1]; 1 is `nt_xent`.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ, b < 2, or no such share.
  """
  if not 0 < share <= 1:
    raise ValueError(f'hard_nt_xent wants a share of the negatives in (0, 1], got {share}')
  z, positive = both_views('hard_nt_xent', z1, z2)
  similarity, positive = negatives(z), jnp.tile(positive, 2)
  hardest, _ = jax.lax.top_k(similarity, math.ceil(share * (len(z) - 2)))  # [2b, k]
  logits = jnp.concatenate([positive[:, None], hardest], 1) / temperature
  return jnp.mean(jax.nn.logsumexp(logits, -1) - logits[:, 0])


def penalties(z1, z2, temperature):
  """How the gradient of `nt_xent` is shared out among an anchor's negatives: f32[2b, 2b], rows of sum 1.

  arXiv:2012.09740v2, section 3.2, eq. 5, the relative penalty: the gradient in a negative's similarity over that in the
  positive's. 0 at the anchor itself and at its other view.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless; near 0 all of it is the hardest's, at large ones it is uniform.
  Raises:
    ValueError: the shapes differ, or b < 2.
  """
  return jax.nn.softmax(negatives(both_views('penalties', z1, z2)[0]) / temperature)


def negatives(z):
  """Similarities f32[2b, 2b] of z [2b, d] of `both_views`, -inf where a row has no negative: itself, its other view."""
  similarity = jnp.matmul(z, z.T, precision='highest')
  for column in without_positives(z):
    similarity = jnp.where(jnp.arange(len(z)) == column[:, None], -jnp.inf, similarity)
  return similarity


def info_nce(query, keys, positive, temperature, chunk=None):
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
  return jnp.mean(chunked.cross_entropy(normalize(query), normalize(keys), 1 / temperature, positive, chunk=chunk))


def moco(query, key, queue, temperature, chunk=None):
  """Cross-entropy of telling a query's key from a queue of other examples' keys, mean over the queries.

  arXiv:1911.05722v3, eq. 1 and algorithm 1; no gradient to keys and queue.

  Args:
    query, key: [b, d] of any scale (normalised here); row i of both is example i.
    queue: [q, d], keys of earlier examples of any scale (normalised here).
    temperature: > 0, dimensionless.
    chunk: columns of the similarities with the queue to hold at a time, static; None: all q.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit, or the chunk does not divide q.
  """
  same_shape('moco', query=query.shape, key=key.shape)
  same_shape('moco', query=query.shape[1:], queue=queue.shape[1:])
  query, key, queue = normalize(query), *jax.lax.stop_gradient((normalize(key), normalize(queue)))
  positive = jnp.sum(query * key, -1) / temperature  # [b]
  others, _, _ = chunked.contrast(query, queue, 1 / temperature, chunk=chunk)
  return jnp.mean(jnp.logaddexp(positive, others) - positive)


def sup_con(z, label, temperature, chunk=None):
  """Supervised contrast: all views of a class attract each other and repel the rest, mean over the b * v anchors.

  arXiv:2004.11362v5, eq. 2 (the sum over positives outside the logarithm). The authors' code multiplies by temperature
  / base_temperature (0.07), which is left to the learning rate. An anchor without positives counts 0: possible for
  v = 1 alone.

  Args:
    z: [b, v, d] projections of any scale (normalised here).
    label: int[b], the class of an example.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all b * v.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit, another rank, b * v < 2, or the chunk does not divide b * v.
  """
  if z.ndim != 3 or z.shape[0] * z.shape[1] < 2:
    raise ValueError(f'sup_con wants z [b, v, d] of at least two views, got {z.shape}')
  b, v, _ = z.shape
  same_shape('sup_con', examples=(b,), label=label.shape)
  z, label = normalize(z).reshape(b * v, -1), jnp.repeat(label, v)  # views of an example are neighbours
  itself = jnp.arange(b * v)
  positives = lambda columns: (label[:, None] == label[columns]) & (itself[:, None] != columns)
  total, positive, count = chunked.contrast(z, z, 1 / temperature, positives, excluded=(itself,), chunk=chunk)
  return jnp.mean(jnp.where(count > 0, total - positive / jnp.maximum(count, 1), 0))


def dcl(z1, z2, temperature, chunk=None):
  """Decoupled contrast: InfoNCE without the positive pair in the denominator, mean over all 2b anchors.

  arXiv:2110.06848v3, section 3, L_DC.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
    chunk: columns of the similarities to hold at a time, static; None: all 2b.
  Returns:
    f32[], nats; it has no lower bound of 0.
  Raises:
    ValueError: the shapes differ, b < 2 (there would be no negatives), or the chunk does not divide 2b.
  """
  z, positive = both_views('dcl', z1, z2)
  total, _, _ = chunked.contrast(z, z, 1 / temperature, excluded=without_positives(z), chunk=chunk)
  return jnp.mean(total) - jnp.mean(positive) / temperature


def dclw(z1, z2, temperature, sigma, chunk=None):
  """Decoupled contrast with less weight on the pairs that agree already, mean over all 2b anchors.

  arXiv:2110.06848v3, section 3, L_DCW: the positive similarity times w = 2 - exp(s / sigma) / mean(exp(s / sigma)), a
  negative von Mises-Fisher weight of mean 1. The gradient flows through the weight too, as in the public code
  (github.com/raminnakhli/Decoupled-Contrastive-Learning, not the authors').

  Args:
    z1, z2, temperature, chunk: as for `dcl`.
    sigma: > 0, dimensionless; 0.5 in the paper.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ, b < 2, or the chunk does not divide 2b.
  """
  z, positive = both_views('dclw', z1, z2)
  total, _, _ = chunked.contrast(z, z, 1 / temperature, excluded=without_positives(z), chunk=chunk)
  weight = 2 - len(z1) * jax.nn.softmax(positive / sigma)  # [b]
  return jnp.mean(total) - jnp.mean(weight * positive) / temperature


def isogclr(z1, z2, average, temperature, rho, average_rate, chunk=None):
  """Robust contrast with a temperature for each example; a moving average stands in for a large batch.

  arXiv:2305.11965v1, section 4 and algorithm 1, mean over all 2b anchors. With h the similarity of an anchor to a
  negative minus that to its positive, and s the moving average of g = E exp(h / temperature) over the negatives, the
  value is temperature * (log s + rho); its gradient is algorithm 1's estimate temperature / s * grad g, that of the
  value over the rate of the average. As in the authors' code both views are anchors, each moves the average on its own
  to an s that its value and gradients use, and the mean of the two is kept; an average of 0 has not begun, and g takes
  its place as a whole. Deviation from that code: it averages exp(similarity / temperature) without the positive, which
  is the same for a rate of 1.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    average: f32[b] >= 0, s of each example; 0 before its first batch.
    temperature: f32[b], of each example; at least 0.03, for exp(2 / temperature) has to fit into float32.
    rho: >= 0; the larger, the smaller temperatures become.
    average_rate: in (0, 1], share of the batch in the new average.
    chunk: columns of the similarities to hold at a time, static; None: all 2b.
  Returns:
    f32[], a similarity, and {'average', 'temperature_gradient'}, f32[b]: the new s, and the derivative of the example's
    value in its temperature, both a mean of the two views; no gradient flows through them.
  Raises:
    ValueError: the shapes do not fit, or b < 2 (there would be no negatives).
  """
  same_shape('isogclr', examples=z1.shape[:1], average=average.shape, temperature=temperature.shape)
  z, positive = both_views('isogclr', z1, z2)
  sums = chunked.exponentials(z, z, jnp.tile(1 / temperature, 2), jnp.tile(positive, 2), excluded=without_positives(z),
                              chunk=chunk)
  g, slope = (x.reshape(2, -1) / (2 * len(z1) - 2) for x in sums)  # [2, b]; the second is -t dg/dt
  rate = jnp.where(average > 0, average_rate, 1.)[None]  # [1, b]
  s = (1 - rate) * average[None] + rate * g
  value = temperature[None] * (jnp.log(s) + rho)
  fixed = jax.lax.stop_gradient(value)
  slope = jnp.log(s) + rho - slope / s
  return jnp.mean(fixed + (value - fixed) / rate), jax.lax.stop_gradient(
      {'average': jnp.mean(s, 0), 'temperature_gradient': jnp.mean(slope, 0)})


def both_views(what, z1, z2):
  """f32[2b, d], both views' projections normalised, and f32[b], the cosines of the pairs; `what` is for the error."""
  if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
    raise ValueError(f'{what} wants two arrays [b, d] of one shape with b >= 2, got {z1.shape} and {z2.shape}')
  z1, z2 = normalize(z1), normalize(z2)
  return jnp.concatenate([z1, z2]), jnp.sum(z1 * z2, -1)


def without_positives(z):
  """Of z [2b, d] of `both_views` the columns i32[2b] that are no negatives of a row: its own and the other view's."""
  itself = jnp.arange(len(z))
  return itself, jnp.roll(itself, len(z) // 2)


def sinkhorn(logits, epsilon, iterations, use=None):
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


def swav(logits, codes, temperature):
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
  return other_views(logits, jax.lax.stop_gradient(codes).astype(f32), temperature)


def barlow_twins(z1, z2, weight):
  """The cross-correlation of two views' features is drawn to the identity.

  arXiv:2103.03230v3, eq. 1 and 2, algorithm 1. Features are standardised over the batch as by the authors' BatchNorm
  without gain: biased variance, 1e-5 added to it.

  Args:
    z1, z2: [b, d] projections of any scale; row i of both is example i.
    weight: lambda >= 0, of the off-diagonal terms; 0.0051 in the paper.
  Returns:
    f32[], the sum over the d * d entries.
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('barlow_twins', z1=z1.shape, z2=z2.shape)
  z1, z2 = ((z - z.mean(0, keepdims=True)) * jax.lax.rsqrt(z.var(0, keepdims=True) + 1e-5)
            for z in (z1.astype(f32), z2.astype(f32)))
  correlation = z1.T @ z2 / len(z1)  # [d, d]
  same = jnp.eye(len(correlation), dtype=bool)
  return jnp.sum(jnp.where(same, jnp.square(1 - correlation), weight * jnp.square(correlation)))


def vicreg(z1, z2, invariance, variance, covariance):
  """Two views agree, each feature keeps a standard deviation of 1 and features do not correlate.

  arXiv:2105.04906v3, eq. 1 to 6, gamma = 1 and epsilon = 1e-4. As in the authors' code, with which the paper's weights
  go, the invariance is a mean over d too (eq. 5: a sum), the variance the mean of the two views' (eq. 6: their sum);
  the covariance is the sum of both views' as in eq. 6. Variances and covariances are unbiased.

  Args:
    z1, z2: [b, d] projections of any scale; row i of both is example i; b >= 2.
    invariance, variance, covariance: weights >= 0; 25, 25 and 1 in the paper.
  Returns:
    f32[], and the unweighted terms {'invariance', 'variance', 'covariance'}.
  Raises:
    ValueError: the shapes differ, or b < 2.
  """
  same_shape('vicreg', z1=z1.shape, z2=z2.shape)
  b, d = z1.shape
  if b < 2:
    raise ValueError(f'vicreg wants at least two examples, got {z1.shape}')
  centered = [z - z.mean(0, keepdims=True) for z in (z1.astype(f32), z2.astype(f32))]
  covariances = [z.T @ z / (b - 1) for z in centered]  # [d, d]
  hinge = lambda c: jnp.mean(jnp.maximum(0., 1. - jnp.sqrt(jnp.diagonal(c) + 1e-4)))
  off_diagonal = lambda c: jnp.sum(jnp.square(jnp.where(jnp.eye(d, dtype=bool), 0., c))) / d
  terms = {'invariance': jnp.mean(jnp.square(z1.astype(f32) - z2.astype(f32))),
           'variance': sum(map(hinge, covariances)) / 2, 'covariance': sum(map(off_diagonal, covariances))}
  return (invariance * terms['invariance'] + variance * terms['variance'] + covariance * terms['covariance']), terms


def clip(image, text, scale, chunk=None):
  """Cross-entropy of telling each image's text from all texts, and each text's image: the mean of the two.

  arXiv:2103.00020v1, figure 3.

  Args:
    image, text: [b, d] of any scale (normalised here); row i of both is pair i.
    scale: f32[] > 0, of the cosines: the exponential of what is learned.
    chunk: columns of the similarities to hold at a time, static; None: all b.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('clip', image=image.shape, text=text.shape)
  image, text, pairs = normalize(image), normalize(text), jnp.arange(len(image))
  return jnp.mean(chunked.cross_entropy(image, text, scale, pairs, chunk=chunk) +
                  chunked.cross_entropy(text, image, scale, pairs, chunk=chunk)) / 2


def siglip(image, text, scale, bias, chunk=None):
  """Whether an image and a text belong together, a logistic regression on all b * b pairs: their sum, divided by b.

  arXiv:2303.15343v4, eq. 1 and algorithm 1.

  Args:
    image, text: [b, d] of any scale (normalised here); row i of both is pair i.
    scale: f32[] > 0, of the cosines: the exponential of what is learned; bias: f32[].
    chunk: columns of the similarities to hold at a time, static; None: all b.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('siglip', image=image.shape, text=text.shape)
  return -chunked.log_sigmoid_pairs(normalize(image), normalize(text), scale, bias, chunk=chunk) / len(image)
