"""Papers, what configs can name, and configs: read by `ast` from the files that define them; nothing of them is run.

A file of the project states its paper below its imports:

  PAPER = dict(title='...', arxiv='2006.07733v3', family='self-distillation', modality='image')

`venue='...'` replaces `arxiv` for a paper that is not there; `name='...'` is the paper's name where the file has
another one. `PAPER = 'byol'` says that a file is a part of that paper, `PAPER = None` that it is of none.
"""
import ast
import functools
import json
import re
import typing
from pathlib import Path
from typing import Any, NamedTuple

from pretrain import config
from pretrain.config import ConfigError, nearest

ROOT = Path(__file__).parents[2]
FAMILIES = ('contrastive', 'redundancy reduction', 'clustering', 'self-distillation', 'masked modelling',
            'pretext task', 'distillation', 'consistency', 'pseudo-labels', 'data', 'schedule')
MODALITIES = ('image', 'video', 'text', 'table', 'image-text', 'any')
PLACES = {'objectives': 'pretrain/objectives', 'backbones': 'pretrain/models', 'views': 'pretrain/views',
          'sources': 'data/sources', 'schedules': 'pretrain/optim/schedules.py'}  # of the functions that configs name


class Paper(NamedTuple):
  """A paper. title, arxiv (or venue, the other is empty), family, modality: its facts.

  files: of the project, below its root: first the one with the facts, then its other parts.
  """
  name: str
  title: str
  family: str
  modality: str
  arxiv: str
  venue: str
  files: tuple[str, ...]

  @property
  def source(self) -> str:
    return f'arXiv:{self.arxiv}' if self.arxiv else self.venue

  @property
  def tests(self) -> tuple[str, ...]:
    """The test files of the paper's name, or else of its files' names or of programs."""
    stems = [self.name, *(Path(file).stem for file in self.files)]
    found = [f'tests/{folder}test_{stem}.py' for stem in stems for folder in ('papers/', '')]
    if any(file.startswith('pretrain/programs/') for file in self.files):
      found.append('tests/test_programs.py')
    return tuple(dict.fromkeys(file for file in found if (ROOT / file).is_file()))


class Function(NamedTuple):
  """A function that a config names; arguments: (name, what fits, the default or None) of those given by keyword."""
  name: str
  file: str
  about: str
  arguments: tuple[tuple[str, str, str | None], ...]


class Rows(NamedTuple):
  """A file of configs.

  rows: first lines of docstrings (or of the file's) by function; programs: those of `pretrain program`.
  published, table: PUBLISHED and TABLE of the file, [] and None where it has none.
  """
  file: str
  rows: dict[str, str]
  programs: frozenset[str]
  published: list[dict]
  table: dict | None


def proved() -> dict:
  """The record of the last `make test-all`: date, counts, versions, suites that passed; {} of none."""
  path = ROOT / 'tests/proved.json'
  return json.loads(path.read_text()) if path.is_file() else {}


@functools.cache
def papers(root: Path = ROOT) -> dict[str, Paper]:
  """Every paper by its name, sorted. Raises ConfigError for facts that are wrong, with the file."""
  found: dict[str, dict] = {}
  parts: dict[str, list[str]] = {}
  for path in sorted([*(root / 'pretrain').rglob('*.py'), *(root / 'data').rglob('*.py')]):
    if not re.search('^PAPER = ', text := path.read_text(), re.MULTILINE):
      continue
    file = str(path.relative_to(root))
    facts = literals(ast.parse(text), file)['PAPER']
    if isinstance(facts, str):
      parts.setdefault(facts, []).append(file)
    elif facts is not None:
      check(facts, file)
      name = facts.get('name', path.stem)
      if name in found:
        raise ConfigError(f'{file}: PAPER of {name!r} is also in {found[name]["files"][0]}; wanted it in one of them, '
                          f'and PAPER = {name!r} in the other')
      found[name] = dict(arxiv='', venue='') | facts | dict(name=name, files=(file,))
  for name, files in parts.items():
    if name not in found:
      raise ConfigError(f'{files[0]}: PAPER = {name!r}: no paper of that name{nearest(name, found)}')
    found[name]['files'] += tuple(files)
  return {name: Paper(**found[name]) for name in sorted(found)}


