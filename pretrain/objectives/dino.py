"""DINO: Emerging Properties in Self-Supervised Vision Transformers (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Natural, Positive
from pretrain.method.objective import Objective, cosine, ema, flat
from pretrain.method.teacher import collapse, linspace, with_teacher
from pretrain.models.functional import functional
from pretrain.models.heads import PrototypeHead


def dino(backbone: Callable, *, prototypes: Count, hidden: Count, bottleneck: Count, student_temperature: Positive,
         teacher_temperature: Positive, teacher_temperature_start: Positive, teacher_warmup_steps: Natural,
         momentum: Decay, center_momentum: Decay, freeze_prototypes_steps: Natural, steps: Count,
         teacher_warmup_every: Count = 1, packed: bool = False) -> Objective:
  """The student matches, from every view, the centred and sharpened output of its own moving average on global views.

  arXiv:2104.14294v2, section 3.1, eq. 2 to 4 and algorithm 1; section 3.2 for the schedules.
  As in the authors' code the teacher drops no paths, and where there is BatchNorm it normalises by its own batch.
  Metrics: `teacher.collapse`.

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
  def parts(rngs):
    f = backbone(rngs)
    if packed and not hasattr(f, 'together'):
      raise ValueError(f'packed=True puts tokens of crops into one sequence: wanted a ViT, got {type(f).__name__}')
    head = PrototypeHead(f.width, prototypes, hidden=hidden, bottleneck=bottleneck, dtype=f.dtype, rngs=rngs)
    return nnx.Dict(backbone=f, head=head)

  net = functional(parts)
  temperature = linspace(teacher_temperature_start, teacher_temperature, teacher_warmup_steps, teacher_warmup_every)
  shared = with_teacher(net, cosine(momentum, 1., steps), encoder='teacher')

  def init(key):
    params, memory = shared['init'](key)
    return params, memory | {'center': jnp.zeros(prototypes)}

  def loss(params, memory, batch, key, step):
    large, small = flat(batch['global']), flat(batch['local'])  # [2b, h, w, c], [bv, s, s, c]
    b = len(batch['global'])
    teacher, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                                            lambda m: m.head(m.backbone(large, train=True)))
    teacher = views_first(teacher, b)  # [2, b, k]

    keys = jax.random.split(key)

    def study(m):
      if packed:
        tokens = encode_crops(m.backbone, [m.backbone.embed(x) for x in (large, small)], b, keys, packed)
        return [m.head(m.backbone.pool(x)) for x in tokens]
      return [m.head(m.backbone(x, train=True, key=k)) for x, k in zip((large, small), keys, strict=True)]

    student, statistics = net.apply(params, memory['statistics'], study)
    student = jnp.concatenate([views_first(x, b) for x in student])  # [2 + v, b, k]

    value = losses.dino(student, teacher, memory['center'], student_temperature, temperature(step))
    center = ema(memory['center'], jnp.mean(teacher, (0, 1)), center_momentum)
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'center': center}
    return value, (carry, collapse(jax.nn.softmax((teacher - memory['center']) / temperature(step))))

  def hold(step):  # the authors' gradient of the last layer is None at first
    return {'head/prototypes': step < freeze_prototypes_steps}

  return Objective({'global': 'b 2 h w c', 'local': 'b v s s c'}, loss=loss, hold=hold, **(shared | {'init': init}))


def encode_crops(vit, crops, examples: int, keys, packed: bool):
  """The tokens of global and local crops, [b * v, n, width] each, after the trunk: one after the other, or together."""
  if packed:
    return vit.together(crops, examples, train=True, key=keys[0])
  return [vit.encode(x, train=True, key=key) for x, key in zip(crops, keys, strict=True)]


def views_first(x, b: int):
  """What `flat` views gave, [b * v, k], by view: [v, b, k]."""
  return x.reshape(b, -1, x.shape[-1]).swapaxes(0, 1)
