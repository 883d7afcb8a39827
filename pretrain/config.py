"""Configs: flat, literal `ml_collections` dictionaries whose schema is the signatures of the functions they call.

`dict(name='simclr', **kwargs)` is the only convention: `build` finds the function of that name and calls it with the
rest. There is no other schema, so a key that no function takes is a key that nothing reads, and is refused.
"""
import argparse
import ast
import difflib
import functools
import importlib
import inspect
import itertools
import json
import math
import os
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import ml_collections

# Numbers that arguments take: each int and float that a config may set declares its range at its signature. -----------

class Range(NamedTuple):
  """The numbers that an argument takes: `Annotated[float, Range(0, 1)]` at its signature. NaN and infinity never are.

  low, high: the least and the greatest.
  above, below: whether low, high themselves are left out.
  """
  low: float = -math.inf
  high: float = math.inf
  above: bool = False
  below: bool = False

  def holds(self, value: float) -> bool:
    return -sys.float_info.max <= value <= sys.float_info.max and \
        (self.low < value if self.above else self.low <= value) and \
        (value < self.high if self.below else value <= self.high)

  @property
  def words(self) -> str:
    """'in [0, 1)', 'of at least 0', 'above 0', or 'that is finite'."""
    if math.isfinite(self.low) and math.isfinite(self.high):
      return f'in {"(" if self.above else "["}{self.low:.12g}, {self.high:.12g}{")" if self.below else "]"}'
    if math.isfinite(self.low):
      return f'above {self.low:g}' if self.above else f'of at least {self.low:g}'
    if math.isfinite(self.high):
      return f'below {self.high:g}' if self.below else f'of at most {self.high:g}'
    return 'that is finite'


