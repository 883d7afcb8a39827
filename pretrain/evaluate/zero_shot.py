"""Classification of images by the names of the classes: what matching texts is worth without a label."""
import jax
import jax.numpy as jnp
import numpy as np

from pretrain.losses import normalize
from pretrain.machine import processes


def zero_shot(features, labels, embed_text, prompts) -> float:
  """Share of images whose nearest class is the right one; a class is the mean of its texts' embeddings.

  arXiv:2103.00020v1, section 3.1.4, the ensemble over templates in the space of the embeddings.

  Args:
    features: f32[n, d], of the images, as a method's image tower gives them; any scale.
    labels: int[n] in [0, k).
    embed_text: tokens i32[m, l] -> f32[m, d] of length 1, a `jax.tree_util.Partial`.
    prompts: i32[k, t, l], each class's name in t templates.
  Returns:
    accuracy in [0, 1].
  """
  k, t, length = prompts.shape
  texts = processes.on_host(_run(embed_text, prompts.reshape(k * t, length))).reshape(k, t, -1)
  classes = np.asarray(normalize(jnp.asarray(texts.mean(1))))  # [k, d]
  return float(np.mean(np.argmax(features @ classes.T, 1) == labels))


@jax.jit
def _run(embed, tokens):
  return embed(tokens)
