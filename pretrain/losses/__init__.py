"""Losses: arrays in, scalars (or one number an example) out; one equation per function, over the global batch.

Nothing here knows parameters, devices or steps. Inputs of any float dtype; sums and logarithms are taken in float32.
"""
from pretrain.losses.basic import cross_entropy, normalize, same_shape, soft_cross_entropy
from pretrain.losses.contrastive import nt_xent
from pretrain.losses.distillation import dino
from pretrain.losses.masked import masked_mse, standardize_patches
from pretrain.losses.semi_supervised import confident, fixmatch
