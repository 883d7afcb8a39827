"""Each objective with the options, views and batch that the shared suite runs it with: one entry joins it."""
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from data.text import BEGIN, END, PAD, SPECIAL
from pretrain import frontends
from pretrain.models.resnet import resnet
from pretrain.models.table import table
from pretrain.models.text import text
from pretrain.models.vit import vit
from pretrain.objectives.mae import mae
from pretrain.objectives.simclr import simclr
from pretrain.views.byol import byol as byol_views
from pretrain.views.dino import dino as dino_views
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from pretrain.views.fractal_scenes import fractal_scenes
from pretrain.views.mae import mae as mae_views
from pretrain.views.simclr import simclr as simclr_views
from pretrain.views.supervised import supervised as supervised_views
from pretrain.views.together import together
from pretrain.views.videomae import videomae as videomae_views

B, SIZE, CLASSES = 16, 8, 4
BACKBONE = vit(image=SIZE, channels=1, patch=4, width=64, depth=1, heads=2, mlp=128)  # kernels large enough for fsdp
TEACHER = vit(image=SIZE, channels=1, patch=4, width=32, depth=2, heads=2, mlp=64)  # a frozen one
WORDS, LENGTH = 96, 12
TEXT = text(vocabulary=WORDS, length=LENGTH, width=32, depth=1, heads=2, mlp=64, causal=True, pool='last')


