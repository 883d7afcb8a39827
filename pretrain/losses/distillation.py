"""Self-distillation: a student matches a teacher made of itself."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import f32, same_shape


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
  target = jax.nn.softmax((jax.lax.stop_gradient(teacher).astype(f32) - center) / teacher_temperature)
  logp = jax.nn.log_softmax(student.astype(f32) / student_temperature)
  pairs = -jnp.einsum('gbk,vbk->gv', target, logp) / student.shape[1]  # [g, v], mean over b
  different = 1 - jnp.eye(g, v)
  return jnp.sum(pairs * different) / jnp.sum(different)
