"""Self Meta Pseudo Labels: Meta Pseudo Labels Without The Teacher (arXiv:2212.13420v1).

  python -m pretrain train --config=configs/self_mpl.py:fashion_mnist --workdir=runs/self_mpl
"""
from configs.common import few_labels


def fashion_mnist():
  """Self Meta Pseudo Labels on the embedded Fashion-MNIST, 25 labels per class of 10,000 images.

  A small-scale run: the published approximation; rates, threshold and ramp are not those of the paper and not tuned.
  Everything else is as in configs/fixmatch.py:fashion_mnist.

  Cost: 1,200 steps of 16 labeled and 112 unlabeled examples; no time measured.
  Result: accuracy 73.5 ± 1.5 % (n=5) in the setting of docs/tables/labels_fashion_mnist.md.
  """
  c = few_labels()
  c.objective = dict(name='self_mpl', classes=10, rate=0.03, second_order=False, threshold=0.95, unlabeled_weight=1.0,
                     ramp_steps=300)
  return c


PAPER = 'arXiv:2212.13420'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels', value='4.09',
         source=PAPER, seen='quoted in paperswithcode2.com, page of the paper'),
    dict(config=None, metric='error, %, CIFAR-100, 10,000 labels, WRN-28-8', value='21.68',
         source=PAPER, seen='quoted in paperswithcode2.com, page of the paper'),
]

TABLE = dict(table='labels_fashion_mnist', row='Self Meta Pseudo Labels', column='4', metric='accuracy',
             than=dict(row='supervised, 16 images a step'),
             claim='With 4 labels per class, better than the labels alone.')
