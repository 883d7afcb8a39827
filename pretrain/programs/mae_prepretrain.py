"""The effectiveness of MAE pre-pretraining for billion-scale pretraining (masked modelling, then labels)."""
from pathlib import Path

from pretrain.programs.stages import check, fit, row

PAPER = dict(title='The effectiveness of MAE pre-pretraining for billion-scale pretraining',
             arxiv='2303.13496v3', family='masked modelling', modality='image')


def mae_prepretrain(*, workdir: Path, prepretrain: dict, pretrain: dict, finetune: dict | None = None,
                    test: dict | None = None) -> list[dict]:
  """Weakly supervised pretraining starts from MAE's encoder instead of from scratch; then perhaps fine-tuning.

  arXiv:2303.13496v3, section 3 (its numbers are from memory): MAE, then classification of noisy labels (hashtags in the
  paper, whose targets spread over an image's tags; here the source's labels), then fine-tuning or probes.

  Args:
    prepretrain: config of the run without labels, of `mae`.
    pretrain: config of the run with (weak) labels, of the same backbone.
    finetune: config of a last run, on labels of the target; None: none.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each run with labels, see `stages.row`.
  """
  check('prepretrain', prepretrain)
  check('pretrain', pretrain, given=('initialize',))
  if finetune:
    check('finetune', finetune, given=('initialize',))
  model, rows = fit(prepretrain, workdir / 'prepretrain'), []
  for name, run in (('pretrain', pretrain), ('finetune', finetune)):
    if run:
      run = run | {'initialize': dict(workdir=str(model), parts=('backbone',))}
      model = fit(run, workdir / name)
      rows.append(row(model, run, test))
  return rows
