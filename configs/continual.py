"""Continual pretraining with infinite schedules (arXiv:2503.02844v2).

Published numbers could not be looked up.

  python -m pretrain program --config=configs/continual.py:fashion_mnist --workdir=runs/continual
"""
from ml_collections import ConfigDict


def fashion_mnist():
  """Continual pretraining, Fashion-MNIST and then scikit-learn's digits, MAE, an infinite schedule.

  No row of a paper: arXiv:2503.02844v2 pretrains MAE on larger sets one after the other. Trunks of 300 steps, branches
  of 60. Against repeated cosine (`launch/tables/continual.py`):
  --config.train.schedule="dict(name='cosine', peak=1.5e-3, warmup_steps=30)"

  Cost: 300 steps per set and 60 per branch, in batches of 128; no time measured.
  Result: linear, Fashion-MNIST in the end 77.1 ± 0.8 %, digits 90.8 ± 2.0 % (n=5, docs/tables/continual.md). Measured
  before a change that docs/recipes.md names.
  """
  c = ConfigDict()
  entry = lambda name, steps: dict(name=name, source=dict(name=name, split='train'),
                                   test=dict(name=name, split='test'), steps=steps)
  c.program = dict(name='continual', size=28, sets=(entry('fashion_mnist', 300), entry('digits', 300)))
  c.train = dict(
      seed=0,
      views=dict(name='mae', size=28, scale=(0.5, 1.0), flip=0.0),
      batch=128,
      backbone=dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=4, mlp=256, pool='mean'),
      objective=dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2,
                     standardize=True),
      schedule=dict(name='infinite', peak=1.5e-3, warmup_steps=30, cooldown_steps=90, constant=7.5e-4,
                    annealing_steps=60, end=1.5e-5),
      optimizer=dict(name='adamw', weight_decay=0.05, b2=0.95),
      checkpoint=dict(every_steps=150))
  return c


PUBLISHED = []

TABLE = dict(table='continual', row='infinite', metric='forgetting', than=dict(row='repeated cosine'), lower=True,
             claim='An infinite schedule forgets less than repeated cosines.')
