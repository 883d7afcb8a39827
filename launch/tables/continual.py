"""An infinite schedule against repeated cosine in continual pretraining: what arXiv:2503.02844 claims, here.

  python -m launch.table launch/tables/continual.py run --workers=2
"""
COSINE = dict(name='cosine', peak=1.5e-3, warmup_steps=30)


def get_table():
  row = lambda ends, **overrides: dict(config='configs/continual.py:fashion_mnist', command='program', prefix='train.',
                                       overrides=overrides, metrics={
                                           'Fashion-MNIST at first': f'stages/fashion_mnist{ends}/fashion_mnist',
                                           'Fashion-MNIST in the end': f'stages/digits{ends}/fashion_mnist',
                                           'digits in the end': f'stages/digits{ends}/digits',
                                           'forgetting': f'stages/digits{ends}/forgetting'})
  infinite = row('_annealed')
  return dict(
      title='Linear probes and forgetting in continual pretraining: MAE on Fashion-MNIST, then digits',
      differs='10,000 and 1,437 images, a ViT of three blocks, 300 steps of 128 a set and, of the infinite schedule, '
              '60 more for each model. The paper: larger sets and models, and language.',
      rows={'infinite': infinite, 'repeated cosine': row('', **{'train.schedule': COSINE})},
      seeds=(0, 1, 2, 3, 4),
      metrics=infinite['metrics'])
