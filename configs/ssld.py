"""SSLD: Beyond Self-Supervision (arXiv:2103.05959).

  python -m pretrain program --config=configs/ssld.py:fashion_mnist --workdir=runs/ssld
"""
from ml_collections import ConfigDict

from configs.common import CLASSIFIER, FASHION_MNIST, FASHION_MNIST_TEST, RESNET


def fashion_mnist():
  """SSLD on the embedded Fashion-MNIST: a teacher of 25 labels per class, a smaller student of all images.

  A small-scale run: the student sees 10,000 images and no label; Jensen-Shannon divergence of the two distributions, as
  in arXiv:2103.05959; ResNets of three blocks.

  Cost: 400 and 600 steps of 64 examples; no time measured.
  Result: kNN 94.6 ± 0.2 %, linear 95.3 ± 1.0 % (n=3; random backbone 68.8 ± 2.6 %, 77.7 ± 2.3 %) in the setting of
  docs/tables/learning_digits.md.
  """
  c = ConfigDict()
  c.program = dict(name='ssld', test=FASHION_MNIST_TEST)
  run = CLASSIFIER | dict(views=dict(name='supervised', size=28, scale=(0.5, 1.0), flip=0.5))
  c.teacher = run | dict(source=FASHION_MNIST, labels=dict(per_class=25, seed=0),
                         backbone=RESNET | dict(width=24, stem='cifar'))
  c.student = run | dict(steps=600, objective=dict(name='distill', classes=10, temperature=1.0, divergence='js'))
  return c


PUBLISHED = [
    dict(config=None, metric='MobileNetV3-large, four million unlabeled images and fine-tuning, top-1 %', value='78.9',
         source='PaddlePaddle/PaddleClas, docs/zh_CN/advanced_tutorials/ssld.md', seen='read'),
]

TABLE = dict(table='learning_digits', row='SSLD', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
