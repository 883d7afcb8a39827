"""Twelve methods, one backbone, equal arithmetic: what their features are worth.

  python -m launch.table launch/tables/methods.py run --workers=2

For other images of 28 x 28 grey pixels: --config.source, --config.evaluate.train and --config.evaluate.test of yours.
"""
BACKBONE = dict(name='vit', image=28, channels=1, patch=4, width=128, depth=3, heads=2, mlp=256, pool='mean',
                positions='sincos', mean=(0.286,), std=(0.353,))
TERA = 20.  # of each run, in 10^12 FLOPs; SimCLR: 300 steps
GIGA = {  # of a step of 256 images with this backbone, without the views': `python -m pretrain plan --free`
    'simclr': 66.8, 'dcl': 66.8, 'moco_v3': 89.2, 'byol': 89.0, 'simsiam': 67.1, 'barlow_twins': 67.1, 'vicreg': 67.2,
    'swav': 88.1, 'dino': 111.3, 'mae': 12.7, 'i_jepa': 41.7, 'supervised': 33.3}
NAMES = {'simclr': 'SimCLR', 'dcl': 'DCL', 'moco_v3': 'MoCo v3', 'byol': 'BYOL', 'simsiam': 'SimSiam',
         'barlow_twins': 'Barlow Twins', 'vicreg': 'VICReg', 'swav': 'SwAV', 'dino': 'DINO', 'mae': 'MAE',
         'i_jepa': 'I-JEPA', 'supervised': 'supervised'}


def row(name: str) -> dict:
  steps = round(1000 * TERA / GIGA[name])
  path = 'configs/demo.py' if name == 'simclr' else f'configs/{name}/fashion_mnist.py'
  own = {'backbone.pool': 'cls'} if name == 'dino' else {}
  return dict(config=path, overrides={'steps': steps, 'schedule': dict(name='cosine', peak=1e-3,
                                                                       warmup_steps=steps // 10), **own})


def get_table():
  return dict(
      title='Twelve methods, one backbone, equal arithmetic',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a ViT of three blocks, 256 images a step, as many '
              'steps as make 20 TFLOPs, AdamW with a rate of 0.001 for all. The papers: ImageNet, backbones and rates '
              'of their own, hundreds of epochs. Other settings: those of the small configs, tuned for none of them.',
      rows={NAMES[name]: row(name) for name in GIGA},
      shared={'backbone': BACKBONE, 'batch': 256, 'optimizer': dict(name='adamw', weight_decay=0.05),
              'checkpoint.every_steps': 10_000, 'evaluate.baselines': False, 'evaluate.every_steps': 0},
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
