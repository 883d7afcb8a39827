"""CLIP's loss."""

from .supervised import log_softmax
from .vectors import unit


def clip(image, text, scale):
  """Mean of the two cross-entropies of arXiv:2103.00020v1 figure 3: over the texts for each image, and the reverse.

  Args:
    image, text: [b, d], not normalised; row i of both is one pair.
    scale: positive float that multiplies the cosine similarities, exp(t) in the figure.

  Returns:
    float.
  """
  image, text = unit(image), unit(text)
  b, scale = len(image), float(scale)
  of_image = of_text = 0.0
  for i in range(b):
    of_image -= log_softmax([scale * (image[i] @ text[j]) for j in range(b)])[i] / b
    of_text -= log_softmax([scale * (image[j] @ text[i]) for j in range(b)])[i] / b
  return (of_image + of_text) / 2
