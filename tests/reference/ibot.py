"""iBOT's loss of masked patches."""

import numpy as np

from .supervised import log_softmax


def ibot(student, teacher, mask, center, student_temperature, teacher_temperature):
  """Mean over the images of the mean over their hidden patches of H(teacher, student), arXiv:2111.07832v3 eq. 3.

  H(a, b) = -sum a log b with a = softmax((teacher - center) / teacher_temperature) and
  b = softmax(student / student_temperature). Eq. 2 sums over the patches; the authors' code divides by the image's
  number of hidden patches, at least 1, and then by the number of images, those without hidden patches among them.

  Args:
    student: logits [b, n, k] of the masked image's patches.
    teacher: logits [b, n, k] of the whole image's patches, constants.
    mask: bool [b, n], True where the student's patch is hidden.
    center: [k].
    student_temperature, teacher_temperature: positive floats.

  Returns:
    float.
  """
  student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
  center = np.asarray(center, np.float64)
  b, n, k = student.shape
  total = 0.0
  for i in range(b):
    image, hidden = 0.0, 0
    for j in range(n):
      if not mask[i][j]:
        continue
      target = log_softmax((teacher[i, j] - center) / teacher_temperature)
      output = log_softmax(student[i, j] / student_temperature)
      for c in range(k):
        image -= np.exp(target[c]) * output[c]
      hidden += 1
    total += image / max(hidden, 1) / b
  return total
