"""What every family uses."""
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


def other_views(logits, targets, *, temperature):
  """Cross-entropy of each view with the targets of every other view that has some: logits [v, b, k], targets [g, b, k].

  The first g views are those of the targets, which are probabilities. Mean over these pairs and b: f32[], nats.
  """
  logp = jax.nn.log_softmax(logits.astype(f32) / temperature)
  pairs = -jnp.einsum('gbk,vbk->gv', targets, logp) / logits.shape[1]  # mean over b
  different = 1 - jnp.eye(*pairs.shape)
  return jnp.sum(pairs * different) / jnp.sum(different)


def soft_cross_entropy(probabilities, logits):
  """Cross-entropy with a distribution: probabilities, logits [..., k] -> f32[...], nats."""
  same_shape('soft_cross_entropy', probabilities=probabilities.shape, logits=logits.shape)
  return -jnp.sum(probabilities * jax.nn.log_softmax(logits.astype(f32)), -1)
