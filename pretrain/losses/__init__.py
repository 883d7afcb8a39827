"""Losses: arrays in, scalars (or one number an example) out; one equation per function, over the global batch.

Nothing here knows parameters, devices or steps. Inputs of any float dtype; sums and logarithms are taken in float32.
Arguments after the second are keywords. Here is what at least two papers use; a loss of one paper stands in its file,
below the objective.
"""
from pretrain.losses.basic import cross_entropy, normalize, same_shape, soft_cross_entropy
from pretrain.losses.contrastive import both_views, info_nce, nt_xent, sinkhorn, swav, without_positives
from pretrain.losses.distillation import dino, hidden_mean, koleo, smooth_l1
from pretrain.losses.masked import masked_error, masked_mse, standardize_patches
from pretrain.losses.semi_supervised import align, confident, fixmatch, mixup, sharpen, uda
