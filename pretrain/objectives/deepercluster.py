"""DeeperCluster: Unsupervised Pre-Training of Image Features on Non-Curated Data (clustering, pretext task)."""
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, plain
from pretrain.method.semi_supervised import rotations as rotated
from pretrain.models.functional import functional
from pretrain.models.heads import Classifier


def deepercluster(backbone: Callable, *, classes: Count, super_clusters: Count,
                  rotations: Literal[1, 4] = 4) -> Objective:
  """An image, turned at random, predicts its super-cluster and rotation, and its cluster within them.

  arXiv:1905.01278, section 4.2 (the number from memory), and the authors' code. The clusters are the batch's labels:
  the program `deepercluster` finds them, again and again, in the features of the images as they are. With one rotation
  and one super-cluster this is DeepCluster (arXiv:1807.05520), with one cluster the prediction of rotations
  (arXiv:1803.07728). Deviations: each image is turned at random instead of by the process that reads it; the logits of
  all super-classes are computed, and those of the image's own are looked at.

  Args:
    backbone: build(rngs) -> module with `width`; images are square unless rotations=1.
    classes: clusters in all; label l is cluster l % (classes / super_clusters) of super-cluster l // (the same).
    super_clusters: m, which divides `classes`; the super-classes are these times the rotations.
    rotations: 4, by quarters of a turn, or 1, none.
  Raises:
    ValueError: super-clusters that do not divide the classes; when traced, images that are not square.
  """
  if classes % super_clusters:
    raise ValueError(f'deepercluster wants super_clusters that divide classes, got classes={classes} and '
                     f'super_clusters={super_clusters}')
  clusters, super_classes = classes // super_clusters, super_clusters * rotations

  def parts(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, super_classes, zero=False, rngs=rngs),
                    clusters=Classifier(f.width, super_classes * clusters, zero=False, rngs=rngs))

  net = functional(parts)

  def loss(params, memory, batch, key, step):
    del step
    images, turn_key, net_key = batch['image'], *jax.random.split(key)
    turns = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(turn_key, i), (), 0, rotations))(batch['index'])
    if rotations > 1:
      images = jnp.take_along_axis(rotated(images), turns[:, None, None, None, None], 1)[:, 0]

    def forward(m):
      h = m.backbone(images, train=True, key=net_key)
      return m.head(h), m.clusters(h).reshape(-1, super_classes, clusters)

    (super_logits, logits), statistics = net.apply(params, memory['statistics'], forward)
    super_class = batch['label'] // clusters * rotations + turns
    value, metrics = losses.deepercluster(super_logits, logits, super_class, batch['label'] % clusters)
    return value, ({'statistics': statistics}, metrics)

  return Objective({'image': 'b h w c', 'label': 'b', 'index': 'b'}, loss=loss, **plain(net))
