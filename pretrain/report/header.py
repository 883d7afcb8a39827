"""Top of the page: how the run stands, and its key facts."""
import datetime
import itertools
import time
from pathlib import Path

import numpy as np

from pretrain.machine.metrics import goodput
from pretrain.report.words import duration, escaped, number

IDLE = 600  # seconds without a new row after which a run without an end is called interrupted


def header(name: str, workdir: Path, config: dict, rows: list, events: list, result) -> str:
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
    'Steps': f'{number(last)} of {number(steps)}' if isinstance(steps, int | float) else number(last),
    'Batch': number(config['batch']) if isinstance(config.get('batch'), int | float) else None,
    'Last loss': number(losses[-1]) if losses else None,
    'Online kNN': f'{online[-1]:.1%}' if online else None,
    'Examples/s (median)': number(float(np.median(speeds))) if speeds else None,
    'Of the peak (median)': f'{float(np.median(shares)):.1%}' if shares else 'unknown device' if rows else None,
    'Waiting for data': f'{float(np.mean(waits)):.1%}' if waits else None,
    'Goodput': f'{useful:.1%}' if (useful := goodput(events)) else None,
    'Time': duration(spent) + (f' in {len(starts)} attempts' if len(starts) > 1 else '') if times else None,
    'Devices': ' × '.join(str(start[key]) for key in ('devices', 'device') if key in start),
    'Compilation': f'{number(float(sum(compiles)))} s' if compiles else None,
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
      text = number(found) if isinstance(found, int) and title == 'Parameters' else _named(found)
      facts[title] = text if len(text) <= 120 else text[:117] + '…'
  listed = ''.join(f'<div><dt>{escaped(key)}</dt><dd>{escaped(value)}</dd></div>'
                   for key, value in facts.items() if value)
  when = ''
  if times:
    begin, end = (datetime.datetime.fromtimestamp(t, datetime.UTC) for t in (min(times), max(times)))
    until = f'{end:%H:%M}' if end.date() == begin.date() else f'{end:%Y-%m-%d %H:%M}'
    when = f'{begin:%Y-%m-%d %H:%M} to {until} UTC'
  words = [str(part) for part in (objective, when, why) if part]
  badge = word if word in ('done', 'running', 'stopped', 'interrupted', 'failed') else 'stopped'
  return (
    f'<header><div class="head"><h1>{escaped(name)}</h1><span class="badge {badge}">{escaped(word)}</span></div>'
    f'<p class="dim">{escaped(" · ".join(words))}</p></header><section><h2>Key facts</h2><dl>{listed}</dl></section>'
  )


def _status(workdir: Path, rows: list, events: list, result) -> tuple[str, str]:
  """(word, explanation) of how the run stands, from its last start, stop and result."""
  last = max((row['step'] for row in rows), default=0)
  ended = result or {}
  steps = ended.get('steps', last)
  if result is not None and isinstance(steps, int) and steps >= last:  # one of fewer steps is of an earlier run
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
  return 'interrupted', f'nothing written for {duration(idle)} and no stop event'


def _named(value) -> str:
  """'vit (depth 6, width 192)' of a dict(name='vit', depth=6, width=192); the text itself of anything flat."""
  if not isinstance(value, dict):
    return str(value)
  parts = ', '.join(f'{k} {v}' for k, v in value.items() if k != 'name' and isinstance(v, int | float | str))
  return f'{value["name"]} ({parts})' if 'name' in value and parts else str(value.get('name', parts))


def _spent(events: list) -> float:
  """Seconds from start to last event, summed over attempts: the time between a kill and a resume is nobody's."""
  timed = [row for row in events if isinstance(row.get('time'), int | float)]
  return sum(max(0, b['time'] - a['time']) for a, b in itertools.pairwise(timed) if b.get('event') != 'start')
