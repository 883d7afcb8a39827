"""Self-distillation for further pre-training."""

import numpy as np


def hidden_distance(student, teacher):
  """Mean over the examples of the squared Euclidean distance of their hidden representations: [b, ..., d] -> float.

  A sum, not a mean, over everything but the examples. In the authors' code (trainer.py: MSELoss(reduction='sum') over
  the batch size) a representation is one vector, [b, d]: the class token after the encoder's last normalisation, of the
  whole image (nothing hidden), for the student as for the teacher. Given tokens, [b, n, d], it is the squared norm of
  the matrix.
  """
  student, teacher = np.asarray(student, np.float64), np.asarray(teacher, np.float64)
  total = 0.0
  for position in np.ndindex(*student.shape):
    total += (student[position] - teacher[position]) ** 2
  return total / len(student)


def self_distillation_fpt(masked_loss, student, teacher, weight):
  """Masked loss + weight times hidden_distance, arXiv:2210.02871 section 3.2; 1 is the authors' code's weight.

  The section's number is from memory.

  Args:
    masked_loss: float, MAE's (images) or BERT's (text) loss of the student's masked input.
    student, teacher: hidden representations [b, ..., d] of the whole input; the teacher's are constants.
    weight: float.

  Returns:
    (loss, {'masked', 'distance'}), floats.
  """
  terms = {'masked': float(masked_loss), 'distance': hidden_distance(student, teacher)}
  return terms['masked'] + weight * terms['distance'], terms
