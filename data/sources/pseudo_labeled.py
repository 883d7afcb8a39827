"""A source with the labels of a label store."""
from typing import Annotated

import numpy as np

from data import identity
from data import labels as store_of
from data.classes import numbered_as
from data.opened import opened
from data.source import Source
from data.wrap import few_labels, places
from pretrain import config as configs
from pretrain.config import Count, Range, Share


def pseudo_labeled(*, source: dict, store: str, labels: dict | None = None, threshold: Share | None = None,
                   percentile: Annotated[float, Range(0, 100, below=True)] | None = None, margin: Share | None = None,
                   per_class: Count | None = None, repeat: bool = False, balanced: bool = False,
                   incomplete: bool = False, soft: bool = False, weighted: bool = False) -> Source:
  """The examples of `source` whose label in the store is admitted, with these labels.

  `source` may be labeled: but for those that `labels` chooses, no label of it is looked at.

  Args:
    source: of data/sources; the one that was labeled.
    store: folder of a label store, made by `python -m pretrain label`.
    labels: arguments of `data.wrap.few_labels`; what it chooses is in any case there, once, with its own label, and
      is not counted in the criteria.
    threshold, percentile, margin, per_class, repeat: which labels are admitted, see `data.labels.admitted`.
    balanced: examples of rarer classes come several times, until all are as frequent as the most frequent one.
    incomplete: a class without an example is no error, as clusters may be empty.
    soft: batches hold 'probabilities' f32[b, k] too: the store's, or 1 for the class of an example with its own label.
    weighted: batches hold 'weight' f32[b] too: the store's confidence, or 1.
  Raises:
    FileNotFoundError, ValueError: no store, one of another source, or that lacks examples of this one (counted);
      criteria out of their range, that admit nothing, or no example of some class.
  """
  images = opened(source, 'source.source')
  stored = store_of.read(store)
  about = stored.about
  here = identity.look(images.unlabeled()).identity
  if (here.digest, len(images)) != (about.data, about.examples):
    raise ValueError(f'{store} holds labels of other data: {about.examples} examples, {about.source!r} ({about.data}); '
                     f'the source is {images.origin!r} with {len(images)} ({here.digest})')
  rows = places(stored.index, images.index, store)  # of the store, by position
  own = np.zeros(len(images), bool)
  label, confidence = stored.label[rows].copy(), stored.confidence[rows].copy()
  if labels is not None:
    if about.names is None:
      raise ValueError(f'{store} holds clusters, which have no names: labels of the source cannot stand among them')
    labeled = configs.call(few_labels, labels, 'config.source.labels', source=images)
    chosen = numbered_as(labeled, about.names, here=images.origin, there=store)
    own = np.isin(images.index, chosen.index)
    label[own], confidence[own] = chosen.column('label')[images.index[own]], 1
  position = np.full(len(stored.index), -1)
  position[rows] = np.arange(len(rows))
  taken = position[store_of.admitted(stored, rows[~own], threshold=threshold, percentile=percentile, margin=margin,
                                     per_class=per_class, repeat=repeat)]
  criteria = {name: value for name, value in dict(threshold=threshold, percentile=percentile, margin=margin,
                                                     per_class=per_class).items() if value is not None}
  if not len(taken):
    raise ValueError(f'no label of {store} is admitted by {criteria}; the highest confidence is '
                     f'{stored.confidence.max(initial=0):.4g}')
  taken = np.sort(np.concatenate([taken, np.flatnonzero(own)]))
  counts = np.bincount(label[taken], minlength=about.classes)
  if (counts == 0).any() and not incomplete:
    raise ValueError(f'of the classes {np.flatnonzero(counts == 0).tolist()} no label of {store} is admitted by '
                     f'{criteria}; admitted of each class: {counts.tolist()}')
  if balanced:
    each = [taken[label[taken] == c] for c in np.flatnonzero(counts)]
    taken = np.sort(np.concatenate([np.resize(rows, counts.max()) for rows in each]))
  columns = {'label': label}
  if soft:
    if stored.probabilities is None:
      raise ValueError(f'{store} holds no probabilities; label again with --config.probabilities=True')
    columns['probabilities'] = stored.probabilities[rows]
    columns['probabilities'][own] = np.eye(about.classes, dtype=np.float32)[label[own]]
  if weighted:
    columns['weight'] = confidence
  classes = about.names or tuple(f'cluster {c}' for c in range(about.classes))
  return images.unlabeled().relabeled(columns.pop('label'), classes, f'{images.origin} with labels of {store}',
                                      **columns).take(taken)
