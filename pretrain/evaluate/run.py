"""Evaluation of a run: kNN while it trains, the table and the report's pictures at its end. From `encode` alone."""
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import data.sources
from pretrain import config as configs
from pretrain.evaluate import geometry, measure, print_table
from pretrain.evaluate.features import counts, kind, pixels
from pretrain.evaluate.health import health
from pretrain.evaluate.knn import knn
from pretrain.evaluate.predictions import BATCH, accuracy, extracted, view
from pretrain.evaluate.zero_shot import zero_shot
from pretrain.metrics import write_json
from pretrain.report import save_report_data

ONLINE = 5000  # training examples that the kNN during training looks at, at most
SHOWN = 8     # images, queries and neighbours in the report
DRAWN = 1500  # points of the projection
K = 20         # neighbours that vote
PER_CLASS = 10  # labels of each class in the few-label probe


class Evaluation(NamedTuple):
  """config.evaluate: the labeled sets, kNN every so many steps (0: only at the end), and the side of images.

  templates: such as ('a photo of a {}',): classify by the classes' names too, with the source's tokeniser.
  baselines: measure raw pixels (of tables the columns, of texts how often each id is there) and the backbone with
    random parameters too.
  pictures: save what the report draws: a projection, and of images views and neighbours. Without, `evaluate` adds it
    later.
  """
  train: dict
  test: dict
  every_steps: int = 0
  size: int | None = None
  templates: tuple[str, ...] | None = None
  baselines: bool = True
  pictures: bool = True


class Sets(NamedTuple):
  """`Evaluation` with its sets opened, the names of the classes, and these in templates, i32[k, t, l] or None."""
  train: Any
  test: Any
  classes: tuple[str, ...]
  every_steps: int
  size: int | None
  prompts: np.ndarray | None
  baselines: bool
  pictures: bool


def open_sets(spec: Evaluation, trained_on) -> Sets:
  """Opens the sets, so that what is wrong with them is told before training; `trained_on` is the run's source.

  Raises:
    ConfigError: a set without labels, too few examples of a class for the probe with PER_CLASS of them, or templates
      where the source has no texts.
  """
  train = configs.build(data.sources, spec.train, 'config.evaluate.train')
  test = configs.build(data.sources, spec.test, 'config.evaluate.test')
  for what, source in (('train', train), ('test', test)):
    if source.labels is None:
      raise configs.ConfigError(f'config.evaluate.{what}: kNN and probes need labels, and this source has none')
  classes = train.classes or tuple(map(str, range(int(max(train.labels.max(), test.labels.max())) + 1)))
  counts = np.bincount(train.labels, minlength=len(classes))
  if min(counts) < PER_CLASS or len(classes) <= test.labels.max():
    raise configs.ConfigError(f'config.evaluate.train: wanted at least {PER_CLASS} examples of each class of the test '
                              f'set, got {dict(zip(classes, counts.tolist(), strict=True))}')
  prompts, captions = None, getattr(trained_on, 'captions', None)
  if spec.templates is not None:
    if captions is None:
      raise configs.ConfigError('config.evaluate.templates: classifying by names wants a source of images with texts, '
                                'and config.source has none')
    prompts = captions.prompts(classes, spec.templates)
  size = None if len(train.shape) == 1 else spec.size or min(train.shape[:2])
  return Sets(train, test, classes, spec.every_steps, size, prompts, spec.baselines, spec.pictures)


def check_encodes(objective, state, sets: Sets) -> None:
  """Raises ConfigError where the features of a set cannot be computed: another number of channels or columns, another
  kind of input."""
  for what, source in (('train', sets.train), ('test', sets.test)):
    batch = source.batch(np.zeros(1, np.int64))
    raw = batch[kind(batch)]
    given = jax.ShapeDtypeStruct((BATCH, *raw.shape[1:]), raw.dtype)
    try:
      jax.eval_shape(lambda *x: objective.encode(*x[:2], view(sets.size)(x[2])), state.params, state.memory, given)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
      raise configs.ConfigError(f'config.evaluate.{what}: {error}') from error


def online(run, state) -> dict[str, float]:
  """{'eval/knn': accuracy, 'eval/effective_rank': ...} of a part of the training set against the test set."""
  train, test, classes = run.evaluation[:3]
  some = np.random.default_rng(run.seed).permutation(len(train))[:ONLINE]
  x, y = features(run, encoder(run, state), train.take(np.sort(some)))
  z, truth = features(run, encoder(run, state), test)
  # One k gives one number, which the type of `knn` does not say.
  return {'eval/knn': knn(x, y, z, truth, k=min(K, len(x)), classes=len(classes)),  # pyrefly: ignore[bad-assignment]
          'eval/effective_rank': health(z)['effective_rank'],
          **{f'eval/{name}': value for name, value in of_its_own(run, state).items()}}


