"""What rows share: data sets with their evaluation, networks, and the settings that several papers have in common.

Nothing here is a row. A row starts from one of these functions and sets what is special about it.
"""
from ml_collections import ConfigDict

# Data sets ------------------------------------------------------------------------------------------------------------

FASHION_MNIST = dict(name='fashion_mnist', split='train')  # the embedded 10,000 images
FASHION_MNIST_TEST = dict(name='fashion_mnist', split='test')  # 2,000
IMAGENET = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)  # `python -m data prepare`


def on_fashion_mnist(*, every_steps: int, log_every_steps: int = 10) -> ConfigDict:
  """The embedded Fashion-MNIST, with kNN and probes; checkpoints and evaluation at the same steps."""
  c = ConfigDict()
  c.seed = 0
  c.source = FASHION_MNIST
  c.log_every_steps = log_every_steps
  c.checkpoint = dict(every_steps=every_steps)
  c.evaluate = dict(train=FASHION_MNIST, test=FASHION_MNIST_TEST, every_steps=every_steps)
  return c


def on_imagenet(*, checkpoint_steps: int = 2000) -> ConfigDict:
  """ImageNet-1k, as `python -m data prepare --size=256` writes it; another place: --config.source.path=DIR.

  No `evaluate`: the probe holds all features in memory; give it a labeled subset.
  """
  c = ConfigDict()
  c.seed = 0
  c.source = IMAGENET
  c.checkpoint = dict(every_steps=checkpoint_steps)
  return c


def on_folder(path: str, *, checkpoint_steps: int, evaluate_steps: int) -> ConfigDict:
  """Images of 32 pixels in PATH/train and PATH/test, with one folder per class, and their evaluation.

  Another place: --config.source.path=DIR and the same for evaluate.train.path and evaluate.test.path.
  """
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='folder', path=path, split='train', size=32)
  c.checkpoint = dict(every_steps=checkpoint_steps)
  c.evaluate = dict(train=dict(name='folder', path=path, split='train', size=32),
                    test=dict(name='folder', path=path, split='test', size=32), every_steps=evaluate_steps)
  return c


# Networks -------------------------------------------------------------------------------------------------------------

GREY = dict(channels=1, mean=(0.286,), std=(0.353,))  # Fashion-MNIST's
CIFAR10_COLORS = dict(channels=3, mean=(0.4914, 0.4822, 0.4465), std=(0.2471, 0.2435, 0.2616))
IMAGENET_COLORS = dict(channels=3, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

RESNET = dict(name='resnet', depth=18, blocks=(1, 1, 1)) | GREY  # needs `width` and `stem`
VIT = dict(name='vit', image=28, patch=4, width=128, depth=3, heads=2, mlp=256) | GREY  # 49 patches
WRN28_2 = dict(name='wide_resnet', depth=28, widen=2)  # needs colors
RESNET50 = dict(name='resnet', depth=50, stem='imagenet', dtype='bfloat16') | IMAGENET_COLORS
VIT_224 = dict(name='vit', image=224, dtype='bfloat16') | IMAGENET_COLORS  # needs `variant`

SGD = dict(name='sgd', momentum=0.9, nesterov=True, weight_decay=5e-4)

# Small settings, on Fashion-MNIST -------------------------------------------------------------------------------------

CROPS = dict(name='dino', size=28, local_size=16, local_crops=2, global_scale=(0.4, 1.0), local_scale=(0.2, 0.5),
             blur=(0.2, 0.1, 0.1), solarize=0.0)  # two large and two small ones


def two_views() -> ConfigDict:
  """Data, views, network, length and optimizer of configs/demo.py. Needs an objective and a schedule."""
  c = on_fashion_mnist(every_steps=100)
  c.views = dict(name='simclr', size=28, scale=(0.4, 1.0), jitter=0.8, blur=0.5)
  c.batch = 256
  c.steps = 300
  c.backbone = RESNET | dict(width=32, stem='imagenet')
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  return c


def masked() -> ConfigDict:
  """A ViT whose patches are hidden, for 800 steps. Needs views, an objective and an optimizer."""
  c = on_fashion_mnist(every_steps=200)
  c.batch = 256
  c.steps = 800
  c.backbone = VIT | dict(pool='mean', positions='sincos')
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=80)
  return c


