"""S4L-Rotation's loss."""

from .supervised import log_softmax


def s4l(labeled, label, turned_labeled, turned_unlabeled, rotation_weight):
  """L_l + w L_rot, arXiv:1905.03670v2 eq. 1: means over images and their four turns; of L_rot the mean of two.

  Args:
    labeled: [b, 4, k] logits.
    label: int [b].
    turned_labeled, turned_unlabeled: [b, 4, 4], [u, 4, 4] logits; the class of a turn is its place.
    rotation_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = 0.0
  for rows, wanted in zip(labeled, label, strict=True):
    for row in rows:
      supervised -= log_softmax(row)[int(wanted)] / (4 * len(labeled))
  rotation = 0.0
  for images in (turned_labeled, turned_unlabeled):
    for rows in images:
      for turn in range(4):
        rotation -= log_softmax(rows[turn])[turn] / (4 * len(images)) / 2
  return supervised + rotation_weight * rotation, {'supervised': supervised, 'consistency': rotation}
