"""Evaluation, curves, timeline and config of a run as sections of its page."""
import contextlib
import datetime
import itertools
import json
import math

import numpy as np

from pretrain.report.charts import chart, legend_of
from pretrain.report.words import duration, escaped, label_of, missing, number, section


def evaluation_section(evaluation: dict | None, again: str) -> str:
  title = 'Evaluation'
  rows = [row for row in evaluation['rows'] if isinstance(row, dict)] if evaluation else []
  if not rows:
    return missing(title, 'The features have not been evaluated.', again)
  texts = [[value for key, value in row.items() if isinstance(value, str) and key != 'protocol'] for row in rows]
  names = [found[0] if found else '' for found in texts]
  numbers = [{key: value for key, value in row.items() if not isinstance(value, bool | str | dict)} for row in rows]
  columns = [key for key in dict.fromkeys(itertools.chain(*numbers)) if key != 'nonfinite' and not key.endswith('_std')]
  shared = {  # a count that all rows share is no column
    key: value
    for key, value in numbers[0].items()
    if len(rows) > 1 and isinstance(value, int) and all(row.get(key) == value for row in numbers)
  }
  columns = [key for key in columns if key not in shared]
  body = ''
  best = {}
  for column in columns:
    values = [row[column] for row in numbers if isinstance(row.get(column), int | float)]
    if len(values) > 1 and all(0 <= value <= 1 for value in values) and max(values) > min(values):
      best[column] = max(values)
  for name, row in zip(names, numbers, strict=True):
    cells = ''
    for column in columns:
      value, spread = row.get(column), row.get(f'{column}_std')
      text = '–'
      if isinstance(value, int | float):
        share = 0 <= value <= 1
        text = f'{value:.1%}' if share else number(value)
        if isinstance(spread, int | float):
          text += f' ± {spread * 100:.1f}' if share else f' ± {number(spread)}'
      mark = ' class="best"' if column in best and value == best[column] else ''
      cells += f'<td{mark}>{escaped(text)}</td>'
    body += f'<tr><td>{escaped(name)}</td>{cells}</tr>'
  heads = ''.join(f'<th>{escaped(label_of(column))}</th>' for column in columns)
  other = (evaluation or {}) | shared
  facts = [f'{key.replace("_", " ")} {number(v)}' for key, v in other.items() if isinstance(v, int | float | str)]
  protocols = dict.fromkeys(str(row['protocol']) for row in rows if 'protocol' in row)
  note = 'Accuracy on held-out examples; the best of each column is highlighted.'
  note += ''.join(f' {escaped(text)}.' for text in (*protocols, ', '.join(facts)) if text)
  table = f'<div class="scroll"><table><tr><th>Features</th>{heads}</tr>{body}</table></div>'
  return section(title, table, note)


def curves_section(rows: list) -> str:
  title, series = 'Curves', _series(rows)
  if not series:
    return section(title, '<p class="dim missing">No metrics have been logged yet: metrics.jsonl has no rows.</p>')
  shares = [k for k, (_, v) in series.items() if k.startswith('eval/') and np.all(np.isnan(v) | ((v >= 0) & (v <= 1)))]
  first = [key for key in ('loss', 'lr', 'learning_rate', 'examples_per_second') if key in series]
  others = [key for key in series if key not in first and key not in shares]
  shown, left = others[:16], others[16:]
  charts = [[key] for key in first[:1]] + ([shares] if shares else []) + [[key] for key in first[1:] + shown]
  figures, binned = '', False
  for keys in charts:
    svg, thinned = chart([series[key] for key in keys])
    binned |= thinned
    final = [(key, float(series[key][1][-1])) for key in keys]
    final = [f'{value:.1%}' if key in shares and value == value else number(value) for key, value in final]
    name = 'Online evaluation' if len(keys) > 1 else label_of(keys[0])
    last = '' if len(keys) > 1 else f'<span class="last">last {escaped(final[0])}</span>'
    texts = (f'{label_of(key)}: last {value}' for key, value in zip(keys, final, strict=True))
    legend = legend_of(texts) if len(keys) > 1 else ''
    holes = {key: series[key][0][np.isnan(series[key][1])] for key in keys}
    warning = ''.join(
      f'<p class="warn">Not finite at {len(steps)} logged step{"s"[: len(steps) > 1]}, first {number(int(steps[0]))}'
      f' (<code>{escaped(key)}</code>)</p>'
      for key, steps in holes.items()
      if len(steps)
    )
    figures += f'<figure><h3>{last}{escaped(name)}</h3>{svg}{legend}{warning}</figure>'
  note = 'Against the step.' + (' Line: mean of a bin of steps; band: its lowest and highest value.' if binned else '')
  note += f' Not drawn: {escaped(", ".join(left))} (metrics.jsonl has them).' if left else ''
  return section(title, f'<div class="charts">{figures}</div>', note)


