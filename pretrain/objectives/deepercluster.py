"""DeeperCluster: Unsupervised Pre-Training of Image Features on Non-Curated Data (clustering, pretext task)."""
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain import losses
from pretrain.config import Count
from pretrain.method.objective import Objective, method
from pretrain.method.semi_supervised import rotations as rotated
from pretrain.models.heads import Classifier

PAPER = dict(title='Unsupervised Pre-Training of Image Features on Non-Curated Data',
             arxiv='1905.01278', family='clustering', modality='image')


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

  def modules(rngs):
    f = backbone(rngs)
    return nnx.Dict(backbone=f, head=Classifier(f.width, super_classes, zero=False, rngs=rngs),
                    clusters=Classifier(f.width, super_classes * clusters, zero=False, rngs=rngs))

  def loss(student, batch, key):
    images, turn_key, net_key = batch['image'], *jax.random.split(key)
    turns = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(turn_key, i), (), 0, rotations))(batch['index'])
    if rotations > 1:
      images = jnp.take_along_axis(rotated(images), turns[:, None, None, None, None], 1)[:, 0]
    h = student.backbone(images, train=True, key=net_key)
    logits = student.clusters(h).reshape(-1, super_classes, clusters)
    super_class = batch['label'] // clusters * rotations + turns
    return deepercluster_loss(student.head(h), logits, super_class=super_class, cluster=batch['label'] % clusters)

  return method({'image': 'b h w c', 'label': 'b', 'index': 'b'}, modules, loss)


def deepercluster_loss(super_logits, logits, *, super_class, cluster):
  """Cross-entropy of the super-class plus that of the cluster within it.

  arXiv:1905.01278, section 4.2 (the number from memory); the sum of the two means is unweighted, as in the authors'
  code. With one super-class it is DeepCluster's cross-entropy.

  Args:
    super_logits: [b, s].
    logits: [b, s, k] of the clusters in every super-class; of an image those in its own count.
    super_class, cluster: int[b], in [0, s) and in [0, k).
  Returns:
    f32[] nats, and {'super', 'cluster', 'accuracy'}; accuracy is the share of images right in both.
  Raises:
    ValueError: numbers of images or super-classes that differ.
  """
  losses.same_shape('deepercluster', super_logits=super_logits.shape, logits=logits.shape[:2])
  own = jnp.take_along_axis(logits, super_class[:, None, None], 1)[:, 0]  # [b, k]
  first = jnp.mean(losses.cross_entropy(super_logits, super_class))
  second = jnp.mean(losses.cross_entropy(own, cluster))
  right = (super_logits.argmax(-1) == super_class) & (own.argmax(-1) == cluster)
  return first + second, {'super': first, 'cluster': second, 'accuracy': jnp.mean(right)}
