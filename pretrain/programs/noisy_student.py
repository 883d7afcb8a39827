"""Self-training with Noisy Student improves ImageNet classification (pseudo-label)."""
from pathlib import Path

from pretrain.config import Count, Share
from pretrain.programs.stages import check, fit, label, relabeled, row

PAPER = dict(title='Self-training with Noisy Student improves ImageNet classification',
             arxiv='1911.04252v4', family='pseudo-labels', modality='image')


def noisy_student(*, workdir: Path, teacher: dict, student: dict, threshold: Share, per_class: Count | None = None,
                  generations: Count = 1, test: dict | None = None) -> list[dict]:
  """An equal or larger student, noised, learns from a teacher that is not, and becomes the teacher.

  arXiv:1911.04252v4, algorithm 1 and section 2. The noise of the student is its config's: RandAugment in the views,
  `drop_path` in the backbone; the teacher labels unaugmented images without any. Data are filtered by confidence and
  balanced: per_class of each class, the most confident, and those of rare classes repeated.
  Deviation: labeled and pseudo-labeled images are one set to draw batches from, not two batches of a fixed ratio.

  Args:
    teacher: config of the first run; its `labels` choose the labeled examples of its `source`.
    student: config of the others, without a source, of the objective `distill` (temperature 1) for soft labels.
    threshold: of the confidence; 0.3 in the paper.
    per_class: images of each class after balancing; 130,000 in the paper; None: no balancing.
    generations: students, one after the other.
    test: of data/sources, for the accuracies of the result.
  Returns:
    A row for each model, see `stages.row`.
  """
  check('teacher', teacher)
  check('student', student, given=('source', 'labels'))
  source, labels = teacher['source'], teacher.get('labels')
  model, run = fit(teacher, workdir / 'teacher'), teacher
  rows = [row(model, run, test)]
  for generation in range(1, generations + 1):
    store = label(model, workdir / f'labels{generation}', source=source, generation=generation)
    run = relabeled(student, source, store, labels=labels, threshold=threshold, per_class=per_class,
                    repeat=per_class is not None, soft=True)
    model = fit(run, workdir / f'student{generation}')
    rows.append(row(model, run, test))
  return rows