def _series(rows: list) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """{metric: (steps f64[n], values f64[n])}; a value that was not finite is NaN."""
  points = {}
  for row in rows:
    bad = row.get('nonfinite') or ()
    for key, value in row.items():
      value = math.nan if value is None and key in bad else value
      if key != 'step' and isinstance(value, int | float) and not isinstance(value, bool):
        points.setdefault(key, []).append((row['step'], value))
  return {key: tuple(np.array(sorted(pairs, key=lambda p: p[0]), float).T) for key, pairs in points.items()}


def timeline_section(events: list) -> str:
  title = 'Timeline'
  if not events:
    return section(title, '<p class="dim missing">No events: events.jsonl has no rows.</p>')
  zero = next((row['time'] for row in events if isinstance(row.get('time'), int | float)), 0)
  groups = [(name, list(rows)) for name, rows in itertools.groupby(events, lambda row: str(row.get('event', '')))]
  lines = []
  for name, rows in groups:
    if len(rows) > 3:
      steps = [row['step'] for row in rows if isinstance(row.get('step'), int | float)]
      span = f'steps {number(steps[0])} to {number(steps[-1])}' if steps else ''
      lines.append((rows[0], f'{name} × {len(rows)}', span))
      continue
    for row in rows:
      fields = (f'{key.replace("_", " ")} {_compact(v)}' for key, v in row.items() if key not in ('time', 'event'))
      lines.append((row, name, ', '.join(fields)))
  hidden, lines = len(lines) - 60, lines[:30] + lines[-30:] if len(lines) > 60 else lines
  body = ''
  for i, (row, name, text) in enumerate(lines):
    if hidden > 0 and i == 30:
      body += f'<tr><td colspan="4" class="dim">{hidden} more in events.jsonl</td></tr>'
    clock = ago = '–'
    if isinstance(row.get('time'), int | float):
      ago = '+' + duration(row['time'] - zero)
      with contextlib.suppress(OverflowError, OSError, ValueError):
        clock = f'{datetime.datetime.fromtimestamp(row["time"], datetime.UTC):%Y-%m-%d %H:%M:%S}'
    body += f'<tr><td>{ago}</td><td class="dim">{clock}</td>'
    body += f'<td><b>{escaped(name)}</b></td><td>{escaped(text)}</td></tr>'
  heads = '<tr><th>After</th><th>UTC</th><th>Event</th><th>Details</th></tr>'
  return section(title, f'<div class="scroll"><table class="events">{heads}{body}</table></div>')


def _compact(value) -> str:
  if isinstance(value, int | float) or value is None:
    return number(value)
  text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 300 else text[:297] + '…'


def config_section(config: dict) -> str:
  if not config:
    return section('Resolved config', '<p class="dim missing">No config.json in this directory.</p>')
  text = json.dumps(config, indent=2, ensure_ascii=False)
  return f'<section><details><summary>Resolved config</summary><pre>{escaped(text)}</pre></details></section>'
