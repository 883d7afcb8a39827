"""SimCLRv2's loss, whose negatives also come from a memory."""

import math

from .vectors import unit


def nt_xent_with_memory(z1, z2, queue, temperature):
  """NT-Xent (arXiv:2002.05709v3 eq. 1) over the 2b anchors, with the rows of a memory as further negatives.

  arXiv:2006.10029v2 section 2 (results in appendix D) takes 'the memory mechanism from MoCo': the output of a network
  whose weights are a moving average 'will be buffered as negative examples'. It gives no equation; this is SimCLR's,
  with more terms in the denominator. For an anchor i whose other view is j, with s the cosine similarity,
  l(i, j) = -log( exp(s_ij / t) / (sum over k != i of the batch of exp(s_ik / t) + sum over queue of exp(s_iq / t)) ).

  Args:
    z1, z2: [b, d], the two views' projections, not normalised; row i of both comes from one image.
    queue: [q, d], projections of earlier images by the moving-average network, not normalised; constants; [0, d] gives
      NT-Xent.
    temperature: positive float.

  Returns:
    float.
  """
  z = [*unit(z1), *unit(z2)]  # 2b rows of [d]
  queue = unit(queue)
  b = len(z) // 2
  total = 0.0
  for i in range(2 * b):
    j = i + b if i < b else i - b
    logits = []
    for k in range(2 * b):
      if k != i:
        logits.append(z[i] @ z[k] / temperature)
    for old in queue:
      logits.append(z[i] @ old / temperature)
    highest = max(logits)
    denominator = 0.0
    for logit in logits:
      denominator += math.exp(logit - highest)
    total += highest + math.log(denominator) - z[i] @ z[j] / temperature
  return float(total / (2 * b))
