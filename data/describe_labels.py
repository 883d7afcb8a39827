"""What is in a label store: balance, confidence, agreement with another store, and with the truth."""
from pathlib import Path

import numpy as np

from data.classes import renumbered
from data.labels import read
from data.names import known
from data.wrap import places

BINS = 10  # of the confidence, of equal width in [0, 1]


def describe(store: str, other: str | None = None, truth=None) -> dict:
  """The numbers of a store.

  Args:
    store: folder.
    other: another one of the same source, such as the generation before.
    truth: the labeled source; the label of an example that has none there (-1) counts as neither right nor wrong.
  Returns:
    about (`data.labels.About` as a dict), labels (n), broken, classes (labels of each), mean_confidence, and bins, rows
    of from, to, labels, each with agreement (share of the same label in `other`) and accuracy (share of the truth) if
    asked for; and agreement and accuracy of all. Shares of 1, None where there is no label.
  Raises:
    FileNotFoundError, ValueError: no store, stores of two sources, a truth that lacks examples or has no labels.
  """
  labels = read(store)
  good = labels.label >= 0
  compared = {}
  if other is not None:
    second = read(other)
    if (second.about.data, second.about.names) != (labels.about.data, labels.about.names):
      raise ValueError(f'{other} holds labels of {second.about.source!r} ({second.about.examples} examples), {store} '
                       f'of {labels.about.source!r} ({labels.about.examples})')
    theirs = second.label[places(second.index, labels.index, other)]
    compared['agreement'] = np.where(theirs >= 0, theirs == labels.label, np.nan)
  if truth is not None:
    right, names = truth.truth()
    right = right[places(truth.index, labels.index, truth.origin)]
    if labels.about.names:
      right = renumbered(right, names, labels.about.names)
    compared['accuracy'] = np.where(right >= 0, right == labels.label, np.nan)
  edges = np.linspace(0, 1, BINS + 1)
  place = np.clip(np.digitize(labels.confidence, edges) - 1, 0, BINS - 1)

  def shares(rows) -> dict:
    found = {name: values[rows & ~np.isnan(values)] for name, values in compared.items()}
    return {name: float(values.mean()) if len(values) else None for name, values in found.items()}

  bins = [{'from': float(edges[i]), 'to': float(edges[i + 1]), 'labels': int((good & (place == i)).sum()),
           **shares(good & (place == i))} for i in range(BINS)]
  return {'about': labels.about._asdict(), 'labels': int(good.sum()), 'broken': int((~good).sum()),
          'classes': np.bincount(labels.label[good], minlength=labels.about.classes).tolist(),
          'mean_confidence': float(labels.confidence[good].mean()) if good.any() else 0., **shares(good), 'bins': bins}


def words(found: dict) -> str:
  """Two tables as text: the classes, and the confidence."""
  about, shown = found['about'], [name for name in ('agreement', 'accuracy') if name in found]
  broken = f', {found["broken"]} broken' if found['broken'] else ''
  lines = [f'{found["labels"]} labels of {about["source"]}{broken}',
           f'model {about["model"]}, generation {about["generation"]}, mean confidence {found["mean_confidence"]:.3f}'
           + ''.join(f', {name} {percent(found[name])}' for name in shown), '', 'class    labels   share']
  total = max(1, found['labels'])
  lines += [f'{c:5}  {count:8}  {count / total:6.1%}' for c, count in enumerate(found['classes'])]
  lines += ['', 'confidence   labels   share' + ''.join(f'  {name:>9}' for name in shown)]
  lines += [f'{row["from"]:.1f} - {row["to"]:.1f}  {row["labels"]:8}  {row["labels"] / total:6.1%}'
            + ''.join(f'  {percent(row[name]):>9}' for name in shown) for row in found['bins']]
  return '\n'.join(lines)


def percent(share: float | None) -> str:
  return '-' if share is None else f'{share:.1%}'


def plot(found: dict, path: str) -> None:
  """The same as a picture (PNG, SVG or PDF, by the file's name)."""
  known('kind of picture', Path(path).suffix, ('.png', '.svg', '.pdf'))
  from matplotlib.figure import Figure
  figure = Figure(figsize=(9, 3.2), layout='constrained')
  classes, confidence = figure.subplots(1, 2)
  classes.bar(range(len(found['classes'])), found['classes'], color='#4c72b0')
  classes.set(xlabel='class', ylabel='labels', title=found['about']['source'])
  middle = [(row['from'] + row['to']) / 2 for row in found['bins']]
  confidence.bar(middle, [row['labels'] for row in found['bins']], width=0.09, color='#4c72b0')
  confidence.set(xlabel='confidence', ylabel='labels', xlim=(0, 1))
  lines = [name for name in ('agreement', 'accuracy') if name in found]
  if lines:
    right = confidence.twinx()
    for name, colour in zip(lines, ('#dd8452', '#55a868'), strict=False):
      points = [(x, 100 * row[name]) for x, row in zip(middle, found['bins'], strict=True) if row[name] is not None]
      right.plot(*zip(*points, strict=True), marker='o', color=colour, label=f'{name}, %')
    right.set_ylim(0, 100)
    right.legend(loc='lower center', bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
  figure.savefig(path, dpi=150)
