"""Every semi-supervised method on scikit-learn's digits, 4 and 25 labels a class, one network, one number of images.

  python -m launch.table launch/tables/labels_digits.py run --workers=2
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
TEST = dict(name='digits', split='test')
SET = {'source': dict(name='digits', split='train'), 'backbone.stem': 'cifar', 'backbone.mean': (0.305,),
       'backbone.std': (0.375,), 'views.flip': 0.0}
ALONE = {'views.size': 8, 'views.pad': 1}
LABELS = {'labels': dict(per_class=25, seed=0)}
SHORT = {**SET, 'steps': STEPS, 'checkpoint.every_steps': STEPS, 'evaluate.train.name': 'digits',
         'evaluate.test.name': 'digits', 'evaluate.baselines': False, 'evaluate.pictures': False,
         'evaluate.every_steps': 0}
# Of a program's run: under RandAugment 200 steps of 8 x 8 pixels end at 50 % of the labels themselves, see docs.
RUN = {'steps': 200, 'batch': 112, 'schedule.warmup_steps': 10, 'views.operations': 0, 'views.cutout_share': 0.0,
       **ALONE}
HALVES = {'program.stepping': 50.0}


def program(name: str, *runs: str, last: str, overrides: dict | None = None) -> dict:
  """The row of a program, of these runs, the first of which has the source; `last` is the stage that is measured."""
  return dict(
      config=f'configs/{name}/fashion_mnist.py', command='program', prefix=f'{runs[0]}.',
      overrides={f'{run}.{key}': value for run in runs for key, value in (SET | RUN).items()
                 if key != 'source' or run == runs[0]} | {'program.test': TEST} | (overrides or {}),
      metrics={'accuracy': f'stages/{last}/accuracy'})


def get_table():
  row = lambda name, more: dict(config=f'configs/{name}/fashion_mnist.py', overrides=SHORT | more)
  return dict(
      title='Accuracy of the classifier on digits over labels a class, all methods',
      differs='1,437 images of 8 x 8 pixels (360, mostly of other writers, for the test), a residual network of three '
              'blocks of width 16, 600 steps of 16 labeled and 48 unlabeled images, with two views of each of these '
              'for most methods; supervised: 112 labeled images a step; programs: 200 steps of 112 for each of their '
              'three runs (Curriculum Labeling admits half, then all), weak views alone (Noisy Student: and a hole of '
              '2 x 2 pixels). The papers: CIFAR, SVHN, WRN-28-2, 2^20 steps. Settings are those of the small configs, '
              'tuned for none of them; no images are mirrored.',
      rows={
          'supervised': row('supervised', ALONE | LABELS | {'batch': 112}),
          'supervised, 16 images a step': row('supervised', ALONE | LABELS | {'batch': 16}),
          **{title: row(name, {'unlabeled.batch': 48} | more) for title, (name, more) in METHODS.items()},
          'Curriculum Labeling': program('curriculum_labeling', 'train', last='cycle2', overrides=HALVES),
          'Curriculum Labeling without restarts': program(
              'curriculum_labeling', 'train', last='cycle2', overrides={
                  **HALVES, 'program.parts': ('backbone', 'head')}),
          'self-training': program('self_training', 'teacher', 'student', last='generation2'),
          'self-training, soft': program(
              'self_training', 'teacher', 'student', last='generation2', overrides={
                  'program.admission': dict(threshold=0.9, soft=True),
                  'student.objective': dict(name='distill', classes=10, temperature=1.0)}),
          'Noisy Student': program('noisy_student', 'teacher', 'student', last='student2',
                                   overrides={'program.per_class': 100, 'student.views.cutout_share': 0.25}),
      },
      columns={str(count): {'labels.per_class': count} for count in (4, 25)},
      seeds=(0, 1, 2, 3, 4),
      seed_keys=('seed', 'labels.seed'),
      metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'})
