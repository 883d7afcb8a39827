"""Self-Distillation for Further Pre-training of Transformers (masked modelling, self-distillation)."""
from collections.abc import Callable

from pretrain import losses
from pretrain.config import Count, NonNegative, ProperPart
from pretrain.method.objective import Objective
from pretrain.models.functional import functional
from pretrain.objectives.mae import mae


def self_distillation_fpt(backbone: Callable, *, weight: NonNegative, mask_ratio: ProperPart, decoder_width: Count,
                          decoder_depth: Count, decoder_heads: Count, standardize: bool) -> Objective:
  """MAE trained further, while the features of whole images stay close to those of a frozen teacher.

  arXiv:2210.02871v3, section 3.2 and algorithm 2 (numbers from memory): L_MAE + weight |f(x) - sg(f_teacher(x))|^2,
  f(x) the backbone's features of images in which nothing is hidden (in the authors' code the class token, pool='cls');
  the square is summed over the features. The teacher is in memory, read from the run that `initialize` names; the
  program of the same name makes it. With weight=0 this is MAE.

  Args:
    backbone: as `mae` wants it, and the other arguments are `mae`'s.
    weight: >= 0, lambda; 1 in the authors' code.
  """
  masked = mae(backbone, mask_ratio=mask_ratio, decoder_width=decoder_width, decoder_depth=decoder_depth,
               decoder_heads=decoder_heads, standardize=standardize)
  encoder = functional(backbone)

  def init(key):
    params, memory = masked.init(key)
    return params, memory | {'frozen_teacher': {'backbone': params['backbone']}}

  def loss(params, memory, batch, key, step):
    value, (carry, metrics) = masked.loss(params, memory, batch, key, step)
    student, teacher = (encoder.apply(p['backbone'], {}, lambda m: m(batch['image']))[0]
                        for p in (params, memory['frozen_teacher']))
    distance = losses.hidden_distance(student, teacher)
    return value + weight * distance, (carry, metrics | {'masked': value, 'distance': distance})

  return masked._replace(init=init, loss=loss)
