"""BYOL: Bootstrap your own latent: A new approach to self-supervised learning (arXiv:2006.07733v3).

  python -m pretrain train --config=configs/byol.py:fashion_mnist --workdir=runs/byol
"""
from configs.common import RESNET50, on_imagenet, two_views


def fashion_mnist():
  """BYOL on the embedded 10,000 images of Fashion-MNIST.

  A small-scale run of arXiv:2006.07733v3 with the residual network of configs/demo.py: narrow heads, blur half as
  often, no solarize (grey clothes on black), AdamW, and a teacher's momentum of 0.98 instead of 0.996, for hundreds of
  steps.

  Cost: 300 steps of 256 examples; a few minutes on two CPU cores.
  Result: kNN 78.2 %, linear 80.9 % (n=1, docs/recipes.md); kNN 90.8 ± 1.2 %, linear 92.9 ± 1.7 % (n=3; random backbone
  78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of docs/tables/learning_digits.md.
  """
  c = two_views()
  c.views = dict(name='byol', size=28, scale=(0.4, 1.0), blur=(0.5, 0.1), solarize=(0.0, 0.0))
  c.objective = dict(name='byol', hidden=256, dim=64, predictor_hidden=256, momentum=0.98)
  c.schedule = dict(name='cosine', peak=4e-3, warmup_steps=30)
  return c


def resnet50_imagenet():
  """BYOL, ResNet-50 on ImageNet-1k for 1000 epochs: arXiv:2006.07733v3, section 3.3 and appendix B.

  The abstract gives 74.3 % (linear). Deviations: crops are cut out of the 256 pixels that `python -m data prepare
  --size=256` keeps, not out of the whole photograph; those of `views.byol`. Backbone in bfloat16. No `evaluate`: the
  probe holds all features in memory. Another place of the set: --config.source.path=DIR.

  Cost: 312,784 steps of 4,096 examples (1,000 epochs); not run here.
  Published: linear, top-1 %: 74.3; linear, top-1 %: ~74.4.
  """
  c = on_imagenet()
  c.views = dict(name='byol', size=224, scale=(0.08, 1.0))
  c.batch = 4096
  c.epochs = 1000.0
  c.backbone = RESNET50
  c.objective = dict(name='byol', hidden=4096, dim=256, predictor_hidden=4096, momentum=0.996)
  c.schedule = dict(name='cosine', peak=3.2, warmup_steps=3128)  # 0.2 * 4096 / 256; 10 epochs
  c.optimizer = dict(name='lars', weight_decay=1.5e-6, momentum=0.9, trust_coefficient=0.001, rate_in_velocity=False)
  return c


PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='74.3',
         source='arXiv:2006.07733, abstract', seen='read'),
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='~74.4',
         source='google-deepmind/deepmind-research, byol/README.md, "Pretraining"', seen='read'),
]

TABLE = dict(table='learning_digits', row='BYOL', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
