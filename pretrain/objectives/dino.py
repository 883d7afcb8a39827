"""DINO: Emerging Properties in Self-Supervised Vision Transformers (self-distillation)."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, Positive
from pretrain.method.crops import views_first
from pretrain.method.memory import Average, ema
from pretrain.method.metrics import collapse
from pretrain.method.objective import Objective, flat, method
from pretrain.method.schedules import cosine, linspace
from pretrain.models.heads import PrototypeHead

PAPER = dict(title='Emerging Properties in Self-Supervised Vision Transformers',
             arxiv='2104.14294v2', family='self-distillation', modality='image')


class Memory(NamedTuple):
  center: Any  # f32[k], of the teacher's logits


def dino(backbone: Callable, *, prototypes: Count, hidden: Count, bottleneck: Count, student_temperature: Positive,
         teacher_temperature: Positive, teacher_temperature_start: Positive, teacher_warmup_steps: Natural,
         momentum: Decay, center_momentum: Decay, freeze_prototypes_steps: Natural, steps: Count,
         teacher_warmup_every: Count = 1, packed: bool = False) -> Objective:
  """The student matches, from every view, the centred and sharpened output of its own moving average on global views.

  arXiv:2104.14294v2, section 3.1, eq. 2 to 4 and algorithm 1; section 3.2 for the schedules.
  As in the authors' code the teacher drops no paths, and where there is BatchNorm it normalises by its own batch.
  Metrics: `metrics.collapse`.

  Args:
    backbone: build(rngs) -> module with `width`, applied to images of the global and of the local size.
    prototypes, hidden, bottleneck: of the head; the paper's are 65536, 2048, 256.
    student_temperature: 0.1 in the paper.
    teacher_temperature, teacher_temperature_start, teacher_warmup_steps: linear from 0.04 to 0.07 in 30 epochs there.
    teacher_warmup_every: steps for which each temperature of the warm-up stays; one epoch in the authors' code, whose
      30 temperatures are np.linspace(0.04, 0.07, 30).
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.996 in the paper.
    center_momentum: 0.9 in the paper.
    freeze_prototypes_steps: steps in which the last layer stands still, as the authors take its gradient away; one
      epoch in the paper.
    steps: of the whole run.
    packed: the student sees all crops of an image in one sequence, see `vit.ViT.together`; wants a ViT.

  Raises ValueError for packed crops of another backbone.
  """
  def modules(rngs):
    f = backbone(rngs)
    if packed and not hasattr(f, 'together'):
      raise ValueError(f'packed=True puts tokens of crops into one sequence: wanted a ViT, got {type(f).__name__}')
    head = PrototypeHead(f.width, prototypes, hidden=hidden, bottleneck=bottleneck, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, head=head)

  temperature = linspace(teacher_temperature_start, teacher_temperature, teacher_warmup_steps, teacher_warmup_every)

  def loss(student, teacher, memory, batch, key, step):
    b, keys = len(batch['global']), jax.random.split(key)
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]
    t = views_first(teacher.head(teacher.backbone(large, train=True)), b)  # [2, b, k]

    f = student.backbone
    if packed:
      tokens = f.together([f.embed(x) for x in (large, small)], b, train=True, key=keys[0])
      features = [f.pool(x) for x in tokens]
    else:
      features = [f(x, train=True, key=k) for x, k in zip((large, small), keys, strict=True)]
    s = jnp.concatenate([views_first(student.head(x), b) for x in features])  # [2 + v, b, k]

    value = losses.dino(s, t, center=memory.center, student_temperature=student_temperature,
                        teacher_temperature=temperature(step))
    center = ema(memory.center, jnp.mean(t, (0, 1)), center_momentum)
    return value, collapse(jax.nn.softmax((t - memory.center) / temperature(step))), {'center': center}

  def hold(step):  # the authors' gradient of the last layer is None at first
    return {'head/prototypes': step < freeze_prototypes_steps}

  return method({'global': 'b 2 h w c', 'local': 'b v s s c'}, modules, loss,
                teacher=Average(cosine(momentum, 1., steps), 'own'), encode='teacher',
                memory=lambda _: Memory(jnp.zeros(prototypes)), hold=hold)
