"""EfficientTrain's curriculum against whole images at the same number of steps: arXiv:2211.09703, at a small size.

  python -m launch.table launch/tables/efficienttrain.py run --workers=2
"""
SHORT = {'checkpoint.every_steps': 500, 'evaluate.every_steps': 0,
         'evaluate.baselines': False, 'evaluate.pictures': False}


def get_table():
  row = lambda **overrides: dict(config='configs/efficienttrain.py:fashion_mnist', overrides=overrides)
  return dict(
      title='Low-frequency curriculum (EfficientTrain) against whole images, 500 steps',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a residual network of three blocks, 6.4 epochs; '
              'the curriculum computes 0.65 of the pixels. The paper: ImageNet, 300 epochs, 224 pixels.',
      rows={'EfficientTrain': row(), 'whole images': row(phases=()),
            'whole images, as many pixels': row(**{'phases': (), 'steps': 325})},
      shared=SHORT, seeds=(0, 1, 2, 3, 4),
      metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'})
