"""Which suites a test run needs: those whose code is not what `make test-all` last proved, and a tenth.

A paper's suite is its file in tests/papers, its part of tests/test_objectives.py, and the tests of the rows of its file
in configs. It rests on the files that these import, directly or not, but for the spine, which tests/spine proves on
made-up objectives; the tests of rows rest on the spine too. The system's suite is kills, several processes, programs,
launchers; it rests on all code but that of methods and networks, which papers' suites prove. A further file of tests
says that it belongs to a suite: `pytestmark = pytest.mark.suite('system')`; a suite of another name rests on what its
files import. `make test-all` writes tests/proved.json: what the files of each suite that passed were then.
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
SYSTEM = 'system'
METHODS = ('pretrain/catalog/', 'pretrain/frontends/', 'pretrain/losses/', 'pretrain/method/', 'pretrain/models/',
           'pretrain/objectives/', 'pretrain/views/', 'launch/tables/')  # what the system does not rest on
PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


@functools.cache
def papers() -> tuple[str, ...]:
  return tuple(sorted(path.stem.removeprefix('test_') for path in (ROOT / 'tests/papers').glob('test_*.py')))


@functools.cache
def marked() -> dict[str, str]:
  """{file of tests: the suite that it says it belongs to}."""
  found = {}
  for file in sorted((ROOT / 'tests').rglob('test_*.py')):
    if mark := re.search(r"^pytestmark = pytest\.mark\.suite\('(\w+)'\)$", file.read_text(), re.M):
      found[str(file.relative_to(ROOT))] = mark[1]
  return found


def suites_of(test: str) -> tuple[str, ...]:
  """The suites to which a test belongs, by its id: one, for a row its paper's and the system's; () of those that are
  always run.
  """
  if suite := marked().get(test.partition('::')[0]):
    return (suite,)
  if (row := re.search(r'\[(\w+)\.py:', test)) and row[1] in papers():
    return (row[1], SYSTEM)
  if not test.startswith(('tests/papers/', 'tests/test_objectives.py')):
    return ()
  parts = re.split(r'tests/papers/test_|\.py::|[\[\]@-]', test)
  return tuple(part for part in parts if part in papers())[:1]


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


def closure(waiting: set[str], without: tuple[str, ...]) -> set[str]:
  """These files and those that they import, directly or not, but for those `without`."""
  found: set[str] = set()
  while waiting:
    file = waiting.pop()
    if file not in found and not file.startswith(without) and (ROOT / file).is_file():
      found.add(file)
      waiting |= imported(file)
  return found


def files(suite: str) -> list[str]:
  """The files that a suite rests on."""
  tests = {file for file, name in marked().items() if name == suite}
  if suite in papers():
    own = {f'tests/papers/test_{suite}.py', f'configs/{suite}.py', 'tests/test_objectives.py'}
    return sorted(closure(own | tests, SPINE))
  if suite != SYSTEM:
    return sorted(closure(tests, ()))
  code = {str(file.relative_to(ROOT)) for place in ('pretrain', 'data', 'launch')
          for file in (ROOT / place).rglob('*.py')}
  without = (*METHODS, *(file for file in code if file.startswith(METHODS)))
  return sorted(closure(code | tests | {'tests/tiny.py'}, without))


@functools.cache
def content(file: str) -> str:
  """The code of a file: without comments, docstrings and layout."""
  tree = ast.parse((ROOT / file).read_text())
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
      node.body = node.body[1:] or [ast.Pass()]
  return ast.unparse(tree)


@functools.cache
def versions() -> dict[str, str]:
  """Of the packages that compute."""
  return {package: importlib.metadata.version(package) for package in PACKAGES}


def digest(suite: str) -> str:
  """What a suite rests on, in 16 digits."""
  text = '\n'.join(f'{file}\n{content(file)}' for file in files(suite))
  computed_by = [f'{package} {version}' for package, version in versions().items()]
  return hashlib.sha256('\n'.join([*computed_by, text]).encode()).hexdigest()[:16]


def suites() -> tuple[str, ...]:
  return tuple(sorted({*papers(), *marked().values()}))


def record() -> dict:
  return json.loads(RECORD.read_text()) if RECORD.is_file() else {'suites': {}}


def drawn(name: str) -> bool:
  """Whether a paper, or a test of another suite, is of the tenth that every run has: by its name alone."""
  return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0


def write(outcomes: dict[str, str], date: str) -> None:
  """Writes the record of a run of everything.

  Args:
    outcomes: {id of a test: 'passed', 'failed' or 'skipped'}.
    date: of its end.
  """
  found: dict[str, list[str]] = {}
  for test, outcome in outcomes.items():
    for suite in suites_of(test):
      found.setdefault(suite, []).append(outcome)
  counts = {each: list(outcomes.values()).count(each) for each in ('passed', 'failed', 'skipped')}
  whole = {suite: digest(suite) for suite in suites() if 'failed' not in found.get(suite, ['failed'])}
  RECORD.write_text(json.dumps(dict(date=date, **counts, versions=versions(), suites=whole), indent=2) + '\n')


def changed() -> frozenset[str]:
  """The suites whose code is not what was proved."""
  known = record()['suites']
  return frozenset(suite for suite in suites() if known.get(suite) != digest(suite))


def needed(test: str, changed: frozenset[str]) -> bool:
  """Whether a run of all tests has this one, where these suites are `changed`."""
  suites = suites_of(test)
  if not suites or not changed.isdisjoint(suites):
    return True
  return drawn(suites[0] if suites[0] in papers() else test.partition('@')[0])
