"""data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language (masked modelling)."""
import math
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, Positive, ProperPart
from pretrain.method.masks import blockwise_mask
from pretrain.method.memory import Average
from pretrain.method.objective import Objective, method
from pretrain.method.schedules import linear
from pretrain.models.layers import Linear, MaskToken, standardize

PAPER = dict(title='data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language',
             arxiv='2202.03555v3', family='masked modelling', modality='image')


def data2vec(backbone: Callable, *, mask_ratio: ProperPart, smallest_block: Count, layers: Count, beta: Positive,
             momentum_start: Decay, momentum: Decay, momentum_steps: Natural) -> Objective:
  """Predicts, where patches are hidden, what the last blocks of the student's moving average make of the whole image.

  arXiv:2202.03555v3, section 3, for images. Of the authors' code: a target is the mean of the blocks' outputs, each
  normalised token by token, and normalised again; the prediction is a linear layer on the student's last norm.
  Metric 'target_std': how far targets vary over patches and images; 1 where they all differ, 0 where all are the same.

  Args:
    backbone: a ViT, build(rngs) -> module with `embed`, `encode`, `outputs`, `patches`.
    mask_ratio: share of hidden patches, in (0, 1), the same for all images; 0.6 in the paper, 120 of 196 in the code.
    smallest_block: of the rectangles that are hidden, in patches; 16 in the paper. See `masks.blockwise_mask`.
    layers: K, how many of the last blocks make the target; 6 in the paper.
    beta: of the smooth L1 loss, 2 in the paper.
    momentum_start, momentum, momentum_steps: of the teacher, linear from the first to the second, then constant;
      tau_0, tau_e and tau_n of the paper, 0.9998 throughout for ViT-B.
  Raises:
    ValueError: the ratio hides nothing or everything, or the backbone has fewer blocks.
  """
  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, mask_token=MaskToken(f.width, rngs=rngs), head=Linear(f.width, f.width, rngs=rngs))

  def loss(student, teacher, batch, key):
    images, f = batch['image'], student.backbone
    outputs = teacher.backbone.outputs(teacher.backbone.embed(images), train=True)
    if not 1 <= layers <= len(outputs):
      raise ValueError(f'data2vec wants 1 to {len(outputs)} layers, the blocks of the backbone, got {layers}')
    target = standardize(sum(standardize(teacher.backbone.patches(x)) for x in outputs[-layers:]) / layers)  # [b, n, d]

    grid = f.cells.grid_of(images.shape)
    n = math.prod(grid)
    count = int(mask_ratio * n)
    if not 0 < count < n:
      raise ValueError(f'mask_ratio wants to hide some of {n} patches and not all; {mask_ratio} hides {count}')
    mask = blockwise_mask(key, batch['index'], grid, count, smallest=smallest_block, largest=n)  # [b, n]
    tokens = f.encode(f.embed(images, mask, student.mask_token()), train=True, key=key)
    predicted = student.head(f.patches(tokens))  # [b, n, d]
    return losses.smooth_l1(predicted, target, mask=mask, beta=beta), {'target_std': target.std((0, 1)).mean()}

  return method({'image': 'b h w c', 'index': 'b'}, modules, loss, teacher=Average(
      linear(momentum_start, momentum, momentum_steps), 'own', of=('backbone',)))
