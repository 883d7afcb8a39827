"""SigLIP: Sigmoid Loss for Language Image Pre-Training (arXiv:2303.15343v4).

Published numbers: no number of this model could be looked up.

  python -m pretrain train --config=configs/siglip.py:fashion_mnist --workdir=runs/siglip
"""
from ml_collections import ConfigDict

from configs.common import captioned


def fashion_mnist():
  """SigLIP on the embedded 10,000 images of Fashion-MNIST, captioned with their classes' names.

  A small-scale run of arXiv:2303.15343v4 with the residual network of configs/demo.py and bytes as tokens. The captions
  say the class, so it is not self-supervised; many pairs of a batch share a class, which keeps the loss high.

  Cost: 300 steps of 128 examples; three minutes on two CPU cores.
  Result: kNN 94.7 ± 1.2 %, linear 96.2 ± 0.6 % (n=3; random backbone 78.5 ± 2.2 %, 83.8 ± 2.4 %) in the setting of
  docs/tables/learning_digits.md.
  """
  c = captioned()
  c.objective = dict(name='siglip', dim=64, temperature=0.1, bias=-10.0,
                     text=dict(name='text', vocabulary=260, length=40, width=64, depth=2, heads=2, mlp=128,
                               pool='last'))
  c.optimizer = dict(name='adamw', b2=0.95, weight_decay=1e-4)
  return c


def vit_b16_webli():
  """SigLIP, ViT-B/16 and a text encoder of size B in batches of 32,768: no row of a table of arXiv:2303.15343v4.

  Models, temperature and bias are those of the authors' checkpoint for 224 pixels (big_vision, SigLIP_demo.ipynb);
  rate, decay, clipping and the moments' defaults those of their example siglip_lit_coco.py; length (40 billion pairs),
  warm-up and schedule those of SigLIP 2 (arXiv:2502.14786), as the paper's could not be looked up. WebLI is not public.
  Deviations: of the text encoder see `pretrain/models/text.py`; the image's tokens are averaged, not pooled by
  attention; both towers have a projection. Encoders in bfloat16. No `evaluate`: give it a labeled subset and templates.
  The folder holds Parquet files with columns image and text, and the tokenizer's file.

  Cost: 1,220,703 steps of 32,768 pairs; not run here. Predicted: 89 to 159 hours on v5e:16x16, 23 to 37 on h100:32x8,
  with `scan` and `remat` (docs/scale.md).
  Published: no number published in this setting.
  """
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='pairs', path='data_sets/webli', split='train', size=224, length=64,
                  tokenizer='data_sets/webli/tokenizer.json')
  c.views = dict(name='supervised', size=224, pad=0, flip=0.0)
  c.batch = 32768
  c.steps = 1220703  # 40 billion pairs
  c.backbone = dict(name='vit', variant='B/16', image=224, channels=3, pool='mean', dtype='bfloat16')
  c.objective = dict(name='siglip', dim=768, temperature=0.1, bias=-10.0, chunk=4096,
                     text=dict(name='text', vocabulary=32000, length=64, width=768, depth=12, heads=12, mlp=3072,
                               pool='last', dtype='bfloat16'))
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=20000)
  c.optimizer = dict(name='adamw', weight_decay=0.01, clip_norm=1.0)
  c.checkpoint = dict(every_steps=2000)
  return c


PUBLISHED = [
    dict(config=None, metric='zero-shot, top-1 %, SigLiT (a frozen image encoder)', value='84.5',
         source='arXiv:2303.15343, abstract', seen='read'),
]

TABLE = dict(table='learning_digits', row='SigLIP', metric='linear, pretrained', than=dict(metric='linear, random'),
             claim='Pretrained features are better than random ones for a linear probe.')
