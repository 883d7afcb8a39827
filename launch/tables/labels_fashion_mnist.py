"""Every semi-supervised method on Fashion-MNIST, 4 and 25 labels a class, one network, one number of steps.

  python -m launch.table launch/tables/labels_fashion_mnist.py run --workers=2
"""
STEPS = 600
# Ramps of the small configs, which count to 1,200 steps, halved. Those of MixMatch and ReMixMatch were as small a share
# of the run as the paper's: after ten steps nothing is known yet, and a weight of 75 makes MixMatch believe itself.
METHODS = {
    'Pseudo-Label': ('pseudo_label', {'objective.ramp_start_step': 50, 'objective.ramp_end_step': 300}),
    'Pi-model': ('pi_model', {'objective.ramp_steps': 160}),
    'Mean Teacher': ('mean_teacher', {'objective.ramp_steps': 160}),
    'VAT': ('vat', {}),
    'MixMatch': ('mixmatch', {'objective.ramp_steps': 300, 'objective.unlabeled_weight': 10.0}),
    'ReMixMatch': ('remixmatch', {'objective.ramp_steps': 300}), 'UDA': ('uda', {}),
    'FixMatch': ('fixmatch', {}), 'FlexMatch': ('flexmatch', {}), 'FreeMatch': ('freematch', {}),
    'SoftMatch': ('softmatch', {}), 'AdaMatch': ('adamatch', {}),
    'Dash': ('dash', {'objective.warmup_steps': 50, 'objective.every_steps': 25}), 'CoMatch': ('comatch', {}),
    'ShrinkMatch': ('shrinkmatch', {}), 'Self Meta Pseudo Labels': ('self_mpl', {}), 'FST-D': ('fst', {}),
    'FST-W': ('fst', {'objective.variant': 'wide', 'objective.virtual': 2}), 'S4L': ('s4l', {'batch': 16})}
SETTING = ('600 steps of 16 labeled and 48 unlabeled images, with two views of each of these for most methods; '
           'supervised: 112 labeled images a step; programs: 200 steps of 112 for each of their three runs (Curriculum '
           'Labeling admits half, then all), weak views alone (Noisy Student: and a hole). The papers: CIFAR, SVHN, '
           'WRN-28-2, 2^20 steps. Settings are those of the small configs, tuned for none of them')
LABELS = {'labels': dict(per_class=25, seed=0)}
HALVES = {'program.stepping': 50.0}


def table(data: str, of: dict, *, alone: dict, hole: float, more: dict, probe: str, **about) -> dict:
  """The rows of all methods on one set of images.

  Args:
    data, of: the source's name, and overrides of every run that make its network and views fit its images.
    alone: overrides of the views where an image has one weak view.
    hole: the side of the hole in Noisy Student's views, as a share of the image's.
    more: a method's overrides for this set, by title.
    probe: the split that features are probed with, which this table does not show.
    about: the rest of the table.
  """
  short = of | {'source': dict(name=data, split='train'), 'steps': STEPS, 'checkpoint.every_steps': STEPS,
                'evaluate.train': dict(name=data, split=probe), 'evaluate.test': dict(name=data, split='test'),
                'evaluate.baselines': False, 'evaluate.pictures': False, 'evaluate.every_steps': 0}
  # Under RandAugment 200 steps of 8 x 8 pixels end at 50 % of the labels that they learn from, see docs.
  run = of | {'steps': 200, 'batch': 112, 'schedule.warmup_steps': 10, 'views.operations': 0,
              'views.cutout_share': 0.0, **alone}

  def row(name: str, overrides: dict) -> dict:
    return dict(config=f'configs/{name}.py:fashion_mnist', overrides=short | overrides)

  def program(name: str, *runs: str, last: str, overrides: dict | None = None) -> dict:
    """The row of a program of these runs, the first of which has the source; the stage `last` is measured."""
    return dict(
        config=f'configs/{name}.py:fashion_mnist', command='program', prefix=f'{runs[0]}.',
        overrides={f'{stage}.{key}': value for stage in runs for key, value in run.items()}
        | {f'{runs[0]}.source': short['source'], 'program.test': short['evaluate.test']} | (overrides or {}),
        metrics={'accuracy': f'stages/{last}/accuracy'})

  rows = {
      'supervised': row('supervised', alone | LABELS | {'batch': 112}),
      'supervised, 16 images a step': row('supervised', alone | LABELS | {'batch': 16}),
      # rate, averages and batch statistics as the methods have them, and nothing learned of images without labels
      'FixMatch, weight 0': row('fixmatch', {'unlabeled.batch': 48, 'objective.unlabeled_weight': 0.0}),
      **{title: row(name, {'unlabeled.batch': 48} | overrides | more.get(title, {}))
         for title, (name, overrides) in METHODS.items()},
      'Curriculum Labeling': program('curriculum_labeling', 'train', last='cycle2', overrides=HALVES),
      'Curriculum Labeling without restarts': program(
          'curriculum_labeling', 'train', last='cycle2', overrides=HALVES | {'program.parts': ('backbone', 'head')}),
      'self-training': program('self_training', 'teacher', 'student', last='generation2'),
      'self-training, soft': program(
          'self_training', 'teacher', 'student', last='generation2', overrides={
              'program.admission': dict(threshold=0.9, soft=True),
              'student.objective': dict(name='distill', classes=10, temperature=1.0)}),
      'Noisy Student': program('noisy_student', 'teacher', 'student', last='student2', overrides={
          'student.views.cutout_share': hole} | more.get('Noisy Student', {})),
  }
  return dict(rows=rows, columns={str(count): {'labels.per_class': count} for count in (4, 25)}, seeds=(0, 1, 2, 3, 4),
              seed_keys=('seed', 'labels.seed'), metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'},
              **about)


def get_table():
  return table(
      'fashion_mnist', {'backbone.stem': 'imagenet'}, alone={}, hole=0.25, more={}, probe='test',
      title='Accuracy of the classifier on Fashion-MNIST over labels a class, all methods',
      differs='10,000 images of Fashion-MNIST (2,000 for the test), a residual network of three blocks of width 16 '
              f'whose stem quarters the sides, {SETTING}.')
