"""DINOv2's distillation from a larger frozen teacher."""

import numpy as np

from .dino import dino
from .ibot import ibot
from .koleo import koleo


def dinov2_distillation(
  student,
  teacher,
  student_patches,
  teacher_patches,
  tokens,
  center,
  patch_center,
  student_temperature,
  teacher_temperature,
  koleo_weight,
):
  """DINO + iBOT over all patches of the global crops + weight times the sum over the global crops of KoLeo.

  arXiv:2304.07193v2 section 5, 'Model distillation' (from memory): DINOv2's own training, but the teacher is a larger
  frozen model, the student's averaged weights are only kept as the final model, masking and stochastic depth are off,
  and iBOT's loss is on the two global crops; so every patch counts, and the student sees the same crop as the teacher.
  From the code of the pre-training (ssl_meta_arch.py, ssl_default_config.yaml; the distillation's own code is not in
  it): DINO and iBOT weigh 1, KoLeo 0.1 times a sum (not a mean) over the global crops, on the class tokens before the
  head. That KoLeo stays during distillation is read from the section's naming only the exceptions.

  The teacher's probabilities come from a centre, as in dino and ibot. For Sinkhorn-Knopp targets, which DINOv2 uses,
  give their logarithm as the teacher's logits, centres of zero and a teacher temperature of 1.

  Args:
    student: logits [v, b, k] of the class tokens of all crops, the g global ones first.
    teacher: logits [g, b, k] of the global crops, constants.
    student_patches, teacher_patches: logits [g, b, n, l] of the patches of the whole global crops.
    tokens: [g, b, d], the student's class tokens before the head.
    center: [k].
    patch_center: [l].
    student_temperature, teacher_temperature: positive floats.
    koleo_weight: float.

  Returns:
    (loss, {'dino', 'ibot', 'koleo'}), floats; koleo unweighted.
  """
  terms = {'dino': dino(student, teacher, center, student_temperature, teacher_temperature), 'ibot': 0.0, 'koleo': 0.0}
  shown = np.ones(np.shape(student_patches)[1:3], bool)
  for own, target, token in zip(student_patches, teacher_patches, tokens, strict=True):
    part = ibot(own, target, shown, patch_center, student_temperature, teacher_temperature)
    terms['ibot'] += part / len(tokens)
    terms['koleo'] += koleo(token)
  return terms['dino'] + terms['ibot'] + koleo_weight * terms['koleo'], terms
