"""Self-distillation: a student matches a teacher made of itself."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32, normalize, other_views, same_shape


def dino(student, teacher, *, center, student_temperature, teacher_temperature):
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
  return other_views(student, target, temperature=student_temperature)


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


def smooth_l1(predicted, target, *, mask, beta):
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
