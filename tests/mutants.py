"""Mutation testing: wrong lines, one at a time and at random, in a copy of the tree; do the related tests notice?

  python -m tests.mutants --n=200 --seed=0 [--area=objectives,losses] [--only=pretrain/queue.py] [--list]

The sample is drawn area by area (`AREAS`), within one the rarer kinds of changes more often; one of a larger n begins
with that of a smaller one. Each wrong line meets first the tests that name the changed function, then those of the
functions that use it, then what the table `RELATED` adds; of each stage the quickest that fit into `--budget` seconds.
They must pass before anything is changed, or the call ends. A failure, a crash or a hang is `caught`; what no test
notices is `undecided` if slower ones were left out: a larger budget asks them. Rows are kept in runs/mutants, by a sum
of the tree's Python files, so that an interrupted call goes on; `mutants_equivalent.txt` has the changes that change
nothing, with reasons.
"""
import argparse
import ast
import collections
import concurrent.futures
import contextlib
import fnmatch
import functools
import hashlib
import itertools
import json
import os
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SHELLS = 'teacher semi_supervised masked_autoencoder combine objective queue masks two_towers per_example cluster'
RUN = 'run train checkpoint rundir config metrics processes'

# Weight in the sample, and files.
AREAS = {
    'objectives': (4, ['pretrain/objectives/*.py']),
    'losses': (4, ['pretrain/losses/*.py']),
    'shells': (3, [f'pretrain/{name}.py' for name in SHELLS.split()]),
    'step': (2, ['pretrain/step.py', 'pretrain/optim.py', 'pretrain/sharding.py', 'pretrain/initialize.py']),
    'models': (2, ['pretrain/models/*.py']),
    'views': (2, ['pretrain/views/*.py']),
    'data': (3, ['data/*.py']),
    'evaluate': (2, ['pretrain/evaluate/*.py']),
    'label': (1, ['pretrain/label.py', 'pretrain/programs/*.py']),
    'run': (2, [f'pretrain/{name}.py' for name in RUN.split()]),
    'plan': (1, ['pretrain/plan/*.py']),
    'launch': (1, ['launch/[!t]*.py', 'launch/table.py']),
}

# What a mutant of these files meets, the first pattern that fits: what always (if it exists) and first; test files, of
# which those tests that name the changed function; what always and last. {stem} is the file's, {name} the function's.
LOSSES = 'losses losses_contrastive losses_distillation losses_semi_supervised losses_consistency isogclr deepercluster'
METHODS = (f'semi_supervised contrastive combine spark text video rows hold dinov2_distill {LOSSES} frequency programs '
           'per_example evaluate')
SUITE = 'tests/test_objectives.py -k '
RELATED = {
    'pretrain/objectives/*.py': ('tests/papers/test_{stem}.py', METHODS, SUITE + '[{stem}'),
    'pretrain/losses/*.py': ('', f'{LOSSES} contrastive semi_supervised scale', 'tests/papers/test_{name}.py'),
    'pretrain/teacher.py': ('', METHODS, SUITE + '[byol]|[moco_v2]|[dino]'),
    'pretrain/semi_supervised.py': ('', METHODS, SUITE + '[fixmatch]|[mean_teacher]'),
    'pretrain/masked_autoencoder.py': ('', METHODS, SUITE + '[mae]|[videomae]'),
    'pretrain/two_towers.py': ('', METHODS, SUITE + '[clip]'),
    'pretrain/combine.py': ('', METHODS, SUITE + '[alternate]|[weighted]'),
    'pretrain/objective.py': ('', METHODS, SUITE + '[simclr]|[byol]'),
    'pretrain/queue.py': ('', METHODS, SUITE + '[moco_v2]'),
    'pretrain/masks.py': ('', f'masks {METHODS}', SUITE + '[ibot]|[i_jepa]'),
    'pretrain/per_example.py': ('', METHODS, ''),
    'pretrain/cluster.py': ('', 'cluster deepercluster contrastive', ''),
    'pretrain/step.py': ('', 'hold optim phases rs2 train', SUITE + '[simclr]|[dino]'),
    'pretrain/optim.py': ('', 'optim hold continual ranges', SUITE + '[swav]'),
    'pretrain/sharding.py': ('', 'scale processes plan cluster per_example train', SUITE + '[simclr'),
    'pretrain/initialize.py': ('', 'programs dinov2_distill continual', ''),
    'pretrain/models/*.py': ('', f'models quantized plan {METHODS}', SUITE + '[mae]|[clip]|[bert]'),
    'pretrain/views/*.py': ('', 'views fractals frequency video rs2', ''),
    'data/*.py': ('', 'data sources labels classes csv decode lines identity text video rows rs2 workers odd_data '
                      'fractals evaluate', ''),
    'pretrain/evaluate/*.py': ('', 'evaluate train text labels classes deepercluster', ''),
    'pretrain/label.py': ('', 'labels programs deepercluster identity small_files', ''),
    'pretrain/programs/*.py': ('', 'programs continual dinov2_distill deepercluster small_files', ''),
    'pretrain/plan/*.py': ('', 'plan scale says', ''),
    'launch/*.py': ('', 'launch launch_input table', ''),
    'pretrain/*.py': ('', 'config train metrics says small_files processes data evaluate phases formats', ''),
}