class Ordered(NamedTuple):
  """That a tuple is not descending: `Annotated[tuple[Share, Share], Ordered()]` is (lowest, highest)."""
  words: str = 'ascending'

  def holds(self, values) -> bool:
    return all(a <= b for a, b in itertools.pairwise(values))


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2 ** 32 - 1)]  # what a u32 holds
Integer = Annotated[int, Range()]
Share = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, below=True)]  # of a moving average: at 1 it would stand still
Part = Annotated[float, Range(0, 1, above=True)]
ProperPart = Annotated[float, Range(0, 1, above=True, below=True)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Number = Annotated[float, Range()]
Parts = Annotated[tuple[Part, Part], Ordered()]  # (lowest, highest)
Shares = Annotated[tuple[Share, Share], Ordered()]
Positives = Annotated[tuple[Positive, Positive], Ordered()]


# Configs --------------------------------------------------------------------------------------------------------------

class ConfigError(ValueError):
  """A config that cannot be run; the message names the key, what was wanted, what was got and the nearest valid."""


def nearest(word: str, words) -> str:
  """'; nearest: 'x'; all: [...]', for the end of an error message."""
  words = sorted(map(str, words))
  close = difflib.get_close_matches(str(word), words, n=1, cutoff=0.3)
  return (f'; nearest: {close[0]!r}' if close else '') + f'; all: {words}'


def flags(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  """`parser.parse_known_args`. Raises argparse.ArgumentError also for '--flag=--', of which Python makes a list."""
  if bare := next((arg for arg in argv if re.fullmatch('--[^=]+=--', arg)), None):
    raise argparse.ArgumentError(None, f'argument {bare[:-3]}: wanted a value, got --')
  return parser.parse_known_args(argv)


def load(path: str, overrides: list[str]) -> dict:
  """Reads the config that `path.py:row` or `path.py` gives, then applies 'a.b=value' overrides in order.

  Args:
    path: a Python file and one of its `rows`; or a file that has `get_config() -> ConfigDict`, alone. After a colon
      `get_config` gets what is no row, as in ml_collections.
    overrides: values are Python literals; what is not one is a string. A JSON-like dict replaces the whole entry.
  Returns:
    Plain nested dicts.
  Raises:
    ConfigError: no such file, one that does not run, no row or an unknown one, an override that is not 'key=value'.
  """
  file, _, row = path.partition(':')
  namespace = from_file(file)
  found, get_config = rows(namespace), namespace.get('get_config')
  if row in found:
    config = attempt(file, found[row])
  elif get_config and not row:
    config = attempt(file, get_config)
  elif get_config and inspect.signature(get_config).parameters:
    config = attempt(file, get_config, row)
  elif not found:
    raise ConfigError(f'--config: {file} does not give a config: wanted a function without arguments, as a row, or '
                      'get_config()')
  else:
    said = f'no row {row!r} in {file}' if row else f'{file} has rows; wanted --config={file}:ROW'
    raise ConfigError(f'--config: {said}{nearest(row, found)}')
  if not isinstance(config, ml_collections.ConfigDict | dict):
    raise ConfigError(f'--config: {row or "get_config"}() in {file} returns {type(config).__name__}, wanted a '
                      'ConfigDict')
  tree = config.to_dict() if isinstance(config, ml_collections.ConfigDict) else config
  override(tree, overrides)
  return tree


def from_file(file: str) -> dict[str, Any]:
  """What a Python file defines and imports, by name.

  Raises:
    ConfigError: no such file, or one that does not run.
  """
  if not Path(file).is_file():
    found = sorted(str(p) for p in Path(file).parent.glob('*.py')) if Path(file).parent.is_dir() else []
    raise ConfigError(f'--config: no file {file}' + (nearest(file, found) if found else ''))
  namespace: dict[str, Any] = {}
  attempt(file, lambda: exec(compile(Path(file).read_text(), file, 'exec'), namespace))
  return namespace


def rows(namespace: dict[str, Any]) -> dict[str, Callable]:
  """The rows of a config's file: public functions without arguments that it defines, not those that it imports."""
  return {name: value for name, value in namespace.items() if not name.startswith('_') and inspect.isfunction(value)
          and value.__globals__ is namespace and not inspect.signature(value).parameters}


def attempt(file: str, function: Callable, *args: str) -> Any:
  """What a function of a config's file returns; whatever it raises becomes a ConfigError that names the file."""
  try:
    return function(*args)
  except Exception as error:
    where = f', line {error.lineno}' if isinstance(error, SyntaxError) else ''
    raise ConfigError(f'--config: {file} does not give a config: {type(error).__name__}: {error}{where}') from error


def override(tree: dict, overrides: list[str]) -> None:
  """Applies 'a.b=value' to nested dicts, in place and in order; see `load`."""
  for text in overrides:
    keys, equals, value = text.partition('=')
    if not equals:
      raise ConfigError(f'--config.{text}: wanted --config.key=value')
    *parents, last = keys.split('.')
    node = tree
    for key in parents:
      node = node.setdefault(key, {})
      if not isinstance(node, dict):
        raise ConfigError(f'--config.{keys}: {key!r} holds {node!r}, which has no keys')
    try:
      node[last] = literal(ast.parse(value, mode='eval').body)
    except (ValueError, SyntaxError):
      node[last] = value


def literal(node: ast.expr) -> Any:
  """The value of a literal; `dict(name='x', k=1)` is one too, as configs write it. Raises ValueError for others."""
  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
    return {str(pair.arg): literal(pair.value) for pair in node.keywords}
  return ast.literal_eval(node)


def build(package: types.ModuleType, spec: dict, where: str, /, **given) -> Any:
  """Calls the function that `spec` names with the rest of `spec` and those of `given` that it takes.

  Args:
    package: where to look: a function of the module itself, or the function of the file's name in the package.
    spec: dict(name=..., **kwargs).
    where: the spec's place in the config, for messages: 'config.objective'.
    given: arguments that the program knows, such as the number of steps; a spec must not set them.
  Raises:
    ConfigError: no name, an unknown name, an argument that is unknown, missing or of another type.
  """
  if not isinstance(spec, dict) or not isinstance(spec.get('name'), str):
    raise ConfigError(f"{where}: wanted dict(name='...', ...), got {spec!r}")
  name = spec['name']
  if (function := find(package, name)) is None:
    raise ConfigError(f'{where}.name: no {name!r} in {package.__name__}{nearest(name, names(package))}')
  return call(function, {k: v for k, v in spec.items() if k != 'name'}, where, **given)


def names(package: types.ModuleType) -> list[str]:
  """What `build` finds."""
  found = files(package) if hasattr(package, '__path__') else list(vars(package))
  return sorted(name for name in found if find(package, name))


def find(package: types.ModuleType, name: str) -> Callable | None:
  """The public function of a module, or of a package's file of that name, whose options are keyword-only arguments."""
  if hasattr(package, '__path__'):
    if name not in files(package):
      return None
    package = importlib.import_module(f'{package.__name__}.{name}')
  f = vars(package).get(name)
  if name.startswith('_') or not inspect.isfunction(f) or f.__module__ != package.__name__:
    return None
  return f if any(p.kind is p.KEYWORD_ONLY for p in inspect.signature(f).parameters.values()) else None


def files(package: types.ModuleType) -> list[str]:
  """The names of a package's files, without `.py`."""
  return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]


def call(function: Callable, arguments: dict, where: str, /, **given) -> Any:
  """`function(**arguments)` after `check`, adding those of `given` that the function takes.

  Raises:
    ConfigError: what `check` raises; or values of the right types from which the function cannot make what it makes.
  """
  parameters = inspect.signature(function).parameters
  given = {name: value for name, value in given.items() if name in parameters}
  check(function, arguments, where, given)
  try:
    return function(**arguments, **given)
  except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
    first = str(error).strip().split('\n')[0][:300]
    raise ConfigError(f'{where}: these values do not work together ({type(error).__name__}: {first}); --traceback '
                      'shows where') from error


def check(function: Callable, arguments: dict, where: str, given=()) -> None:
  """Raises ConfigError unless `arguments` fit the signature of `function`: names, types, nothing missing."""
  if not isinstance(arguments, dict):
    raise ConfigError(f'{where}: wanted a dict of {list(schema(function))}, got {arguments!r}')
  parameters = {name: p for name, p in schema(function).items() if name not in given}
  for name, value in arguments.items():
    if name not in parameters:
      reason = 'is set by the program' if name in given else 'is read by nothing'
      raise ConfigError(f'{where}.{name}: {reason}{nearest(name, parameters)}')
    if not fits(value, kind := parameters[name].annotation):
      raise ConfigError(f'{where}.{name}: wanted {wanted(kind)}, got {value!r} ({type(value).__name__})')
  required = {n for n, p in parameters.items() if p.default is p.empty}
  if missing := sorted(required - arguments.keys()):
    raise ConfigError(f'{where}: {getattr(function, "__name__", function)} needs {missing}, '
                      'which the config does not say')


@functools.cache
def schema(function: Callable) -> dict[str, inspect.Parameter]:
  """The parameters that a config may set: those given by keyword."""
  return {name: p for name, p in inspect.signature(function).parameters.items()
          if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and name != 'self'}


def fits(value, kind) -> bool:
  """Whether a literal is of an annotated type and in its `Range`; an int is a float, a list is a tuple, bool is only
  bool."""
  if kind in (inspect.Parameter.empty, Any):
    return True
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated:
    return fits(value, inner[0]) and all(each.holds(value) for each in inner[1:])
  if origin in (typing.Union, types.UnionType):
    return any(fits(value, k) for k in inner)
  if origin is typing.Literal:
    return any(type(value) is type(each) and value == each for each in inner)
  if kind in (None, types.NoneType):
    return value is None
  if kind is float:
    return isinstance(value, int | float) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if kind is tuple or origin is tuple:
    if not isinstance(value, tuple | list):
      return False
    if inner and inner[-1] is not Ellipsis and len(inner) != len(value):
      return False
    wanted = inner[:1] * len(value) if inner and inner[-1] is Ellipsis else inner
    return all(map(fits, value, wanted)) if inner else True
  return isinstance(value, origin or kind)


def wanted(kind) -> str:
  """What `fits` an annotated type, in words."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated:
    what = {int: 'a whole number', float: 'a number'}.get(inner[0]) or wanted(inner[0])
    return f'{what} {" and ".join(each.words for each in inner[1:])}'
  if origin in (typing.Union, types.UnionType):
    return ' or '.join(map(wanted, inner))
  if origin is typing.Literal:
    return f'one of {list(inner)}'
  if origin is tuple and inner and inner[-1] is Ellipsis:
    return f'a tuple, each {wanted(inner[0])}'
  if origin is tuple and inner:
    return f'({", ".join(map(wanted, inner))})'
  return 'None' if kind is types.NoneType else kind.__name__ if isinstance(kind, type) and not inner else str(kind)


def flatten(tree: dict, prefix: str = '') -> dict[str, Any]:
  """{'a': {'b': 1}} -> {'a.b': 1}; tuples become lists, as JSON has them."""
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      flat |= flatten(value, f'{prefix}{key}.')
    else:
      flat[f'{prefix}{key}'] = json.loads(json.dumps(value))
  return flat


def differences(old: dict, new: dict, ignore: tuple[str, ...] = ()) -> list[str]:
  """['optimizer.lr: 0.1 -> 0.2', ...] over two configs, leaving out the top-level keys in `ignore`."""
  old, new = flatten(old), flatten(new)
  return [f'{key}: {old.get(key, "(absent)")} -> {new.get(key, "(absent)")}' for key in sorted(old.keys() | new.keys())
          if key.split('.')[0] not in ignore and (key in old) + (key in new) > 0
          and (key not in old or key not in new or old[key] != new[key])]


def total_steps(steps: int | None, epochs: float | None, examples: int, batch: int) -> int:
  """The number of steps of a run, from exactly one of steps and epochs (of `examples` examples each)."""
  if steps is not None and epochs is None:
    total, asked = steps, f'steps={steps}'
  elif epochs is not None and steps is None:
    total = math.floor(epochs * examples / batch)
    asked = f'epochs={epochs} of {examples} examples in batches of {batch}'
  else:
    raise ConfigError(f'config: wanted one of steps and epochs, got steps={steps}, epochs={epochs}')
  if not 0 < total < 2 ** 31:
    raise ConfigError(f'config: wanted at least one step, and less than 2^31, got {asked}')
  return total


def user_cache(name: str) -> str:
  """Where the user's caches are: $XDG_CACHE_HOME/pretrain/NAME, by default below ~/.cache. Nothing deletes there."""
  return f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/pretrain/{name}"


def local_path(path: str, flag: str) -> str:
  """A directory that a user gives, with ~ as the home directory.

  Args:
    flag: where it is given, such as '--workdir'.
  Raises:
    ConfigError: it is a URL, or a file.
  """
  if '://' in path or path.startswith(('gs:', 's3:')):
    raise ConfigError(f'{flag}: {path} is an object store; wanted a path of a file system, such as one where the '
                      'bucket is mounted: on all nodes by gcsfuse (for Kubernetes as a --volume), or NFS')
  path = os.path.expanduser(path)
  if os.path.lexists(path) and not os.path.isdir(path):
    raise ConfigError(f'{flag}: {path} is no directory; wanted one, or a path where there is nothing yet')
  return path
