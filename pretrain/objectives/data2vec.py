"""data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language (masked modelling)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, Positive, ProperPart
from pretrain.method.masks import blockwise_mask
from pretrain.method.objective import Objective
from pretrain.method.teacher import linear, with_teacher
from pretrain.models.functional import functional
from pretrain.models.layers import Linear, MaskToken, standardize
from pretrain.models.patches import grid_of


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
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, mask_token=MaskToken(f.width, rngs=rngs), head=Linear(f.width, f.width, rngs=rngs))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    images = batch['image']

    def teach(m):
      outputs = m.backbone.outputs(m.backbone.embed(images), train=True)
      if not 1 <= layers <= len(outputs):
        raise ValueError(f'data2vec wants 1 to {len(outputs)} layers, the blocks of the backbone, got {layers}')
      return standardize(sum(standardize(m.backbone.patches(x)) for x in outputs[-layers:]) / layers)

    def study(m):
      grid = grid_of(images.shape, m.backbone.patch)
      n = grid[0] * grid[1]
      count = int(mask_ratio * n)
      if not 0 < count < n:
        raise ValueError(f'mask_ratio wants to hide some of {n} patches and not all; {mask_ratio} hides {count}')
      mask = blockwise_mask(key, batch['index'], grid, count, smallest=smallest_block, largest=n)
      tokens = m.backbone.encode(m.backbone.embed(images, mask, m.mask_token()), train=True, key=key)
      return m.head(m.backbone.patches(tokens)), mask

    target, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'], teach)
    (predicted, mask), statistics = net.apply(params, memory['statistics'], study)
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics}
    return losses.smooth_l1(predicted, target, mask, beta), (carry, {'target_std': target.std((0, 1)).mean()})

  return Objective({'image': 'b h w c', 'index': 'b'}, loss=loss,
                   **with_teacher(net, linear(momentum_start, momentum, momentum_steps), encoder='student'))
