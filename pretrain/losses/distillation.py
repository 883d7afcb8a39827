"""Self-distillation: a student matches a teacher made of itself."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32, normalize, other_views, same_shape, soft_cross_entropy


def dino(student, teacher, center, student_temperature, teacher_temperature):
  """Self-distillation between views, mean over the pairs of a teacher's view with every other view of the student.

  arXiv:2104.14294v2, eq. 3 and algorithm 1: the teacher is centred and sharpened, and receives no gradient.

  Args:
    student: [v, b, k] logits; its first g views are the teacher's.
    teacher: [g, b, k] logits.
    center: [k], running mean of teacher logits.
    student_temperature, teacher_temperature: > 0.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the student has fewer views than the teacher, or only one (there would be no pair); other shapes differ.
  """
  v, g = len(student), len(teacher)
  if v < max(2, g):
    raise ValueError(f'dino wants at least 2 student views and no fewer than the teacher; got {v} and {g}')
  same_shape('dino', student=student.shape[1:], teacher=teacher.shape[1:])
  same_shape('dino', prototypes=teacher.shape[-1:], center=center.shape)
  target = jax.nn.softmax((jax.lax.stop_gradient(teacher).astype(f32) - center) / teacher_temperature)
  return other_views(student, target, student_temperature)


def distill(probabilities, logits, temperature):
  """Cross-entropy of the student's probabilities with a teacher's, both at a temperature.

  arXiv:2006.10029v2, eq. 2 (there summed over the data set), P(y|x; tau) = exp(f[y] / tau) / sum exp(f[y'] / tau). The
  teacher's logits are not needed: its probabilities to the power 1 / tau are proportional to exp(f / tau).

  Args:
    probabilities: [..., k], the teacher's at temperature 1; no gradient.
    logits: [..., k], the student's.
    temperature: tau > 0, of both.
  Returns:
    f32[...], nats.
  Raises:
    ValueError: the shapes differ.
  """
  tiny = jnp.finfo(f32).tiny
  teacher = jnp.log(jnp.maximum(jax.lax.stop_gradient(probabilities).astype(f32), tiny))
  return soft_cross_entropy(jax.nn.softmax(teacher / temperature), logits.astype(f32) / temperature)


def jensen_shannon(probabilities, logits, temperature):
  """Jensen-Shannon divergence of the student's probabilities from a teacher's, both at a temperature.

  arXiv:2103.05959 (SSLD; only the authors' documentation was seen, not the paper): KL(p | m) / 2 + KL(q | m) / 2 with
  m = (p + q) / 2, symmetric, 0 only where p = q. Deviation: what the authors' code calls by this name is
  (KL(p | q) + KL(q | p)) / 2, which has no bound.

  Args:
    probabilities: [..., k], the teacher's at temperature 1; no gradient.
    logits: [..., k], the student's.
    temperature: > 0, of both; 1 in the paper.
  Returns:
    f32[...] in [0, log 2], nats.
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('jensen_shannon', probabilities=probabilities.shape, logits=logits.shape)
  tiny = jnp.finfo(f32).tiny
  teacher = jnp.log(jnp.maximum(jax.lax.stop_gradient(probabilities).astype(f32), tiny))
  logp, logq = (jax.nn.log_softmax(x / temperature) for x in (teacher, logits.astype(f32)))
  logm = jnp.logaddexp(logp, logq) - jnp.log(2.)
  return jnp.sum(jnp.exp(logp) * (logp - logm) + jnp.exp(logq) * (logq - logm), -1) / 2


def hidden_distance(student, teacher):
  """Squared distance of hidden representations, mean over the examples; no gradient to the teacher.

  arXiv:2210.02871v3, section 3.2, L_distill (number from memory).

  Args:
    student, teacher: [b, d].
  Returns:
    f32[].
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('hidden_distance', student=student.shape, teacher=teacher.shape)
  return jnp.mean(jnp.sum(jnp.square(student.astype(f32) - jax.lax.stop_gradient(teacher).astype(f32)), -1))


def byol(prediction, target):
  """Squared distance of unit vectors, 2 - 2 cos, mean over the examples; no gradient to the target.

  arXiv:2006.07733v3, eq. 2; the paper adds the same with the two views exchanged.

  Args:
    prediction: [b, d] of any scale (normalised here), by the predictor.
    target: [b, d] of any scale, the teacher's projections of the other view.
  Returns:
    f32[] in [0, 4].
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('byol', prediction=prediction.shape, target=target.shape)
  cosine = jnp.sum(normalize(prediction) * normalize(jax.lax.stop_gradient(target)), -1)
  return jnp.mean(2 - 2 * cosine)


def simsiam(p1, z1, p2, z2):
  """Negative cosine of each view's prediction with the other view's projection, which receives no gradient.

  arXiv:2011.10566v1, eq. 1, 3 and 4, algorithm 1: D(p1, z2) / 2 + D(p2, z1) / 2, mean over the examples.

  Args:
    p1, p2: [b, d] predictions of any scale (normalised here); row i of all is example i.
    z1, z2: [b, d] projections.
  Returns:
    f32[] in [-1, 1].
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('simsiam', p1=p1.shape, z1=z1.shape, p2=p2.shape, z2=z2.shape)
  z1, z2 = jax.lax.stop_gradient((z1, z2))
  first, second = (jnp.mean(jnp.sum(normalize(p) * normalize(z), -1)) for p, z in ((p1, z2), (p2, z1)))
  return -(first + second) / 2


def koleo(features):
  """Minus the mean log of the distance on the sphere to the nearest other example: features spread.

  arXiv:2304.07193v2, section 4 (1806.03198v3, section 3.1). 1e-8 is added to the distance, as in the authors' code; a
  pair of equal features has no direction to part in, and receives no gradient.

  Args:
    features: [b, d] of any scale (normalised here), b >= 2.
  Returns:
    f32[].
  Raises:
    ValueError: another rank, or b < 2.
  """
  if features.ndim != 2 or len(features) < 2:
    raise ValueError(f'koleo wants features [b, d] with b >= 2, got {features.shape}')
  z = normalize(features)
  similarity = jnp.where(jnp.eye(len(z), dtype=bool), -2, jax.lax.stop_gradient(z @ z.T))  # [b, b]
  nearest = z[similarity.argmax(-1)]
  distance = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(z - nearest), -1), 1e-24))
  return -jnp.mean(jnp.log(distance + 1e-8))


def hidden_mean(values, mask):
  """Mean over the hidden patches of an image, then over all images; one without hidden patches counts 0.

  Args:
    values: [b, n].
    mask: bool[b, n], True where hidden.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes differ.
  """
  same_shape('hidden_mean', values=values.shape, mask=mask.shape)
  return jnp.mean(jnp.sum(values.astype(f32) * mask, -1) / jnp.maximum(jnp.sum(mask, -1), 1))


def ibot(student, teacher, mask, center, student_temperature, teacher_temperature):
  """Self-distillation of hidden patches: the teacher, which sees them, is centred and sharpened.

  arXiv:2111.07832v3, eq. 3; as in the authors' code a mean over the hidden patches of an image, then over all images.

  Args:
    student: [b, n, k] logits of the image with hidden patches.
    teacher: [b, n, k] logits of the whole image; no gradient flows back.
    mask: bool[b, n], True where hidden.
    center: [k], running mean of teacher logits.
    student_temperature, teacher_temperature: > 0.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('ibot', student=student.shape, teacher=teacher.shape)
  same_shape('ibot', prototypes=teacher.shape[-1:], center=center.shape)
  target = jax.nn.softmax((jax.lax.stop_gradient(teacher).astype(f32) - center) / teacher_temperature)
  return hidden_mean(soft_cross_entropy(target, student.astype(f32) / student_temperature), mask)


def smooth_l1(predicted, target, mask, beta):
  """Squared error where it is small, absolute where it is not, of the hidden tokens: mean over them and features.

  arXiv:2202.03555v3, eq. 3: e^2 / (2 beta) if |e| < beta, |e| - beta / 2 elsewhere.

  Args:
    predicted, target: [b, n, d].
    mask: bool[b, n], True where hidden; at least one is.
    beta: > 0, in units of the target.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('smooth_l1', predicted=predicted.shape, target=target.shape)
  same_shape('smooth_l1', tokens=predicted.shape[:2], mask=mask.shape)
  error = jnp.abs(predicted.astype(f32) - target.astype(f32))
  error = jnp.where(error < beta, jnp.square(error) / (2 * beta), error - beta / 2)
  return jnp.sum(jnp.mean(error, -1) * mask) / jnp.sum(mask)