KEPT_OUT = 'annotation', 'returns', 'decorator_list', 'type_params', 'ctx'
HARMFUL = 'kill', 'killpg', 'send_signal', 'rmtree', 'unlink', 'rmdir', 'remove'
SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
ATOMS = ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.Dict
LITERALS = ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Lambda, ast.UnaryOp, ast.JoinedStr
OPERATORS = {ast.Add: ('+', '-'), ast.Sub: ('-', '+'), ast.Mult: ('*', '/'), ast.Div: ('/', '*'),
             ast.And: ('and', 'or'), ast.Or: ('or', 'and'), ast.Eq: ('==', '!='), ast.NotEq: ('!=', '=='),
             ast.Lt: ('<', '<='), ast.LtE: ('<=', '<'), ast.Gt: ('>', '>='), ast.GtE: ('>=', '>'),
             ast.Is: ('is', 'is not'), ast.IsNot: (r'is\s+not', 'is'),
             ast.In: ('in', 'not in'), ast.NotIn: (r'not\s+in', 'in')}
TURNED = {ast.Lt: '>', ast.Gt: '<', ast.LtE: '>=', ast.GtE: '<='}
WORDS = {a: b for one, other in [('mean', 'sum'), ('max', 'min'), ('maximum', 'minimum'), ('argmax', 'argmin'),
                                 ('any', 'all'), ('floor', 'ceil'), ('zeros_like', 'ones_like')]
         for a, b in ((one, other), (other, one))}
WRAPS = re.compile('stop_gradient|(log_)?softmax|normalize|sigmoid|relu|exp|log|sqrt|square|abs|clip|maximum|minimum|'
                   'sorted|sort|reversed')
ALONG = re.compile('sum|mean|max|min|argmax|argmin|(log_)?softmax|stack|concatenate|sort|argsort|any|all|norm')
UNKNOWN = 2.  # seconds of a test that has not run yet
NO_MATTER = 'strict', 'precision'  # keywords that guard, or that a CPU does not read


class Mutant(NamedTuple):
  """`new` instead of the bytes start to end of a file; `name`: of the top-level function or class that they are in."""
  path: str
  kind: str
  name: str
  line: int
  start: int
  end: int
  new: str
  before: str
  after: str

  def text(self, source: bytes) -> bytes:
    return source[:self.start] + self.new.encode() + source[self.end:]

  def key(self) -> str:
    return f'{self.path}:{self.start}-{self.end}:{self.new}'


# Wrong lines ----------------------------------------------------------------------------------------------------------

def skipped(node: ast.AST) -> bool:
  """Imports, messages, __all__, code of type checkers, and calls that a wrong argument makes harmful."""
  if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr | ast.Delete):
    return True
  if isinstance(node, ast.keyword):
    return node.arg in NO_MATTER
  if isinstance(node, ast.If):
    return bool(re.search('TYPE_CHECKING|__name__', ast.unparse(node.test)))
  if isinstance(node, ast.Call):
    return called(node) in ('print', 'isinstance', 'cast', *HARMFUL)
  return isinstance(node, ast.Assign | ast.AugAssign) and '__all__' in ast.unparse(node).split('=')[0]


def called(node: ast.AST) -> str:
  """The last name of what is called: 'sum' of jnp.sum(x)."""
  function = node.func if isinstance(node, ast.Call) else node
  return getattr(function, 'attr', getattr(function, 'id', ''))


