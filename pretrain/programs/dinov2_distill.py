"""DINOv2: Learning Robust Visual Features without Supervision (self-distillation, masked modelling): smaller models."""
from pathlib import Path

from pretrain.programs.stages import check, fit, probes

PAPER = 'dinov2_distill'


def dinov2_distill(*, workdir: Path, teacher: dict, student: dict) -> list[dict]:
  """A large model by DINOv2, and a smaller one from it, frozen.

  arXiv:2304.07193v2, section 5: smaller models are distilled from the largest instead of trained from scratch.

  Args:
    teacher: config of the first run, of `dinov2`, whose moving average is the frozen teacher.
    student: config of the second, of `dinov2_distill` with the first one's backbone as `teacher`.
  Returns:
    A row for each run: stage and, where its config has `evaluate`, see `stages.probes`.
  """
  check('teacher', teacher)
  check('student', student, given=('initialize',))
  large = fit(teacher, workdir / 'teacher')
  small = fit(student | {'initialize': dict(teacher=str(large), averaged=True)}, workdir / 'student')
  return [{'stage': stage.name} | probes(stage) for stage in (large, small)]
