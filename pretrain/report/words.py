"""Pieces of the page's HTML, and numbers, durations and names of metrics for the eye."""
import datetime
import html
import math
import re

LABELS = {
  'loss': 'Loss',
  'lr': 'Learning rate',
  'learning_rate': 'Learning rate',
  'examples_per_second': 'Examples per second',
  'knn': 'kNN',
  'linear': 'Linear probe',
}


def escaped(value) -> str:
  return html.escape(str(value))


def section(title: str, body: str, note: str = '') -> str:
  note = f'<p class="note">{note}</p>' if note else ''
  return f'<section><h2>{escaped(title)}</h2>{note}{body}</section>'


def missing(title: str, what: str, again: str) -> str:
  return section(title, f'<p class="dim missing">{escaped(what)} Add it with <code>{escaped(again)}</code></p>')


def number(value) -> str:
  """A number for the eye: 4 significant digits, thousands separated."""
  if value is None or (isinstance(value, float) and not math.isfinite(value)):
    return 'not finite'
  if isinstance(value, bool | str):
    return str(value)
  if isinstance(value, int) or (abs(value) < 1e15 and value == int(value)):
    return f'{int(value):,}'
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'


def label_of(key: str) -> str:
  family, _, last = key.rpartition('/')
  text = LABELS.get(last) or re.sub(r'^labels (\d+)$', r'\1 labels', last.replace('_', ' '))
  text = re.sub(r'^linear (\d+) per class$', r'Linear, \1 labels a class', text)
  if family:
    return f'{text} ({"online" if family == "eval" else family})'
  return text if last in LABELS else text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
  return str(datetime.timedelta(seconds=round(seconds)))
