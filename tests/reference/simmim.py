"""SimMIM's loss."""


def masked_l1(predicted, target, mask):
  """Mean over the pixels of all hidden patches of the batch of |predicted - target|, arXiv:2111.09886v2 section 3.4.

  L = 1 / Omega(x_M) || y_M - x_M ||_1, Omega being the number of elements.

  Args:
    predicted, target: [b, n, p].
    mask: bool [b, n], True where hidden; at least one is.

  Returns:
    float.
  """
  total, count = 0.0, 0
  for i in range(len(mask)):
    for j in range(len(mask[i])):
      if not mask[i][j]:
        continue
      for p, t in zip(predicted[i][j], target[i][j], strict=True):
        total += abs(float(p) - float(t))
        count += 1
  return total / count
