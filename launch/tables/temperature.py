"""The temperature of InfoNCE, and its hardest negatives alone: what arXiv:2012.09740 says of them, on digits.

  python -m launch.table launch/tables/temperature.py run --workers=2
"""
from launch.tables.learning_digits import DIGITS, PAIR, RESNET

TEMPERATURES = (0.07, 0.2, 0.5, 1.0)


def get_table():
  return dict(
      title='Geometry and probes of features over the temperature',
      differs='1,437 images of 8 x 8 pixels, a residual network of three blocks of width 32, 300 steps of 128; '
              'geometry is that of the 360 images for the test, normalised, behind the projector and of the features: '
              'uniformity is lower where they are more uniform on the sphere, tolerance is the mean cosine of two of '
              'the same class. The hard loss has the tenth of the negatives that is most similar. The paper: ResNet-18 '
              'on CIFAR and others, 200 epochs, and the geometry behind the projector.',
      rows={'InfoNCE': dict(config='configs/demo.py'),
            'hardest negatives': dict(config='configs/hard_simclr.py:fashion_mnist')},
      columns={str(temperature): {'objective.temperature': temperature} for temperature in TEMPERATURES},
      shared=DIGITS | PAIR | RESNET | {
          'batch': 128, 'backbone.mean': (0.305,), 'backbone.std': (0.375,), 'checkpoint.every_steps': 10_000,
          'evaluate.train': dict(name='digits', split='train'), 'evaluate.test': dict(name='digits', split='test'),
          'evaluate.baselines': False, 'evaluate.pictures': False, 'evaluate.every_steps': 0},
      metrics={f'{title} x 100, {where}': f'evaluation/pretrained backbone/{key}/{title}'
               for title in ('uniformity', 'tolerance') for where, key in (('projector', 'projector'),
                                                                           ('features', 'geometry'))} | {
               'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