def walk(node: ast.AST, above: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
  """What may be changed below a node, each with the nodes that it is in, the nearest first."""
  yield node, above
  for field, value in ast.iter_fields(node):
    for child in value if isinstance(value, list) else [value]:
      if field not in KEPT_OUT and isinstance(child, ast.AST) and not skipped(child):
        yield from walk(child, (node, *above))


class File:
  """All wrong lines of a file. required: {function: its parameters that have no default}."""

  def __init__(self, path: str, text: str, required: dict[str, set[str]]):
    self.path, self.required, self.source = path, required, text.encode()
    self.lines = [0, *itertools.accumulate(len(line) for line in self.source.splitlines(keepends=True))]
    self.tree = ast.parse(text)

  def span(self, node) -> tuple[int, int]:
    return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

  def code(self, node, atom: bool = False) -> str:
    """A node's text, in brackets if it is to be an `atom` and is none."""
    text = self.source[slice(*self.span(node))].decode()
    return f'({text})' if atom and not isinstance(node, ATOMS) else text

  def mutant(self, kind: str, name: str, start: int, end: int, new: str) -> Mutant:
    left, right = self.source.rfind(b'\n', 0, start) + 1, self.source.find(b'\n', end) % (len(self.source) + 1)
    made = self.source[left:start].decode(), new, self.source[end:right].decode()
    before, after = (' '.join(text.split()) for text in (self.source[left:right].decode(), ''.join(made)))
    return Mutant(self.path, kind, name, self.source.count(b'\n', 0, start) + 1, start, end, new, before, after)

  def valid(self, mutant: Mutant) -> bool:
    """Whether it can be parsed, and is another program."""
    try:
      return ast.dump(ast.parse(mutant.text(self.source))) != ast.dump(self.tree)
    except SyntaxError:
      return False

  def mutants(self) -> list[Mutant]:
    found: dict[tuple, Mutant] = {}
    for top in self.tree.body:
      for part in (top.body if isinstance(top, ast.ClassDef) else [top]):
        if skipped(top) or skipped(part):
          continue
        target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, 'target', part)
        name = getattr(part, 'name', getattr(target, 'id', ''))
        name = name if part is top else f'{top.name}.{name}'
        nodes = list(walk(part))
        each = itertools.chain.from_iterable(self.changes(node, above) for node, above in nodes)
        for kind, start, end, new in itertools.chain(each, exchanges(self, nodes)):
          found.setdefault((start, end, new), self.mutant(kind, name, start, end, new))
    return list(found.values())

  def operator(self, kind: str, op: ast.AST, left: ast.AST, right: ast.AST, new: str):
    """The operator between two operands."""
    start, end = self.span(left)[1], self.span(right)[0]
    between = re.sub(rb'#.*', lambda comment: b' ' * len(comment[0]), self.source[start:end])
    old = OPERATORS[type(op)][0]
    token = re.search((old if old.isalpha() or '\\s' in old else re.escape(old)).encode(), between)
    if token:
      yield kind, start + token.start(), start + token.end(), new

  def changes(self, node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[tuple[str, int, int, str]]:
    parent = above[0] if above else None
    match node:
      case ast.BinOp(left, op, right) if type(op) in OPERATORS:
        if not any(isinstance(x, ast.Constant | ast.JoinedStr) and not isinstance(getattr(x, 'value', ''), int | float)
                   for x in (left, right)):  # text is joined
          sign = isinstance(op, ast.Add | ast.Sub)
          yield from self.operator('sign' if sign else 'times', op, left, right, OPERATORS[type(op)][1])
          if isinstance(op, ast.Mult):
            yield from (('factor', *self.span(node), self.code(x, atom=True)) for x in (left, right))
      case ast.UnaryOp(ast.USub(), operand):
        start = self.span(node)[0]
        yield 'sign', start, start + 1, ''
        if isinstance(operand, ast.Constant) and along(node, parent):
          yield 'axis', *self.span(node), '0'
      case ast.UnaryOp(ast.Not()):
        start = self.span(node)[0]
        yield 'not', start, start + len(re.match(rb'not\s*', self.source[start:])[0]), ''
      case ast.BoolOp(op, values):
        for left, right in itertools.pairwise(values):
          yield from self.operator('logic', op, left, right, OPERATORS[type(op)][1])
      case ast.Compare(left, ops, comparators):
        for a, op, b in zip([left, *comparators], ops, comparators, strict=False):
          yield from self.operator('comparison', op, a, b, OPERATORS[type(op)][1])
          if type(op) in TURNED:
            yield from self.operator('comparison', op, a, b, TURNED[type(op)])
      case ast.Constant(bool(value)):
        yield 'boolean', *self.span(node), str(not value)
      case ast.Constant(int(value)) if not isinstance(parent, ast.Slice):
        if along(node, parent):
          yield 'axis', *self.span(node), str(int(not value))
          if value == 0:
            yield 'axis', *self.span(node), '-1'
        else:
          yield from (('number', *self.span(node), str(value + by)) for by in ((1, -1) if value > 0 else (1,)))
      case ast.Constant(float(value)):
        yield 'number', *self.span(node), repr(2 * value or 1.)
      case ast.Slice(lower, upper):
        for bound in filter(None, (lower, upper)):
          yield from (('slice', *self.span(bound), f'{self.code(bound, atom=True)} {by}') for by in ('+ 1', '- 1'))
      case ast.Name(word) | ast.Attribute(attr=word) if word in WORDS and not (word in 'meansum' and
                                                                              isinstance(node, ast.Name)):
        end = self.span(node)[1]
        yield 'word', end - len(word), end, WORDS[word]
      case ast.Call(args=args, keywords=keywords):
        yield from self.call(node, args, keywords)
      case ast.Expr(ast.Call()) if called(node.value) not in ('print', *HARMFUL):
        yield 'statement', *self.span(node), 'pass'
      case ast.Assign([target], value) if any(isinstance(n, ast.Call) for n in ast.walk(value)):
        names = [{n.id for n in ast.walk(x) if isinstance(n, ast.Name)} for x in (target, value)]
        if isinstance(target, ast.Name | ast.Tuple) and names[0] <= names[1]:
          yield 'statement', *self.span(node), 'pass'
      case ast.AugAssign():
        yield 'statement', *self.span(node), 'pass'

  def call(self, node: ast.Call, args: list, keywords: list):
    if WRAPS.fullmatch(called(node)) and args and not isinstance(args[0], ast.Starred):
      yield 'wrap', *self.span(node), self.code(args[0], atom=True)
    for a, b in itertools.pairwise(args):
      if not any(isinstance(x, ast.Starred) for x in (a, b)) and self.code(a) != self.code(b) and \
          isinstance(a, LITERALS) == isinstance(b, LITERALS):
        (start, one), (other, end) = self.span(a), self.span(b)
        yield 'swap', start, end, self.code(b) + self.source[one:other].decode() + self.code(a)
    wanted = self.required.get(called(node), ())
    for keyword in keywords:
      if keyword.arg and keyword.arg not in (*wanted, *NO_MATTER) and called(node) != 'dict':
        start, end = self.span(keyword)
        if comma := re.match(rb'\s*,\s*', self.source[end:]):
          end += len(comma[0])
        elif len(args) + len(keywords) > 1:
          start = self.source.rfind(b',', 0, start)
        yield 'keyword', start, end, ''


def along(node: ast.AST, parent: ast.AST | None) -> bool:
  """Whether a number is an axis: axis=0, or an argument of x.sum(-1) or jnp.sum(x, -1)."""
  return isinstance(parent, ast.keyword) and parent.arg in ('axis', 'dim') or \
      isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and \
      bool(ALONG.fullmatch(parent.func.attr)) and node in parent.args[-1:]


def exchanges(file: File, nodes: list) -> Iterator[tuple[str, int, int, str]]:
  """One name for another that is used alike in the same function, an argument for that of another call, keys."""
  binds, uses, keys, slots = (collections.defaultdict(dict) for _ in range(4))
  loads = []
  for node, above in nodes:
    parent, scope = above[0] if above else None, next((x for x in above if isinstance(x, SCOPES)), None)
    match node:
      case ast.arg(name, annotation):
        binds[scope][name] = 0
        if annotation:
          uses[name]['annotation', file.code(annotation)] = True
      case ast.Name(name, ast.Store()):
        binds[scope].setdefault(name, node.lineno * (not isinstance(parent, ast.comprehension)))
        if isinstance(parent, ast.Tuple):
          uses[name]['tuple', file.code(parent)] = True
      case ast.Name(name):
        use = role(file, node, parent)
        uses[name] |= {use: True} if use else {}
        loads.append((node, above))
      case ast.Subscript(value, ast.Constant(str(key)), ast.Load()):
        keys[file.code(value)].setdefault(key, []).append(node.slice)
      case ast.Call(args=args):
        for i, argument in enumerate(args):
          if not isinstance(argument, (ast.Starred, *LITERALS)):
            slots[file.code(node.func), i].setdefault(file.code(argument), []).append((argument, above))

  def seen(name: str, line: int, above) -> bool:
    return any(binds[x].get(name, line) < line for x in above if isinstance(x, SCOPES))

  for node, above in loads:
    for other, used in list(uses.items()):
      if other != node.id and used.keys() & uses[node.id].keys() and seen(other, node.lineno, above) and \
          any(node.id in binds[x] for x in above):
        yield 'name', *file.span(node), other
  for kind, groups in (('key', keys), ('argument', slots)):
    for group in groups.values():
      for text, other in itertools.permutations(group, 2):
        for place in group[text]:
          if kind == 'key':
            yield kind, *file.span(place), repr(other)
            continue
          node, above = place
          names = {n.id for n in ast.walk(group[other][0][0]) if isinstance(n, ast.Name)}
          local = {name for scope in binds.values() for name in scope}
          if all(seen(name, node.lineno, above) for name in names & local):
            yield kind, *file.span(node), other


def role(file: File, node: ast.Name, parent: ast.AST | None) -> tuple[str, str] | None:
  """What a name is used for."""
  match parent:
    case ast.BinOp() | ast.Compare():
      return 'operand', ''
    case ast.Attribute(attr=attribute):
      return 'attribute', attribute
    case ast.Call(func=function) if function is not node:
      return 'argument', file.code(function)
    case ast.Subscript(value, key) if value is node:
      return 'subscript', file.code(key)
  return None


def required(texts: list[str]) -> dict[str, set[str]]:
  """Of functions and classes of these files: the arguments that have no default."""
  found = collections.defaultdict(set)
  for node in itertools.chain.from_iterable(ast.walk(ast.parse(text)) for text in texts):
    if isinstance(node, ast.FunctionDef):
      a = node.args
      plain = [*a.posonlyargs, *a.args]
      found[node.name] |= {x.arg for x in plain[:len(plain) - len(a.defaults)]}
      found[node.name] |= {x.arg for x, default in zip(a.kwonlyargs, a.kw_defaults, strict=True) if default is None}
    elif isinstance(node, ast.ClassDef):
      found[node.name] |= {x.target.id for x in node.body if isinstance(x, ast.AnnAssign) and x.value is None}
  return found


def sample(files: dict[str, File], n: int, seed: int, areas: dict) -> dict[str, list[Mutant]]:
  """n mutants, shared out by the areas' weights; kinds by the root of their number."""
  total, drawn = sum(weight for weight, _ in areas.values()), {}
  for area, (weight, patterns) in areas.items():
    rng, kinds, chosen = random.Random(f'{seed} {area}'), collections.defaultdict(list), []
    for path, file in files.items():
      if any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
        for mutant in file.mutants():
          kinds[mutant.kind].append(mutant)
    weights = {kind: len(kinds[kind]) ** 0.5 for kind in sorted(kinds)}
    while weights and len(chosen) < round(n * weight / total):
      kind, = rng.choices(list(weights), list(weights.values()))
      mutant = kinds[kind].pop(rng.randrange(len(kinds[kind])))
      if not kinds[kind]:
        del weights[kind]
      if files[mutant.path].valid(mutant):
        chosen.append(mutant)
    drawn[area] = chosen
  return drawn


# Related tests --------------------------------------------------------------------------------------------------------

@functools.cache
def definitions(path: Path) -> dict[str, set[str]]:
  """Words of each function, class and variable of a file, and for imports under another name that name."""
  found: dict[str, set[str]] = {}
  text = path.read_text()
  for node in ast.parse(text).body:
    if isinstance(node, ast.ImportFrom):
      found |= {x.asname: {x.name, *(node.module or '').split('.')[-1:]} for x in node.names if x.asname}
    names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else [
        x.id for target in getattr(node, 'targets', []) for x in ast.walk(target) if isinstance(x, ast.Name)]
    for name in names:
      words = set(re.findall(r'\w+', ast.get_source_segment(text, node) or ''))
      words |= {word for x in getattr(node, 'decorator_list', []) for word in re.findall(r'\w+', ast.unparse(x))}
      found[name] = found.get(name, set()) | words - {name}
  return found


def naming(path: Path, names: set[str]) -> list[str]:
  """The tests of a file that name one of these, or use what does."""
  found, about = definitions(path), set(names)
  while more := {name for name, words in found.items() if words & about and name not in about}:
    about |= more
  return [name for name in found if name in about and name.startswith('test_')]


def stages(root: Path, mutant: Mutant) -> list[list[str]]:
  """Tests to run, stage by stage: 'tests/test_x.py::test_a', or arguments of pytest."""
  pattern = next(pattern for pattern in RELATED if fnmatch.fnmatch(mutant.path, pattern))
  first, files, last = (text.format(stem=Path(mutant.path).stem, name=mutant.name.split('.')[0])
                        for text in RELATED[pattern])
  paths = [path for file in files.split() if (path := root / 'tests' / f'test_{file}.py').exists()]
  own = definitions(root / mutant.path)
  *_, inner = outer, *_ = mutant.name.split('.')
  names, levels = {outer if inner.startswith('__') else inner}, []
  users = {name for file in root.glob('[pdl]*/**/*.py') if file != root / mutant.path  # of pretrain, data, launch
           for name, words in definitions(file).items() if words & names}
  while names and len(levels) < 4:
    levels.append(names)
    names = {name for name, words in own.items() if words & names} - names
  found = [[f'{path.relative_to(root)}::{test}' for path in paths for test in naming(path, names)]
           for names in (*levels, users)]
  made = [[item] if (root / (item.split() or ['no'])[0]).exists() else [] for item in (first, last)]
  made = [made[0], found[0], [*itertools.chain(*found[1:])], made[1]]
  once: set[str] = set()
  return [stage for items in made if (stage := [x for x in dict.fromkeys(items) if x not in once and not once.add(x)])]


# Running --------------------------------------------------------------------------------------------------------------

class Done(NamedTuple):
  """rc: None after a hang; cpu: seconds; failed: the first test that did; times: seconds of each test function."""
  rc: int | None
  cpu: float
  output: str
  times: dict[str, float]


class Tree:
  """A copy of the tracked files, and pytest in it."""
  running: set[subprocess.Popen] = set()

  def __init__(self, source: Path, folder: Path):
    self.folder, self.root = folder, folder / 'tree'
    for name in tracked(source):
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(source / name, self.root / name)
    for name in ('tmp', 'plan'):
      (folder / name).mkdir()
    subprocess.run([sys.executable, '-m', 'compileall', '-q', '--invalidation-mode=checked-hash', self.root],
                   stdout=subprocess.DEVNULL)
    caches = {'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax')} | dict(os.environ)
    self.env = caches | {'PYTHONPATH': str(self.root), 'PYTHONDONTWRITEBYTECODE': '1', 'TMPDIR': str(folder / 'tmp'),
                         'CI': '1'}

  def pytest(self, items: list[str], timeout: float, mutated: bool) -> Done:
    """A call for all that are single tests, one for each that has arguments; the first that fails is the last."""
    plan = self.folder / 'plan'
    env = self.env | {'PRETRAIN_PLAN_CACHE': str(plan)}
    if mutated:  # it reads what was compiled before, and leaves nothing
      shutil.rmtree(self.folder / 'used', ignore_errors=True)
      shutil.copytree(plan, self.folder / 'used')
      env |= {'PRETRAIN_PLAN_CACHE': str(self.folder / 'used'), 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '1e9'}
    calls = [[item for item in items if ' ' not in item], *(item.split(' ', 2) for item in items if ' ' in item)]
    done = Done(0, 0., '', {})
    for call in filter(None, calls):
      call = [part.replace('|', ' or ') for part in call]
      report, log = self.folder / 'report.xml', self.folder / 'log'
      report.unlink(missing_ok=True)
      with log.open('wb') as file:
        process = subprocess.Popen([sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', '--tb=line',
                                    f'--junitxml={report}', *call], cwd=self.root, env=env, stdout=file, stderr=file,
                                   start_new_session=True)
        rc, cpu = self.wait(process, timeout)
      times = dict(done.times)
      for case in xml.parse(report).iter('testcase') if report.exists() else ():
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        name = ' '.join(call).replace(' or ', '|') if '-k' in call else name
        times[name] = times.get(name, 0.) + float(case.get('time', 0))
      done = Done(0 if rc == 5 else rc, done.cpu + cpu, log.read_text(errors='replace'), times)
      if done.rc != 0:
        break
    return done

  def wait(self, process: subprocess.Popen, timeout: float) -> tuple[int | None, float]:
    """Exit code and seconds of CPU; what is left of its processes is killed."""
    self.running.add(process)
    end, used, rc = time.monotonic() + timeout, None, None
    while used is None:
      pid, status, usage = os.wait4(process.pid, os.WNOHANG)
      if pid:
        used, rc = usage, os.waitstatus_to_exitcode(status)
      elif time.monotonic() > end:
        stop(process)
        _, _, used = os.wait4(process.pid, 0)
      else:
        time.sleep(0.05)
    process.returncode = -1 if rc is None else rc
    stop(process)
    self.running.discard(process)
    return rc, used.ru_utime + used.ru_stime


