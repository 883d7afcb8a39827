"""Which papers' suites a test run needs: those whose code is not what `make test-all` last proved, and a tenth.

A paper's suite is its file in tests/papers and its part of tests/test_objectives.py. It rests on the files that these
import, directly or not, but for the spine, which tests/spine proves on made-up objectives. `make test-all` writes
tests/proved.json: what the files of each paper whose suite passed were then.
"""
import ast
import functools
import hashlib
import importlib.metadata
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / 'tests/proved.json'
SPINE = ('pretrain/__init__.py', 'pretrain/__main__.py', 'pretrain/config.py', 'pretrain/files.py', 'pretrain/run.py',
         'pretrain/step.py', 'pretrain/train.py', 'pretrain/machine/')
PACKAGES = ('jax', 'flax', 'optax', 'numpy')


@functools.cache
def papers() -> tuple[str, ...]:
  return tuple(sorted(path.stem.removeprefix('test_') for path in (ROOT / 'tests/papers').glob('test_*.py')))


def paper_of(test: str) -> str | None:
  """The paper to whose suite a test belongs, by its id: its file in tests/papers, its part of test_objectives.py."""
  if not test.startswith(('tests/papers/', 'tests/test_objectives.py')):
    return None
  parts = re.split(r'tests/papers/test_|\.py::|[\[\]@-]', test)
  return next((part for part in parts if part in papers()), None)


@functools.cache
def imported(file: str) -> frozenset[str]:
  """The files of the project that one imports by itself, and the packages above them."""
  names = set()
  for node in ast.walk(ast.parse((ROOT / file).read_text())):
    if isinstance(node, ast.Import):
      names |= {each.name for each in node.names}
    elif isinstance(node, ast.ImportFrom):
      module = node.module or ''
      if node.level:
        module = '.'.join((*Path(file).parent.parts[:len(Path(file).parent.parts) + 1 - node.level], module)).strip('.')
      names |= {module, *(f'{module}.{each.name}' for each in node.names)}
  found = set()
  for name in names:
    parts = name.split('.')
    for end in range(1, len(parts) + 1):
      path = '/'.join(parts[:end])
      found |= {each for each in (f'{path}.py', f'{path}/__init__.py') if (ROOT / each).is_file()}
  return frozenset(found)


def closure(paper: str) -> list[str]:
  """The files that a paper's suite rests on, the spine left out."""
  found, waiting = set(), {f'tests/papers/test_{paper}.py', 'tests/test_objectives.py'}
  while waiting:
    file = waiting.pop()
    if file in found or file.startswith(SPINE) or not (ROOT / file).is_file():
      continue
    found.add(file)
    waiting |= imported(file)
  return sorted(found)


@functools.cache
def content(file: str) -> str:
  """The code of a file: without comments, docstrings and layout."""
  tree = ast.parse((ROOT / file).read_text())
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
      node.body = node.body[1:] or [ast.Pass()]
  return ast.unparse(tree)


def digest(paper: str) -> str:
  """What a paper's suite rests on, in 16 digits."""
  text = '\n'.join(f'{file}\n{content(file)}' for file in closure(paper))
  versions = [f'{package} {importlib.metadata.version(package)}' for package in PACKAGES]
  return hashlib.sha256('\n'.join([*versions, text]).encode()).hexdigest()[:16]


def record() -> dict:
  return json.loads(RECORD.read_text()) if RECORD.is_file() else {'papers': {}}


def drawn(paper: str) -> bool:
  """Whether a paper is of the tenth that every run proves again: by its name, so that it does not depend on others."""
  return int(hashlib.sha256(paper.encode()).hexdigest(), 16) % 10 == 0


def write(outcomes: dict[str, str], date: str) -> None:
  """Writes the record of a run of everything.

  Args:
    outcomes: {id of a test: 'passed', 'failed' or 'skipped'}.
    date: of its end.
  """
  suites: dict[str, list[str]] = {}
  for test, outcome in outcomes.items():
    if paper := paper_of(test):
      suites.setdefault(paper, []).append(outcome)
  counts = {each: list(outcomes.values()).count(each) for each in ('passed', 'failed', 'skipped')}
  whole = {paper: digest(paper) for paper in papers() if 'failed' not in suites.get(paper, ['failed'])}
  versions = {package: importlib.metadata.version(package) for package in PACKAGES}
  RECORD.write_text(json.dumps(dict(date=date, **counts, versions=versions, papers=whole), indent=2) + '\n')


@functools.cache
def wanted() -> dict[str, str]:
  """{paper: why} of the suites that a run of all tests needs."""
  known = record()['papers']
  changed = {paper for paper in papers() if known.get(paper) != digest(paper)}
  return {paper: 'changed' if paper in changed else 'of the tenth' for paper in papers()
          if paper in changed or drawn(paper)}
