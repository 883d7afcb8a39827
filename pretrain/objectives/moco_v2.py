"""MoCo v2: Improved Baselines with Momentum Contrastive Learning (contrastive, with a teacher and a queue)."""
from collections.abc import Callable

from flax import nnx

from pretrain import losses
from pretrain.config import Count, Decay, Positive
from pretrain.method.objective import Objective, in_parts
from pretrain.method.teacher import with_queue, with_teacher
from pretrain.models.functional import functional
from pretrain.models.heads import MLP


def moco_v2(backbone: Callable, *, hidden: tuple[Count, ...], dim: Count, temperature: Positive, momentum: Decay,
            queue: Count, chunk: Count | None = None) -> Objective:
  """A view is told from a queue of earlier images by the other view, which a moving average of the network encodes.

  arXiv:1911.05722v3, algorithm 1, with the projector of arXiv:2003.04297v1, section 3. Deviation: batch normalisation
  is over the whole batch of queries or of keys, the paper shuffles keys between devices (section 3.3, "Shuffling BN");
  a backbone without batch normalisation has nothing to shuffle.

  Args:
    backbone: f, build(rngs) -> module with `width`.
    hidden, dim: widths of the projector, which has no batch normalisation; the paper's are (2048,), 128.
    temperature: > 0; 0.2 in MoCo v2.
    momentum: of the teacher; 0.999 in the paper.
    queue: number of keys, a multiple of the batch; 65536 in the paper. At first they are random directions.
    chunk: columns of the similarities with the queue to hold at a time; the same loss with less memory.
  Raises:
    ValueError: in `update`, the batch does not divide the queue.
  """
  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, projector=MLP(f.width, tuple(hidden), dim, batch_norm=False, dtype=f.dtype, rngs=rngs))

  net = functional(parts)

  # the losses of examples are independent, but the keys of a part of the batch would not fill their place in the queue
  shared = with_teacher(net, lambda _: momentum, encoder='student', couples_batch=True)

  def embed(params, memory, batch, key, step):
    del step
    query, statistics = net.apply(params, memory['statistics'],
                                  lambda m: m.projector(m.backbone(batch['views'][:, 0], train=True, key=key)))
    keys, teacher_statistics = net.apply(memory['teacher'], memory['teacher_statistics'],
                                         lambda m: m.projector(m.backbone(batch['views'][:, 1], train=True)))
    return (query, keys), {'statistics': statistics, 'teacher_statistics': teacher_statistics}

  def couple(params, h, carry, memory, batch, step):
    del params, batch, step
    query, keys = h
    return losses.moco(query, keys, memory['queue'], temperature, chunk), (carry | {'keys': losses.normalize(keys)}, {})

  return Objective({'views': 'b 2 h w c'}, **in_parts(net, embed, couple),
                   **with_queue(shared, queue, dim))
