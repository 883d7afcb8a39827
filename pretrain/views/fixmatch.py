"""FixMatch's weak and strong views."""
import jax
import jax.numpy as jnp

from pretrain.config import Natural, NonNegative, Share
from pretrain.views.ops.geometry import random_shift
from pretrain.views.ops.keys import channels_last, example_keys, to_planes, uniforms
from pretrain.views.ops.randaugment import CUTOUT_DRAWS, OPERATION_DRAWS, cutout, rand_augment


def fixmatch(*, translate: NonNegative = 0.125, flip: Share = 0.5, operations: Natural = 2, cutout_share: Share = 0.5,
             probability: Share = 1.0, labeled_strong: bool = False, strongs: Natural = 0):
  """Weak: flip and shift.  Strong: another weak one, RandAugment, Cutout (arXiv:2001.07685v2 section 2.3, table 12).

  Args:
    translate: the farthest shift as a fraction of the side, rounded to pixels; borders reflected.
    flip: probability; 0 where mirror images mean something else (the paper: SVHN).
    operations: how many operations of RandAugment, drawn with replacement; ranges in `ops.randaugment`.
    probability: that an operation that is drawn is applied; 0.5 in the code of FixMatch (libml/augment.py), UDA and
      CoMatch, which their papers do not mention, 1 in USB.
    cutout_share: side of the grey square as a fraction of the image's (the authors' code: 16 of 32 pixels).
    labeled_strong: whether the labeled images get a strong view too (AdaMatch).
    strongs: if not 0, as many strong views of the unlabeled as 'strongs' f32[u, strongs, h, w, c], and no 'strong'
      (CoMatch; MixMatch, with operations=0 and cutout_share=0).

  Returns `views(batch, key) -> batch`.  From {'labeled': {'image' u8[b, h, w, c], 'label', 'index', 'epoch'},
  'unlabeled': {'image' u8[u, h, w, c], 'index', 'epoch'}} come 'image' f32[b, h, w, c] (weak), 'label' i32[b], 'weak'
  and 'strong' f32[u, h, w, c] and 'index' i32[u], that of the unlabeled; images in [0, 1]; 'image_strong' f32[b, h, w,
  c] if asked for.  Nothing else of the unlabeled stream is read: a label there could not leak.

  Deviations from the authors' code: see `ops.randaugment.rand_augment`; what a warp uncovers and the cutout are
  mid-grey (theirs too, but black where a later operation loses track of it).
  """

  def weak(images, u):  # f32[n, c, h, w], f32[n, v, 3] -> f32[n, v, c, h, w]
    size = images.shape[-2:]
    pad = tuple(round(translate * side) for side in size)
    return random_shift(images, u[..., :2], u[..., 2] < flip, size=size, pad=pad, reflect=True)

  def weak_and_strong(images, keys, n=1):  # n + 1 weak views, all but the first of which become strong
    shift, chain, hole = uniforms(keys, 1, (3 * (n + 1), n * operations * OPERATION_DRAWS, n * CUTOUT_DRAWS))
    both = weak(to_planes(images), shift.reshape(-1, n + 1, 3))  # [b, n + 1, c, h, w]
    strong = jnp.round(255 * both[:, 1:]).reshape(-1, *both.shape[2:])  # [b * n, c, h, w]
    strong = rand_augment(strong, chain.reshape(len(strong), operations, OPERATION_DRAWS), probability=probability)
    strong = cutout(strong, hole.reshape(-1, CUTOUT_DRAWS), share=cutout_share) / 255
    return both[:, 0], strong.reshape(both[:, 1:].shape)

  def views(batch, key):
    labeled, unlabeled = batch['labeled'], batch['unlabeled']
    keys = example_keys(jax.random.fold_in(key, 0), labeled['index'], labeled['epoch'])
    if labeled_strong:
      image, image_strong = weak_and_strong(labeled['image'], keys)
      images = {'image': image, 'image_strong': image_strong[:, 0]}
    else:
      u, = uniforms(keys, 1, (3,))
      images = {'image': weak(to_planes(labeled['image']), u)[:, 0]}
    keys = example_keys(jax.random.fold_in(key, 1), unlabeled['index'], unlabeled['epoch'])
    images['weak'], strong = weak_and_strong(unlabeled['image'], keys, strongs or 1)
    images |= {'strongs': strong} if strongs else {'strong': strong[:, 0]}
    return {name: channels_last(x) for name, x in images.items()} | {
      'label': labeled['label'], 'index': unlabeled['index']}

  return views
