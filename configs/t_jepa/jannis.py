"""T-JEPA on Jannis (OpenML 41168), 83,733 rows of 54 numbers: arXiv:2410.05016, 0.728 with an MLP in their README.

Settings of the authors' scripts/launch_tjepa.sh (jose-melo/t-jepa). Deviations: of the context there are 13 columns, of
each target 21, the middle of the ranges from which theirs draws them for each batch (7 to 20, 8 to 34); no dropout
(theirs 0.002); training rows are four fifths of all; those of the objective and of `models/table.py`. The file is the
data set as CSV; another place: --config.source.path=FILE.

  python -m pretrain train --config=configs/t_jepa/jannis.py --workdir=runs/t_jepa_jannis
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='table', path='data_sets/jannis.csv', split='train', label='class')
  c.batch = 512
  c.epochs = 300.0
  c.backbone = dict(name='table', numeric=54, width=64, depth=16, heads=2, mlp=64, registers=1)
  c.objective = dict(name='t_jepa', context_columns=13, targets=4, target_columns=21, predictor_width=16,
                     predictor_depth=16, predictor_heads=4, momentum=0.996)
  c.schedule = dict(name='cosine', peak=3.659e-4, warmup_steps=1308)  # 10 epochs
  c.optimizer = dict(name='adamw', weight_decay=0.0)
  c.checkpoint = dict(every_steps=2000)
  return c
