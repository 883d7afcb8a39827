"""SupCon: Supervised Contrastive Learning (arXiv:2004.11362v5).

  python -m pretrain train --config=configs/sup_con.py:fashion_mnist --workdir=runs/sup_con
"""
from configs.common import on_folder, two_views


def fashion_mnist():
  """SupCon on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2004.11362v5 with the residual network and the views of configs/demo.py. The labels of the
  training images are used.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 84.5 %, linear 85.4 % (n=1, docs/recipes.md); kNN 97.3 ± 0.6 %, linear 97.6 ± 0.8 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='sup_con', hidden=(256,), dim=64, temperature=0.1)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_cifar10():
  """SupCon, ResNet-50 on CIFAR-10 for 1,000 epochs: arXiv:2004.11362v5 table 2.

  Settings of the PyTorch code that the paper names; its README gives 96.0 % (linear). Their loss has a factor
  temperature / 0.07, which is in the rate and the decay here: 0.5 / 0.7 and 1e-4 * 0.7. Deviations: biases and norms
  are not decayed; the warm-up starts at 0 instead of 0.01. The folder holds train/ and test/ with one folder per class;
  another place: --config.source.path=DIR and the same for evaluate.train.path and evaluate.test.path.

  Cost: 48,828 steps of 1,024 examples (1,000 epochs); not run here.
  Published: linear, %: 96.0.
  """
  c = on_folder('data_sets/cifar10', checkpoint_steps=1000, evaluate_steps=5000)
  c.views = dict(name='simclr', size=32, scale=(0.2, 1.0), jitter=0.5, blur=0.0)
  c.batch = 1024
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=50, stem='cifar', channels=3, zero_init=False, mean=(0.4914, 0.4822, 0.4465),
                    std=(0.2023, 0.1994, 0.2010))
  c.objective = dict(name='sup_con', hidden=(2048,), dim=128, temperature=0.1)
  c.schedule = dict(name='cosine', peak=0.714, end=7.14e-4, warmup_steps=488)  # 10 epochs
  c.optimizer = dict(name='sgd', momentum=0.9, weight_decay=7e-5)
  return c


README = 'HobbitLong/SupContrast, README.md'

PUBLISHED = [
    dict(config='resnet50_cifar10', metric='linear, %', value='96.0', source=README, seen='read'),
    dict(config=None, metric='linear, %, CIFAR-100', value='76.5', source=README, seen='read'),
    dict(config=None, metric='accuracy, %, CIFAR-10, cross-entropy', value='95.0', source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='SupCon', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
