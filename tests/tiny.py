"""A config that trains in seconds: SimCLR, a ViT of one block, 8 x 8 digits."""
import numpy as np
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.source = dict(name='digits', split='train')
  c.views = dict(name='simclr', size=8, scale=(0.4, 1.0), jitter=0.4, blur=0.3)
  c.batch = 32
  c.steps = 12
  c.backbone = dict(name='vit', image=8, channels=1, patch=4, width=32, depth=1, heads=2, mlp=64)
  c.objective = dict(name='simclr', hidden=(32,), dim=16, temperature=0.2)
  c.schedule = dict(name='cosine', peak=1e-3, warmup_steps=2)
  c.optimizer = dict(name='adamw', weight_decay=1e-4)
  c.log_every_steps = 1
  c.checkpoint = dict(every_steps=4)
  return c


def pixels(source) -> np.ndarray:
  """All images of a source, u8[n, h, w, c]."""
  return source.batch(np.arange(len(source)))['image']
