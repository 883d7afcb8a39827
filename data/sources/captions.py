"""Images with texts made from the names of their classes."""
import dataclasses

import numpy as np

from data import text
from data.encoded import Encoded
from data.opened import opened
from data.sources.arrays import Arrays
from data.wrap import require_labels


def captions(*, source: dict, templates: tuple[str, ...], tokenizer: str, length: int) -> Arrays | Encoded:
  """A labeled source whose images have a text each: their class's name, lower-cased, in a template.

  Args:
    source: of data/sources, with names of its classes.
    templates: such as 'a photo of a {}'; the example with index i has number i mod t of the t templates.
    tokenizer: 'bytes', or a file that `python -m data tokenizer` wrote.
    length: ids of a text, with its begin and end.
  Raises:
    ValueError: no labels or no names of the classes, no template or one without {}.
  """
  images = opened(source, 'source.source')
  labels = require_labels(images)
  if not isinstance(images, Arrays | Encoded) or not images.classes or not templates:
    raise ValueError(f'captions want a source of images with names of its classes, and templates; got '
                     f'{images.origin}, the classes {images.classes} and the templates {templates}')
  made = text.captions([text.phrase(template, name) for name in images.classes for template in templates],
                       text.tokenizer(tokenizer), length)
  index = np.arange(len(images)) if images.rows is None else images.rows
  tokens = np.zeros((index.max() + 1, length), made.tokens.dtype)
  tokens[index] = made.tokens[labels * len(templates) + index % len(templates)]
  return dataclasses.replace(images, captions=made._replace(tokens=tokens))
