"""Losses: arrays in, scalars (or one number an example) out; one equation per function, over the global batch.

Nothing here knows parameters, devices or steps. Inputs of any float dtype; sums and logarithms are taken in float32.
"""
import jax
import jax.numpy as jnp

f32 = jnp.float32


def normalize(x, axis=-1):
  """x / |x| along `axis`, float32; the gradient at zero is zero, not NaN."""
  x = x.astype(f32)
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis, keepdims=True), 1e-24))


def same_shape(what: str, **shapes: tuple) -> None:
  """Raises ValueError unless all the shapes are equal: broadcasting would give a wrong number, not an error."""
  if len(set(shapes.values())) > 1:
    raise ValueError(f'{what} wants equal shapes, got ' + ' and '.join(f'{name} {s}' for name, s in shapes.items()))


def cross_entropy(logits, label):
  """Cross-entropy with class indices in [0, k): logits [..., k], label int[...] -> f32[...], nats."""
  same_shape('cross_entropy', logits=logits.shape[:-1], label=label.shape)
  logits = logits.astype(f32)
  picked = jnp.take_along_axis(logits, label[..., None], -1)[..., 0]
  return jax.nn.logsumexp(logits, -1) - picked


def soft_cross_entropy(probabilities, logits):
  """Cross-entropy with a distribution: probabilities, logits [..., k] -> f32[...], nats."""
  same_shape('soft_cross_entropy', probabilities=probabilities.shape, logits=logits.shape)
  return -jnp.sum(probabilities * jax.nn.log_softmax(logits.astype(f32)), -1)


def nt_xent(z1, z2, temperature):
  """Normalised temperature-scaled cross entropy between two views, mean over all 2b anchors.

  arXiv:2002.05709v3, eq. 1 and algorithm 1. The authors' code sums the means of the two directions, twice this value:
  LARS and Adam cancel the factor, plain SGD does not.

  Args:
    z1, z2: [b, d] projections of any scale (normalised here); row i of both is example i.
    temperature: > 0, dimensionless.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes differ, or b < 2 (there would be no negatives).
  """
  if z1.shape != z2.shape or z1.ndim != 2 or len(z1) < 2:
    raise ValueError(f'nt_xent wants two arrays [b, d] of one shape with b >= 2, got {z1.shape} and {z2.shape}')
  z1, z2 = normalize(z1), normalize(z2)
  itself = jnp.eye(len(z1), dtype=bool)
  s11 = jnp.where(itself, -jnp.inf, z1 @ z1.T / temperature)  # [b, b]
  s22 = jnp.where(itself, -jnp.inf, z2 @ z2.T / temperature)
  s12 = z1 @ z2.T / temperature
  positive = jnp.diagonal(s12)
  first = jax.nn.logsumexp(jnp.concatenate([s12, s11], 1), 1) - positive
  second = jax.nn.logsumexp(jnp.concatenate([s12.T, s22], 1), 1) - positive
  return (jnp.mean(first) + jnp.mean(second)) / 2


def standardize_patches(patches):
  """Each patch minus its mean over its unbiased standard deviation: [b, n, p] -> f32[b, n, p].

  arXiv:2111.06377v3, section 3, "Reconstruction target"; the authors' code adds 1e-6 to the (unbiased) variance.
  """
  patches = patches.astype(f32)
  return (patches - patches.mean(-1, keepdims=True)) * jax.lax.rsqrt(patches.var(-1, keepdims=True, ddof=1) + 1e-6)


def masked_mse(predicted, target, mask):
  """Mean squared error of the hidden patches only.

  arXiv:2111.06377v3, section 3. Mean over the pixels of a patch, then over all hidden patches of the batch.

  Args:
    predicted, target: [b, n, p].
    mask: bool[b, n], True where hidden; at least one is.
  Returns:
    f32[].
  Raises:
    ValueError: the shapes do not fit.
  """
  same_shape('masked_mse', predicted=predicted.shape, target=target.shape)
  same_shape('masked_mse', patches=predicted.shape[:2], mask=mask.shape)
  error = jnp.mean(jnp.square(predicted.astype(f32) - target.astype(f32)), -1)  # [b, n]
  return jnp.sum(error * mask) / jnp.sum(mask)


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


def confident(weak, threshold):
  """Hard pseudo-labels of a weakly augmented view.

  arXiv:2001.07685v2, section 2.2.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold: in [0, 1].
  Returns:
    pseudo int[u], use bool[u]: True where the highest probability reaches the threshold.
  """
  probabilities = jax.nn.softmax(jax.lax.stop_gradient(weak).astype(f32))
  return probabilities.argmax(-1), probabilities.max(-1) >= threshold


def fixmatch(labeled, label, weak, strong, threshold, unlabeled_weight):
  """Supervised cross-entropy plus consistency of the strong view with the confident pseudo-labels of the weak view.

  arXiv:2001.07685v2, eq. 3 and 4; the consistency is averaged over all u examples, used or not.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: in [0, 1].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('fixmatch', weak=weak.shape, strong=strong.shape)
  pseudo, use = confident(weak, threshold)
  supervised = jnp.mean(cross_entropy(labeled, label))
  consistency = jnp.mean(cross_entropy(strong, pseudo) * use)
  metrics = {'supervised': supervised, 'consistency': consistency, 'use_ratio': jnp.mean(use.astype(f32))}
  return supervised + unlabeled_weight * consistency, metrics
