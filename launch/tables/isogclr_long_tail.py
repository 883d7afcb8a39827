"""iSogCLR against InfoNCE on a long tail and on balanced classes: arXiv:2305.11965 claims most on the former.

  python -m launch.table launch/tables/isogclr_long_tail.py run --workers=2
"""
TAIL = lambda **sizes: {'source': dict(name='long_tailed', source=dict(name='fashion_mnist', split='train'), seed=0,
                                       **sizes)}


def get_table():
  return dict(
      title='Probes over the frequencies of the classes',
      differs='2,478 images of Fashion-MNIST, ten classes of 1,000 to 10, or 2,480, 248 of each, 300 steps of 256, a '
              'residual network of three blocks of width 16; features are probed on all 10,000 images, whose classes '
              'are equally frequent. InfoNCE at a temperature of 0.1, where those of iSogCLR begin, and at the 0.4 of '
              'the demo. The paper: CIFAR and iNaturalist, ResNets, 400 epochs and more.',
      rows={'InfoNCE, 0.1': dict(config='configs/demo.py', overrides={'objective.temperature': 0.1}),
            'InfoNCE, 0.4': dict(config='configs/demo.py'),
            'iSogCLR': dict(config='configs/isogclr.py:fashion_mnist')},
      columns={'long tail': TAIL(ratio=100.0), 'balanced': TAIL(ratio=1.0, largest=248)},
      shared={'backbone.width': 16, 'schedule.peak': 4e-3, 'checkpoint.every_steps': 300, 'evaluate.baselines': False,
              'evaluate.pictures': False, 'evaluate.every_steps': 0},
      seeds=(0, 1, 2, 3, 4),
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
