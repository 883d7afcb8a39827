"""T-JEPA on scikit-learn's 569 rows of breast cancer cells, 30 numbers each: a minute or two on two CPU cores.

A small-scale run of arXiv:2410.05016; teacher and number of targets are those of the authors' script, the shares of the
columns within its ranges. `launch/tables/t_jepa.py` holds its features against the columns themselves.

  python -m pretrain train --config=configs/t_jepa/breast_cancer.py --workdir=runs/t_jepa_breast_cancer
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='table', path='breast_cancer', split='train')
  c.batch = 128
  c.steps = 400
  c.backbone = dict(name='table', numeric=30, width=64, depth=2, heads=2, mlp=128, registers=1)
  c.objective = dict(name='t_jepa', context_columns=8, targets=4, target_columns=8, predictor_width=32,
                     predictor_depth=2, predictor_heads=2, momentum=0.996)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=40)
  c.optimizer = dict(name='adamw', weight_decay=0.0)
  c.log_every_steps = 20
  c.checkpoint = dict(every_steps=200)
  c.evaluate = dict(train=dict(name='table', path='breast_cancer', split='train'),
                    test=dict(name='table', path='breast_cancer', split='test'))
  return c
