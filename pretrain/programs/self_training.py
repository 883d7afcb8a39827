"""Self-training: a model's confident predictions are the labels of the next one."""
from pathlib import Path

from data.sources.pseudo_labeled import pseudo_labeled
from pretrain import config as configs
from pretrain.config import Count
from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = dict(title='Probability of Error of Some Adaptive Pattern-Recognition Machines',
             venue='Scudder, IEEE Transactions on Information Theory, 1965', family='pseudo-labels', modality='any')


def self_training(*, workdir: Path, teacher: dict, student: dict, admission: dict, generations: Count = 1,
                  test: dict | None = None) -> list[dict]:
  """A teacher trained on the labels labels everything; a student learns what is admitted, and is the next teacher.

  Every student starts from scratch; the examples with labels stay, with their own.

  Args:
    teacher: config of the first run, of an objective with classes; its `labels` choose the labeled examples of its
      `source`, all of which are labeled by the model.
    student: config of the others, without a source: `supervised` for hard labels, `distill` for soft ones.
    admission: arguments of data.sources.pseudo_labeled: threshold, percentile or margin; soft; weighted; ...
    generations: students, one after the other.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each model, see `stages.row`.
  """
  check('teacher', teacher)
  check('student', student, given=('source', 'labels'))
  configs.check(pseudo_labeled, admission, 'config.program.admission', given=('source', 'store', 'labels'))
  source, labels = teacher['source'], teacher.get('labels')
  model, run = fit(teacher, workdir / 'generation0'), teacher
  rows = [row(model, run, test)]
  for generation in range(1, generations + 1):
    store = label(model, workdir / f'labels{generation}', source=source, generation=generation)
    run = relabeled(student, source, store, labels=labels, **admission)
    model = fit(run, workdir / f'generation{generation}')
    rows.append(row(model, run, test))
  return rows
