"""Numbers that a run logs about itself."""
import jax.numpy as jnp


def collapse(probabilities, name: str = 'teacher') -> dict:
  """Two metrics of probabilities [..., k], a teacher's or others' of that name, in nats, that show collapse.

  The mean of the entropies ('<name>_entropy') goes to log k where all are uniform, the entropy of the mean
  ('<name>_spread') to 0 where all are the same prototype.
  """
  def entropy(p):
    return -jnp.sum(p * jnp.log(p + 1e-12), -1)

  mean = jnp.mean(probabilities, tuple(range(probabilities.ndim - 1)))
  return {f'{name}_entropy': jnp.mean(entropy(probabilities)), f'{name}_spread': entropy(mean)}
