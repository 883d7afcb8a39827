"""One self-contained HTML page about a run, from the files in its directory: no network, no scripts, light and dark."""

import base64
import contextlib
import datetime
import html
import io
import itertools
import json
import math
import os
import re
import shlex
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pretrain.metrics import goodput, read_rows, write_bytes

POINTS = 1500  # of the projection; t-SNE on more costs minutes and shows no more
BINS = 150  # of a curve of more than twice as many points
THUMB = 112  # px; larger pictures are shrunk to it
IDLE = 600  # seconds without a new row after which a run without an end is called interrupted
PALETTE = ('#4e79a7', '#f28e2b', '#e15759', '#4fa8a1', '#59a14f', '#c9a227', '#b07aa1', '#f583a0', '#9c755f', '#8c8c8c')
LABELS = {
  'loss': 'Loss',
  'lr': 'Learning rate',
  'learning_rate': 'Learning rate',
  'examples_per_second': 'Examples per second',
  'knn': 'kNN',
  'linear': 'Linear probe',
}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1c2430;--dim:#5d6875;--line:#e1e5ea;--accent:#2563c9;
--good:#1a7f4b;--bad:#c2352b;--warn:#a15c00;--soft:#eaf1fc}
@media(prefers-color-scheme:dark){:root{--bg:#0f1319;--card:#181e27;--text:#e4e8ee;--dim:#99a4b2;--line:#2b3340;
--accent:#6ea8ff;--good:#4cc38a;--bad:#ff8177;--warn:#f0b357;--soft:#1d2a3f}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:28px;line-height:1.2;margin:0;overflow-wrap:anywhere}h2{font-size:18px;margin:0 0 4px}
h3{font-size:14px;font-weight:600;margin:0}p{margin:0 0 10px}
.dim,figcaption,.note{color:var(--dim);font-size:13px}.note{max-width:80ch}
.head{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center}
.badge{font-size:13px;font-weight:600;padding:2px 11px;border-radius:99px;border:1px solid currentColor}
.done{color:var(--good)}.running{color:var(--accent)}.stopped,.interrupted{color:var(--warn)}.failed{color:var(--bad)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin-top:16px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px 20px;margin:0}
dt{color:var(--dim);font-size:12px}dd{margin:0;font-weight:600;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-size:12px;color:var(--dim);font-weight:600}th:first-child,td:first-child{text-align:left;padding-left:0}
tr:last-child td{border-bottom:0}.best{font-weight:700;color:var(--good);background:var(--soft);border-radius:6px}
.events td{text-align:left;white-space:normal;vertical-align:top}.events th{text-align:left}
.events td:first-child{white-space:nowrap}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:22px 28px;margin-top:10px}
figure{margin:0;min-width:0}
figure svg{display:block;width:100%;height:auto;overflow:visible}
.last{float:right;font-weight:400;color:var(--dim);font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:13px;margin-top:8px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
.rows{display:grid;gap:14px 28px;margin-top:10px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--min)),1fr))}
.strip{display:flex;gap:6px;align-items:flex-start;min-width:0}
.strip>div{display:flex;flex-wrap:wrap;gap:6px;min-width:0}
.pic{width:80px;font-size:11px;line-height:1.25;text-align:center;overflow-wrap:anywhere;flex:none}
.pic img{display:block;width:100%;border-radius:6px;margin-bottom:2px;background:var(--line)}
img.px{image-rendering:pixelated}
.first{padding-right:10px;margin-right:4px;border-right:2px solid var(--line);flex:none;align-self:stretch}
.right img{outline:2px solid var(--good)}.wrong img{outline:2px solid var(--bad)}
.right{color:var(--good)}.wrong{color:var(--bad)}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--soft);padding:1px 6px;border-radius:5px;overflow-wrap:anywhere}
pre{overflow-x:auto;margin:12px 0 0}summary{cursor:pointer;font-weight:600;font-size:18px}
.warn{color:var(--warn)}
@media(max-width:560px){main{padding:18px 10px 40px}section{padding:14px 13px}h1{font-size:23px}
.pic{width:64px;font-size:9.5px}
th,td{padding:7px 6px}td:first-child,th{white-space:normal}
dl{grid-template-columns:1fr 1fr}.events th:nth-child(2),.events td:nth-child(2){display:none}}
@media print{section{break-inside:avoid}}
"""


def save_report_data(
  workdir: str | os.PathLike,
  *,
  originals=None,
  views=None,
  queries=None,
  neighbors=None,
  query_labels=None,
  neighbor_labels=None,
  features: Mapping | None = None,
  labels=None,
  classes: Sequence[str] | None = None,
) -> Path:
  """Writes workdir/report_data.npz, the arrays that `report` draws; any group may be left out.

  Args:
    workdir: the run directory, made if absent.
    originals: u8[m, h, w, c], a few training images.
    views: f32[m, v, h, w, c] in [0, 1], their augmented views; a list of such arrays where crops differ in size.
    queries: u8[q, h, w, c], a few test images.
    neighbors: u8[q, k, h, w, c], their nearest training images, nearest first.
    query_labels: i32[q].
    neighbor_labels: i32[q, k].
    features: {name of the backbone: f32[n, d]}, the same n test examples for each; above 2,000 a sorted random subset
      (seed 0) is kept.
    labels: i32[n], the classes of these examples.
    classes: names of the classes, in the order of the labels.

  Returns:
    The path of the file, written by rename.

  Raises:
    ValueError: where two arrays that go together differ in length.
  """
  groups = {'views': (originals, views), 'neighbors': (queries, neighbors)}
  for name, pair in groups.items():
    if (pair[0] is None) != (pair[1] is None):
      raise ValueError(f'{name} come with their {"originals" if name == "views" else "queries"}; got one of the two')
  arrays, features = {}, {name: np.asarray(value) for name, value in (features or {}).items()}
  if originals is not None and views is not None:
    arrays['originals'] = np.asarray(originals)
    for i, crop in enumerate(views if isinstance(views, list | tuple) else [views]):
      crop = np.asarray(crop, np.float32)
      _same_length('views', len(crop), 'originals', len(originals))
      arrays[f'views_{i}'] = np.round(np.nan_to_num(crop).clip(0, 1) * 255).astype(np.uint8)
  if queries is not None and neighbors is not None:
    _same_length('neighbors', len(neighbors), 'queries', len(queries))
    arrays |= {'queries': np.asarray(queries), 'neighbors': np.asarray(neighbors)}
    if query_labels is not None and neighbor_labels is not None:
      arrays |= {'query_labels': np.asarray(query_labels), 'neighbor_labels': np.asarray(neighbor_labels)}
  if features:
    n = len(next(iter(features.values())))
    for name, value in features.items():
      _same_length(f'features of {name}', len(value), 'the first features', n)
    keep = np.sort(np.random.default_rng(0).permutation(n)[:2000])
    arrays['feature_names'] = np.array(list(features), str)
    arrays |= {f'features_{i}': value[keep].astype(np.float32) for i, value in enumerate(features.values())}
    if labels is not None:
      _same_length('labels', len(labels), 'features', n)
      arrays['labels'] = np.asarray(labels)[keep]
  if classes is not None:
    arrays['classes'] = np.array([str(name) for name in classes], str)
  file = io.BytesIO()
  np.savez_compressed(file, **arrays)
  path = Path(workdir) / 'report_data.npz'
  write_bytes(path, file.getvalue())
  return path


def report(workdir: str | os.PathLike) -> Path:
  """Writes workdir/report.html from what the run directory holds; a section without data says what would add it.

  Read are config.json, metrics.jsonl, events.jsonl, result.json, evaluation.json and report_data.npz.
  evaluation.json is {"rows": [{"features": "raw pixels", "knn": 0.41, "linear": 0.52, ...}, ...], ...}: the first text
  of a row names it, numbers are columns (accuracies in [0, 1]; a "<column>_std" beside one is shown as ±); a row's
  "protocol", counts that all rows share and other scalars of the file stand above the table.

  Returns:
    The path of the page, written by rename.

  Raises:
    ValueError: where the directory holds neither config.json nor a row in metrics.jsonl, or a file is not readable.
  """
  workdir = Path(workdir)
  config, result, evaluation = (_json(workdir / f'{name}.json') for name in ('config', 'result', 'evaluation'))
  rows, events = read_rows(workdir / 'metrics.jsonl'), read_rows(workdir / 'events.jsonl')
  if config is None and not rows:
    what = 'holds neither config.json nor a row in metrics.jsonl' if workdir.is_dir() else 'does not exist'
    raise ValueError(f'no run to report on: {workdir} {what}; give the --workdir of a training run')
  rows = [row for row in rows if isinstance(row.get('step'), int | float)]
  config = config if isinstance(config, dict) else {}
  data = _arrays(workdir / 'report_data.npz')
  again = f'python -m pretrain evaluate --workdir={shlex.quote(str(workdir))}'
  sections = (
    _evaluation(evaluation, again),
    _curves(rows),
    _views(data, again),
    _neighbors(data, again),
    _projection(data, again),
    _timeline(events),
    _config(config),
  )
  name = config.get('name')
  name = name if isinstance(name, str) and name else workdir.resolve().name
  body = _header(name, workdir, config, rows, events, result) + ''.join(sections)
  page = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    # The page asks for nothing from outside, and this has the browser refuse what would.
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    f'<title>{_e(name)} · pretraining report</title><style>{CSS}</style></head>'
    f'<body><main>{body}</main></body></html>\n'
  )
  path = workdir / 'report.html'
  write_bytes(path, page.encode('utf-8', 'replace'))
  return path


def _e(value) -> str:
  return html.escape(str(value))


def _same_length(name: str, got: int, other: str, wanted: int) -> None:
  if got != wanted:
    raise ValueError(f'{name}: {got} rows, but {other}: {wanted}; they describe the same examples')


def _json(path: Path):
  if not path.exists():
    return None
  try:
    return json.loads(path.read_bytes())
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
  if not path.exists():
    return {}
  try:
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is not readable ({error}); write it again with `python -m pretrain evaluate`') from error


def _section(title: str, body: str, note: str = '') -> str:
  note = f'<p class="note">{note}</p>' if note else ''
  return f'<section><h2>{_e(title)}</h2>{note}{body}</section>'


def _missing(title: str, what: str, again: str) -> str:
  return _section(title, f'<p class="dim missing">{_e(what)} Add it with <code>{_e(again)}</code></p>')


def _number(value) -> str:
  """A number for the eye: 4 significant digits, thousands separated."""
  if value is None or (isinstance(value, float) and not math.isfinite(value)):
    return 'not finite'
  if isinstance(value, bool | str):
    return str(value)
  if isinstance(value, int) or (abs(value) < 1e15 and value == int(value)):
    return f'{int(value):,}'
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'


def _label(key: str) -> str:
  family, _, last = key.rpartition('/')
  text = LABELS.get(last) or re.sub(r'^labels (\d+)$', r'\1 labels', last.replace('_', ' '))
  text = re.sub(r'^linear (\d+) per class$', r'Linear, \1 labels a class', text)
  if family:
    return f'{text} ({"online" if family == "eval" else family})'
  return text if last in LABELS else text[:1].upper() + text[1:]


def _duration(seconds: float) -> str:
  return str(datetime.timedelta(seconds=round(seconds)))


# --- header ---------------------------------------------------------------------------------------------------------


def _status(workdir: Path, rows: list, events: list, result) -> tuple[str, str]:
  """(word, explanation) of how the run stands, from its last start, stop and result."""
  last = max((row['step'] for row in rows), default=0)
  ended = result if isinstance(result, dict) else {}
  if result is not None and ended.get('steps', last) >= last:  # a result of fewer steps is of an earlier, shorter run
    word = ended.get('status', 'done')
    return (word if isinstance(word, str) else 'done'), ''
  attempt = list(itertools.takewhile(lambda row: row.get('event') != 'start', reversed(events)))
  stop = next((row for row in attempt if row.get('event') == 'stop'), None)
  if stop:
    reason = str(stop.get('reason', ''))
    return ('done', '') if reason == 'done' else ('stopped', reason)
  files = (workdir / name for name in ('metrics.jsonl', 'events.jsonl', 'config.json'))
  idle = time.time() - max(path.stat().st_mtime for path in files if path.exists())
  if idle < IDLE:
    return 'running', ''
  return 'interrupted', f'nothing written for {_duration(idle)} and no stop event'


def _named(value) -> str:
  """'vit (depth 6, width 192)' of a dict(name='vit', depth=6, width=192); the text itself of anything flat."""
  if not isinstance(value, dict):
    return str(value)
  parts = ', '.join(f'{k} {v}' for k, v in value.items() if k != 'name' and isinstance(v, int | float | str))
  return f'{value["name"]} ({parts})' if 'name' in value and parts else str(value.get('name', parts))


def _header(name: str, workdir: Path, config: dict, rows: list, events: list, result) -> str:
  word, why = _status(workdir, rows, events, result)
  starts = [row for row in events if row.get('event') == 'start']
  start = {key: value for row in starts for key, value in row.items()}  # the last attempt's word counts
  last = max((row['step'] for row in rows), default=0)
  times = [row['time'] for row in events if isinstance(row.get('time'), int | float)]
  spent = _spent(events)
  objective = config.get('objective')
  objective = objective.get('name', '') if isinstance(objective, dict) else objective or ''
  steps = config.get('steps', start.get('steps'))
  losses = [row['loss'] for row in rows if isinstance(row.get('loss'), int | float)]
  speeds = [row['examples_per_second'] for row in rows if isinstance(row.get('examples_per_second'), int | float)]
  shares, waits = ([row[key] for row in rows if isinstance(row.get(key), int | float)] for key in ('mfu', 'time/read'))
  online = [row['eval/knn'] for row in rows if isinstance(row.get('eval/knn'), int | float)]
  compiles = [row['seconds'] for row in events if row.get('event') == 'compile' and 'seconds' in row]
  facts = {
    'Steps': f'{_number(last)} of {_number(steps)}' if isinstance(steps, int | float) else _number(last),
    'Batch': _number(config['batch']) if isinstance(config.get('batch'), int | float) else None,
    'Last loss': _number(losses[-1]) if losses else None,
    'Online kNN': f'{online[-1]:.1%}' if online else None,
    'Examples/s (median)': _number(float(np.median(speeds))) if speeds else None,
    'Of the peak (median)': f'{float(np.median(shares)):.1%}' if shares else 'unknown device' if rows else None,
    'Waiting for data': f'{float(np.mean(waits)):.1%}' if waits else None,
    'Goodput': f'{useful:.1%}' if (useful := goodput(events)) else None,
    'Time': _duration(spent) + (f' in {len(starts)} attempts' if len(starts) > 1 else '') if times else None,
    'Devices': ' × '.join(str(start[key]) for key in ('devices', 'device') if key in start),
    'Compilation': f'{_number(float(sum(compiles)))} s' if compiles else None,
  }
  for title, keys in {
    'Backbone': ('backbone', 'model'),
    'Data': ('data', 'source', 'dataset'),
    'Optimizer': ('optimizer', 'optim'),
    'Parameters': ('parameters', 'params'),
    'Seed': ('seed',),
  }.items():
    found = next((place[key] for key in keys for place in (config, start) if place.get(key) is not None), None)
    if found is not None:
      text = _number(found) if isinstance(found, int) and title == 'Parameters' else _named(found)
      facts[title] = text if len(text) <= 120 else text[:117] + '…'
  listed = ''.join(f'<div><dt>{_e(key)}</dt><dd>{_e(value)}</dd></div>' for key, value in facts.items() if value)
  when = ''
  if times:
    begin, end = (datetime.datetime.fromtimestamp(t, datetime.UTC) for t in (min(times), max(times)))
    until = f'{end:%H:%M}' if end.date() == begin.date() else f'{end:%Y-%m-%d %H:%M}'
    when = f'{begin:%Y-%m-%d %H:%M} to {until} UTC'
  words = [part for part in (objective, when, why) if part]
  badge = word if word in ('done', 'running', 'stopped', 'interrupted', 'failed') else 'stopped'
  return (
    f'<header><div class="head"><h1>{_e(name)}</h1><span class="badge {badge}">{_e(word)}</span></div>'
    f'<p class="dim">{_e(" · ".join(words))}</p></header><section><h2>Key facts</h2><dl>{listed}</dl></section>'
  )


def _spent(events: list) -> float:
  """Seconds from start to last event, summed over attempts: the time between a kill and a resume is nobody's."""
  timed = [row for row in events if isinstance(row.get('time'), int | float)]
  return sum(max(0, b['time'] - a['time']) for a, b in itertools.pairwise(timed) if b.get('event') != 'start')


