"""DINOv2's distillation of a large frozen model into a smaller one (self-distillation and masked modelling)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, NonNegative, Positive
from pretrain.method.crops import views_first
from pretrain.method.memory import Average
from pretrain.method.metrics import collapse
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import cosine, linspace
from pretrain.models.heads import PrototypeHead
from pretrain.objectives.dinov2 import rate_of_last_layers

PAPER = dict(title='DINOv2: Learning Robust Visual Features without Supervision (distillation of the large model)',
             arxiv='2304.07193v2', family='distillation', modality='image')


def dinov2_distill(backbone: Callable, *, teacher: Callable, prototypes: Count, patch_prototypes: Count, hidden: Count,
                   bottleneck: Count, patch_bottleneck: Count, koleo_weight: NonNegative, student_temperature: Positive,
                   teacher_temperature: Positive, teacher_temperature_start: Positive, teacher_warmup_steps: Natural,
                   momentum: Decay, freeze_prototypes_steps: Natural, steps: Count) -> Objective:
  """`dinov2` with a larger, frozen teacher; nothing is hidden, and the patches of both global views count.

  arXiv:2304.07193v2, section 5, "Model distillation" (from memory): the training loop of `dinov2`, except that the
  teacher is frozen, an average of the student is kept and is the final model, masks and stochastic depth are left out,
  and iBOT's loss is on the two global crops. KoLeo is not among the exceptions, so it stays. The teacher is memory's
  'frozen_teacher', from a run of `dinov2` with the same heads: its backbone, head and patch_head.

  Args:
    backbone: the student's: a ViT with pool='cls' and, as the paper has it, drop_path=0.
    teacher: build(rngs) -> the teacher's ViT, of the same patch size.
    others: as in `dinov2`, and those of the heads as in the teacher's run; momentum is of the average.
  """
  def modules(build):
    def make(rngs):
      f = build(rngs)
      options = dict(hidden=hidden, normalize_last=False, dtype=f.dtype, rngs=rngs)
      return nnx.Dict(backbone=f, head=PrototypeHead(f.width, prototypes, bottleneck=bottleneck, **options),
                      patch_head=PrototypeHead(f.width, patch_prototypes, bottleneck=patch_bottleneck, **options))
    return make

  temperature = linspace(teacher_temperature_start, teacher_temperature, teacher_warmup_steps)

  def see(network, images, train, key=None):  # class tokens before the head and after it, patches after theirs
    f = network.backbone
    tokens = f.encode(f.embed(images), train=train, key=key)
    features = f.pool(tokens)
    return features, network.head(features), network.patch_head(f.patches(tokens))

  def loss(student, frozen_teacher, batch, key, step):
    b, keys = len(batch['global']), jax.random.split(key)
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]
    _, t, t_patches = see(frozen_teacher, large, train=False)
    features, s, s_patches = see(student, large, train=True, key=keys[0])
    local = student.head(student.backbone(small, train=True, key=keys[1]))

    t = views_first(losses.sinkhorn(t, temperature(step), iterations=3), b)  # [2, b, k] probabilities
    t_patches = losses.sinkhorn(flat(t_patches), temperature(step), iterations=3).reshape(t_patches.shape)  # [2b, n, l]
    s = jnp.concatenate([views_first(s, b), views_first(local, b)])  # [2 + v, b, k]
    views = losses.swav(s, t, temperature=student_temperature)
    patches = jnp.mean(losses.soft_cross_entropy(t_patches, s_patches / student_temperature))
    koleo = sum(losses.koleo(x) for x in views_first(features, b))
    metrics = {'views': views, 'patches': patches, 'koleo': koleo, **collapse(t)}
    return views + patches + koleo_weight * koleo, metrics

  return method({'global': 'b 2 h w c', 'local': 'b v s s c'}, modules(backbone), loss,
                frozen={'frozen_teacher': modules(teacher)}, ema=Average(cosine(momentum, 1., steps), 'shared'),
                encode='ema', couples_batch=True, compares=True, rate=rate_of_last_layers(freeze_prototypes_steps))
