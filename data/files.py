"""Files and folders as people have them: links that lead back, pipes, suffixes that nothing reads, lost shards."""
import bisect
import collections
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

from data.encoded import digest

ENDS = 1 << 16  # bytes at the beginning and at the end of a file that its digest is of


def walk(root: Path, suffixes: tuple[str, ...], key: Callable = str) -> tuple[list[str], tuple[str, ...]]:
  """The files below a folder with these suffixes, and what was passed over.

  Names that begin with a dot and folders of operating systems are passed over without a word. Links to folders are
  followed, those nearer to the root first, unless they lead into what is in the set already: each folder comes once.

  Args:
    root: the folder.
    suffixes: in lower case, with their dot.
    key: of the order; by default the paths as they are.
  Returns:
    Paths relative to `root`, with slashes, and sentences such as '3 files ignored in photos: .tif 2, .gif 1'.
  """
  found, ignored, odd, again = [], collections.Counter(), [], []
  top = os.path.realpath(root)
  taken, linked, stack, links = {top}, False, [''], []  # taken: folders, with all that lies in them
  while stack or links:
    if not stack:
      link = links.pop(0)
      there = os.path.realpath(root / link)
      if top.startswith(f'{there}/') or not taken.isdisjoint((there, *map(str, Path(there).parents))):
        again.append(link)
        continue
      linked = True
      taken.add(there)
      stack.append(f'{link}/')
    below = stack.pop()
    with os.scandir(root / below) as entries:
      for entry in entries:
        if hidden(entry.name):
          continue
        name = below + entry.name
        if is_folder(entry):
          if linked and not entry.is_symlink() and os.path.realpath(entry.path) in taken:
            again.append(name)
          elif entry.is_symlink():
            bisect.insort(links, name, key=lambda link: (link.count('/'), link))
          else:
            stack.append(f'{name}/')
        elif not entry.name.lower().endswith(suffixes):
          ignored[os.path.splitext(entry.name)[1].lower() or 'no suffix'] += 1
        elif is_file(entry):
          found.append(name)
        else:
          odd.append(name)
  notes = []
  if ignored:
    kinds = ', '.join(f'{suffix} {count}' for suffix, count in ignored.most_common(6))
    notes.append(f'{_files(ignored.total())} ignored in {root}: {kinds}'
                 + (f' and {len(ignored) - 6} more kinds' if len(ignored) > 6 else ''))
  for names, what in ((odd, 'pipes, devices or links to nothing'),
                      (again, 'links to folders that are in the set already')):
    if names:
      notes.append(f'{_files(len(names))} ignored in {root}, {what}: {", ".join(sorted(names)[:3])}')
  return sorted(found, key=key), tuple(printable(note) for note in notes)


def hidden(name: str) -> bool:
  """Whether a file or folder is none of the user's: its name begins with a dot, or it is an operating system's."""
  return name.startswith('.') or name in ('__MACOSX', 'lost+found', '$RECYCLE.BIN', 'System Volume Information')


def is_folder(entry: os.DirEntry) -> bool:
  """False also for a link to itself."""
  try:
    return entry.is_dir()
  except OSError:
    return False


def is_file(entry: os.DirEntry) -> bool:
  """False also for a link to itself."""
  try:
    return entry.is_file()
  except OSError:
    return False


def printable(text: str) -> str:
  """Names of files are bytes: those that are no UTF-8 are shown as escapes."""
  return text.encode('utf-8', 'backslashreplace').decode()


def _files(count: int) -> str:
  return '1 file' if count == 1 else f'{count} files'


def folders(root: Path) -> list[str]:
  """Names of the folders in a folder, sorted, but hidden ones."""
  return sorted(entry.name for entry in os.scandir(root) if not hidden(entry.name) and is_folder(entry))


def natural(name: str) -> list:
  """A key that sorts frame_2 before frame_10."""
  return [(int(part), part) if place % 2 else (-1, part) for place, part in enumerate(re.split(r'([0-9]+)', name))]


def inside(root: Path, name: str) -> Path:
  """The path of a file that data name by a relative path; raises ValueError where it would lie outside `root`."""
  path = PurePosixPath(name)
  if path.is_absolute() or '..' in path.parts:
    raise ValueError(f'{name!r} leads out of {root}; wanted a path inside of it')
  return root / path


def regular(path: str | Path):
  """A file, opened for its bytes; a pipe or a device is refused, which could give bytes without end."""
  handle = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0))
  try:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
      raise ValueError(f'{path} is a folder, a pipe or a device; wanted a file')
    return open(handle, 'rb', buffering=0)
  except BaseException:
    os.close(handle)
    raise


def contents(path: str | Path) -> bytes:
  """The bytes of a file; errors as `regular`."""
  with regular(path) as file:
    return file.readall()


def ends(path: str | Path, start: int = 0, size: int | None = None) -> bytes:
  """Digest of a file (or `size` bytes of it from `start`): of its size, beginning and end; errors as `regular`."""
  with regular(path) as file:
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
  for file in map(Path, files):
    if found := re.fullmatch(r'(.*?)(\d+)-of-(\d+)(?:-[0-9a-f]{8,})?(\..*)', file.name):
      before, number, total, behind = found.groups()
      totals[f'{file.parent}/{before}', behind].setdefault(int(total), []).append(int(number))
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
