"""The numbers that arguments take: each int and float that a config may set declares them at its signature."""
import itertools
import math
import sys
from typing import Annotated, NamedTuple


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
