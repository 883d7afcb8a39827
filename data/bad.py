"""Broken examples: counted, listed once each, and too many of them stop the run."""
import fcntl
import json
import threading
from collections.abc import Sequence


class BadRecordsError(ValueError):
  """More of the examples drawn are broken than the run allows."""


class BadRecords:
  """Counts the examples drawn and the broken ones among them; safe from several threads and processes.

  Args:
    path: file to which {'index', 'file', 'reason'} is appended once per file, also across restarts; None: no list.
    max_share: largest share of the examples drawn that may be broken.
    after: examples drawn before the share is judged.
  """

  def __init__(self, path: str | None = None, max_share: float = 1.0, after: int = 1000):
    self.path, self.max_share, self.after = path, max_share, after
    self.drawn = self.bad = 0
    self._listed: set[str] = set()
    self._offset = 0  # of `path`, up to which the files are in _listed
    self._lock = threading.Lock()

  def __getstate__(self):
    return {k: v for k, v in self.__dict__.items() if k != '_lock'}

  def __setstate__(self, state):
    self.__dict__.update(state, _lock=threading.Lock())

  def count(self, broken: Sequence[tuple[int, str, str]], drawn: int) -> None:
    """Counts examples that were drawn, and lists the broken ones.

    Args:
      broken: (index, file, reason) of each.
      drawn: how many; 0 for those that only stand in for broken ones, which would bias the share.
    Raises:
      BadRecordsError: the share of broken examples is above the limit.
    """
    with self._lock:
      self.drawn += drawn
      for index, file, reason in broken:
        if file not in self._listed:
          self._list(index, file, reason)
      if not (drawn and broken):
        return
      self.bad += len(broken)
      if self.drawn >= self.after and self.bad > self.max_share * self.drawn:
        raise BadRecordsError(too_many(self.bad, self.drawn, 'examples drawn', self.max_share, self.path)
                              + f'; the last: {broken[-1][1]}: {broken[-1][2]}')

  def _list(self, index: int, file: str, reason: str) -> None:
    self._listed.add(file)
    if not self.path:
      return
    with open(self.path, 'a+b') as f:
      fcntl.flock(f, fcntl.LOCK_EX)  # other workers and other runs append to the same file
      f.seek(self._offset)
      tail = f.read()
      new = set()
      for line in tail.splitlines():
        try:
          new.add(json.loads(line)['file'])
        except (ValueError, KeyError, TypeError):
          continue  # the line that a kill cut short
      self._listed |= new
      if file not in new:
        torn = b'\n' if tail and not tail.endswith(b'\n') else b''
        f.write(torn + json.dumps({'index': index, 'file': file, 'reason': reason}).encode() + b'\n')
      self._offset = f.tell()


def too_many(bad: int, drawn: int, what: str, limit: float, path: str | None) -> str:
  """The sentence about a share of broken examples above the limit."""
  where = f'listed in {path}' if path else 'give bad_records=FILE to list them'
  return (f'{bad} of the {drawn} {what} are broken ({bad / drawn:.1%}, the limit is {limit:.1%}); {where}; '
          'config.max_bad_share is the limit')
