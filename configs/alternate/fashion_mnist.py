"""SimCLR and MAE by turns over one backbone, on the embedded 10,000 images of Fashion-MNIST; not run to its end here.

No row of a paper. Two steps of SimCLR, then one of MAE; log_every_steps=10 shows both, as 3 does not divide it.

  python -m pretrain train --config=configs/alternate/fashion_mnist.py --workdir=runs/alternate_fashion_mnist
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='fashion_mnist', split='train')
  c.views = dict(name='together', parts=dict(two=dict(name='simclr', size=28, scale=(0.4, 1.0), jitter=0.8, blur=0.5),
                                             one=dict(name='mae', size=28, scale=(0.5, 1.0))))
  c.batch = 128
  c.steps = 600
  c.backbone = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=4, mlp=256, pool='mean',
                    mean=(0.286,), std=(0.353,))
  simclr = dict(name='simclr', hidden=(256,), dim=64, temperature=0.4)
  mae = dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2, standardize=True)
  c.objective = dict(name='alternate', parts=(('simclr', simclr, 2), ('mae', mae, 1)))
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60)
  c.optimizer = dict(name='adamw', weight_decay=0.05, b2=0.95)
  c.log_every_steps = 10
  c.checkpoint = dict(every_steps=150)
  c.evaluate = dict(train=dict(name='fashion_mnist', split='train'), test=dict(name='fashion_mnist', split='test'),
                    every_steps=150)
  return c
