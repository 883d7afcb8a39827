"""Images with texts made from the names of their classes."""
import dataclasses

import numpy as np

from data import text
from data.opened import opened
from data.source import Source
from pretrain.config import Count


def captions(*, source: dict, templates: tuple[str, ...], tokenizer: str, length: Count) -> Source:
  """A labeled source whose images have a text each: their class's name, lower-cased, in a template.

  Args:
    source: of data/sources, labeled.
    templates: such as 'a photo of a {}'; the example with index i has number i mod t of the t templates.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end.
  Raises:
    ValueError: no images or labels, an image of no class, no template or one without {}.
  """
  images, by = opened(source, 'source.source'), text.tokenizer(tokenizer)
  labels, classes = images.truth(every='a text names its class')
  if len(images.shape) < 3 or not templates:
    raise ValueError(f'captions: wanted a source of images, and templates; got {images.origin} and the templates '
                     f'{templates}')
  texts = [text.phrase(template, name) for name in classes for template in templates]
  made = text.captions(texts, by, length).tokens
  tokens = np.zeros((len(images.examples), length), made.dtype)
  tokens[images.index] = made[labels * len(templates) + images.index % len(templates)]
  return dataclasses.replace(images, beside={**images.beside, 'tokens': tokens}, tokenizer=by)
