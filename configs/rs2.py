"""RS2: Repeated Random Sampling for Minimizing the Time-to-Accuracy of Learning (arXiv:2305.18424).

  python -m pretrain train --config=configs/rs2.py:fashion_mnist --workdir=runs/rs2
"""
from configs import supervised


def fashion_mnist():
  """Random subsets of 10 % of the embedded 10,000 images of Fashion-MNIST, drawn again in each round.

  No row of the paper: the supervised baseline, for 400 steps whatever the share of the images.

  Cost: 400 steps of 128 examples; no time measured.
  Result: accuracy 84.5 ± 0.6 %, of a fixed subset 82.1 ± 0.4 % (n=5, docs/tables/rs2.md).
  """
  c = supervised.fashion_mnist()
  c.subset = dict(fraction=0.1, replacement=True)
  c.steps = 400
  c.schedule = dict(name='cosine', peak=0.1, warmup_steps=30)
  c.backbone.stem = 'imagenet'
  return c


PUBLISHED = [
    dict(config=None, metric='points of accuracy above methods of pruning, at most, ImageNet, less than 10 % per epoch',
         value='29', source='arXiv:2305.18424, abstract', seen='read'),
]

TABLE = dict(table='rs2', row='RS2 with replacement, 0.1', metric='accuracy', than=dict(row='fixed subset, 0.1'),
             claim='A subset of 10 % drawn again in each round is better than a fixed one.')