def table(run, state, workdir: Path) -> list[dict]:
  """Measures pixels, random and pretrained backbone; prints rows, writes evaluation.json and the report's arrays.

  Returns:
    The rows; the last has `of_its_own` too, and where there is a projector, as `projector`, the geometry behind it.
  """
  train, test, classes = run.evaluation[:3]
  encoders = {**raw(train), 'random backbone': encoder(run, run.training.init())} if run.evaluation.baselines else {}
  encoders['pretrained backbone'] = encoder(run, state)
  measured = {name: (*features(run, encode, train), *features(run, encode, test)) for name, encode in encoders.items()}
  own = of_its_own(run, state)
  projected = run.objective.project and features(run, Partial(run.objective.project, state.params, state.memory), test)
  if jax.process_index():  # the features were a common work; process 0 writes what they are worth
    return []
  rows = [measure(name, *found, classes=len(classes), k=min(K, len(train)), per_class=PER_CLASS,
                  seed=run.seed) for name, found in measured.items()]
  print_table(rows)
  for name, value in own.items():
    print(f'{HOW[name]}: {value:.1%}')
  if projected:
    rows[-1]['projector'] = geometry(*projected)
  write_json(workdir / 'evaluation.json', {'step': int(state.step), 'rows': rows, **own})
  if run.evaluation.pictures:
    pictures(run, train, test, measured, classes, workdir)
  return [*rows[:-1], rows[-1] | own]


def raw(source) -> dict[str, Partial]:
  """The encoder that knows nothing, by what it gives."""
  if len(source.shape) > 1:
    return {'raw pixels': Partial(pixels)}
  vocabulary = getattr(source, 'vocabulary', None)
  return {'raw columns': Partial(pixels)} if vocabulary is None else {
      'counts of the tokens': Partial(functools.partial(counts, vocabulary=vocabulary))}


HOW = {'accuracy': 'classified by its own head', 'zero_shot': 'classified by the names of the classes'}


def of_its_own(run, state) -> dict[str, float]:
  """Accuracies on the test set without a probe, of objectives that have classes or match texts: some of `HOW`."""
  found = {}
  if run.objective.predict:
    found['accuracy'] = accuracy(run, state, run.evaluation.test)
  if run.evaluation.prompts is not None and run.objective.towers:
    image, text = (Partial(tower, state.params, state.memory) for tower in run.objective.towers)
    z, truth = features(run, image, run.evaluation.test)
    found['zero_shot'] = zero_shot(z, truth, text, run.evaluation.prompts)
  return found


def pictures(run, train, test, measured, classes, workdir: Path) -> None:
  """report_data.npz: features to be projected; views of a few images, neighbours of a few test images."""
  rng = np.random.default_rng(run.seed)
  x, y, z, truth = measured['pretrained backbone']
  unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True).clip(1e-12)
  queries = rng.permutation(len(z))[:SHOWN]
  drawn = rng.permutation(len(z))[:DRAWN]
  shown = {}
  if len(test.shape) > 1:
    nearest = np.argsort(-unit(z[queries]) @ unit(x).T, 1)[:, :SHOWN]  # [q, k]
    originals, augmented = some_views(run)
    shown = dict(originals=originals, views=augmented, queries=test.batch(queries)['image'],
                 neighbors=np.stack([train.batch(rows)['image'] for rows in nearest]), query_labels=truth[queries],
                 neighbor_labels=y[nearest])
  save_report_data(
      workdir, features={name: measured[name][2][drawn] for name in measured if 'backbone' in name},
      labels=truth[drawn], classes=classes, **shown)


def some_views(run):
  """A few raw images u8[m, h, w, c] of the first batch, and their views as a list of f32[m, v, h, w, c]."""
  with run.batches(start=0, bad_records=None) as batches:
    batch = jax.tree.map(lambda x: jnp.asarray(x[:SHOWN]), next(batches))
  views = jax.jit(run.views)(batch, jax.random.key(run.seed))
  images = [view if view.ndim == 5 else view[:, None] for view in views.values() if view.ndim in (4, 5)]
  raw = batch.get('unlabeled', batch).get('image')
  if raw is None:  # the views draw the images
    raw = jnp.round(255 * images[0][:, 0]).astype(jnp.uint8)
  return np.asarray(raw), [np.asarray(view) for view in images if len(view) == len(raw)]


def encoder(run, state) -> Partial:
  return Partial(run.objective.encode, state.params, state.memory)


def features(run, encode, source):
  """Features f32[n, d] and labels i32[n] of a source."""
  return extracted(encode, run, source, view(run.evaluation.size))