def stop(process: subprocess.Popen) -> None:
  """Kills the process and those that it started, but for sessions of their own."""
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)


def tracked(root: Path) -> list[str]:
  done = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, text=True, check=True)
  return [name for name in done.stdout.split('\0') if name and (root / name).is_file()]


def equivalent(path: Path) -> dict[tuple[str, str, str], str]:
  """{(file, line before, line after): reason}, of blocks 'file: reason', '- before', '+ after'."""
  found = re.findall(r'^(\S+): (.+)\n- (.*)\n\+ (.*)$', path.read_text() if path.exists() else '', re.M)
  return {(file, before, after): reason for file, reason, before, after in found}


def judge(tree: Tree, mutant: Mutant, time_of: Callable, budget: float) -> dict:
  """One mutant's row: how it ended, what caught it, CPU seconds, tests run, and those left out for the budget.

  time_of: (tree, tests) -> {test: seconds} of those that run and pass without a change.
  """
  file, by, cpu, count, left = tree.root / mutant.path, None, 0., 0, 0
  source = file.read_bytes()
  for stage in stages(tree.root, mutant):
    seconds = time_of(tree, stage)
    items = affordable(seconds, budget)
    if items:
      left, count = left + len(seconds) - len(items), count + len(items)
      file.write_bytes(mutant.text(source))
      done = tree.pytest(items, 120 + 10 * sum(seconds[x] for x in items), mutated=True)
      file.write_bytes(source)
      cpu += done.cpu
      if done.rc != 0:
        failed = re.search(r'^(?:FAILED|ERROR) (\S+)', done.output, re.M)
        by = 'a hang' if done.rc is None else failed[1] if failed else f'exit code {done.rc}'
        break
  outcome = 'caught' if by else 'undecided' if left else 'survived'
  return dict(outcome=outcome, by=by, cpu=round(cpu, 1), tests=count, left_out=left, budget=budget)


