"""Views, nearest neighbours and a projection of the features as sections of the page."""
import base64
import io

import numpy as np
from PIL import Image

from pretrain.report.charts import colors_of, legend_of, scatter
from pretrain.report.words import escaped, missing, section

THUMB = 112  # px; larger pictures are shrunk to it
POINTS = 1500  # of the projection; t-SNE on more costs minutes and shows no more


def views_section(data: dict, again: str) -> str:
  title = 'Augmented views'
  if 'originals' not in data:
    return '' if 'labels' in data else missing(title, 'No pictures of the views have been saved.', again)
  originals = data['originals'][:8]
  crops = [data[f'views_{i}'] for i in range(len(data)) if f'views_{i}' in data]
  largest = max(crop.shape[2] for crop in crops)
  strips = ''
  for i, original in enumerate(originals):
    shown = ''
    for crop in crops:
      scale = crop.shape[2] / largest
      shown += ''.join(_image(view, width=0 if scale == 1 else max(32, round(80 * scale))) for view in crop[i, :12])
    strips += f'<div class="strip"><div class="first">{_image(original)}</div><div>{shown}</div></div>'
  sizes = ' and '.join(f'{crop.shape[1]} of {crop.shape[2]} × {crop.shape[3]} px' for crop in crops)
  note = f'Left the image as it is stored, right what the model is given: {escaped(sizes)}.'
  width = 120 + sum(min(12, crop.shape[1]) * (6 + max(32, round(80 * crop.shape[2] / largest))) for crop in crops)
  return section(title, f'<div class="rows" style="--min:{min(1000, width)}px">{strips}</div>', note)


def neighbors_section(data: dict, again: str) -> str:
  title = 'Nearest neighbours'
  if 'queries' not in data:
    return '' if 'labels' in data else missing(title, 'No neighbours have been saved.', again)
  queries, neighbors = data['queries'][:10], data['neighbors'][:10, :8]
  known, strips = 'query_labels' in data, ''
  for i, query in enumerate(queries):
    label = data['query_labels'][i] if known else None
    near = ''
    for j, neighbor in enumerate(neighbors[i]):
      other = data['neighbor_labels'][i, j] if known else None
      mark = ('right' if label == other else 'wrong') if known else ''
      text = f'{"✓" if label == other else "✗"} {_class(data, other)}' if known else ''
      near += _image(neighbor, text, mark)
    first = _image(query, _class(data, label) if known else '')
    strips += f'<div class="strip"><div class="first">{first}</div><div>{near}</div></div>'
  note = 'Left a test image, right the training images whose features are most similar, nearest first.'
  if known:
    labels = data['neighbor_labels'][: len(queries), : neighbors.shape[1]]
    share = float(np.mean(labels == data['query_labels'][: len(queries), None]))
    note += f' ✓ and green: the same class ({share:.0%} of those shown); ✗ and red: another.'
  width = 120 + 86 * neighbors.shape[1]
  return section(title, f'<div class="rows" style="--min:{width}px">{strips}</div>', note)


def projection_section(data: dict, again: str) -> str:
  title = 'Features in two dimensions'
  if 'feature_names' not in data:
    return missing(title, 'No features have been saved.', again)
  labels = data.get('labels')
  names = [str(name) for name in data['feature_names']]
  n = len(data['features_0'])
  keep = np.sort(np.random.default_rng(0).permutation(n)[:POINTS])
  present = [] if labels is None else np.unique(labels[keep]).tolist()
  colors = colors_of(len(present))
  panels = ''
  for i, name in enumerate(names):
    points, trouble = _embed(data[f'features_{i}'][keep])
    if points is None:
      inside = f'<p class="warn">{escaped(trouble)}</p>'
    elif labels is None:
      inside = scatter([('var(--accent)', points)])
    else:
      inside = scatter([(c, points[labels[keep] == label]) for label, c in zip(present, colors, strict=True)])
    panels += f'<figure><h3>{escaped(name)}</h3>{inside}</figure>'
  legend = legend_of([_class(data, label) for label in present[:40]], colors) if present else ''
  legend += f'<p class="dim">and {len(present) - 40} more classes</p>' if len(present) > 40 else ''
  note = (
    f't-SNE (perplexity {_perplexity(len(keep))}, seed 0) of the first 50 principal components of {len(keep):,} '
    'held-out examples. Near points have similar features; the distance between far groups and the axes mean nothing.'
  )
  return section(title, f'<div class="charts">{panels}</div>{legend}', note)


def _class(data: dict, label) -> str:
  classes = data.get('classes', ())
  return str(classes[label]) if 0 <= label < len(classes) else str(label)


def _image(pixels, caption: str = '', mark: str = '', width: int = 0) -> str:
  """A thumbnail of u8[h, w, c]: PNG where it is small, JPEG of at most THUMB px where a PNG would weigh too much."""
  pixels = np.asarray(pixels)
  if pixels.dtype != np.uint8:
    raise ValueError(f'pictures of a report are uint8 [h, w, c], got {pixels.dtype} {list(pixels.shape)}')
  c = pixels.shape[-1]
  picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3] if c >= 3 else pixels[..., 0]))
  small = max(picture.size) <= 48
  picture.thumbnail((THUMB, THUMB))
  file = io.BytesIO()
  picture.save(file, 'PNG' if small else 'JPEG', **({'optimize': True} if small else {'quality': 85}))
  kind = 'png' if small else 'jpeg'
  source = f'data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}'
  sized = f' style="width:{width}px"' if width else ''
  look = f'<img{" class=px" if small else ""} alt="" src="{source}">'
  return f'<div class="pic {mark}"{sized}>{look}{escaped(caption)}</div>'


def _perplexity(n: int) -> int:
  return min(30, max(1, (n - 1) // 3))


def _embed(features: np.ndarray) -> tuple[np.ndarray | None, str]:
  """f32[n, d] -> (f32[n, 2] in [0, 1], '') by PCA and t-SNE, or (None, why there is no picture)."""
  from sklearn.decomposition import PCA
  from sklearn.manifold import TSNE
  from threadpoolctl import threadpool_limits

  n, d = features.shape
  if not np.isfinite(features).all():
    return None, 'Some features are not finite.'
  features = features.astype(np.float64)
  if n < 5 or features.std(axis=0).max() < 1e-6 * max(1e-30, np.abs(features).max()):
    return None, 'Too few examples.' if n < 5 else 'Collapsed: every example has the same features.'
  with threadpool_limits(1):  # on a busy machine its threads wait for each other: 50 s with two, 13 s with one
    reduced = PCA(min(50, n, d), random_state=0).fit_transform(features)
    if reduced.shape[1] < 2:
      reduced = np.pad(reduced, ((0, 0), (0, 1)))
    reduced = (reduced / np.abs(reduced).max()).astype(np.float32)
    start = reduced[:, :2] * 1e-4
    points = TSNE(2, perplexity=_perplexity(n), init=start, max_iter=500, random_state=0).fit_transform(reduced)
  low, high = np.percentile(points, [0.2, 99.8], axis=0)
  return ((points - low) / np.maximum(high - low, 1e-12)).clip(-0.02, 1.02), ''
