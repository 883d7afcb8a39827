"""Weighted nearest-neighbour classification: what frozen features are worth without training anything."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from pretrain.losses import normalize

SIMILARITIES = 2 ** 25  # held at once: 128 MiB


def knn(train_features, train_labels, test_features, test_labels, *, k: int | tuple[int, ...],
        temperature: float = 0.07, classes: int):
  """Accuracy of the vote of the k nearest training examples, each weighted by exp(cosine similarity / temperature).

  1805.01978v1 section 3.4, with the k=200, t=0.07 of its code, which 2104.14294v2 takes over with k=20. A tie goes to
  the smaller label.

  Args:
    train_features, test_features: float[n, d], float[m, d]; any scale, normalised here.
    train_labels, test_labels: int[n], int[m] in [0, classes).
    k: number of neighbours, or several numbers, which cost one search.
    temperature: > 0.
    classes: number of classes.
  Returns:
    accuracy in [0, 1], or {k: accuracy} for several k.
  Raises:
    ValueError: k is not in [1, n], temperature is not positive, or shapes and labels do not fit together.
  """
  several = tuple(k) if isinstance(k, tuple | list) else (k,)
  x, y = check(train_features, train_labels, classes, 'training')
  test, truth = check(test_features, test_labels, classes, 'test')
  if x.shape[1] != test.shape[1]:
    raise ValueError(f'wanted training and test features of one width, got {x.shape} and {test.shape}')
  if not several or min(several) < 1 or max(several) > len(x):
    raise ValueError(f'wanted k from 1 to the {len(x)} training examples, got k={k}; nearest: '
                     f'{tuple(min(max(each, 1), len(x)) for each in several)}')
  if temperature <= 0:
    raise ValueError(f'wanted temperature > 0, got {temperature}')
  m = len(test)
  chunk = min(max(SIMILARITIES // len(x), 1), m, 1024)
  test = np.pad(test, ((0, -m % chunk), (0, 0)))
  x, y = normalize(jnp.asarray(x)), jnp.asarray(y)
  predictions = [np.asarray(_predict(x, y, test[i:i + chunk], temperature, several=several, classes=classes))
                 for i in range(0, m, chunk)]
  hits = np.concatenate(predictions)[:m] == truth[:, None]  # [m, ks]
  accuracy = {each: float(share) for each, share in zip(several, hits.mean(0), strict=True)}
  return accuracy if isinstance(k, tuple | list) else accuracy[k]


def check(features, labels, classes: int, what: str):
  """(f32[n, d], i32[n]), NumPy; ValueError unless there is a label in [0, classes) for each finite row."""
  features, labels = np.asarray(features, np.float32), np.asarray(labels)
  if features.ndim != 2 or labels.shape != features.shape[:1] or not len(labels):
    raise ValueError(f'wanted {what} features [n, d] and labels [n], n > 0, got {features.shape} and {labels.shape}')
  if labels.min() < 0 or labels.max() >= classes:
    raise ValueError(f'wanted {what} labels in [0, classes={classes}), got {labels.min()} to {labels.max()}')
  if not np.isfinite(features).all():
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    raise ValueError(f'wanted finite {what} features, got NaN or infinity in {len(bad)} of {len(features)} rows, '
                     f'the first {bad[:3].tolist()}')
  return features, labels.astype(np.int32)


@functools.partial(jax.jit, static_argnames=('several', 'classes'))
def _predict(x, y, rows, temperature, *, several: tuple[int, ...], classes: int):
  """Labels i32[chunk, ks] that the votes give to rows f32[chunk, d]; x is normalised."""
  # The nearest first; full float32 on accelerators too, where close neighbours would be mixed up.
  similarity, neighbour = jax.lax.top_k(jnp.matmul(normalize(rows), x.T, precision='highest'), max(several))
  # Without the barrier, slicing the first column makes XLA sort whole rows on CPUs (five times the time) and TPUs.
  similarity, neighbour = jax.lax.optimization_barrier((similarity, neighbour))  # [chunk, max k]
  weight = jnp.exp((similarity - similarity[:, :1]) / temperature)  # the largest is 1: no overflow, the same vote
  votes = jax.nn.one_hot(y[neighbour], classes) * weight[..., None]  # [chunk, max k, classes]
  return jnp.stack([votes[:, :k].sum(1).argmax(-1) for k in several], -1)