def affordable(seconds: dict[str, float], budget: float) -> list[str]:
  """The quickest tests that fit into the budget together, at least one."""
  items = sorted(seconds, key=lambda item: seconds[item])
  sums = itertools.accumulate(seconds[item] for item in items)
  return [item for n, (item, total) in enumerate(zip(items, sums, strict=True)) if total <= budget or n == 0]


def table(rows: list[dict]) -> str:
  lines = ['area         n  caught  survived  undecided  equivalent  CPU s each']
  for area in [*dict.fromkeys(row['area'] for row in rows), 'all']:
    own = [row for row in rows if area in (row['area'], 'all')]
    n = collections.Counter(row['outcome'] for row in own)
    ran = [row['cpu'] for row in own if row['outcome'] != 'equivalent']
    lines.append(f'{area:10} {len(own):4} {n["caught"]:7} {n["survived"]:9} {n["undecided"]:10} '
                 f'{n["equivalent"]:11} {sum(ran) / max(1, len(ran)):11.1f}')
  for row in rows:
    if row['outcome'] in ('survived', 'undecided'):
      note = f', {row["left_out"]} slower left out' if row['left_out'] else ''
      lines.append(f'\n{row["path"]}:{row["line"]} ({row["kind"]}; {row["outcome"]}, {row["tests"]} tests{note})\n'
                   f'- {row["before"]}\n+ {row["after"]}')
  return '\n'.join(lines)


