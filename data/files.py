"""Files and folders as people have them: links that lead back, pipes, suffixes that nothing reads, lost shards."""
import collections
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from data.encoded import digest

ENDS = 4096  # bytes at the beginning and at the end of a file that its digest is of


def walk(root: Path, suffixes: tuple[str, ...], key: Callable = str) -> tuple[list[str], tuple[str, ...]]:
  """The files below a folder with these suffixes, and what was passed over.

  Names that begin with a dot are passed over without a word. Links to folders are followed, but not those that lead
  back to a folder that they lie in.

  Args:
    root: the folder.
    suffixes: in lower case, with their dot.
    key: of the order; by default the paths as they are.
  Returns:
    Paths relative to `root`, with slashes, and sentences such as '3 files ignored in photos: .tif 2, .gif 1'.
  """
  found, ignored, odd, back = [], collections.Counter(), [], []
  stack: list[tuple[str, tuple[str, ...]]] = [('', ())]  # folders, and where links on the way to each of them lie
  while stack:
    below, links = stack.pop()
    with os.scandir(root / below) as entries:
      for entry in entries:
        if entry.name.startswith('.'):
          continue
        name = below + entry.name
        if entry.is_dir():
          if not entry.is_symlink():
            stack.append((f'{name}/', links))
            continue
          here, there = (*links, os.path.realpath(root / below)), os.path.realpath(entry.path)
          if any(place == there or place.startswith(f'{there}/') for place in here):
            back.append(name)
          else:
            stack.append((f'{name}/', here))
        elif not entry.name.lower().endswith(suffixes):
          ignored[os.path.splitext(entry.name)[1].lower() or 'no suffix'] += 1
        elif entry.is_file():
          found.append(name)
        else:
          odd.append(name)
  notes = []
  if ignored:
    kinds = ', '.join(f'{suffix} {count}' for suffix, count in ignored.most_common(6))
    notes.append(f'{_files(ignored.total())} ignored in {root}: {kinds}'
                 + (f' and {len(ignored) - 6} more kinds' if len(ignored) > 6 else ''))
  for names, what in ((odd, 'pipes, devices or links to nothing'),
                      (back, 'links that lead back to a folder that they lie in')):
    if names:
      notes.append(f'{_files(len(names))} ignored in {root}, {what}: {", ".join(sorted(names)[:3])}')
  return sorted(found, key=key), tuple(notes)


def _files(count: int) -> str:
  return '1 file' if count == 1 else f'{count} files'


def folders(root: Path) -> list[str]:
  """Names of the folders in a folder, sorted, but those that begin with a dot."""
  return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith('.'))


def natural(name: str) -> list:
  """A key that sorts frame_2 before frame_10."""
  return [(int(part), part) if part.isdigit() else (-1, part) for part in re.split(r'([0-9]+)', name)]


def inside(root: Path, name: str) -> Path:
  """The path of a file that data name by a relative path; raises ValueError where it would lie outside `root`."""
  path = PurePosixPath(name)
  if path.is_absolute() or '..' in path.parts:
    raise ValueError(f'{name!r} leads out of {root}; wanted a path inside of it')
  return root / path


def contents(path: str | Path) -> bytes:
  """The bytes of a file; a pipe or device is refused, which could give bytes for ever."""
  handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
  with open(handle, 'rb') as file:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
      raise ValueError('a folder, a pipe or a device, no file')
    return file.read()


def ends(path: str | Path, start: int = 0, size: int | None = None) -> bytes:
  """Digest of a file (or `size` bytes of it from `start`): of its size, beginning and end."""
  with open(path, 'rb', buffering=0) as file:
    size = os.fstat(file.fileno()).st_size - start if size is None else size
    file.seek(start)
    found = file.read(min(size, ENDS))
    if size > ENDS:
      file.seek(start + max(ENDS, size - ENDS))
      found += file.read(ENDS)
  return digest(b'%d ' % size + found)


def check_whole(files: Iterable[str | Path], what: str) -> None:
  """Raises ValueError where files `train-00000-of-00003.parquet` of a set are missing, or of two sets."""
  totals: dict[tuple[str, str], dict[int, list[int]]] = collections.defaultdict(dict)
  for file in map(str, files):
    if found := re.fullmatch(r'(.*?)(\d+)-of-(\d+)(.*)', file):
      before, number, total, behind = found.groups()
      totals[before, behind].setdefault(int(total), []).append(int(number))
  for (before, behind), each in totals.items():
    if len(each) > 1:
      raise ValueError(f'{what}: {before}…{behind} are there of {" and of ".join(map(str, sorted(each)))}: files of '
                       'two sets; remove those of one')
    [(total, numbers)] = each.items()
    missing = sorted(set(range(total)) - set(numbers))
    if 0 not in numbers and total in numbers:  # counted from 1
      missing = sorted(set(range(1, total + 1)) - set(numbers))
    if missing:
      name = Path(f'{before}{missing[0]:05d}-of-{total:05d}{behind}').name
      raise ValueError(f'{what} is not whole: {name} is missing' + (
          f', and {len(missing) - 1} more of {total}' if len(missing) > 1 else f', one of {total}')
          + '; copy it again')


def check_once(keys: Sequence, what: str, where: Callable[[int], str]) -> None:
  """Raises ValueError where an example comes twice: two equal `keys`; `where` says where one of a place lies."""
  if len(set(keys)) < len(keys):
    first: dict = {}
    for place, key in enumerate(keys):
      if key in first:
        raise ValueError(f'{what}: examples come twice, such as {where(first[key])} and {where(place)}; leave one out')
      first[key] = place
