"""iBOT: Image BERT Pre-Training with Online Tokenizer (self-distillation and masked modelling)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, Positive, Share, Shares
from pretrain.method.crops import encode_crops, views_first
from pretrain.method.masks import blockwise_mask
from pretrain.method.memory import Average, ema
from pretrain.method.metrics import collapse
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import cosine, linspace
from pretrain.models.heads import PrototypeHead
from pretrain.models.layers import MaskToken

PAPER = dict(title='iBOT: Image BERT Pre-Training with Online Tokenizer',
             arxiv='2111.07832v3', family='self-distillation', modality='image')


class Memory(NamedTuple):
  center: Any  # f32[k], of the teacher's logits of class tokens
  patch_center: Any  # f32[k], of those of patches


def ibot(backbone: Callable, *, prototypes: Count, hidden: Count, bottleneck: Count, normalize_last: bool,
         mask_probability: Share, mask_ratio: Shares, student_temperature: Positive, teacher_temperature: Positive,
         teacher_patch_temperature: Positive, teacher_temperature_start: Positive, teacher_warmup_steps: Natural,
         momentum: Decay, center_momentum: Decay, freeze_prototypes_steps: Natural, steps: Count,
         teacher_warmup_every: Count = 1, packed: bool = False) -> Objective:
  """DINO on the class tokens, and on hidden patches what the teacher says of them, who sees the whole view.

  arXiv:2111.07832v3, section 3 and algorithm 1 (appendix A), with the head shared by class token and patches. Of the
  authors' code: patches have a centre of their own, over all patches of the teacher; the class tokens of global views
  come from the student's views with hidden patches; local views hide nothing.
  Metrics: 'views' and 'patches', the two terms of the loss, and `metrics.collapse` of the class tokens.

  Args:
    backbone: a ViT with pool='cls', build(rngs) -> module with `embed`, `encode`, `pool`, `patches`.
    prototypes, hidden, bottleneck: of the head; the paper's are 8192, 2048, 256.
    normalize_last: prototypes of length 1; the authors learn their lengths for ViT-S.
    mask_probability, mask_ratio: a global view hides patches with this probability, 0.5 in the paper, then a share
      uniform in the range, (0.1, 0.5), in blocks (`masks.blockwise_mask`).
    student_temperature: 0.1 in the paper.
    teacher_temperature, teacher_patch_temperature: of class tokens and patches; both rise linearly from
      teacher_temperature_start within teacher_warmup_steps; 0.07, 0.07 from 0.04 in 30 epochs in the paper.
    teacher_warmup_every: steps for which each temperature of the warm-up stays; one epoch in the authors' code, whose
      30 temperatures are np.linspace(0.04, 0.07, 30).
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.996 in the paper.
    center_momentum: 0.9 in the paper, for both centres.
    freeze_prototypes_steps: steps in which the last layer stands still, as the authors take its gradient away; one
      epoch in the paper.
    steps: of the whole run.
    packed: the student sees all crops of an image in one sequence, see `vit.ViT.together`.
  """
  def modules(rngs):
    f = backbone(rngs)
    head = PrototypeHead(f.width, prototypes, hidden=hidden, bottleneck=bottleneck, normalize_last=normalize_last,
                         dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, head=head, mask_token=MaskToken(f.width, rngs=rngs))

  temperature, patch_temperature = (
      linspace(teacher_temperature_start, end, teacher_warmup_steps, teacher_warmup_every)
      for end in (teacher_temperature, teacher_patch_temperature))

  def loss(student, teacher, memory, batch, key, step):
    b, keys = len(batch['global']), jax.random.split(key, 3)
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]

    tokens = teacher.backbone.encode(teacher.backbone.embed(large), train=True)
    t = views_first(teacher.head(teacher.backbone.pool(tokens)), b)  # [2, b, k]
    t_patches = teacher.head(teacher.backbone.patches(tokens))  # [2b, n, k]

    f = student.backbone
    mask = view_masks(keys[0], batch['index'], f.cells.grid_of(large.shape), mask_probability, mask_ratio)  # [2b, n]
    crops = f.embed(large, mask, student.mask_token()), f.embed(small)
    tokens, local = encode_crops(f, crops, b, keys[1:], packed)
    s = jnp.concatenate([views_first(student.head(f.pool(x)), b) for x in (tokens, local)])  # [2 + v, b, k]
    s_patches = student.head(f.patches(tokens))  # [2b, n, k]

    views = losses.dino(s, t, center=memory.center, student_temperature=student_temperature,
                        teacher_temperature=temperature(step))
    patches = ibot_loss(s_patches, t_patches, mask=mask, center=memory.patch_center,
                        student_temperature=student_temperature, teacher_temperature=patch_temperature(step))
    probabilities = jax.nn.softmax((t - memory.center) / temperature(step))
    return views + patches, {'views': views, 'patches': patches, **collapse(probabilities)}, {
        'center': ema(memory.center, jnp.mean(t, (0, 1)), center_momentum),
        'patch_center': ema(memory.patch_center, jnp.mean(t_patches, (0, 1)), center_momentum)}

  def hold(step):  # the authors' gradient of the last layer is None at first
    last = ['prototypes'] if normalize_last else ['prototypes', 'gain']
    return {f'head/{name}': step < freeze_prototypes_steps for name in last}

  return method({'global': 'b 2 h w c', 'local': 'b v s s c', 'index': 'b'}, modules, loss,
                teacher=Average(cosine(momentum, 1., steps), 'own', of=('backbone', 'head')), encode='teacher',
                memory=lambda _: Memory(jnp.zeros(prototypes), jnp.zeros(prototypes)), hold=hold)


def ibot_loss(student, teacher, *, mask, center, student_temperature, teacher_temperature):
  """Self-distillation of hidden patches: the teacher, which sees them, is centred and sharpened.

  arXiv:2111.07832v3, eq. 3; as in the authors' code a mean over the hidden patches of an image, then over all images.

  Args:
    student: [b, n, k] logits of the image with hidden patches.
    teacher: [b, n, k] logits of the whole image; no gradient flows back.
    mask: bool[b, n], True where hidden.
    center: [k], running mean of teacher logits.
    student_temperature, teacher_temperature: > 0.
  Returns:
    f32[], nats.
  Raises:
    ValueError: the shapes do not fit.
  """
  losses.same_shape('ibot', student=student.shape, teacher=teacher.shape)
  losses.same_shape('ibot', prototypes=teacher.shape[-1:], center=center.shape)
  target = jax.nn.softmax((jax.lax.stop_gradient(teacher).astype(jnp.float32) - center) / teacher_temperature)
  return losses.hidden_mean(losses.soft_cross_entropy(target, student.astype(jnp.float32) / student_temperature), mask)


def view_masks(key, index, grid: tuple[int, int], probability: float, ratio: tuple[float, float]):
  """Blocks of hidden patches in the two global views of each example, drawn for each view on its own.

  The authors' code: int(share * n) patches where the share is drawn (theirs: at most share * n), the smallest
  rectangle (min(grid) // 3)^2, heights / widths from 0.3 to 1 / 0.3.

  Args:
    index: i32[b].
    probability: that a view hides anything.
    ratio: range of the share of patches that it then hides.
  Returns:
    mask bool[2b, n], True where hidden; the views of an example beside each other, as in `flat`.
  """
  n = grid[0] * grid[1]

  def one(key):
    keys = jax.random.split(key)
    u = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(keys[0], i), (2,)))(index)  # [b, 2]
    share = jnp.where(u[:, 0] < probability, ratio[0] + (ratio[1] - ratio[0]) * u[:, 1], 0)
    return blockwise_mask(keys[1], index, grid, jnp.floor(share * n).astype(jnp.int32),
                          smallest=(min(grid) // 3) ** 2, largest=n)

  return flat(jnp.stack([one(k) for k in jax.random.split(key)], 1))
