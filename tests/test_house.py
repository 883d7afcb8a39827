"""Rules of the house: short functions on the spine, and imports that go down."""
import ast
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPINE = ('train', 'run', 'step', 'config', 'files', '__main__')  # of pretrain
LINES, ARGUMENTS = 60, 12
FLOORS = (  # lowest first; a part imports parts of lower floors only, none of its own floor
    ('pretrain.config',),
    ('pretrain.files',),
    ('pretrain.machine', 'data'),
    ('pretrain.losses', 'pretrain.views'),
    ('pretrain.frontends',),
    ('pretrain.models',),
    ('pretrain.method',),
    ('pretrain.objectives', 'pretrain.optim'),
    ('pretrain.step',),
    ('pretrain.interop', 'pretrain.report', 'pretrain.catalog'),
    ('pretrain.evaluate',),
    ('pretrain.run',),
    ('pretrain.plan',),
    ('pretrain.train',),
    ('pretrain.programs',),
    ('pretrain.__main__',),
    ('launch',))
KNOWN: set[tuple[str, str]] = set()  # (part, part that it should not import), still to be mended


def too_large(path: Path) -> list[str]:
  """The functions of a file that are too large; a nested one is also among the lines of the one around it."""
  found = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      lines = (node.end_lineno or node.lineno) - node.lineno + 1
      arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs,
                   *filter(None, (node.args.vararg, node.args.kwarg))]
      if lines > LINES or len(arguments) > ARGUMENTS:
        found.append(f'{path.name}:{node.lineno} {node.name}: {lines} lines, {len(arguments)} arguments')
  return found


def test_functions_of_the_spine_are_short():
  found = [each for name in SPINE for each in too_large(ROOT / 'pretrain' / f'{name}.py')]
  assert not found, '\n'.join(found)


def part_of(module: str) -> str:
  """'pretrain.models' of 'pretrain.models.vit', 'data' of 'data.sources.csv'."""
  return '.'.join(module.split('.')[:2 if module.startswith('pretrain.') else 1])


def imported(path: Path) -> Iterator[str]:
  """The modules of this project that a file imports, inside of functions too."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names = [each.name for each in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
      names = [f'{node.module}.{each.name}' for each in node.names]
    else:
      continue
    yield from (name for name in names if name.split('.')[0] in ('pretrain', 'data', 'launch'))


def test_lower_floors_import_nothing_above():
  floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
  wrong, seen = set(), set()
  for top in ('pretrain', 'data', 'launch'):
    for path in sorted((ROOT / top).rglob('*.py')):
      part = part_of('.'.join(path.relative_to(ROOT).with_suffix('').parts))
      if part == 'pretrain.__init__':
        continue
      seen.add(part)
      for module in imported(path):
        if (other := part_of(module)) != part and floor[other] >= floor[part]:
          wrong.add((part, other))
  assert seen == floor.keys()
  assert wrong == KNOWN


@pytest.mark.parametrize('path', sorted((ROOT / 'benchmarks').glob('*.py')), ids=lambda path: path.stem)
def test_what_a_benchmark_imports_is_there(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and str(node.module).split('.')[0] in ('pretrain', 'data', 'launch'):
      module = importlib.import_module(node.module)
      for each in node.names:
        assert hasattr(module, each.name) or importlib.util.find_spec(f'{node.module}.{each.name}'), each.name