def crops_and_patches() -> ConfigDict:
  """iBOT's and DINOv2's: a ViT of large and small crops. Needs an objective."""
  c = on_fashion_mnist(every_steps=150)
  c.views = CROPS
  c.batch = 128
  c.steps = 600
  c.backbone = VIT
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60, end=1e-6)
  c.optimizer = dict(name='adamw', weight_decay=0.04, clip_norm=3.0)
  return c


def captioned() -> ConfigDict:
  """CLIP's and SigLIP's: images with captions of their classes' names. Needs an objective and an optimizer."""
  c = on_fashion_mnist(every_steps=100)
  c.source = dict(name='captions', source=FASHION_MNIST, tokenizer='bytes', length=40,
                  templates=('a photo of a {}', 'a picture of a {}', 'a {}', 'a grey photo of a {}'))
  c.views = dict(name='supervised', size=28, scale=(0.6, 1.0))
  c.batch = 128
  c.steps = 300
  c.backbone = RESNET | dict(width=32, stem='imagenet')
  c.schedule = dict(name='cosine', peak=2e-3, warmup_steps=30)
  c.evaluate.templates = ('a photo of a {}', 'a {}')
  return c


def simclr_and_mae() -> ConfigDict:
  """A ViT that learns from two views and from hidden patches. Needs an objective of both."""
  c = on_fashion_mnist(every_steps=150)
  c.views = dict(name='together', parts=dict(two=dict(name='simclr', size=28, scale=(0.4, 1.0), jitter=0.8, blur=0.5),
                                             one=dict(name='mae', size=28, scale=(0.5, 1.0))))
  c.batch = 128
  c.steps = 600
  c.backbone = VIT | dict(heads=4, pool='mean')
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=60)
  c.optimizer = dict(name='adamw', weight_decay=0.05, b2=0.95)
  return c


def few_labels() -> ConfigDict:
  """FixMatch's at a small size: 25 labels per class, 7 unlabeled examples per labeled one. Needs an objective."""
  c = on_fashion_mnist(every_steps=300, log_every_steps=20)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=112)
  c.views = dict(name='fixmatch')
  c.batch = 16
  c.steps = 1200
  c.backbone = RESNET | dict(width=16, stem='cifar')
  c.schedule = dict(name='cosine', peak=0.03, end=0.00585)
  c.optimizer = SGD
  return c


CLASSIFIER = dict(  # a supervised run of a program, which needs a source
    seed=0,
    views=dict(name='supervised', size=28, pad=2, flip=0.5, operations=2, cutout_share=0.5),
    batch=64,
    steps=400,
    backbone=RESNET | dict(width=16, stem='cifar'),
    objective=dict(name='supervised', classes=10),
    schedule=dict(name='cosine', peak=0.1, warmup_steps=20),
    optimizer=SGD,
    checkpoint=dict(every_steps=200))


# Settings of papers, WRN-28-2 on CIFAR-10 -----------------------------------------------------------------------------

def fixmatch_cifar10() -> ConfigDict:
  """FixMatch's: 250 labels, 2^20 steps, a rate of 0.03 cos(7 pi k / 16 K). Needs views, a backbone, an objective."""
  c = on_folder('data_sets/cifar10', checkpoint_steps=5000, evaluate_steps=20000)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=448)
  c.batch = 64
  c.steps = 1048576
  c.schedule = dict(name='partial_cosine', peak=0.03, part=7 / 16)
  c.optimizer = SGD
  return c


def mixmatch_cifar10() -> ConfigDict:
  """That of google-research/mixmatch, 250 labels, 2^26 labeled images, a constant rate. Needs views, an objective."""
  c = on_folder('data_sets/cifar10', checkpoint_steps=5000, evaluate_steps=20000)
  c.labels = dict(per_class=25, seed=0)
  c.unlabeled = dict(batch=64)
  c.batch = 64
  c.steps = 1048576
  c.backbone = WRN28_2 | dict(channels=3, mean=(0.5,), std=(0.5,))
  c.schedule = dict(name='constant', peak=2e-3)
  c.optimizer = dict(name='adamw', weight_decay=0.02)
  return c