# --- evaluation -----------------------------------------------------------------------------------------------------


def _evaluation(evaluation, again: str) -> str:
  title = 'Evaluation'
  rows = evaluation.get('rows') if isinstance(evaluation, dict) else evaluation
  rows = [row for row in rows or [] if isinstance(row, dict)]
  if not rows:
    return _missing(title, 'The features have not been evaluated.', again)
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
        text = f'{value:.1%}' if share else _number(value)
        if isinstance(spread, int | float):
          text += f' ± {spread * 100:.1f}' if share else f' ± {_number(spread)}'
      mark = ' class="best"' if column in best and value == best[column] else ''
      cells += f'<td{mark}>{_e(text)}</td>'
    body += f'<tr><td>{_e(name)}</td>{cells}</tr>'
  heads = ''.join(f'<th>{_e(_label(column))}</th>' for column in columns)
  other = (evaluation if isinstance(evaluation, dict) else {}) | shared
  facts = [f'{key.replace("_", " ")} {_number(v)}' for key, v in other.items() if isinstance(v, int | float | str)]
  protocols = dict.fromkeys(str(row['protocol']) for row in rows if 'protocol' in row)
  note = 'Accuracy on held-out examples; the best of each column is highlighted.'
  note += ''.join(f' {_e(text)}.' for text in (*protocols, ', '.join(facts)) if text)
  table = f'<div class="scroll"><table><tr><th>Features</th>{heads}</tr>{body}</table></div>'
  return _section(title, table, note)