def check(facts: Any, file: str) -> None:
  """Raises ConfigError unless the facts of a paper have the right keys and values."""
  if not isinstance(facts, dict):
    raise ConfigError(f'{file}: PAPER: wanted a dict, the name of a paper or None, got {facts!r}')
  if wrong := [key for key, value in facts.items() if not isinstance(value, str) or not value]:
    raise ConfigError(f'{file}: PAPER[{wrong[0]!r}]: wanted a text, got {facts[wrong[0]]!r}')
  keys = {'title', 'family', 'modality', 'venue' if 'venue' in facts else 'arxiv'}
  if facts.keys() - {'name'} != keys:
    raise ConfigError(f'{file}: PAPER: wanted title, arxiv (or venue), family, modality and perhaps name, got '
                      f'{sorted(facts)}')
  if 'arxiv' in facts and not re.fullmatch(r'\d{4}\.\d{4,5}(v[1-9]\d*)?', facts['arxiv']):
    raise ConfigError(f"{file}: PAPER['arxiv']: wanted a number such as '2006.07733v3', got {facts['arxiv']!r}")
  for key, allowed in (('family', FAMILIES), ('modality', MODALITIES)):
    if facts[key] not in allowed:
      raise ConfigError(f'{file}: PAPER[{key!r}]: no {key} {facts[key]!r}{nearest(facts[key], allowed)}')


def functions(kind: str) -> dict[str, Function]:
  """What a config can name, of a kind of PLACES: public functions with options by keyword, as `config.find` has it."""
  place = ROOT / PLACES[kind]
  found = [each for path in (sorted(place.glob('*.py')) if place.is_dir() else [place])
           for each in functions_of(path, None if path == place else path.stem)]
  return {each.name: each for each in found}


def functions_of(path: Path, name: str | None = None) -> list[Function]:
  """The public functions of a file with options by keyword, or only that of a name."""
  return [function(node, str(path.relative_to(ROOT))) for node in ast.parse(path.read_text()).body
          if isinstance(node, ast.FunctionDef) and node.args.kwonlyargs
          and (node.name == name if name else not node.name.startswith('_'))]


def function(node: ast.FunctionDef, file: str) -> Function:
  return Function(node.name, file, first_line(node), tuple(
      (each.arg, what_fits(each.annotation), ast.unparse(default) if default else None)
      for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)))


def what_fits(annotation: ast.expr | None) -> str:
  """An annotation of `pretrain.config` or `typing` in words; another as it is written."""
  text = ast.unparse(annotation) if annotation else ''
  try:
    return config.wanted(eval(text, vars(typing) | vars(config)))
  except (NameError, SyntaxError, TypeError):
    return text


def configs_of(paper: Paper) -> Rows:
  """The paper's file of configs. Raises ConfigError where there is none, or none with rows."""
  file = f'configs/{paper.name}.py'
  found = configs().get(paper.name)
  if found is None or not found.rows:
    raise ConfigError(f'{file}: wanted the configs of the paper of {paper.files[0]}: rows, which are public functions '
                      f'without arguments, and the list PUBLISHED; got {"neither" if found is None else "no row"}')
  return found


@functools.cache
def configs() -> dict[str, Rows]:
  """The files of configs, by the paper's name; those without PUBLISHED or get_config hold fragments alone."""
  return {path.stem: rows(path) for path in sorted((ROOT / 'configs').glob('*.py'))
          if re.search('^(PUBLISHED =|def get_config)', path.read_text(), re.MULTILINE)}


def rows(path: Path) -> Rows:
  """A file of configs; the first row is the smallest."""
  file = str(path.relative_to(ROOT))
  tree = ast.parse(path.read_text())
  made = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith('_')
          and not node.args.args]
  programs = frozenset(node.name for node in made for each in ast.walk(node)
                       if isinstance(each, ast.Attribute) and each.attr == 'program')
  constants = literals(tree, file)
  return Rows(file, {node.name: first_line(node) or first_line(tree) for node in made}, programs,
              constants.get('PUBLISHED', []), constants.get('TABLE'))


def literals(tree: ast.Module, file: str) -> dict[str, Any]:
  """PAPER, PUBLISHED and TABLE of a file, which may name texts of the same file. Raises ConfigError for other names."""
  read: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Assign) and (
      isinstance(node.value, ast.Constant) or ast.unparse(node.targets[0]) in ('PAPER', 'PUBLISHED', 'TABLE'))]
  found: dict[str, Any] = {'__builtins__': {'dict': dict}}
  try:
    exec(compile(ast.Module(read, []), file, 'exec'), found)
  except Exception as error:
    raise ConfigError(f'{file}: PAPER, PUBLISHED and TABLE: wanted literals and names of texts of this file, got '
                      f'{type(error).__name__}: {error}') from error
  return found


def first_line(node: ast.FunctionDef | ast.Module) -> str:
  return (ast.get_docstring(node) or '').partition('\n')[0]