def run(root: Path, drawn: dict[str, list[Mutant]], kept: Path, known: dict, budget: float, workers: int) -> list[dict]:
  """Rows of all mutants; those in `kept` are not run again. Raises SystemExit if a test fails without any change."""
  kept.parent.mkdir(parents=True, exist_ok=True)
  of = {path: [json.loads(line) for line in path.read_text().splitlines()] for path in kept.parent.glob('*.jsonl')}
  seconds = {row['test']: row['seconds'] for row in of.get(kept, ()) if 'test' in row}
  earlier = {row['test']: row['seconds'] for each in of.values() for row in each if 'test' in row}  # of other trees
  rows = {row['key']: row for row in of.get(kept, ())
          if 'key' in row and (row['outcome'] != 'undecided' or row['budget'] >= budget)}

  def keep(row: dict) -> dict:
    with kept.open('a') as file:
      file.write(json.dumps(row) + '\n')
    return row

  def time_of(tree: Tree, items: list[str]) -> dict[str, float]:
    guess = {item: seconds.get(item, earlier.get(item, UNKNOWN)) for item in items}
    if new := [item for item in affordable({x: s for x, s in guess.items() if s >= 0}, budget) if item not in seconds]:
      done = tree.pytest(new, 3600, mutated=False)
      if done.rc != 0:
        raise SystemExit(f'error: these tests fail without any change: {" ".join(new)}\n{done.output}')
      for item in new:  # none of those that are slow by their mark
        seconds[item] = keep(dict(test=item, seconds=round(done.times.get(item, -1), 2)))['seconds']
    return {item: second for item in items if (second := seconds.get(item, guess[item])) >= 0}

  def judged(mutant: Mutant) -> dict:
    tree = trees.get()
    try:
      return judge(tree, mutant, time_of, budget)
    finally:
      trees.put(tree)

  with tempfile.TemporaryDirectory(prefix='mutants') as folder:
    trees: queue.Queue[Tree] = queue.Queue()
    for i in range(workers):
      (Path(folder) / str(i)).mkdir()
      trees.put(Tree(root, Path(folder) / str(i)))
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    todo = []
    by_turns = itertools.chain(*itertools.zip_longest(*([(area, mutant) for mutant in drawn[area]] for area in drawn)))
    for area, mutant in filter(None, by_turns):  # so that an interrupted call has seen all areas
      if reason := known.get((mutant.path, mutant.before, mutant.after)):
        rows[mutant.key()] = dict(outcome='equivalent', by=reason, cpu=0., tests=0, left_out=0)
      elif mutant.key() not in rows:
        todo.append((area, mutant, pool.submit(judged, mutant)))
    try:
      for area, mutant, future in todo:
        rows[mutant.key()] = row = keep(dict(key=mutant.key(), area=area, **mutant._asdict(), **future.result()))
        print(f'{row["outcome"]:9} {row["cpu"]:6.1f} s  {mutant.path}:{mutant.line} {mutant.kind}: {mutant.after}'
              + (f'  [{row["by"]}]' if row['by'] else ''), flush=True)
    finally:
      pool.shutdown(wait=False, cancel_futures=True)
      while not all(future.done() for *_, future in todo):
        for process in list(Tree.running):
          stop(process)
        time.sleep(0.05)
  return [dict(rows[mutant.key()], area=area, **mutant._asdict()) for area, each in drawn.items() for mutant in each]


