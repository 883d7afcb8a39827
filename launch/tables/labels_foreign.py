"""Foreign images among the unlabeled: arXiv:2001.06001 claims that Curriculum Labeling bears them better.

  python -m launch.table launch/tables/labels_foreign.py run --workers=2
"""
CLOTHES = ('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat', 'Shirt')
OTHERS = ('Sandal', 'Sneaker', 'Bag', 'Ankle boot')
SET = lambda split, classes: dict(name='of_classes', source=dict(name='fashion_mnist', split=split), classes=classes)
SMALL = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='imagenet', channels=1, mean=(0.286,),
             std=(0.353,))
MIXED = dict(name='mixed', source=SET('train', CLOTHES), others=SET('train', OTHERS), share=0.0, seed=0)
STEPS = 1200
SHORT = {'steps': STEPS, 'checkpoint.every_steps': STEPS, 'evaluate.train': SET('train', CLOTHES),
         'evaluate.test': SET('test', CLOTHES), 'evaluate.baselines': False, 'evaluate.pictures': False,
         'evaluate.every_steps': 0}


def get_table():
  row = lambda name, **more: dict(config=f'configs/{name}.py:fashion_mnist', overrides=SHORT | more)
  return dict(
      title='Accuracy on six classes, 25 labels each, over the share of foreign images among the unlabeled',
      differs='The 6,000 images of clothes of Fashion-MNIST, foreign ones of its shoes and bags, a residual network of '
              'three blocks whose stem quarters the sides; 1,200 steps of 16 labeled and 48 unlabeled images with two '
              'views, of 112 labeled ones (supervised), or six runs of 200 steps of 112, weak views alone (Curriculum '
              'Labeling). The paper: six classes of animals of CIFAR-10, WRN-28-2, its strong views.',
      rows={
          'supervised': row('supervised', **{'batch': 112, 'labels': dict(per_class=25, seed=0)}),
          'FixMatch': row('fixmatch', **{'unlabeled.batch': 48}),
          'Curriculum Labeling': dict(
              config='configs/curriculum_labeling.py:fashion_mnist', command='program', prefix='train.',
              overrides={'train.steps': STEPS // 6, 'train.batch': 112, 'train.schedule.warmup_steps': 10,
                         'train.views.operations': 0, 'train.views.cutout_share': 0.0,
                         'program.test': SET('test', CLOTHES)},
              metrics={'accuracy': 'stages/cycle5/accuracy'}),
      },
      columns={f'{share:.0%}': {'source': MIXED | {'share': share}} for share in (0.0, 0.2, 0.4)},
      shared={'backbone': SMALL, 'objective.classes': 6},
      seeds=(0, 1, 2, 3, 4),
      seed_keys=('seed', 'labels.seed'),
      metrics={'accuracy': 'evaluation/pretrained backbone/accuracy'})
