"""Features of fractals, which no one drew or labeled, on Fashion-MNIST: what arXiv:2110.03091 claims, in small.

  python -m launch.table launch/tables/fractals.py run --workers=2
"""


def get_table():
  return dict(
      title='From the random backbone to that of fractals, on Fashion-MNIST',
      differs='100 fractal codes, scenes of 28 pixels, 600 steps of 128 scenes, a residual network of three blocks of '
              'width 16 whose stem quarters the sides; frozen features of 10,000 images. The paper: 1,000 codes, '
              'ResNet-50 of 224 pixels, fine-tuned.',
      rows={'multi-instance': dict(config='configs/multi_instance.py:fashion_mnist')},
      shared={'backbone.stem': 'imagenet', 'checkpoint.every_steps': 600, 'evaluate.pictures': False,
              'evaluate.every_steps': 0},
      seeds=(0, 1, 2, 3, 4),
      metrics={f'{title}, {start}': f'evaluation/{start} backbone/{key}'
               for title, key in (('kNN', 'knn'), ('linear', 'linear'), ('10 labels a class', 'linear_10_per_class'))
               for start in ('random', 'pretrained')})