# --- curves ---------------------------------------------------------------------------------------------------------


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


def _curves(rows: list) -> str:
  title, series = 'Curves', _series(rows)
  if not series:
    return _section(title, '<p class="dim missing">No metrics have been logged yet: metrics.jsonl has no rows.</p>')
  shares = [k for k, (_, v) in series.items() if k.startswith('eval/') and np.all(np.isnan(v) | ((v >= 0) & (v <= 1)))]
  first = [key for key in ('loss', 'lr', 'learning_rate', 'examples_per_second') if key in series]
  others = [key for key in series if key not in first and key not in shares]
  shown, left = others[:16], others[16:]
  charts = [[key] for key in first[:1]] + ([shares] if shares else []) + [[key] for key in first[1:] + shown]
  figures, binned = '', False
  for keys in charts:
    svg, thinned = _chart([series[key] for key in keys])
    binned |= thinned
    final = [(key, float(series[key][1][-1])) for key in keys]
    final = [f'{value:.1%}' if key in shares and value == value else _number(value) for key, value in final]
    name = 'Online evaluation' if len(keys) > 1 else _label(keys[0])
    last = '' if len(keys) > 1 else f'<span class="last">last {_e(final[0])}</span>'
    texts = (f'{_label(key)}: last {value}' for key, value in zip(keys, final, strict=True))
    legend = _legend(texts) if len(keys) > 1 else ''
    holes = {key: series[key][0][np.isnan(series[key][1])] for key in keys}
    warning = ''.join(
      f'<p class="warn">Not finite at {len(steps)} logged step{"s"[: len(steps) > 1]}, first {_number(int(steps[0]))}'
      f' (<code>{_e(key)}</code>)</p>'
      for key, steps in holes.items()
      if len(steps)
    )
    figures += f'<figure><h3>{last}{_e(name)}</h3>{svg}{legend}{warning}</figure>'
  note = 'Against the step.' + (' Line: mean of a bin of steps; band: its lowest and highest value.' if binned else '')
  note += f' Not drawn: {_e(", ".join(left))} (metrics.jsonl has them).' if left else ''
  return _section(title, f'<div class="charts">{figures}</div>', note)


