"""Losses: arrays in, scalars (or one number an example) out; one equation per function, over the global batch.

Nothing here knows parameters, devices or steps. Inputs of any float dtype; sums and logarithms are taken in float32.
"""
from pretrain.losses.basic import cross_entropy, multi_instance, normalize, same_shape, soft_cross_entropy
from pretrain.losses.consistency import (
  comatch,
  mixmatch,
  mixup,
  pi_model,
  remixmatch,
  s4l,
  sharpen,
  smoothed,
  vat,
  virtual_adversarial,
)
from pretrain.losses.contrastive import (
  barlow_twins,
  clip,
  dcl,
  dclw,
  hard_nt_xent,
  info_nce,
  isogclr,
  moco,
  nt_xent,
  penalties,
  siglip,
  sinkhorn,
  sup_con,
  swav,
  vicreg,
)
from pretrain.losses.distillation import (
  byol,
  dino,
  distill,
  hidden_distance,
  hidden_mean,
  ibot,
  jensen_shannon,
  koleo,
  simsiam,
  smooth_l1,
)
from pretrain.losses.masked import masked_l1, masked_mse, masked_words, standardize_cubes, standardize_patches
from pretrain.losses.semi_supervised import (
  adamatch,
  align,
  confident,
  dash,
  dash_threshold,
  deepercluster,
  fairness,
  fixmatch,
  flexmatch,
  flexmatch_thresholds,
  freematch,
  freematch_statistics,
  fst,
  mean_teacher,
  pseudo_label,
  shrinkmatch,
  shrunk_space,
  softmatch,
  softmatch_statistics,
  truncated_gaussian,
  uda,
)
