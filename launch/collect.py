"""A table's runs as Markdown, CSV and a plot, with what is missing said and the paper's numbers beside."""
import csv
import io
import math
import shlex
import statistics
import textwrap
from collections import Counter
from typing import NamedTuple

import matplotlib

from launch.spec import DAMAGED, DONE, Cell, Spec, counts, made_with, refuse_others, state, value, values
from pretrain.config import ConfigError
from pretrain.train import fingerprint

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402


class Entry(NamedTuple):
  """A row, a column and a metric of the finished table."""
  row: str
  column: str
  metric: str
  values: list[float]
  states: list[str]  # of those without a value
  paper: float | None

  @property
  def ours(self) -> str:
    """'81.0 ± 0.4', with what is missing said."""
    lacking = [f'{count} {word}' for word, count in Counter(self.states).items()]
    if not self.values:
      return ', '.join(lacking)
    text = f'{statistics.mean(self.values):.1f}'
    if len(self.values) > 1:
      text += f' ± {statistics.stdev(self.values):.1f}'
    return text + (f' (n={len(self.values)}; {", ".join(lacking)})' if lacking else '')


def entries(spec: Spec, cells: list[Cell]) -> list[Entry]:
  """All entries, in the order of the spec.

  Raises:
    ConfigError: nothing is done; a directory of another config.
  """
  states = [state(cell) for cell in cells]
  refuse_others(cells, states)
  if not any(word == DONE for word, _ in states):
    raise ConfigError(f'nothing to collect: of {len(cells)} cells {counts(states)}; `run` first')
  groups: dict[tuple[str, str], list[int]] = {}
  for n, cell in enumerate(cells):
    groups.setdefault((cell.row, cell.column), []).append(n)
  done = [n for n, (word, _) in enumerate(states) if word == DONE]
  found = {metric: dict(zip(done, values([cells[n] for n in done], metric), strict=True)) for metric in spec.metrics}

  def entry(row: str, column: str, members: list[int], metric: str) -> Entry:
    numbers = [found[metric].get(n) for n in members]
    lacking = [DAMAGED if n in found[metric] else states[n][0] for n, number in zip(members, numbers, strict=True)
               if number is None]
    return Entry(row, column, metric, [number for number in numbers if number is not None], lacking,
                 spec.paper.get(row, {}).get(column, {}).get(metric))

  return [entry(row, column, members, metric) for (row, column), members in groups.items() for metric in spec.metrics]


def markdown(spec: Spec, path: str, cells: list[Cell], rows: list[Entry], flags: list[str]) -> str:
  """The table, the comparison with the paper's numbers if there are any, and how it was made."""
  columns = list(dict.fromkeys((entry.column, entry.metric) for entry in rows))
  found = {(entry.row, entry.column, entry.metric): entry for entry in rows}
  line = lambda words: f'| {" | ".join(words)} |'
  header = line(['', *(f'{column} {metric}'.strip() for column, metric in columns)])
  text = [f'# {spec.title}', '', spec.differs, '', header, line(['---'] * (len(columns) + 1))]
  for row in dict.fromkeys(entry.row for entry in rows):
    text.append(line([row, *(found[row, *key].ours for key in columns)]))
  n = len(spec.seeds)
  text += ['', f'Mean ± standard deviation (ddof 1) of n={n} seeds{" " + str(spec.seeds) if n < 6 else ""}.']
  if spec.paper:
    text += ['', '## Beside the paper', '', f'Source: {spec.source}', '',
             line(['', 'paper', 'ours', 'deviation', f'within {spec.tolerance}' if spec.tolerance else 'within']),
             line(['---'] * 5)]
    for entry in rows:
      if entry.paper is not None:
        off = statistics.mean(entry.values) - entry.paper if entry.values else math.nan
        within = '' if spec.tolerance is None or not entry.values else 'yes' if abs(off) <= spec.tolerance else 'no'
        text.append(line([f'{entry.row} {entry.column} {entry.metric}', f'{entry.paper:g}', entry.ours,
                          f'{off:+.1f}' if entry.values else '', within]))
  text += ['', '## How it was made', '', '```sh', shlex.join(['python', '-m', 'launch.table', path, 'run', *flags]),
           '```', '']
  made = Counter(tuple(made_with(cell).items()) for cell in cells if state(cell)[0] == DONE)
  text += [f'{count} runs: {", ".join(f"{key} {word}" for key, word in about)}.' for about, count in made.most_common()]
  return '\n'.join(text) + '\n'