def raw(seed: int, labels: bool = True) -> dict[str, np.ndarray]:
  """A raw batch; images have structure, so that no view is constant."""
  rng = np.random.default_rng(seed)
  batch = {'image': rng.integers(0, 256, (B, SIZE, SIZE, 1), np.uint8),
           'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}
  return batch | ({'label': rng.integers(0, CLASSES, B, np.int32)} if labels else {})


def streams(seed: int) -> dict:
  return {'labeled': raw(seed), 'unlabeled': raw(seed + 1, labels=False)}


def words(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of texts, full of words."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(SPECIAL, WORDS, (B, LENGTH), np.int32)
  tokens[:, 0] = BEGIN
  return {'tokens': tokens, 'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}


def pairs(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of images with texts of several lengths."""
  batch = raw(seed, labels=False) | {'tokens': words(seed)['tokens']}
  for row, end in zip(batch['tokens'], np.arange(B) % (LENGTH - 3) + 2, strict=True):
    row[end], row[end + 1:] = END, PAD
  return batch


def rows(seed: int) -> dict[str, np.ndarray]:
  """A raw batch of a table: six columns of numbers, two of categories."""
  rng = np.random.default_rng(seed)
  codes = np.stack([rng.integers(0, n, B) for n in (4, 3)], 1)
  return {'row': np.concatenate([rng.normal(size=(B, 6)), codes], 1).astype(np.float32),
          'index': rng.permutation(100)[:B].astype(np.int32), 'epoch': np.zeros(B, np.int32)}


def unchanged(batch, key):
  del key
  return batch


def with_probabilities(seed: int) -> dict[str, np.ndarray]:
  """A raw batch with a teacher's probabilities instead of labels."""
  probabilities = np.random.default_rng(seed).dirichlet(np.ones(CLASSES), B).astype(np.float32)
  return raw(seed, labels=False) | {'probabilities': probabilities}


def either(views):
  """Views of two streams that take a single one for both."""
  return lambda batch, key: views(batch if 'unlabeled' in batch else {'labeled': batch, 'unlabeled': batch}, key)


def seen(batch: dict):
  """What `encode` takes of a raw batch of one stream: the view that evaluators see, of the size that is stored."""
  modality = frontends.of(batch)
  return jnp.asarray(modality.view(None)(batch[modality.key]))


class Case(NamedTuple):
  kwargs: dict
  views: Any
  batch: Any = raw
  backbone: Any = BACKBONE
  turn: int = 1  # steps until every parameter had a gradient


PARTS = {'simclr': simclr(BACKBONE, hidden=(64,), dim=16, temperature=0.2),
         'mae': mae(BACKBONE, mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True)}
VIEWS_OF_PARTS = together(parts={'simclr': simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5),
                                 'mae': mae_views(size=SIZE, scale=(0.2, 1.))})

CASES = {
    'supervised': Case(dict(classes=CLASSES, label_smoothing=0.1),
                       supervised_views(size=SIZE, scale=(0.5, 1.), flip=0.5)),
    'distill': Case(dict(classes=CLASSES, temperature=0.5),
                    supervised_views(size=SIZE, scale=(0.5, 1.), flip=0.5), with_probabilities),
    'simclr': Case(dict(hidden=(64,), dim=16, temperature=0.2),
                   simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'mae': Case(dict(mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True),
                mae_views(size=SIZE, scale=(0.2, 1.))),
    'dino': Case(dict(prototypes=128, hidden=64, bottleneck=32, student_temperature=0.1, teacher_temperature=0.07,
                      teacher_temperature_start=0.04, teacher_warmup_steps=3, momentum=0.9, center_momentum=0.9,
                      freeze_prototypes_steps=2),
                 dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4)),
                 turn=3),
    'fixmatch': Case(dict(classes=CLASSES, threshold=0.26, unlabeled_weight=1., ema_momentum=0.9),
                     fixmatch_views(), streams),
    'pseudo_label': Case(dict(classes=CLASSES, unlabeled_weight=3., ramp_start_step=0, ramp_end_step=2,
                              ema_momentum=0.9), fixmatch_views(), streams),
    'mean_teacher': Case(dict(classes=CLASSES, unlabeled_weight=10., ramp_steps=2, momentum_start=0.8, momentum=0.9),
                         fixmatch_views(operations=0, cutout_share=0.), streams),
    'uda': Case(dict(classes=CLASSES, threshold=0.26, temperature=0.4, unlabeled_weight=1., ema_momentum=0.9),
                fixmatch_views(), streams),
    'flexmatch': Case(dict(classes=CLASSES, threshold=0.3, unlabeled_weight=1., ema_momentum=0.9),
                      either(fixmatch_views()), streams),
    'freematch': Case(dict(classes=CLASSES, momentum=0.9, unlabeled_weight=1., fairness_weight=0.5, ema_momentum=0.9),
                      either(fixmatch_views()), streams),
    'softmatch': Case(dict(classes=CLASSES, momentum=0.01, sigmas=30., unlabeled_weight=1., ema_momentum=0.9),
                      either(fixmatch_views()), streams),
    'adamatch': Case(dict(classes=CLASSES, threshold=1., unlabeled_weight=1., labeled_momentum=0.9, window=2,
                          ema_momentum=0.9), either(fixmatch_views(labeled_strong=True)), streams),
    'pi_model': Case(dict(classes=CLASSES, unlabeled_weight=10., ramp_steps=2, ema_momentum=0.9),
                     fixmatch_views(operations=0, cutout_share=0., labeled_strong=True), streams),
    'vat': Case(dict(classes=CLASSES, epsilon=2., iterations=1, unlabeled_weight=1., entropy_weight=0.5,
                     ema_momentum=0.9), fixmatch_views(operations=0, cutout_share=0.), streams),
    'mixmatch': Case(dict(classes=CLASSES, temperature=0.5, alpha=0.75, unlabeled_weight=10., ramp_steps=2,
                          ema_momentum=0.9), either(fixmatch_views(operations=0, cutout_share=0., strongs=2)), streams),
    'dash': Case(dict(classes=CLASSES, constant=1.0001, base=1.27, lowest=0.05, every_steps=1, warmup_steps=1,
                      estimate_steps=1, temperature=0.5, unlabeled_weight=1., ema_momentum=0.9),
                 fixmatch_views(operations=0), streams),
    'shrinkmatch': Case(dict(classes=CLASSES, hidden=(64,), threshold=0.26, momentum=0.9, window=2, unlabeled_weight=1.,
                             ema_momentum=0.9), either(fixmatch_views(operations=0)), streams),
    'comatch': Case(dict(classes=CLASSES, hidden=(64,), dim=16, threshold=0.26, edge_threshold=0.26, temperature=0.2,
                         smoothing=0.9, queue=4 * B, window=2, unlabeled_weight=1., contrast_weight=1.,
                         ema_momentum=0.9), either(fixmatch_views(operations=0, strongs=2)), streams),
    'remixmatch': Case(dict(classes=CLASSES, temperature=0.5, alpha=0.75, window=2, unlabeled_weight=1.5,
                            anchor_weight=0.5, rotation_weight=0.5, ramp_steps=2, ema_momentum=0.9),
                       either(fixmatch_views(operations=0, labeled_strong=True, strongs=1)), streams),
    'self_mpl': Case(dict(classes=CLASSES, rate=0.1, second_order=True, threshold=0.26, unlabeled_weight=1.,
                          ramp_steps=2), either(fixmatch_views(operations=0)), streams),
    'fst': Case(dict(classes=CLASSES, variant='wide', virtual=2, rate=0.1, threshold=0.32, unlabeled_weight=1.,
                     momentum=0.9), either(fixmatch_views(operations=0)), streams),
    's4l': Case(dict(classes=CLASSES, rotation_weight=1., ema_momentum=0.9), fixmatch_views(operations=0,
                cutout_share=0.), streams),
    'deepercluster': Case(dict(classes=CLASSES, super_clusters=2), supervised_views(size=SIZE, pad=1)),
    'byol': Case(dict(hidden=64, dim=16, predictor_hidden=64, momentum=0.9),
                 byol_views(size=SIZE, scale=(0.3, 1.))),
    'simsiam': Case(dict(hidden=(64,), dim=3, predictor_hidden=64),
                    simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'simclr_v2': Case(dict(hidden=(64, 64), dim=16, temperature=0.2, momentum=0.9, queue=4 * B),
                      simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'hard_simclr': Case(dict(hidden=(64,), dim=16, temperature=0.2, share=0.2),
                        simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'moco_v2': Case(dict(hidden=(64,), dim=16, temperature=0.2, momentum=0.9, queue=4 * B),
                    simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'moco_v3': Case(dict(hidden=(64, 64), dim=16, predictor_hidden=64, temperature=0.2, momentum=0.9,
                         freeze_patches=True),
                    simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'barlow_twins': Case(dict(hidden=(64,), dim=16, weight=0.01),
                         simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'vicreg': Case(dict(hidden=(64,), dim=16, invariance=0.5, variance=0.5, covariance=0.2),
                   simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'nnclr': Case(dict(hidden=(64,), dim=16, predictor_hidden=64, temperature=0.2, queue=4 * B),
                  simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'sup_con': Case(dict(hidden=(64,), dim=16, temperature=0.2),
                    simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'dcl': Case(dict(hidden=(64,), dim=16, temperature=0.2, sigma=0.5),
                simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'isogclr': Case(dict(hidden=(64,), dim=16, temperature=0.1, temperature_range=(0.05, 1.), temperature_rate=0.03,
                         gradient_rate=0.5, rho=0.4, average_rate=0.8),
                    simclr_views(size=SIZE, scale=(0.3, 1.), jitter=0.5, blur=0.5)),
    'swav': Case(dict(hidden=(64,), dim=32, prototypes=24, temperature=0.1, epsilon=0.05, iterations=3,
                      freeze_prototypes_steps=0, queue=2 * B, queue_start_step=1),
                 dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))),
    'ibot': Case(dict(prototypes=128, hidden=64, bottleneck=32, normalize_last=True, mask_probability=0.5,
                      mask_ratio=(0.3, 0.6), student_temperature=0.1, teacher_temperature=0.07,
                      teacher_patch_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=3,
                      momentum=0.9, center_momentum=0.9, freeze_prototypes_steps=4),
                 dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4)),
                 turn=5),
    'dinov2': Case(dict(prototypes=128, patch_prototypes=96, hidden=64, bottleneck=32, patch_bottleneck=32,
                        mask_ratio=(0.3, 0.6), koleo_weight=0.1, student_temperature=0.1, teacher_temperature=0.07,
                        teacher_temperature_start=0.04, teacher_warmup_steps=3, momentum=0.9,
                        freeze_prototypes_steps=2),
                   dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.), local_scale=(0.1, 0.4))),
    'dinov2_distill': Case(dict(teacher=TEACHER, prototypes=128, patch_prototypes=96, hidden=64, bottleneck=32,
                                patch_bottleneck=32, koleo_weight=0.1, student_temperature=0.1,
                                teacher_temperature=0.07, teacher_temperature_start=0.04, teacher_warmup_steps=3,
                                momentum=0.9, freeze_prototypes_steps=0),
                           dino_views(size=SIZE, local_size=4, local_crops=2, global_scale=(0.4, 1.),
                                      local_scale=(0.1, 0.4))),
    'simmim': Case(dict(mask_ratio=0.5, mask_size=4), mae_views(size=SIZE, scale=(0.2, 1.))),
    'spark': Case(dict(mask_ratio=0.5, decoder_width=32), mae_views(size=SIZE, scale=(0.2, 1.)), raw,
                  resnet(depth=18, blocks=(1, 1), width=32, stem='cifar', channels=1, zero_init=False)),
    'data2vec': Case(dict(mask_ratio=0.5, smallest_block=1, layers=1, beta=2., momentum_start=0.8, momentum=0.9,
                          momentum_steps=3), mae_views(size=SIZE, scale=(0.2, 1.))),
    'i_jepa': Case(dict(targets=1, target_scale=(0.25, 0.25), target_aspect=(1., 1.), context_scale=(1., 1.),
                        context_patches=2, predictor_width=32, predictor_depth=1, predictor_heads=2, momentum=0.9),
                   mae_views(size=SIZE, scale=(0.2, 1.))),
    'self_distillation_fpt': Case(dict(weight=1., mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2,
                                       standardize=True), mae_views(size=SIZE, scale=(0.2, 1.))),
    'multi_instance': Case(dict(classes=CLASSES, weighted=True),
                           fractal_scenes(size=SIZE, channels=1, points=128, codes=CLASSES, seed=0, instances=(1, 3))),
    'videomae': Case(dict(mask_ratio=0.5, decoder_width=32, decoder_depth=1, decoder_heads=2, standardize=True),
                     videomae_views(size=SIZE, scale=(0.5, 1.), frames=4), raw,
                     vit(image=SIZE, channels=1, frames=4, tubelet=2, patch=4, width=64, depth=1, heads=2, mlp=128)),
    't_jepa': Case(dict(context_columns=3, targets=2, target_columns=2, predictor_width=32, predictor_depth=1,
                        predictor_heads=2, momentum=0.9), unchanged, rows,
                   table(numeric=6, categories=(4, 3), width=64, depth=1, heads=2, mlp=128, registers=1)),
    'clip': Case(dict(text=TEXT, dim=16, temperature=0.2), supervised_views(size=SIZE, pad=0), pairs),
    'siglip': Case(dict(text=TEXT, dim=16, temperature=0.2, bias=-1.), supervised_views(size=SIZE, pad=0), pairs),
    'bert': Case(dict(mask_ratio=0.25), unchanged, words,
                 text(vocabulary=WORDS, length=LENGTH, width=64, depth=1, heads=2, mlp=128, pool='mean')),
    'weighted': Case(dict(parts=(('simclr', PARTS['simclr'], 1.), ('mae', PARTS['mae'], 0.5))), VIEWS_OF_PARTS),
    'alternate': Case(dict(parts=(('simclr', PARTS['simclr'], 1), ('mae', PARTS['mae'], 2))), VIEWS_OF_PARTS, turn=2),
}
