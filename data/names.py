"""The end of an error message: what would have been valid."""
import difflib


def known(what: str, name: str, valid) -> str:
  """Returns `name` if it is one of `valid`.

  Raises:
    ValueError: it is not; the message names the nearest and lists all.
  """
  valid = [str(v) for v in valid]
  if name in valid:
    return name
  close = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.3)
  hint = f'; nearest: {close[0]!r}' if close else ''
  raise ValueError(f'unknown {what} {name!r}{hint}; all: {", ".join(valid) or "none"}')
