"""CLIP, ViT-B/32 with 400 million pairs: arXiv:2103.00020v1, 63.2 % of ImageNet zero-shot (open_clip's README).

Batch, models and optimizer are the paper's (tables 18 and 20) as open_clip has them (its default parameters for ViTs,
ViT-B-32.json); there, on LAION-400M, the same settings reach 62.96 % (docs/PRETRAINED.md). The paper's 400 million
pairs are not public. 32 epochs, 2,000 steps of warm-up. Deviations: of the models see `pretrain/models/text.py`; the
image encoder has no norm before its blocks. Encoders in bfloat16. No `evaluate`: give it a labeled set and templates.
The folder holds Parquet files with columns image and text, and the tokeniser's file.

  python -m pretrain train --config=configs/clip/vit_b32_laion400m.py --workdir=runs/clip_vit_b32_laion400m
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='pairs', path='data_sets/laion400m', split='train', size=224, length=77,
                  tokenizer='data_sets/laion400m/tokenizer.json')
  c.views = dict(name='supervised', size=224, scale=(0.9, 1.0), flip=0.0)
  c.batch = 32768
  c.steps = 390625  # 32 epochs of 400 million
  c.backbone = dict(name='vit', variant='B/32', image=224, channels=3, mean=(0.4815, 0.4578, 0.4082),
                    std=(0.2686, 0.2613, 0.2758), dtype='bfloat16')
  c.objective = dict(name='clip', dim=512, temperature=0.07, chunk=4096,
                     text=dict(name='text', vocabulary=49408, length=77, width=512, depth=12, heads=8, mlp=2048,
                               causal=True, pool='last', dtype='bfloat16'))
  c.schedule = dict(name='cosine', peak=5e-4, warmup_steps=2000)
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.2)
  c.checkpoint = dict(every_steps=2000)
  return c
