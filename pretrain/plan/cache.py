"""What a compiler said of a program, kept on disk: JAX's own cache cannot be read back without the devices."""
import contextlib
import gzip
import hashlib
import json
import os
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax

from pretrain.config import user_cache

SIZES = tuple(f'{name}_size_in_bytes' for name in ('argument', 'output', 'alias', 'temp', 'generated_code'))
FLAGS = ('XLA_FLAGS', 'LIBTPU_INIT_ARGS')


class Program(NamedTuple):
  """text: that of the compiled program; memory: of its `memory_analysis`, the `SIZES`; kept: nothing was compiled."""
  text: str
  memory: Any
  kept: bool


def compiled(lowered, about: dict) -> Program:
  """Compiles a lowered program, unless that was done before; that it needs too much memory is remembered, too.

  An entry is found by the program's text, which says nothing of files and lines: those that the compiled text names are
  of the first time. A damaged entry is written again.

  Args:
    about: what else the result depends on, as JSON: the topology, options of the compiler, versions of libraries.
  Raises:
    JaxRuntimeError: what the compiler raises.
  """
  where = folder()
  about = about | {name: os.environ.get(name) for name in FLAGS}
  key = hashlib.sha256(json.dumps(about, sort_keys=True).encode() + lowered.as_text().encode()).hexdigest()
  entry = None if where is None else read(where / f'{key}.json.gz')
  kept = entry is not None
  if entry is None:
    entry = ask(lowered)
    if where is not None:
      write(where / f'{key}.json.gz', entry)
  if 'error' in entry:
    raise jax.errors.JaxRuntimeError(entry['error'])
  return Program(entry['text'], SimpleNamespace(**entry['memory']), kept)


def ask(lowered) -> dict:
  """An entry, from the compiler; errors other than too little memory are raised."""
  try:
    program = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    return {'error': str(error)}
  memory = program.memory_analysis()
  return {'text': program.as_text(), 'memory': {name: getattr(memory, name) for name in SIZES}}


def folder() -> Path | None:
  """$PRETRAIN_PLAN_CACHE, None if that is empty; by default pretrain/plan where the user's caches are."""
  path = os.environ.get('PRETRAIN_PLAN_CACHE', user_cache('plan'))
  return Path(path) if path else None


def read(path: Path) -> dict | None:
  """An entry, or None: there is none, or it is damaged."""
  try:
    entry = json.loads(gzip.decompress(path.read_bytes()))
    whole = 'error' in entry or (isinstance(entry['text'], str) and set(entry['memory']) == set(SIZES))
  except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
    return None
  return entry if whole else None


def write(path: Path, entry: dict) -> None:
  """Whole or not at all; where nothing can be written, nothing is kept."""
  part = path.with_suffix(f'.{os.getpid()}')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(gzip.compress(json.dumps(entry).encode(), 6))
    part.replace(path)
  except OSError:
    with contextlib.suppress(OSError):
      part.unlink()