def _chart(lines: list) -> tuple[str, bool]:
  """Inline SVG of curves (steps [n], values [n]) whose colours follow the page's; and whether points were binned."""
  import matplotlib
  from matplotlib.backends.backend_svg import FigureCanvasSVG
  from matplotlib.figure import Figure
  from matplotlib.ticker import EngFormatter, MaxNLocator

  # Colours that stand for the page's own, replaced in the SVG: a picture made once then suits light and dark.
  dim, rule, accent = '#010203', '#040506', '#070809'
  style = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'pretrain',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 8,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.spines.left': False,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'axes.formatter.limits': (-3, 5),
    'axes.formatter.use_mathtext': False,
    'grid.linewidth': 0.8,
    'ytick.major.size': 0,
    'path.simplify': True,
  }
  style |= dict.fromkeys(('text.color', 'xtick.color', 'ytick.color', 'axes.labelcolor'), dim)
  style |= dict.fromkeys(('grid.color', 'axes.edgecolor'), rule)
  binned = False
  with matplotlib.rc_context(style):
    figure = Figure(figsize=(4.6, 2.3), layout='constrained')
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for i, (steps, values) in enumerate(lines):
      color = accent if len(lines) == 1 else PALETTE[i % len(PALETTE)]
      good = np.isfinite(values)
      steps, values = steps[good], values[good]
      if len(steps) > 2 * BINS:
        binned = True
        parts = list(zip(np.array_split(steps, BINS), np.array_split(values, BINS), strict=True))
        steps = np.array([part.mean() for part, _ in parts])
        low, high = ([edge(part) for _, part in parts] for edge in (np.min, np.max))
        axes.fill_between(steps, low, high, color=color, alpha=0.18, lw=0)
        values = np.array([part.mean() for _, part in parts])
      mark = 'o' if len(steps) <= 30 else None
      axes.plot(steps, values, color=color, linewidth=1.5, marker=mark, markersize=3)
    seen = np.concatenate([values[np.isfinite(values)] for _, values in lines])
    if len(seen) and seen.min() > 0 and seen.max() / seen.min() > 1000:
      axes.set_yscale('log')
    else:
      axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    axes.margins(x=0.01)
    file = io.StringIO()
    metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    figure.savefig(file, format='svg', transparent=True, metadata=metadata)
  svg = file.getvalue()
  svg = svg[svg.index('<svg') :]
  # Its stylesheet would rule the whole page, its ids clash with the next chart's, its namespaces are HTML's already.
  svg = re.sub(r'<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->', '', svg, flags=re.DOTALL)
  svg = re.sub(r' xmlns(:xlink)?="[^"]*"| id="[a-z0-9.]+_\d+"', '', svg).replace('xlink:href', 'href')
  svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', svg))
  page = {dim: 'var(--dim)', rule: 'var(--line)', accent: 'var(--accent)', "'DejaVu Sans'": 'system-ui'}
  for mine, css in page.items():
    svg = svg.replace(mine, css)
  return svg.replace('<svg', '<svg role="img"', 1), binned


