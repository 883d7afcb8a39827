"""Mutation testing: wrong lines, one at a time and at random, in a copy of the tree; do the related tests notice?

  python -m tests.mutants --n=200 --seed=0 [--area=objectives,losses] [--only=pretrain/method/memory.py] [--list]

The sample is drawn area by area (`AREAS`), within one the rarer kinds of changes more often; a larger one contains a
smaller. Each wrong line meets first the tests that name the changed function, then those of functions that use it; of
each stage the quickest that fit into `--budget` seconds, which must pass before anything is changed, or the call ends.
A failure, a crash or a hang is `caught`; what no test notices is `undecided` if slower ones were left out. Rows are
kept in runs/mutants, by a sum of the tree's Python files, so that an interrupted call goes on;
`mutants_equivalent.txt` has the changes that change nothing, with reasons.
"""
import argparse
import ast
import collections
import contextlib
import fnmatch
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
METHODS = ('papers losses* memory deepercluster semi_supervised combine spark text video rows hold '
           'frequency programs evaluate scale masks cluster catalog')
RUN = 'run train config files machine/checkpoint machine/rundir machine/metrics machine/processes'

# Weight in the sample; files; patterns of the names of test files and of folders of them.
AREAS = {
    'objectives': (4, ['pretrain/objectives/*'], METHODS),
    'losses': (4, ['pretrain/losses/*'], METHODS),
    'shells': (3, ['pretrain/method/*', 'pretrain/programs/cluster.py'], METHODS),
    'step': (2, [f'pretrain/{name}.py' for name in ('step', 'optim/*', 'machine/sharding', 'interop/initialize')],
             f'step optim phases rs2 train continual ranges processes plan {METHODS}'),
    'models': (2, ['pretrain/models/*', 'pretrain/frontends/*'], f'models frontends video quantized plan {METHODS}'),
    'views': (2, ['pretrain/views/*'], 'views fractals frequency video rs2'),
    'data': (3, ['data/*'], 'data sources labels classes csv decode lines identity text video rows rs2 workers '
                            'odd_data fractals evaluate'),
    'evaluate': (2, ['pretrain/evaluate/*'], 'evaluate train text labels classes deepercluster'),
    'label': (1, ['pretrain/programs/label.py', 'pretrain/programs/*'],
              'labels programs continual deepercluster identity small_files'),
    'run': (2, [f'pretrain/{name}.py' for name in RUN.split()],
            'config train metrics says small_files processes data evaluate phases formats'),
    'catalog': (1, ['pretrain/catalog/*'], 'catalog'),
    'plan': (1, ['pretrain/plan/*'], 'plan scale says'),
    'launch': (1, ['launch/[!t]*.py', 'launch/table.py'], 'launch launch_input table'),
}

KEPT_OUT = 'annotation', 'returns', 'decorator_list', 'type_params', 'ctx'  # fields of a node
GUARDS = 'strict', 'precision'  # keywords that guard, or that a CPU does not read
NEVER = re.compile('print|isinstance|cast|kill|killpg|send_signal|rmtree|unlink|rmdir|remove')  # no matter, or harm
SCOPES = ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
ATOMS = ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.Constant, ast.Tuple, ast.List, ast.Dict
LITERALS = ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Lambda, ast.UnaryOp, ast.JoinedStr
OPERATORS = {  # as written, and what becomes of it
    ast.Add: ('+', '-'), ast.Sub: ('-', '+'), ast.Mult: ('*', '/'), ast.Div: ('/', '*'), ast.And: ('and', 'or'),
    ast.Or: ('or', 'and'), ast.Eq: ('==', '!='), ast.NotEq: ('!=', '=='), ast.Lt: ('<', '<=', '>'),
    ast.LtE: ('<=', '<', '>='), ast.Gt: ('>', '>=', '<'), ast.GtE: ('>=', '>', '<='), ast.Is: ('is', 'is not'),
    ast.IsNot: ('is not', 'is'), ast.In: ('in', 'not in'), ast.NotIn: ('not in', 'in')}