def main(argv: list[str] | None = None, root: Path = ROOT) -> None:
  parser = argparse.ArgumentParser(prog='python -m tests.mutants', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--n', type=int, default=200, help='wrong lines')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--area', default=','.join(AREAS), help='of ' + ', '.join(AREAS))
  parser.add_argument('--only', default='*', help='a file, or a pattern of files')
  parser.add_argument('--budget', type=float, default=60, help='seconds of tests a stage')
  parser.add_argument('--workers', type=int, default=1)
  parser.add_argument('--list', action='store_true', help='show them and their tests, run nothing')
  args = parser.parse_args(argv)
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  names = [name for name in tracked(root) if name.endswith('.py')]
  texts = {name: (root / name).read_text() for name in names}
  needed = required([text for name, text in texts.items() if not name.startswith('tests/')])
  files = {name: File(name, text, needed) for name, text in texts.items() if fnmatch.fnmatch(name, args.only)}
  areas = {name: AREAS[name] for name in args.area.split(',')
           if any(fnmatch.fnmatch(file, pattern) for file in files for pattern in AREAS[name][1])}
  drawn = sample(files, args.n, args.seed, areas)
  if args.list:
    for mutant in itertools.chain(*drawn.values()):
      print(f'{mutant.path}:{mutant.line} {mutant.kind}\n- {mutant.before}\n+ {mutant.after}\n  {stages(root, mutant)}')
    return
  tree = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
  known = equivalent(root / 'tests' / 'mutants_equivalent.txt')
  print(table(run(root, drawn, root / 'runs' / 'mutants' / f'{tree}.jsonl', known, args.budget, args.workers)))


if __name__ == '__main__':
  main()