def _legend(names, colors=None) -> str:
  colors = colors or itertools.cycle(PALETTE)
  pairs = zip(names, colors, strict=False)
  return f'<div class="legend">{"".join(f"<span><i style='background:{c}'></i>{_e(n)}</span>" for n, c in pairs)}</div>'


# --- pictures -------------------------------------------------------------------------------------------------------


def _image(pixels, caption: str = '', mark: str = '', width: int = 0) -> str:
  """A thumbnail of u8[h, w, c]: PNG where it is small, JPEG of at most THUMB px where a PNG would weigh too much."""
  pixels = np.asarray(pixels)
  if pixels.dtype != np.uint8:
    raise ValueError(f'pictures of a report are uint8 [h, w, c], got {pixels.dtype} {list(pixels.shape)}')
  c = pixels.shape[-1]
  picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3] if c >= 3 else pixels[..., 0]))
  small = max(picture.size) <= 48
  picture.thumbnail((THUMB, THUMB))
  file = io.BytesIO()
  picture.save(file, 'PNG' if small else 'JPEG', **({'optimize': True} if small else {'quality': 85}))
  kind = 'png' if small else 'jpeg'
  source = f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
  sized = f' style="width:{width}px"' if width else ''
  look = f'<img{" class=px" if small else ""} alt="" src="{source}">'
  return f'<div class="pic {mark}"{sized}>{look}{_e(caption)}</div>'