PAIRS = ('mean sum', 'max min', 'maximum minimum', 'argmax argmin', 'any all', 'floor ceil', 'zeros_like ones_like')
WORDS = dict(pair.split()[::step] for pair in PAIRS for step in (1, -1))
WRAPS = re.compile('stop_gradient|(log_)?softmax|normalize|sigmoid|relu|exp|log|sqrt|square|abs|clip|maximum|minimum|'
                   'sorted|sort|reversed')
ALONG = re.compile('sum|mean|max|min|argmax|argmin|(log_)?softmax|stack|concatenate|sort|argsort|any|all|norm')
UNKNOWN = 2.  # seconds of a test that has not run yet

Edit = tuple[str, int, int, str]  # kind, start, end, new text
# `new` instead of the bytes start to end of a file; name: of the function, class or method that they are in.
Mutant = collections.namedtuple('Mutant', 'path kind name line start end new before after')


# Wrong lines ----------------------------------------------------------------------------------------------------------

def skipped(node: ast.AST) -> bool:
  """Imports, messages, __all__, code of type checkers, and calls that a wrong argument makes harmful."""
  match node:
    case ast.keyword(name):
      return name in GUARDS
    case ast.If(test):
      return bool(re.search('TYPE_CHECKING|__name__', ast.unparse(test)))
    case ast.Call():
      return bool(NEVER.fullmatch(called(node)))
    case ast.Assign([target]) | ast.AugAssign(target):
      return ast.unparse(target) == '__all__'
  return isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr | ast.Delete)


def changed(source: bytes, mutant: Mutant) -> bytes:
  return source[:mutant.start] + mutant.new.encode() + source[mutant.end:]


def called(call: ast.Call) -> str:
  """The last name of what is called: 'sum' of jnp.sum(x)."""
  return getattr(call.func, 'attr', getattr(call.func, 'id', ''))


def names_in(node: ast.AST) -> set[str]:
  return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}


def walk(node: ast.AST, above: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.AST, tuple[ast.AST, ...]]]:
  """What may be changed below a node, each with the nodes that it is in, the nearest first."""
  yield node, above
  for field, value in ast.iter_fields(node):
    for child in value if isinstance(value, list) else [value]:
      if field not in KEPT_OUT and isinstance(child, ast.AST) and not skipped(child):
        yield from walk(child, (node, *above))


def is_axis(node: ast.AST, parent: ast.AST | None) -> bool:
  """Whether a number is axis=0, or the last argument of x.sum(-1) or jnp.sum(x, -1)."""
  if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute):
    return bool(ALONG.fullmatch(called(parent))) and node in parent.args[-1:]
  return isinstance(parent, ast.keyword) and parent.arg in ('axis', 'dim')


