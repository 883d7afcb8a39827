"""Repeated random subsets: which examples each round holds."""


def rounds(permutations, size, count, replacement):
  """The first `count` rounds of `size` examples each, arXiv:2305.18424 (RS2).

  Here a round is the paper's round: a subset of r n examples, trained on once. The replacement is between rounds only;
  within a round every example is there at most once (numpy's choice(replace=False) in the authors' uniform.py).
  With replacement, round j is a fresh draw: the first `size` of permutations[j].
  Without, a pass goes through one permutation in pieces of `size`, and the next pass takes the next permutation: round
  j holds the entries j size, ..., (j + 1) size - 1 of all permutations laid end to end, so n / size rounds hold every
  example once. The authors' code agrees where size divides n; elsewhere it fills the round that crosses the end of a
  pass from the beginning of the same permutation (and one example short), then shuffles.

  Args:
    permutations: int [p, n], the draws, p large enough.
    size: int, 1 to n; round(r n) in the authors' code.
    count: int, the number of rounds.
    replacement: bool.

  Returns:
    list of `count` lists of ints; the order within a round is not the paper's concern.
  """
  if replacement:
    return [[int(i) for i in permutations[j][:size]] for j in range(count)]
  stream = [int(i) for permutation in permutations for i in permutation]
  return [stream[j * size:(j + 1) * size] for j in range(count)]