def _views(data: dict, again: str) -> str:
  title = 'Augmented views'
  if 'originals' not in data:
    return '' if 'labels' in data else _missing(title, 'No pictures of the views have been saved.', again)
  originals = data['originals'][:8]
  crops = [data[f'views_{i}'] for i in range(len(data)) if f'views_{i}' in data]
  largest = max(crop.shape[2] for crop in crops)
  strips = ''
  for i, original in enumerate(originals):
    shown = ''
    for crop in crops:
      scale = crop.shape[2] / largest
      shown += ''.join(_image(view, width=0 if scale == 1 else max(32, round(80 * scale))) for view in crop[i, :12])
    strips += f'<div class="strip"><div class="first">{_image(original)}</div><div>{shown}</div></div>'
  sizes = ' and '.join(f'{crop.shape[1]} of {crop.shape[2]} × {crop.shape[3]} px' for crop in crops)
  note = f'Left the image as it is stored, right what the model is given: {_e(sizes)}.'
  width = 120 + sum(min(12, crop.shape[1]) * (6 + max(32, round(80 * crop.shape[2] / largest))) for crop in crops)
  return _section(title, f'<div class="rows" style="--min:{min(1000, width)}px">{strips}</div>', note)


def _neighbors(data: dict, again: str) -> str:
  title = 'Nearest neighbours'
  if 'queries' not in data:
    return '' if 'labels' in data else _missing(title, 'No neighbours have been saved.', again)
  queries, neighbors = data['queries'][:10], data['neighbors'][:10, :8]
  known, strips = 'query_labels' in data, ''
  for i, query in enumerate(queries):
    label = data['query_labels'][i] if known else None
    near = ''
    for j, neighbor in enumerate(neighbors[i]):
      other = data['neighbor_labels'][i, j] if known else None
      mark = ('right' if label == other else 'wrong') if known else ''
      text = f'{"✓" if label == other else "✗"} {_class(data, other)}' if known else ''
      near += _image(neighbor, text, mark)
    first = _image(query, _class(data, label) if known else '')
    strips += f'<div class="strip"><div class="first">{first}</div><div>{near}</div></div>'
  note = 'Left a test image, right the training images whose features are most similar, nearest first.'
  if known:
    labels = data['neighbor_labels'][: len(queries), : neighbors.shape[1]]
    share = float(np.mean(labels == data['query_labels'][: len(queries), None]))
    note += f' ✓ and green: the same class ({share:.0%} of those shown); ✗ and red: another.'
  width = 120 + 86 * neighbors.shape[1]
  return _section(title, f'<div class="rows" style="--min:{width}px">{strips}</div>', note)


