"""Self-Distillation for Further Pre-training of Transformers (arXiv:2210.02871v3).

Published numbers could not be looked up.

  python -m pretrain program --config=configs/self_distillation_fpt.py:fashion_mnist --workdir=runs/further
"""
from ml_collections import ConfigDict

from configs.common import FASHION_MNIST, FASHION_MNIST_TEST


def fashion_mnist():
  """Self-distillation for further pretraining: from digits to 1,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2210.02871v3: MAE on scikit-learn's digits gives theta_0; the target is small, as further
  pretraining overfits there; the weight is the authors' 1.

  Cost: 300, 300 and 200 steps of 128 examples, and 300 more of the student; some minutes on two
  CPU cores.
  Result: kNN 71.3 ± 0.6 %, linear 83.8 ± 2.3 % (n=3; random backbone 60.0 ± 2.2 %, 84.5 ± 1.3 %) in the setting of
  docs/tables/learning_digits.md. Measured before a change that docs/recipes.md names.
  """
  c = ConfigDict()
  c.program = dict(name='self_distillation_fpt', weight=1.0, test=FASHION_MNIST_TEST)
  run = dict(
      seed=0, batch=128, checkpoint=dict(every_steps=200), optimizer=dict(name='adamw', b2=0.95, weight_decay=0.05),
      backbone=dict(name='vit', image=28, channels=1, patch=4, width=96, depth=3, heads=2, mlp=192, positions='sincos'))
  masked = run | dict(
      views=dict(name='mae', size=28, scale=(0.4, 1.0)), schedule=dict(name='cosine', peak=1e-3, warmup_steps=20),
      objective=dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2,
                     standardize=True))
  few = dict(source=FASHION_MNIST, labels=dict(per_class=100, seed=0))
  c.pretrain = masked | dict(source=dict(name='digits', split='train'), steps=300)
  c.further = masked | few | dict(steps=300)
  c.finetune = run | few | dict(
      steps=200, views=dict(name='supervised', size=28, pad=2, flip=0.5), objective=dict(name='supervised', classes=10),
      schedule=dict(name='cosine', peak=5e-4, warmup_steps=20))
  return c


PUBLISHED = []

TABLE = dict(table='learning_digits', row='self-distillation (FPT)', metric='linear, pretrained',
             than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
