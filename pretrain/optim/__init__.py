"""Transformations and learning rates of optax's kind: `optim.adamw(optim.cosine(peak=1e-3, steps=1000), ...)`."""
from pretrain.optim import optimizers, schedules
from pretrain.optim.hold import Holding, by_path, check_paths, holding
from pretrain.optim.optimizers import adamw, lamb, lars, sgd
from pretrain.optim.parameters import Spec, decays, layer_multipliers, leaf_of
from pretrain.optim.schedules import (
  constant,
  cosine,
  infinite,
  lowered,
  partial_cosine,
  restarted,
  warmup_stable_decay,
)

__all__ = ['Holding', 'Spec', 'adamw', 'by_path', 'check_paths', 'constant', 'cosine', 'decays', 'holding', 'infinite',
           'lamb', 'lars', 'layer_multipliers', 'leaf_of', 'lowered', 'optimizers', 'partial_cosine', 'restarted',
           'schedules', 'sgd', 'warmup_stable_decay']