def _class(data: dict, label) -> str:
  classes = data.get('classes', ())
  return str(classes[label]) if 0 <= label < len(classes) else str(label)


# --- projection -----------------------------------------------------------------------------------------------------


def _projection(data: dict, again: str) -> str:
  title = 'Features in two dimensions'
  if 'feature_names' not in data:
    return _missing(title, 'No features have been saved.', again)
  labels = data.get('labels')
  names = [str(name) for name in data['feature_names']]
  n = len(data['features_0'])
  keep = np.sort(np.random.default_rng(0).permutation(n)[:POINTS])
  present = [] if labels is None else np.unique(labels[keep]).tolist()
  colors = _colors(len(present))
  panels = ''
  for i, name in enumerate(names):
    points, trouble = _embed(data[f'features_{i}'][keep])
    if points is None:
      inside = f'<p class="warn">{_e(trouble)}</p>'
    elif labels is None:
      inside = _scatter([('var(--accent)', points)])
    else:
      inside = _scatter([(c, points[labels[keep] == label]) for label, c in zip(present, colors, strict=True)])
    panels += f'<figure><h3>{_e(name)}</h3>{inside}</figure>'
  legend = _legend([_class(data, label) for label in present[:40]], colors) if present else ''
  legend += f'<p class="dim">and {len(present) - 40} more classes</p>' if len(present) > 40 else ''
  note = (
    f't-SNE (perplexity {_perplexity(len(keep))}, seed 0) of the first 50 principal components of {len(keep):,} '
    'held-out examples. Near points have similar features; the distance between far groups and the axes mean nothing.'
  )
  return _section(title, f'<div class="charts">{panels}</div>{legend}', note)


