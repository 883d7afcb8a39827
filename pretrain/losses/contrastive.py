"""Contrastive losses: views of one example attract, others repel."""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import normalize


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
