"""Predictions For Pre-training Language Models (pseudo-label)."""
from pathlib import Path

from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = dict(title='Predictions For Pre-training Language Models',
             arxiv='2011.09031v4', family='pseudo-labels', modality='any')


def predictions_plm(*, workdir: Path, finetune: dict, pretrain: dict, unlabeled: dict | None,
                    parts: tuple[str, ...] = ('backbone', 'head'), test: dict | None = None) -> list[dict]:
  """A fine-tuned model labels many examples; a network learns these labels first and the true ones afterwards.

  arXiv:2011.09031v4, abstract: the labels are hard, none is left out, and nothing else is kept of the first model. The
  paper's networks are language models; here any with classes will do.

  Args:
    finetune: config of the first run and, but for where it starts, of the last one, of an objective with classes; its
      `initialize` may name a network that was pretrained without labels.
    pretrain: config of the run on the model's labels, without a source; its `initialize` as that of `finetune`.
    unlabeled: of data/sources; its labels are not looked at. None: there are no such examples, and the last run is the
      first one again, bit for bit.
    parts: what the last run starts with of `pretrain`.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each run, see `stages.row`.
  """
  check('finetune', finetune)
  check('pretrain', pretrain, given=('source', 'labels'))
  model, run = fit(finetune, workdir / 'finetune0'), finetune
  rows = [row(model, run, test)]
  if unlabeled is not None:
    store = label(model, workdir / 'labels', source=unlabeled)
    learned = relabeled(pretrain, unlabeled, store, incomplete=True)
    model = fit(learned, workdir / 'pretrain')
    rows.append(row(model, learned, test))
    run = finetune | {'initialize': dict(workdir=str(model), parts=parts)}
  return [*rows, row(fit(run, workdir / 'finetune1'), run, test)]
