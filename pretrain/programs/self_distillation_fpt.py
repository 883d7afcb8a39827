"""Self-Distillation for Further Pre-training of Transformers (masked modelling, self-distillation)."""
from pathlib import Path

from pretrain.config import NonNegative
from pretrain.programs.stages import check, fit, row

PAPER = 'self_distillation_fpt'


def self_distillation_fpt(*, workdir: Path, pretrain: dict, further: dict, finetune: dict, weight: NonNegative,
                          test: dict | None = None) -> list[dict]:
  """Pretrains further on the target's images, twice from the same start: the second time near the first one's result.

  arXiv:2210.02871v3, section 3.2 and algorithms 1 and 2 (numbers from memory): the teacher is what further pretraining
  makes of theta_0; the student starts from theta_0 again and also stays close to the teacher's hidden representations;
  then it is fine-tuned. Deviations: one round of distillation; images are those of MAE's view for both terms.

  Args:
    pretrain: config of the run that makes theta_0, of `mae`.
    further: config of both further runs, of `mae` with the same decoder, on the images of the target.
    finetune: config of the last run, with labels.
    weight: lambda, of the distance to the teacher.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for the fine-tuned model, see `stages.row`.
  """
  check('pretrain', pretrain)
  check('further', further, given=('initialize',))
  check('finetune', finetune, given=('initialize',))
  begin = dict(workdir=str(fit(pretrain, workdir / 'pretrain')), parts=('backbone', 'decoder'))
  teacher = fit(further | {'initialize': begin}, workdir / 'teacher')
  objective = further['objective'] | dict(name='self_distillation_fpt', weight=weight)
  student = fit(further | {'objective': objective, 'initialize': begin | dict(teacher=str(teacher))},
                workdir / 'student')
  run = finetune | {'initialize': dict(workdir=str(student), parts=('backbone',))}
  return [row(fit(run, workdir / 'finetune'), run, test)]