def _perplexity(n: int) -> int:
  return min(30, max(1, (n - 1) // 3))


def _embed(features: np.ndarray) -> tuple[np.ndarray | None, str]:
  """f32[n, d] -> (f32[n, 2] in [0, 1], '') by PCA and t-SNE, or (None, why there is no picture)."""
  from sklearn.decomposition import PCA
  from sklearn.manifold import TSNE
  from threadpoolctl import threadpool_limits

  n, d = features.shape
  if not np.isfinite(features).all():
    return None, 'Some features are not finite.'
  features = features.astype(np.float64)
  if n < 5 or features.std(axis=0).max() < 1e-6 * max(1e-30, np.abs(features).max()):
    return None, 'Too few examples.' if n < 5 else 'Collapsed: every example has the same features.'
  with threadpool_limits(1):  # on a busy machine its threads wait for each other: 50 s with two, 13 s with one
    reduced = PCA(min(50, n, d), random_state=0).fit_transform(features)
    if reduced.shape[1] < 2:
      reduced = np.pad(reduced, ((0, 0), (0, 1)))
    reduced = (reduced / np.abs(reduced).max()).astype(np.float32)
    start = reduced[:, :2] * 1e-4
    points = TSNE(2, perplexity=_perplexity(n), init=start, max_iter=500, random_state=0).fit_transform(reduced)
  low, high = np.percentile(points, [0.2, 99.8], axis=0)
  return ((points - low) / np.maximum(high - low, 1e-12)).clip(-0.02, 1.02), ''


def _colors(n: int) -> list[str]:
  if n <= len(PALETTE):
    return list(PALETTE[:n])
  return [f'hsl({360 * i / n:.0f} {(70, 45)[i % 2]}% {(45, 62)[i // 2 % 2]}%)' for i in range(n)]


def _scatter(groups: list) -> str:
  """Inline SVG of [(colour, f32[n, 2] in [0, 1])]: one path a class, a dot a subpath of no length with round caps."""
  paths = ''
  for color, points in groups:
    dots = ''.join(f'M{x:.0f} {y:.0f}h0' for x, y in points * [1000, 760] + 20)
    paths += f'<path d="{dots}" stroke="{color}" stroke-width="11" stroke-linecap="round" fill="none" opacity=".75"/>'
  return f'<svg role="img" viewBox="0 0 1040 800">{paths}</svg>'


# --- timeline and config --------------------------------------------------------------------------------------------


def _timeline(events: list) -> str:
  title = 'Timeline'
  if not events:
    return _section(title, '<p class="dim missing">No events: events.jsonl has no rows.</p>')
  zero = next((row['time'] for row in events if isinstance(row.get('time'), int | float)), 0)
  groups = [(name, list(rows)) for name, rows in itertools.groupby(events, lambda row: str(row.get('event', '')))]
  lines = []
  for name, rows in groups:
    if len(rows) > 3:
      steps = [row['step'] for row in rows if isinstance(row.get('step'), int | float)]
      span = f'steps {_number(steps[0])} to {_number(steps[-1])}' if steps else ''
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
      ago = '+' + _duration(row['time'] - zero)
      with contextlib.suppress(OverflowError, OSError, ValueError):
        clock = f'{datetime.datetime.fromtimestamp(row["time"], datetime.UTC):%Y-%m-%d %H:%M:%S}'
    body += f'<tr><td>{ago}</td><td class="dim">{clock}</td><td><b>{_e(name)}</b></td><td>{_e(text)}</td></tr>'
  heads = '<tr><th>After</th><th>UTC</th><th>Event</th><th>Details</th></tr>'
  return _section(title, f'<div class="scroll"><table class="events">{heads}{body}</table></div>')


def _compact(value) -> str:
  if isinstance(value, int | float) or value is None:
    return _number(value)
  text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
  return text if len(text) <= 300 else text[:297] + '…'


def _config(config: dict) -> str:
  if not config:
    return _section('Resolved config', '<p class="dim missing">No config.json in this directory.</p>')
  text = json.dumps(config, indent=2, ensure_ascii=False)
  return f'<section><details><summary>Resolved config</summary><pre>{_e(text)}</pre></details></section>'
