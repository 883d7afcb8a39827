"""data2vec's loss."""


def smooth_l1(predicted, target, mask, beta):
  """Mean over the hidden tokens of the batch and their features of the smooth L1, arXiv:2202.03555v3 section 3.4.

  With e = target - predicted: e^2 / (2 beta) where |e| <= beta, and |e| - beta / 2 elsewhere.

  Args:
    predicted, target: [b, n, d].
    mask: bool [b, n], True where hidden; at least one is.
    beta: positive float.

  Returns:
    float.
  """
  total, count = 0.0, 0
  for i in range(len(mask)):
    for j in range(len(mask[i])):
      if not mask[i][j]:
        continue
      for p, t in zip(predicted[i][j], target[i][j], strict=True):
        error = abs(float(t) - float(p))
        total += error ** 2 / (2 * beta) if error <= beta else error - beta / 2
        count += 1
  return total / count
