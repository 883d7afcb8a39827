"""T-JEPA's loss."""


def t_jepa(predicted, whole, target):
  """Mean squared difference of predictions and the target encoder's tokens, over rows, targets, columns and features.

  arXiv:2410.05016, section 3 (a mean where the norm is squared, as in the authors' code).

  Args:
    predicted: [b, m, t, d].
    whole: [b, f, d], the target encoder's tokens of all columns.
    target: int[b, m, t], which columns.

  Returns:
    float.
  """
  total = count = 0
  for i in range(len(target)):
    for j in range(len(target[i])):
      for k, column in enumerate(target[i][j]):
        for p, w in zip(predicted[i][j][k], whole[i][column], strict=True):
          total += (float(p) - float(w)) ** 2
          count += 1
  return total / count
