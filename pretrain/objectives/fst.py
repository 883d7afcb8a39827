"""FST: Learning from Future, A Novel Self-Training Framework for Semantic Segmentation (pseudo-label)."""
from collections.abc import Callable
from typing import Literal

import jax

from pretrain import losses
from pretrain.config import Count, Decay, NonNegative, Share
from pretrain.method.objective import Objective, ema
from pretrain.method.semi_supervised import averaged, classifier, classify


def fst(backbone: Callable, *, classes: Count, variant: Literal['deep', 'wide'], virtual: Count, rate: NonNegative,
        threshold: Share, unlabeled_weight: NonNegative, momentum: Decay) -> Objective:
  """The student takes virtual steps, the teacher follows them, and only then labels the images of the real step.

  arXiv:2209.06993v2, section 3: FST-D looks several steps ahead, FST-W averages students that take one step on
  different images. Here for images with one class; the paper's are of segmentation. The virtual steps are of plain
  gradient descent (the authors' code: of the run's optimizer) and leave no trace but in the teacher; wide students
  share the batch (theirs: get batches of their own); the teacher follows the virtual students alone (theirs also the
  real one, once a step); the momentum is the same from the start (theirs grows as 1 - 1 / (step + 1) up to it). The
  teacher has the batch statistics of its own passes, as in that code (usr922/FST,
  mmseg/models/uda/fst_d.py: `_update_ema` moves the parameters alone), but for those of the virtual steps.

  Args:
    backbone: build(rngs) -> module with `width`.
    classes: number of classes, k.
    variant: 'deep' (FST-D) or 'wide' (FST-W).
    virtual: K steps ahead, or N students, of which N divides the batches; 3 in the authors' configs.
    rate: learning rate of the virtual steps.
    threshold: in [0, 1], of the confidence that weights the pseudo-labels; 0.968 in the authors' configs.
    unlabeled_weight: 1 in the authors' code.
    momentum: mu of the teacher, which encode and predict use; 0.999 in the authors' configs.
  Raises:
    ValueError: when traced, students that do not divide the batch.
  """
  net = classifier(backbone, classes)
  shared = averaged(net, lambda _: momentum, 'own', couples_batch=True)

  def learn(params, teacher, memory, batch, key):
    (weak,), own = classify(net, jax.lax.stop_gradient(teacher), memory['ema_statistics'], [batch['weak']])
    (labeled, strong), statistics = classify(net, params, memory['statistics'], [batch['image'], batch['strong']], key)
    value, metrics = losses.fst(labeled, batch['label'], weak, strong, threshold, unlabeled_weight)
    return value, ({'statistics': statistics, 'ema_statistics': own}, metrics)

  def future(params, memory, batch, keys):
    """The teacher, after the virtual students."""
    def step(student, teacher, batch, key):
      grads, _ = jax.grad(learn, has_aux=True)(student, teacher, memory, batch, key)
      return jax.tree.map(lambda p, g: p - rate * g, student, grads)

    # no scan: on CPUs three steps took 3.5 times as long in a loop
    student, teacher = params, memory['ema']
    if variant == 'deep':
      for key in keys:
        student = step(student, teacher, batch, key)
        teacher = ema(teacher, student, momentum)
      return teacher
    students = [step(student, teacher, part, key) for part, key in zip(shares(batch, virtual), keys, strict=True)]
    return ema(teacher, jax.tree.map(lambda *x: sum(x) / virtual, *students), momentum)

  def loss(params, memory, batch, key, step):
    del step
    keys = jax.random.split(key, virtual + 1)
    teacher = future(jax.lax.stop_gradient(params), memory, batch, keys[1:])
    value, (carry, metrics) = learn(params, teacher, memory, batch, keys[0])
    return value, (carry | {'teacher': teacher}, metrics)

  def update(params, memory, carry, step):
    del step
    kept = {name: carry[name] for name in ('statistics', 'ema_statistics')}
    return params, memory | kept | {'ema': carry['teacher']}

  return Objective({'image': 'b h w c', 'label': 'b', 'weak': 'u h w c', 'strong': 'u h w c'}, loss=loss,
                   **shared | {'update': update})


def shares(batch, n: int) -> list[dict]:
  """n batches, of every n-th row; raises ValueError unless n divides each of them."""
  for name, x in batch.items():
    if len(x) % n:
      raise ValueError(f"fst wants virtual={n} to divide the batch, got {len(x)} of {name!r}")
  return [{name: x.reshape(-1, n, *x.shape[1:])[:, i] for name, x in batch.items()} for i in range(n)]
