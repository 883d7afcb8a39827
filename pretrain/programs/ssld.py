"""Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve Backbones (SSLD)."""
from pathlib import Path

from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = dict(title='Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve '
                   'Backbones',
             arxiv='2103.05959', family='distillation', modality='image')


def ssld(*, workdir: Path, teacher: dict, student: dict, images: dict | None = None,
         test: dict | None = None) -> list[dict]:
  """A student learns the distribution that a teacher gives to any images, and no label.

  arXiv:2103.05959 (as the authors' documentation has it). Deviations: the teacher saw the unaugmented image once; the
  later phases, on the labeled set's images alone, are runs of their own, with config.initialize.

  Args:
    teacher: config of the first run, of an objective with classes.
    student: config of the second, without a source, of the objective `distill` with divergence='js' and temperature 1.
    images: of data/sources, what the student sees, such as `mixed` for additional images; None: the teacher's source,
      all of it, whatever `teacher.labels` chose.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each of the two, see `stages.row`.
  """
  check('teacher', teacher)
  check('student', student, given=('source', 'labels'))
  model, source = fit(teacher, workdir / 'teacher'), images or teacher['source']
  run = relabeled(student, source, label(model, workdir / 'labels', source=source), soft=True)
  return [row(model, teacher, test), row(fit(run, workdir / 'student'), run, test)]
