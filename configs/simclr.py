"""SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (arXiv:2002.05709v3).

  python -m pretrain train --config=configs/simclr.py:fashion_mnist --workdir=runs/simclr
"""
from configs.common import on_folder, on_imagenet, two_views


def fashion_mnist():
  """SimCLR on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2002.05709v3: that of configs/demo.py, evaluated half as often.

  Cost: 300 steps of 256 examples; about two minutes on two CPU cores.
  Result: kNN 81.5 %, linear 83.8 % (n=1, docs/recipes.md); kNN 95.1 ± 0.6 %, linear 96.0 ± 0.9 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.objective = dict(name='simclr', hidden=(256,), dim=64, temperature=0.4)
  c.schedule = dict(name='cosine', peak=8e-3, warmup_steps=30)
  return c


def resnet18_cifar10():
  """SimCLR on CIFAR-10, settings of arXiv:2002.05709v3 appendix B.9, with ResNet-18 instead of its ResNet-50.

  As there: 3x3 stem without pooling, colour strength 0.5 without blur, LARS with linear scaling of the rate 1.0 (one of
  0.5, 1.0, 1.5), temperature 0.5, a batch of 512, 1,000 epochs. ResNet-18 and these choices within the appendix's grids
  are those of the authors' README, which expects about 91 % of the linear probe. The folder holds train/ and test/ with
  one folder per class; another place: --config.source.path=DIR and the same for evaluate.train.path and
  evaluate.test.path.

  Cost: 97,656 steps of 512 examples (1,000 epochs); not run here.
  Published: linear, %: around 91.
  """
  c = on_folder('data_sets/cifar10', checkpoint_steps=1000, evaluate_steps=5000)
  c.views = dict(name='simclr', size=32, scale=(0.08, 1.0), jitter=0.5, blur=0.0)
  c.batch = 512
  c.epochs = 1000.0
  c.backbone = dict(name='resnet', depth=18, stem='cifar', channels=3, mean=(0.0,), std=(1.0,))
  c.objective = dict(name='simclr', hidden=(512,), dim=128, temperature=0.5)
  c.schedule = dict(name='cosine', peak=2.0, warmup_steps=977)  # 1.0 * 512 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9)
  return c


def resnet50_imagenet():
  """SimCLR, ResNet-50 on ImageNet-1k, 100 epochs in batches of 4096: the default setting of arXiv:2002.05709v3.

  Settings of the command for ImageNet in the authors' README ("reflects the default hyperparameters in our paper"),
  what it leaves open from the defaults of their run.py; that README expects about 64.5 % of the linear probe. Pixels
  are not standardised there. Deviations: crops are cut out of 256 pixels (`python -m data prepare --size=256`), not out
  of the whole photograph; backbone in bfloat16. No `evaluate`: the probe holds all features in memory; give it a
  labeled subset. Another place of the set: --config.source.path=DIR.

  Cost: 31,278 steps of 4,096 examples (100 epochs); not run here. Predicted: 0.10 to 0.24 hours on v5e:16x16, 0.04 to
  0.07 on h100:32x8 (docs/scale.md).
  Published: linear, top-1 %: around 64.5.
  """
  c = on_imagenet(checkpoint_steps=1000)
  c.views = dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5)
  c.batch = 4096
  c.epochs = 100.0
  c.backbone = dict(name='resnet', depth=50, stem='imagenet', channels=3, mean=(0.0,), std=(1.0,), dtype='bfloat16')
  c.objective = dict(name='simclr', hidden=(2048,), dim=128, temperature=0.1)
  c.schedule = dict(name='cosine', peak=4.8, warmup_steps=3127)  # 0.3 * 4096 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1e-6, momentum=0.9)
  return c


README = 'google-research/simclr, README.md'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='around 64.5', source=README, seen='read'),
    dict(config='resnet18_cifar10', metric='linear, %', value='around 91', source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, the published model', value='69.1',
         source=README, seen='read'),
]

TABLE = dict(table='learning_digits', row='SimCLR', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
