"""SigLIP, ViT-B/16 and a text encoder of size B in batches of 32,768: no row of a table of arXiv:2303.15343v4.

Models, temperature and bias are those of the authors' checkpoint for 224 pixels (big_vision, SigLIP_demo.ipynb); rate,
decay, clipping and the moments' defaults those of their example siglip_lit_coco.py; length (40 billion pairs), warm-up
and schedule those of SigLIP 2 (arXiv:2502.14786), as the paper's could not be looked up. WebLI is not public.
Deviations: of the text encoder see `pretrain/models/text.py`; the image's tokens are averaged, not pooled by attention;
both towers have a projection. Encoders in bfloat16. No `evaluate`: give it a labeled subset and templates.
The folder holds Parquet files with columns image and text, and the tokeniser's file.

  python -m pretrain train --config=configs/siglip/vit_b16_webli.py --workdir=runs/siglip_vit_b16_webli
"""
from ml_collections import ConfigDict


def get_config():
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
