"""Curriculum Labeling: Revisiting Pseudo-Labeling for Semi-Supervised Learning (pseudo-label)."""
from pathlib import Path
from typing import Annotated

from pretrain.config import Range
from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = dict(title='Curriculum Labeling: Revisiting Pseudo-Labeling for Semi-Supervised Learning',
             arxiv='2001.06001v2', family='pseudo-labels', modality='image')


def curriculum_labeling(*, workdir: Path, train: dict, stepping: Annotated[float, Range(0, 100, above=True)] = 20.,
                        balanced: bool = True, parts: tuple[str, ...] = (), test: dict | None = None) -> list[dict]:
  """Pseudo labels are admitted by percentiles of their confidence, more of them each cycle, which starts from scratch.

  arXiv:2001.06001v2, algorithm 1. The threshold of a cycle is the percentile T_r of the highest probabilities of all
  unlabeled examples; T_r falls from 100 - stepping to 0 by `stepping`, so the last cycle uses every one of them.
  Deviations from the authors' code: ties at the threshold are not all admitted but ceil((1 - T_r / 100) n) examples;
  the newest model labels, not the one of the best validation accuracy; classes are made equally frequent by drawing the
  rare ones again, where theirs weights them by the inverse of their frequency, so that an epoch is longer; no mixup or
  averaged weights, unless the config has them.

  Args:
    train: config of every run; its `labels` choose the labeled examples of its `source`.
    stepping: Delta in (0, 100], per cent; the authors' 20.
    balanced: False leaves the classes as they are admitted. The most confident labels are of the easiest classes: then
      the next model knows these alone, and so on.
    parts: what a cycle starts with of the one before it; () restarts, as the algorithm does. Without restarts, which
      the paper's ablation compares: all of the network, ('backbone', 'head').
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each cycle, see `stages.row`.
  """
  check('train', train)
  source, labels = train['source'], train.get('labels')
  model, run = fit(train, workdir / 'cycle0'), train
  rows, cycle, percentile = [row(model, run, test)], 0, 100.
  while percentile > 0:
    cycle, percentile = cycle + 1, max(0., percentile - stepping)
    store = label(model, workdir / f'labels{cycle}', source=source, generation=cycle)
    run = relabeled(train, source, store, labels=labels, percentile=percentile, balanced=balanced)
    run |= {'initialize': dict(workdir=str(model), parts=parts)} if parts else {}
    model = fit(run, workdir / f'cycle{cycle}')
    rows.append(row(model, run, test))
  return rows
