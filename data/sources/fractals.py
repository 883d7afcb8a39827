"""Numbers of fractals, which views of the same name draw on the device."""
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Fractals:
  """A source without images: an example is its index, and its label, the number of its code.

  Args:
    codes: k; example i is of code i % k.
    count: of the examples.
    rows: i64[n] which, in order; None: all.
  """
  codes: int
  count: int
  rows: np.ndarray | None = None
  labeled: bool = True
  captions = None
  shape = ()

  @property
  def origin(self) -> str:
    return f'{self.count} fractals of {self.codes} codes'

  def __len__(self):
    return self.count if self.rows is None else len(self.rows)

  def __getitem__(self, i):
    if not -len(self) <= i < len(self):
      raise IndexError(f'{self.origin}: got index {i}')
    return {k: int(v[0]) for k, v in self.batch(np.array([i % len(self)])).items()}

  @property
  def classes(self) -> tuple[str, ...] | None:
    return tuple(map(str, range(self.codes))) if self.labeled else None

  @property
  def labels(self) -> np.ndarray | None:
    """Labels i32[n] by position, or None."""
    return self.batch(np.arange(len(self))).get('label')

  def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Positions i64[b] -> {'label': i32[b], 'index': i32[b]}."""
    index = (np.asarray(indices) if self.rows is None else self.rows[indices]).astype(np.int32)
    return {'index': index} | ({'label': index % np.int32(self.codes)} if self.labeled else {})

  def take(self, indices: np.ndarray) -> 'Fractals':
    """The source of these positions; `index` stays the one in the whole set."""
    rows = np.asarray(indices, np.int64)
    return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

  def unlabeled(self) -> 'Fractals':
    """The source without labels."""
    return dataclasses.replace(self, labeled=False)


def fractals(*, codes: int, per_code: int) -> Fractals:
  """codes * per_code examples, of which nothing is stored or read: the views `fractals` and `fractal_scenes` draw them.

  arXiv:2110.03091: 1,000 codes, 1,000 images each.

  Raises:
    ValueError: fewer than two codes, or no image of each.
  """
  if codes < 2 or per_code < 1:
    raise ValueError(f'fractals: wanted at least two codes and one image of each, got {codes=}, {per_code=}')
  return Fractals(codes, codes * per_code)
