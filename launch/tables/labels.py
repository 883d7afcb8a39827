"""Semi-supervised methods over the number of labels, one network, one number of images.

  python -m launch.table launch/tables/labels.py run --workers=2
"""
STEPS = 1200
METHODS = {'Pseudo-Label': 'pseudo_label', 'Mean Teacher': 'mean_teacher', 'FixMatch': 'fixmatch',
           'FlexMatch': 'flexmatch', 'FreeMatch': 'freematch', 'SoftMatch': 'softmatch', 'ShrinkMatch': 'shrinkmatch'}
SMALL = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='imagenet', channels=1, mean=(0.286,),
             std=(0.353,))
SHORT = {'steps': STEPS, 'checkpoint.every_steps': STEPS, 'evaluate.baselines': False, 'evaluate.pictures': False,
         'evaluate.every_steps': 0}


def get_table():
  row = lambda name, **overrides: dict(config=f'configs/{name}.py:fashion_mnist', overrides=SHORT | overrides)
  return dict(
      title='Accuracy of the classifier over labels a class',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a residual network of three blocks whose stem '
              'quarters the sides, 1,200 steps of 16 labeled and 48 unlabeled images, with two views of each of these '
              'for most methods; the supervised baseline sees 112 labeled images a step, and so does each of the six '
              'runs of 200 steps of Curriculum Labeling. The papers: CIFAR, SVHN, WRN-28-2, 2^20 steps. Settings are '
              'those of the small configs, tuned for none of them.',
      rows={
          'supervised': row('supervised', **{'batch': 112, 'labels': dict(per_class=25, seed=0)}),
          **{title: row(name, **{'unlabeled.batch': 48}) for title, name in METHODS.items()},
          'Curriculum Labeling': dict(
              config='configs/curriculum_labeling.py:fashion_mnist', command='program', prefix='train.',
              overrides={'train.steps': STEPS // 6, 'train.batch': 112, 'train.schedule.warmup_steps': 10},
              metrics={'accuracy': 'stages/cycle5/accuracy'}),
      },
      columns={str(count): {'labels.per_class': count} for count in (4, 25, 400)},
      shared={'backbone': SMALL},
      seed_keys=('seed', 'labels.seed'),
      metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'})
