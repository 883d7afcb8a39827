"""Mean Teacher's loss."""

import math

from .pseudo_label import supervised_mean
from .supervised import log_softmax


def mean_teacher(labeled, label, student, teacher, unlabeled_weight):
  """Classification cost + weight times J, arXiv:1703.01780v6 section 2.

  J is the expected squared distance between the softmax of teacher and of student; the authors' code
  (softmax_mse_loss) divides it by the number of classes.

  Args:
    labeled: [b, k] logits of the student.
    label: int [b].
    student, teacher: [u, k] logits of the same images; the teacher's are constants.
    unlabeled_weight: float.

  Returns:
    (loss, {'supervised', 'consistency'}), floats.
  """
  supervised = supervised_mean(labeled, label)
  total, count = 0.0, 0
  for student_row, teacher_row in zip(student, teacher, strict=True):
    for s, t in zip(log_softmax(student_row), log_softmax(teacher_row), strict=True):
      total += (math.exp(s) - math.exp(t)) ** 2
      count += 1
  consistency = total / count
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency}