class File:
  """All wrong lines of a file. required: {function: its parameters that have no default}."""

  def __init__(self, path: str, text: str, required: dict[str, set[str]]):
    self.path, self.required, self.source, self.tree = path, required, text.encode(), ast.parse(text)
    self.lines = [0, *itertools.accumulate(len(line) for line in self.source.splitlines(keepends=True))]

  def span(self, node) -> tuple[int, int]:
    return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

  def code(self, node) -> str:
    return self.source[slice(*self.span(node))].decode()

  def atom(self, node) -> str:
    """A node's text, in brackets if it needs them to be part of more."""
    return self.code(node) if isinstance(node, ATOMS) else f'({self.code(node)})'

  def mutant(self, name: str, kind: str, start: int, end: int, new: str) -> Mutant:
    left, right = self.source.rfind(b'\n', 0, start) + 1, self.source.find(b'\n', end)
    after = self.source[left:start] + new.encode() + self.source[end:right]
    before, after = (b' '.join(text.split()).decode() for text in (self.source[left:right], after))
    return Mutant(self.path, kind, name, self.source.count(b'\n', 0, start) + 1, start, end, new, before, after)

  def valid(self, mutant: Mutant) -> bool:
    """Whether it can be parsed, and is another program."""
    try:
      return ast.dump(ast.parse(changed(self.source, mutant))) != ast.dump(self.tree)
    except SyntaxError:
      return False

  def mutants(self) -> list[Mutant]:
    found: dict[Edit, Mutant] = {}
    for top in self.tree.body:
      for part in top.body if isinstance(top, ast.ClassDef) else [top]:
        if not skipped(top) and not skipped(part):
          target = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, 'target', part)
          name = getattr(target, 'name', getattr(target, 'id', ''))
          nodes = list(walk(part))
          edits = [edit for node, above in nodes for edit in self.changes(node, above[0] if above else None)]
          for edit in (*edits, *exchanges(self, nodes)):
            found.setdefault(edit[1:], self.mutant(name if part is top else f'{top.name}.{name}', *edit))
    return list(found.values())

  def changes(self, node: ast.AST, parent: ast.AST | None) -> Iterator[Edit]:
    """What is made of a node alone."""
    place = start, end = self.span(node) if hasattr(node, 'lineno') else (0, 0)
    match node:
      case ast.BinOp(left, op, right) if type(op) in OPERATORS:
        constants = [x for x in (left, right) if isinstance(x, ast.Constant | ast.JoinedStr)]
        if all(isinstance(getattr(x, 'value', ''), int | float) for x in constants):  # else text is joined
          yield from self.operator('sign' if isinstance(op, ast.Add | ast.Sub) else 'times', op, left, right)
          if isinstance(op, ast.Mult):
            yield from (('factor', *place, self.atom(x)) for x in (left, right))
      case ast.UnaryOp(ast.USub(), operand):
        yield 'sign', start, start + 1, ''
        if isinstance(operand, ast.Constant) and is_axis(node, parent):
          yield 'axis', *place, '0'
      case ast.UnaryOp(ast.Not()):
        yield 'not', start, start + len('not '), ''
      case ast.BoolOp(op, values):
        for left, right in itertools.pairwise(values):
          yield from self.operator('logic', op, left, right)
      case ast.Compare(left, ops, comparators):
        for op, (a, b) in zip(ops, itertools.pairwise([left, *comparators]), strict=True):
          yield from self.operator('comparison', op, a, b)
      case ast.Constant(bool(value)):
        yield 'boolean', *place, str(not value)
      case ast.Constant(int(value)) if is_axis(node, parent):
        yield from (('axis', *place, new) for new in (('1', '-1') if value == 0 else ('0',)))
      case ast.Constant(int(value)) if not isinstance(parent, ast.Slice):
        yield from (('number', *place, str(value + by)) for by in ((1, -1) if value > 0 else (1,)))
      case ast.Constant(float(value)):
        yield 'number', *place, repr(2 * value or 1.)
      case ast.Slice(lower, upper):
        for bound in filter(None, (lower, upper)):
          yield from (('slice', *self.span(bound), f'{self.atom(bound)} {by}') for by in ('+ 1', '- 1'))
      case ast.Name(word) | ast.Attribute(attr=word) if word in WORDS:
        if word not in ('mean', 'sum') or isinstance(node, ast.Attribute):  # there is no built-in mean
          yield 'word', end - len(word), end, WORDS[word]
      case ast.Call():
        yield from self.call(node)
      case ast.Expr(ast.Call() as call) if not NEVER.fullmatch(called(call)):
        yield 'statement', *place, 'pass'
      case ast.AugAssign():
        yield 'statement', *place, 'pass'
      case ast.Assign([ast.Name() | ast.Tuple() as target], value) if names_in(target) <= names_in(value):
        if any(isinstance(x, ast.Call) for x in ast.walk(value)):
          yield 'statement', *place, 'pass'

  def operator(self, kind: str, op: ast.AST, left: ast.AST, right: ast.AST) -> Iterator[Edit]:
    """Another operator between two operands."""
    old, *others = OPERATORS[type(op)]
    at = self.source.find(old.encode(), self.span(left)[1], self.span(right)[0])
    yield from ((kind, at, at + len(old), new) for new in others if at >= 0)

  def call(self, node: ast.Call) -> Iterator[Edit]:
    """A call without what is around its argument, with two arguments exchanged, without a keyword."""
    name, args, keywords = called(node), node.args, node.keywords
    if WRAPS.fullmatch(name) and args and not isinstance(args[0], ast.Starred):
      yield 'wrap', *self.span(node), self.atom(args[0])
    for a, b in itertools.pairwise(args):
      alike = isinstance(a, LITERALS) == isinstance(b, LITERALS) and self.code(a) != self.code(b)
      if alike and not isinstance(a, ast.Starred) and not isinstance(b, ast.Starred):
        (start, one), (other, end) = self.span(a), self.span(b)
        yield 'swap', start, end, self.code(b) + self.source[one:other].decode() + self.code(a)
    for keyword in keywords:
      if keyword.arg and keyword.arg not in (*self.required.get(name, ()), *GUARDS) and name != 'dict':
        start, end = self.span(keyword)
        if comma := re.match(rb'\s*,\s*', self.source[end:]):
          end += len(comma[0])
        elif len(args) + len(keywords) > 1:
          start = self.source.rfind(b',', 0, start)
        yield 'keyword', start, end, ''


