"""DINO's loss."""

import numpy as np

from .supervised import log_softmax


def dino(student, teacher, center, student_temperature, teacher_temperature):
  """Mean over the pairs (teacher view i, student view j != i) of the batch's mean H(teacher, student).

  arXiv:2104.14294v2 algorithm 1 and eq. 3: H(a, b) = -sum a log b, with a = softmax((t - center) / teacher_temperature)
  and b = softmax(s / student_temperature). Eq. 3 is a sum over the pairs; algorithm 1 (two pairs, each halved) and the
  authors' code (divided by the number of terms) take the mean, and so does this.

  Args:
    student: logits [v, b, k]; the first g views are the teacher's, in the same order.
    teacher: logits [g, b, k], constants.
    center: [k].
    student_temperature, teacher_temperature: positive floats.

  Returns:
    float.
  """
  student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
  center = np.asarray(center, np.float64)
  v, b, k = student.shape
  total, pairs = 0.0, 0
  for i in range(len(teacher)):
    for j in range(v):
      if i == j:
        continue
      for n in range(b):
        target = log_softmax((teacher[i, n] - center) / teacher_temperature)
        output = log_softmax(student[j, n] / student_temperature)
        for c in range(k):
          total -= np.exp(target[c]) * output[c] / b
      pairs += 1
  return total / pairs
