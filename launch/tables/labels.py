"""Semi-supervised methods over the number of labels, one network, one number of steps.

  python -m launch.table launch/tables/labels.py run --workers=2
"""
ACCURACY = 'evaluation/pretrained backbone/accuracy'
STEPS = 400
METHODS = {
    'Pseudo-Label': ('pseudo_label', {'objective.ramp_start_step': 33, 'objective.ramp_end_step': 200}),
    'Mean Teacher': ('mean_teacher', {'objective.ramp_steps': 107}),
    'FixMatch': ('fixmatch', {}), 'FlexMatch': ('flexmatch', {}), 'FreeMatch': ('freematch', {}),
    'SoftMatch': ('softmatch', {}), 'ShrinkMatch': ('shrinkmatch', {}),
}
SMALL = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='imagenet', channels=1, mean=(0.286,),
             std=(0.353,))
SHORT = {'steps': STEPS, 'evaluate.baselines': False, 'evaluate.pictures': False, 'evaluate.every_steps': 0}


def get_table():
  row = lambda name, **overrides: dict(config=f'configs/{name}/fashion_mnist.py', overrides=overrides)
  return dict(
      title='Accuracy of the classifier over labels a class',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a residual network of three blocks whose stem '
              'quarters the sides, 400 steps of 16 labeled and 112 unlabeled images; the supervised baseline sees 128 '
              'labeled images a step, each of the six runs of Curriculum Labeling 64, for 66 steps. The papers: CIFAR, '
              'SVHN, WRN-28-2, 2^20 steps. Settings are those of the small configs, tuned for none of them.',
      rows={
          'supervised': row('supervised', **SHORT, **{'schedule.warmup_steps': 30, 'labels': dict(per_class=25, seed=0),
                                                       'views.operations': 2, 'views.cutout_share': 0.5}),
          **{title: row(name, **SHORT, **more) for title, (name, more) in METHODS.items()},
          'Curriculum Labeling': dict(
              config='configs/curriculum_labeling/fashion_mnist.py', command='program', prefix='train.',
              overrides={'train.steps': STEPS // 6, 'train.schedule.warmup_steps': 5},
              metrics={'accuracy': 'stages/cycle5/accuracy'}),
      },
      columns={str(count): {'labels.per_class': count} for count in (4, 25, 400)},
      shared={'backbone': SMALL},
      seed_keys=('seed', 'labels.seed'),
      metrics={'accuracy': ACCURACY})
