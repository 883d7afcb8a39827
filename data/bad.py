"""Broken records: counted, listed once each, and too many of them stop the run."""
import fcntl
import json
import threading


class BadRecordsError(ValueError):
  """More of the examples drawn are broken than the run allows."""


class BadRecords:
  """Counts the examples drawn and the broken ones among them; safe from several threads and processes.

  Args:
    path: file to which {'index', 'file', 'reason'} is appended once per index, also across restarts; None: no list.
    max_share: largest share of the examples drawn that may be broken.
    after: examples drawn before the share is judged.
  """

  def __init__(self, path: str | None = None, max_share: float = 1.0, after: int = 1000):
    self.path, self.max_share, self.after = path, max_share, after
    self.drawn = self.bad = 0
    self._listed: set[int] = set()
    self._offset = 0  # of `path`, up to which the indices are in _listed
    self._lock = threading.Lock()

  def __getstate__(self):
    return {k: v for k, v in self.__dict__.items() if k != '_lock'}

  def __setstate__(self, state):
    self.__dict__.update(state, _lock=threading.Lock())

  def good(self) -> None:
    """Counts one drawn example that decodes."""
    with self._lock:
      self.drawn += 1

  def add(self, index: int, file: str, reason: str, drawn: bool = True) -> None:
    """Lists a broken example, and counts it if the stream drew it; broken stand-ins would bias the share.

    Raises:
      BadRecordsError: the share of broken examples is above the limit.
    """
    with self._lock:
      self.drawn += drawn
      self.bad += drawn
      if index not in self._listed:
        self._list(index, file, reason)
      if self.drawn >= self.after and self.bad > self.max_share * self.drawn:
        where = f'listed in {self.path}' if self.path else 'give bad_records=FILE to list them'
        raise BadRecordsError(
            f'{self.bad} of the {self.drawn} images drawn are broken ({self.bad / self.drawn:.1%}, the limit is '
            f'{self.max_share:.1%}); {where}; the last: {file}: {reason}')

  def _list(self, index: int, file: str, reason: str) -> None:
    self._listed.add(index)
    if not self.path:
      return
    with open(self.path, 'a+b') as f:
      fcntl.flock(f, fcntl.LOCK_EX)  # other workers and other runs append to the same file
      f.seek(self._offset)
      tail = f.read()
      new = set()
      for line in tail.splitlines():
        try:
          new.add(json.loads(line)['index'])
        except (ValueError, KeyError, TypeError):
          continue  # the line that a kill cut short
      self._listed |= new
      if index not in new:
        torn = b'\n' if tail and not tail.endswith(b'\n') else b''
        f.write(torn + json.dumps({'index': index, 'file': file, 'reason': reason}).encode() + b'\n')
      self._offset = f.tell()