def rows_of_csv(spec: Spec, cells: list[Cell]) -> str:
  """A line for each run and metric; empty where there is no value."""
  file = io.StringIO()
  out = csv.writer(file, lineterminator='\n')
  out.writerow(['row', 'column', 'seed', 'metric', 'value', 'state', 'paper', 'config', 'commit', 'workdir'])
  for cell in cells:
    done, _ = state(cell)
    for metric in spec.metrics:
      number, word = '', done
      if done == DONE:
        try:
          number = f'{value(cell, metric):.4f}'
        except ConfigError:  # `entries` raises it where no cell has the metric
          word = DAMAGED
      out.writerow([cell.row, cell.column, cell.seed, metric, number, word,
                    spec.paper.get(cell.row, {}).get(cell.column, {}).get(metric, ''), fingerprint(cell.config),
                    made_with(cell).get('commit', '') if done == DONE else '', cell.workdir])
  return file.getvalue()


def plot(spec: Spec, rows: list[Entry]) -> bytes:
  """PNG: a panel for each metric; lines for few rows over numbers, points otherwise; the paper's numbers are rings."""
  try:
    places = {column: float(column) for column in spec.columns}
  except ValueError:
    places = {}
  names = list(dict.fromkeys(entry.row for entry in rows))
  lines = len(places) > 1 and len(names) <= 10
  columns = list(spec.columns)
  height = 3.6 if lines else max(2., 0.9 + (0.16 + 0.09 * len(columns)) * len(names))
  width = (2.8 if lines else 1) + 4.2 * len(spec.metrics)
  figure, axes = pyplot.subplots(1, len(spec.metrics), squeeze=False, layout='constrained', sharey=not lines,
                                 figsize=(width, height))
  for axis, metric in zip(axes[0], spec.metrics, strict=True):
    mine = [entry for entry in rows if entry.metric == metric and entry.values]
    spread = lambda entry: statistics.stdev(entry.values) if len(entry.values) > 1 else 0.
    if lines:
      for n, name in enumerate(names):
        line = sorted((places[entry.column], statistics.mean(entry.values), spread(entry)) for entry in mine
                      if entry.row == name)
        if line:
          x, y, error = zip(*line, strict=True)
          axis.errorbar(x, y, error, label=name, marker='o', markersize=4, capsize=3, color=f'C{n}')
        rings = [(places[entry.column], entry.paper) for entry in mine if entry.row == name and entry.paper is not None]
        if rings:
          axis.plot(*zip(*rings, strict=True), 'o', markerfacecolor='none', color=f'C{n}', label=f'{name}, paper')
      if max(places.values()) > 8 * min(places.values()) > 0:
        axis.set_xscale('log')
        axis.minorticks_off()
      axis.set_xticks(list(places.values()), list(places))
      axis.margins(x=0.08)
      axis.set_ylabel(metric)
    else:
      for n, column in enumerate(columns):  # a row's columns lie close together
        shift = 0.6 * ((n + 0.5) / len(columns) - 0.5)
        points = [(statistics.mean(entry.values), names.index(entry.row) + shift, entry)
                  for entry in mine if entry.column == column]
        if points:
          x, y, entries = zip(*points, strict=True)
          axis.errorbar(x, y, xerr=[spread(entry) for entry in entries], fmt='o', markersize=4, capsize=2, label=column,
                        color=f'C{n}')
        for _, y, entry in points:
          if entry.paper is not None:
            axis.plot(entry.paper, y, 'ko', markerfacecolor='none')
      axis.set_yticks(range(len(names)), names, fontsize=8)
      axis.set_ylim(len(names) - 0.4, -0.6)  # the first on top; the axes share it
      axis.set_xlabel(metric)
    axis.grid(alpha=0.3)
    axis.spines[['top', 'right']].set_visible(False)
  if lines or len(columns) > 1:
    figure.legend(*axes[0][0].get_legend_handles_labels(), fontsize=8, ncols=1 if lines else min(6, len(columns)),
                  loc='outside right center' if lines else 'outside lower center')
  figure.suptitle(textwrap.fill(spec.title, round(11 * width)), fontsize=11)
  out = io.BytesIO()
  figure.savefig(out, dpi=130)
  pyplot.close(figure)
  return out.getvalue()
