"""Big Self-Supervised Models are Strong Semi-Supervised Learners (contrastive, pseudo-label)."""
from pathlib import Path

from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = 'simclr_v2'


def simclr2(*, workdir: Path, pretrain: dict, finetune: dict, distill: dict,
            parts: tuple[str, ...] = ('backbone', 'projector/layers/0', 'projector/norms/0'),
            test: dict | None = None) -> list[dict]:
  """Pretrains without labels, fine-tunes on a few, and distils the result into a student on all images.

  arXiv:2006.10029v2, section 2. Fine-tuning starts from the first layer of the projector: `finetune.objective` is
  `supervised` with projector=(its width,). Deviations: no momentum memory and no selective kernels; the teacher's
  probabilities are those of unaugmented images.

  Args:
    pretrain: config of the run without labels, of `simclr` with hidden=(width, width) for the paper's three layers.
    finetune: config of the run with labels, of the same backbone.
    distill: config of the student's run, without a source, of the objective `distill`: it sees the images of
      `pretrain.source`, and no label.
    parts: what fine-tuning starts with; ('backbone',) drops the projector.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for the fine-tuned model and one for the student, see `stages.row`.
  """
  check('pretrain', pretrain)
  check('finetune', finetune, given=('initialize',))
  check('distill', distill, given=('source', 'labels'))
  pretrained = fit(pretrain, workdir / 'pretrain')
  finetuned = fit(finetune | {'initialize': dict(workdir=str(pretrained), parts=parts)}, workdir / 'finetune')
  store = label(finetuned, workdir / 'labels', source=pretrain['source'])
  run = relabeled(distill, pretrain['source'], store, soft=True)
  student = fit(run, workdir / 'distill')
  return [row(finetuned, finetune, test), row(student, run, test)]