def exchanges(file: File, nodes: list) -> Iterator[Edit]:
  """One name for another that is used alike in the same function, an argument for that of another call, keys."""
  binds = collections.defaultdict(dict)  # {scope: {name: the line after which it is known}}
  uses = collections.defaultdict(set)  # {name: what it is used for}
  groups = collections.defaultdict(lambda: collections.defaultdict(list))  # {what is alike: {text: its places}}
  loads = []
  for node, above in nodes:
    parent, scope = above[0] if above else None, next((x for x in above if isinstance(x, SCOPES)), None)
    match node:
      case ast.arg(name, annotation):
        binds[scope][name] = 0
        if annotation:
          uses[name].add(('annotation', file.code(annotation)))
      case ast.Name(name, ast.Store()):
        binds[scope].setdefault(name, 0 if isinstance(parent, ast.comprehension) else node.lineno)
        if isinstance(parent, ast.Tuple):
          uses[name].add(('tuple', file.code(parent)))
      case ast.Name(name):
        uses[name] |= {use} if (use := role(file, node, parent)) else set()
        loads.append((node, above))
      case ast.Subscript(value, ast.Constant(str(key)), ast.Load()):
        groups['key', file.code(value)][repr(key)].append((node.slice, above))
      case ast.Call(function, args):
        for i, argument in enumerate(args):
          if not isinstance(argument, (ast.Starred, *LITERALS)):
            groups['argument', file.code(function), i][file.code(argument)].append((argument, above))
  local = set().union(*binds.values())

  def known(name: str, node: ast.AST, above) -> bool:
    return any(binds[x].get(name, node.lineno) < node.lineno for x in above if x in binds)

  for node, above in loads:
    if any(node.id in binds[x] for x in above if x in binds):
      yield from (('name', *file.span(node), other) for other, used in uses.items()
                  if other != node.id and used & uses[node.id] and known(other, node, above))
  for (kind, *_), group in groups.items():
    for text, other in itertools.permutations(group, 2):
      names = names_in(group[other][0][0]) & local
      yield from ((kind, *file.span(node), other) for node, above in group[text]
                  if all(known(name, node, above) for name in names))


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
    match node:
      case ast.FunctionDef(name, args):
        plain = [*args.posonlyargs, *args.args]
        keywords = [x for x, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
        found[name] |= {x.arg for x in (*plain[:len(plain) - len(args.defaults)], *keywords)}
      case ast.ClassDef(name, body=body):
        found[name] |= {x.target.id for x in body if isinstance(x, ast.AnnAssign) and x.value is None}
  return found


def area_of(path: str) -> str | None:
  return next((area for area, (_, files, _) in AREAS.items() if any(fnmatch.fnmatch(path, x) for x in files)), None)


def sample(files: dict[str, File], n: int, seed: int) -> list[Mutant]:
  """n mutants, shared out by the areas' weights, which take turns; kinds by the root of their number."""
  areas, drawn = [area for area in AREAS if area in map(area_of, files)], []
  for area in areas:
    rng, kinds, chosen = random.Random(f'{seed} {area}'), collections.defaultdict(list), []
    for mutant in (mutant for path, file in files.items() if area_of(path) == area for mutant in file.mutants()):
      kinds[mutant.kind].append(mutant)
    weights = {kind: len(kinds[kind]) ** 0.5 for kind in sorted(kinds)}
    while weights and len(chosen) < round(n * AREAS[area][0] / sum(AREAS[x][0] for x in areas)):
      kind, = rng.choices(list(weights), list(weights.values()))
      mutant = kinds[kind].pop(rng.randrange(len(kinds[kind])))
      if not kinds[kind]:
        del weights[kind]
      if files[mutant.path].valid(mutant):
        chosen.append(mutant)
    drawn.append(chosen)
  return [mutant for turn in itertools.zip_longest(*drawn) for mutant in turn if mutant]


# Related tests --------------------------------------------------------------------------------------------------------

@functools.cache
def definitions(path: Path) -> dict[str, set[str]]:
  """Words of each function, class and variable of a file, and for imports under another name that name."""
  found = collections.defaultdict(set)
  for node in ast.parse(path.read_text()).body:
    words = set(re.findall(r'\w+', ast.unparse(node)))
    match node:
      case ast.ImportFrom(names=names):
        found |= {x.asname: {x.name} for x in names if x.asname}
      case ast.FunctionDef(name) | ast.ClassDef(name):
        found[name] |= words
      case ast.Assign([target]):
        found |= dict.fromkeys(names_in(target), words)
  return found


def using(path: Path, names: set[str]) -> list[str]:
  """What of a file names one of these, or uses what does."""
  found = set(names)
  while more := {name for name, words in definitions(path).items() if words & found} - found:
    found |= more
  return [name for name in definitions(path) if name in found - names]


def stages(root: Path, mutant: Mutant) -> list[list[str]]:
  """Tests to run, stage by stage: a paper's own ones, those that name the function, those of what uses it."""
  outer, _, inner = mutant.name.partition('.')
  names = {outer if inner.startswith('__') else inner or outer}
  users = {name for path in root.glob('[pdl]*/**/*.py') for name in using(path, names)}  # of pretrain, data, launch
  related = AREAS[area_of(mutant.path)][2].split()
  files = [path for path in sorted(root.glob('tests/**/test_*.py'))
           if any(fnmatch.fnmatch(name, word) for name in (path.stem[5:], path.parent.name) for word in related)]
  own = root / 'tests' / 'papers' / f'test_{Path(mutant.path).stem}.py'
  found, known = [], set()
  for stage in ({path: definitions(path) for path in files if path == own},
                {path: using(path, names) for path in files}, {path: using(path, users) for path in files}):
    tests = [f'{path.relative_to(root)}::{test}' for path, defined in stage.items() for test in defined
             if test.startswith('test_')]
    found.append([test for test in tests if test not in known])
    known.update(tests)
  return [stage for stage in found if stage]


# Running --------------------------------------------------------------------------------------------------------------

class Tree:
  """A copy of the tracked files, and pytest in it. times: seconds of the tests that pass there."""

  def __init__(self, root: Path, folder: Path, times: dict[str, float]):
    self.root, self.folder, self.times = folder / 'tree', folder, times
    for name in tracked(root):
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy2(root / name, self.root / name)
    subprocess.run([sys.executable, '-m', 'compileall', '-q', '--invalidation-mode=checked-hash', self.root],
                   stdout=subprocess.DEVNULL)
    self.env = {'JAX_COMPILATION_CACHE_DIR': str(ROOT / '.cache' / 'jax'), **os.environ, 'TMPDIR': str(folder),
                'PYTHONPATH': str(self.root), 'PYTHONDONTWRITEBYTECODE': '1', 'PRETRAIN_PLAN_CACHE': '', 'CI': '1'}

  def pytest(self, tests: list[str], timeout: float, **env: str) -> tuple[int | None, str, dict[str, float]]:
    """Exit code, None after a hang; what was said; seconds of the tests that ran."""
    report, log, seconds = self.folder / 'report.xml', self.folder / 'log', collections.Counter()
    report.unlink(missing_ok=True)
    call = [sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', '--tb=line', f'--junitxml={report}']
    with log.open('wb') as file:
      rc = finish(subprocess.Popen([*call, *tests], cwd=self.root, env=self.env | env, stdout=file, stderr=file,
                                   start_new_session=True), timeout)
    for case in xml.parse(report).iter('testcase') if report.exists() else ():
      file, name = case.get('classname', '').replace('.', '/'), case.get('name', '').partition('[')[0]
      seconds[f'{file}.py::{name}'] += float(case.get('time', 0))
    return 0 if rc == 5 else rc, log.read_text(errors='replace'), seconds  # 5: all are slow by their mark

  def affordable(self, tests: list[str], budget: float) -> list[str]:
    """The quickest tests that fit into the budget together, at least one; they pass, or the call ends."""
    while True:
      tests = sorted(tests, key=lambda test: self.times.get(test, UNKNOWN))
      sums = itertools.accumulate(self.times.get(test, UNKNOWN) for test in tests)
      chosen = tests[:max(1, sum(total <= budget for total in sums))]
      new = [test for test in chosen if test not in self.times]
      if not new:
        return chosen
      rc, said, seconds = self.pytest(new, 3600)
      if rc != 0:
        raise SystemExit(f'error: these tests fail without any change: {" ".join(new)}\n{said}')
      self.times |= {test: round(seconds[test], 2) for test in new}


def finish(process: subprocess.Popen, timeout: float) -> int | None:
  """Exit code, None after a hang; what is left of its processes is killed, but for sessions of their own."""
  try:
    return process.wait(timeout)
  except subprocess.TimeoutExpired:
    return None
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tracked(root: Path) -> list[str]:
  done = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, text=True, check=True)
  return [name for name in done.stdout.split('\0') if name and (root / name).is_file()]


def equivalent(root: Path) -> set[tuple[str, str, str]]:
  """(file, line before, line after) of blocks 'file: reason', '- before', '+ after'."""
  path = root / 'tests' / 'mutants_equivalent.txt'
  return set(re.findall(r'^(\S+): .+\n- (.*)\n\+ (.*)$', path.read_text() if path.exists() else '', re.M))


def judge(tree: Tree, mutant: Mutant, budget: float) -> dict:
  """How it ended, what caught it, tests run and left out for the budget, seconds, times that were measured."""
  file, start, timed, by, ran, left = tree.root / mutant.path, time.monotonic(), {*tree.times}, None, 0, 0
  source = file.read_bytes()
  for stage in stages(tree.root, mutant):
    tests = tree.affordable(stage, budget)
    file.write_bytes(changed(source, mutant))
    rc, said, seconds = tree.pytest(tests, 120 + 10 * sum(tree.times[test] for test in tests),
                                    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='1e9')  # leaves nothing there
    file.write_bytes(source)
    ran, left = ran + len(seconds), left + len(stage) - len(tests)
    if rc != 0:
      failed = re.search(r'^(?:FAILED|ERROR) (\S+)', said, re.M)
      by = 'a hang' if rc is None else failed[1] if failed else f'exit code {rc}'
      break
  return dict(mutant=mutant, outcome='caught' if by else 'undecided' if left else 'survived', by=by, ran=ran, left=left,
              budget=budget, seconds=round(time.monotonic() - start, 1),
              times={test: second for test, second in tree.times.items() if test not in timed})


def run(root: Path, mutants: list[Mutant], kept: Path, budget: float) -> dict[Mutant, dict]:
  """Rows of all mutants; those in `kept` are not run again."""
  kept.parent.mkdir(parents=True, exist_ok=True)
  old = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
  rows = {Mutant(*row['mutant']): row for row in old if row['outcome'] != 'undecided' or row['budget'] >= budget}
  known = equivalent(root)
  rows |= {x: dict(outcome='equivalent') for x in mutants if (x.path, x.before, x.after) in known}
  with tempfile.TemporaryDirectory(prefix='mutants') as folder:
    tree = Tree(root, Path(folder), {test: second for row in old for test, second in row['times'].items()})
    for mutant in mutants:
      if mutant not in rows:
        rows[mutant] = row = judge(tree, mutant, budget)
        with kept.open('a') as file:
          file.write(json.dumps(row) + '\n')
        print(f'{row["outcome"]:9} {row["seconds"]:6.1f} s  {mutant.path}:{mutant.line} {mutant.kind}: {mutant.after}'
              + (f'  [{row["by"]}]' if row['by'] else ''), flush=True)
  return {mutant: rows[mutant] for mutant in mutants}


def table(rows: dict[Mutant, dict]) -> str:
  """Outcomes by area, and the lines that no test noticed."""
  lines, areas = [], [area_of(mutant.path) for mutant in rows]
  for area in (*dict.fromkeys(areas), 'all'):
    n = collections.Counter(row['outcome'] for row, of in zip(rows.values(), areas, strict=True) if area in (of, 'all'))
    lines.append(f'{area:10} {n.total():4}: ' + ', '.join(f'{count} {outcome}' for outcome, count in sorted(n.items())))
  for mutant, row in rows.items():
    if row['outcome'] in ('survived', 'undecided'):
      note = f', {row["left"]} slower left out' if row['left'] else ''
      lines.append(f'\n{mutant.path}:{mutant.line} ({mutant.kind}; {row["outcome"]}, {row["ran"]} tests{note})\n'
                   f'- {mutant.before}\n+ {mutant.after}')
  return '\n'.join(lines)


def main(argv: list[str] | None = None, root: Path = ROOT) -> None:
  parser = argparse.ArgumentParser(prog='python -m tests.mutants', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--n', type=int, default=200, help='wrong lines')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--area', default=','.join(AREAS), help='of ' + ', '.join(AREAS))
  parser.add_argument('--only', default='*', help='a file, or a pattern of files')
  parser.add_argument('--budget', type=float, default=60, help='seconds of tests a stage')
  parser.add_argument('--list', action='store_true', help='show them and their tests, run nothing')
  args = parser.parse_args(argv)
  texts = {name: (root / name).read_text() for name in tracked(root) if name.endswith('.py')}
  needed = required([text for name, text in texts.items() if not name.startswith('tests/')])
  files = {name: File(name, text, needed) for name, text in texts.items()
           if fnmatch.fnmatch(name, args.only) and area_of(name) in args.area.split(',')}
  mutants = sample(files, args.n, args.seed)
  if args.list:
    for mutant in mutants:
      print(f'{mutant.path}:{mutant.line} {mutant.kind}\n- {mutant.before}\n+ {mutant.after}\n  {stages(root, mutant)}')
    return
  tree = hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:12]
  before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ended as by ^C: nothing goes on alone
  try:
    print(table(run(root, mutants, root / 'runs' / 'mutants' / f'{tree}.jsonl', args.budget)))
  finally:
    signal.signal(signal.SIGTERM, before)


if __name__ == '__main__':
  main()
