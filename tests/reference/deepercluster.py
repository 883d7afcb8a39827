"""DeeperCluster's hierarchical loss of rotations crossed with clusters, and DeepCluster's."""

from .supervised import log_softmax


def super_class(super_cluster, rotation, rotations):
  """The number of (super-cluster, rotation): super_cluster rotations + rotation, rotations being 4, or 1 for none.

  As in the authors' code (utils.py), whose processes of one super-cluster lie together, one rotation after another.
  Rotation r is r quarter turns counter-clockwise (numpy.rot90 of rows and columns).
  """
  return super_cluster * rotations + rotation


def deepercluster(super_logits, sub_logits, super_cluster, sub_cluster, rotation, rotations):
  """Mean over the batch of H(V f, y) + sum over s of [s = y] H(W_s f, z), arXiv:1905.01278 section 4.2.

  H is the cross-entropy of the softmax, in nats; y = super_class(super_cluster, rotation, rotations) is one of the m r
  super-classes and z one of the k sub-classes of y. Each super-class has its own sub-class head W_s: with one image's
  rotations z stays the same number (the sub-clusters are found on unrotated images, within each super-cluster), but the
  head that must say it changes. The section's number is from memory; the sum of the two means, unweighted, and the
  numbering are the authors' code's (trainer.py, utils.py).

  Args:
    super_logits: [b, m r], V f.
    sub_logits: [b, m r, k], W_s f of every s; only the row of the true super-class enters.
    super_cluster: int [b] in [0, m).
    sub_cluster: int [b] in [0, k), the number within the super-cluster.
    rotation: int [b] in [0, r).
    rotations: int, r.

  Returns:
    (loss, {'super', 'sub'}), floats.
  """
  terms = {'super': 0.0, 'sub': 0.0}
  for n in range(len(super_logits)):
    y = super_class(int(super_cluster[n]), int(rotation[n]), rotations)
    terms['super'] -= log_softmax(super_logits[n])[y] / len(super_logits)
    for s in range(len(sub_logits[n])):
      if s == y:
        terms['sub'] -= log_softmax(sub_logits[n][s])[int(sub_cluster[n])] / len(super_logits)
  return terms['super'] + terms['sub'], terms


def deepcluster(logits, cluster):
  """Mean cross-entropy of the cluster numbers, arXiv:1807.05520 eq. 1: [b, k], int [b] -> float.

  DeeperCluster's with one super-cluster and one rotation: its super-class term is then zero. The equation's number is
  from memory.
  """
  total = 0.0
  for row, wanted in zip(logits, cluster, strict=True):
    total -= log_softmax(row)[int(wanted)]
  return total / len(logits)
