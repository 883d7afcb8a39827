"""DINO: Emerging Properties in Self-Supervised Vision Transformers (self-distillation)."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.models.functional import functional
from pretrain.models.heads import PrototypeHead
from pretrain.objective import Objective, cosine, ema


def dino(backbone: Callable, *, prototypes: int, hidden: int, bottleneck: int, student_temperature: float,
         teacher_temperature: float, teacher_temperature_start: float, teacher_warmup_steps: int, momentum: float,
         center_momentum: float, freeze_prototypes_steps: int, steps: int) -> Objective:
  """The student matches, from every view, the centred and sharpened output of its own moving average on global views.

  arXiv:2104.14294v2, section 3.1, eq. 2 to 4 and algorithm 1; section "Implementation details" for the schedules.
  As in the authors' code the teacher drops no paths, and where there is BatchNorm it normalises by its own batch.

  Args:
    backbone: build(rngs) -> module with `width`, applied to images of the global and of the local size.
    prototypes, hidden, bottleneck: of the head; the paper's are 65536, 2048, 256.
    student_temperature: 0.1 in the paper.
    teacher_temperature, teacher_temperature_start, teacher_warmup_steps: linear from 0.04 to 0.07 in 30 epochs there.
    momentum: of the teacher at step 0, a half cosine up to 1 at the last step; 0.996 in the paper.
    center_momentum: 0.9 in the paper.
    freeze_prototypes_steps: steps in which the last layer stays as it is; one epoch in the paper.
    steps: of the whole run.
  """
  def parts(rngs):
    f = backbone(rngs)
    head = PrototypeHead(f.width, prototypes, hidden=hidden, bottleneck=bottleneck, rngs=rngs)
    return nnx.Dict(backbone=f, head=head)

  net = functional(parts)
  teacher_momentum = cosine(momentum, 1., steps)

  def init(key):
    params, statistics = net.init(key)
    return params, {'teacher': params, 'statistics': statistics, 'teacher_statistics': statistics,
                    'center': jnp.zeros(prototypes)}

  def loss(params, memory, batch, key, step):
    large, small = by_view(batch['global']), by_view(batch['local'])  # [2b, h, w, c], [vb, s, s, c]
    b = len(batch['global'])
    teacher, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                                            lambda m: m.head(m.backbone(large, train=True)))
    teacher = teacher.reshape(2, b, prototypes)

    frozen = jax.lax.stop_gradient(params['head']['prototypes'])
    live = jnp.where(step < freeze_prototypes_steps, frozen, params['head']['prototypes'])
    params = params | {'head': params['head'] | {'prototypes': live}}
    keys = jax.random.split(key)
    student, statistics = net.apply(params, memory['statistics'], lambda m: m.head(jnp.concatenate(
        [m.backbone(large, train=True, key=keys[0]), m.backbone(small, train=True, key=keys[1])])))
    student = student.reshape(-1, b, prototypes)  # [2 + v, b, k]

    warm = jnp.clip(step / max(1, teacher_warmup_steps), 0., 1.)
    temperature = teacher_temperature_start + (teacher_temperature - teacher_temperature_start) * warm
    value = losses.dino(student, teacher, memory['center'], student_temperature, temperature)
    probabilities = jax.nn.softmax((teacher - memory['center']) / temperature)
    entropy = jnp.mean(losses.soft_cross_entropy(probabilities, (teacher - memory['center']) / temperature))
    spread = jnp.mean(probabilities, (0, 1))
    carry = {'statistics': statistics, 'teacher_statistics': teacher_statistics, 'center': jnp.mean(teacher, (0, 1))}
    # collapse shows in these two: to one prototype (the second falls to 0) or to the uniform (the first to log k)
    return value, (carry, {'teacher_entropy': entropy,
                           'teacher_spread': -jnp.sum(spread * jnp.log(spread + 1e-12))})

  def update(params, memory, carry, step):
    m = teacher_momentum(step)
    return params, {'teacher': ema(memory['teacher'], params, m), 'statistics': carry['statistics'],
                    'teacher_statistics': carry['teacher_statistics'],
                    'center': ema(memory['center'], carry['center'], center_momentum)}

  def encode(params, memory, images):
    del params
    return net.apply(memory['teacher'], memory['teacher_statistics'], lambda m: m.backbone(images))[0]

  return Objective({'global': 'b 2 h w c', 'local': 'b v s s c'}, init, loss, update, encode,
                   couples_batch=net.couples_batch)


def by_view(views):
  """[b, v, h, w, c] -> [v * b, h, w, c], all first views before all second ones."""
  return views.swapaxes(0, 1).reshape(-1, *views.shape[2:])
