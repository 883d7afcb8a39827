"""Twelve methods, one backbone, equal arithmetic: what their features are worth.

  python -m launch.table launch/tables/methods.py run --workers=2

CIFAR-10: 50,000 and 10,000 images in data_sets/cifar10, as configs/fixmatch.py:wrn28_2_cifar10 says. `--only` takes
methods; without these images their column fails, and the other does not.
"""
BACKBONE = dict(name='vit', image=28, channels=1, patch=4, width=64, depth=3, heads=2, mlp=256, pool='mean',
                positions='sincos', mean=(0.286,), std=(0.353,))
CIFAR = lambda split: dict(name='folder', path='data_sets/cifar10', split=split, size=32)
SETS = {
    'Fashion-MNIST': {},
    'CIFAR-10': {'backbone.image': 32, 'backbone.channels': 3, 'views.size': 32,
                 'backbone.mean': (0.4914, 0.4822, 0.4465), 'backbone.std': (0.2470, 0.2435, 0.2616),
                 'source': CIFAR('train'), 'evaluate.test': CIFAR('test'),
                 'evaluate.train': dict(name='long_tailed', source=CIFAR('train'), ratio=1.0, largest=1000, seed=0)}}
TERA = 2.  # of each run on Fashion-MNIST, in 10^12 FLOPs
GIGA = {  # of a step of 128 of its images with this backbone, without the views': `python -m pretrain plan --free`
    'simclr': 12.97, 'dcl': 12.97, 'moco_v3': 17.42, 'byol': 17.31, 'simsiam': 13.17, 'barlow_twins': 13.17,
    'vicreg': 13.22, 'swav': 17.07, 'dino': 21.83, 'mae': 3.77, 'i_jepa': 13.21, 'supervised': 6.44}
NAMES = {'simclr': 'SimCLR', 'dcl': 'DCL', 'moco_v3': 'MoCo v3', 'byol': 'BYOL', 'simsiam': 'SimSiam',
         'barlow_twins': 'Barlow Twins', 'vicreg': 'VICReg', 'swav': 'SwAV', 'dino': 'DINO', 'mae': 'MAE',
         'i_jepa': 'I-JEPA', 'supervised': 'supervised'}


def row(name: str) -> dict:
  steps = round(1000 * TERA / GIGA[name])
  path = 'configs/demo.py' if name == 'simclr' else f'configs/{name}.py:fashion_mnist'
  own = {'backbone.pool': 'cls'} if name == 'dino' else {}
  return dict(config=path, overrides={'steps': steps, 'schedule': dict(name='cosine', peak=1e-3,
                                                                       warmup_steps=steps // 10), **own})


def get_table():
  return dict(
      title='Twelve methods, one backbone, equal arithmetic',
      differs='10,000 images of Fashion-MNIST (2,000 for the test); CIFAR-10 as JPEG of quality 75, probes trained '
              'on 10,000 of its 50,000; a ViT of three blocks of width 64, 128 images a step, as many steps as make 2 '
              'TFLOPs on Fashion-MNIST (SimCLR: 154), AdamW with a rate of 0.001 for all. The papers: ImageNet, '
              'backbones and rates of their own, hundreds of epochs. Other settings: those of the small configs, '
              'tuned for none of them.',
      columns=SETS,
      rows={NAMES[name]: row(name) for name in GIGA},
      shared={'backbone': BACKBONE, 'batch': 128, 'optimizer': dict(name='adamw', weight_decay=0.05),
              'checkpoint.every_steps': 10_000, 'evaluate.baselines': False, 'evaluate.pictures': False,
              'evaluate.every_steps': 0},
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
