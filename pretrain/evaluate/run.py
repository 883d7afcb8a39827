"""Evaluation of a run: kNN while it trains, the table and the report's pictures at its end. From `encode` alone."""
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import data.sources
from data.bad import BadRecords, BadRecordsError, too_many
from data.classes import numbered_as, shown
from data.source import Source
from data.text import prompts as class_prompts
from pretrain import config as configs
from pretrain import frontends
from pretrain.config import Count, Natural
from pretrain.evaluate import geometry, measure, print_table
from pretrain.evaluate.health import health
from pretrain.evaluate.knn import knn
from pretrain.evaluate.predictions import BATCH, accuracy, extracted, seen
from pretrain.evaluate.zero_shot import zero_shot
from pretrain.files import write_json
from pretrain.frontends import text
from pretrain.machine import processes
from pretrain.report import save_report_data

ONLINE = 5000  # training examples that the kNN during training looks at, at most
SHOWN = 8     # images, queries and neighbours in the report
DRAWN = 1500  # points of the projection
K = 20         # neighbours that vote
PER_CLASS = 10  # labels of each class in the few-label probe


class Evaluation(NamedTuple):
  """config.evaluate: the labeled sets, kNN every so many steps (0: only at the end), and the side of images and clips.

  templates: such as ('a photo of a {}',): classify by the classes' names too, with the source's tokeniser.
  baselines: measure what needs no backbone (raw pixels, columns of tables, how often each id is in a text) and the
    backbone with random parameters too.
  pictures: save what the report draws: a projection, and of what has pictures views and neighbours. Without, `evaluate`
    adds it later.
  """
  train: dict
  test: dict
  every_steps: Natural = 0
  size: Count | None = None
  templates: tuple[str, ...] | None = None
  baselines: bool = True
  pictures: bool = True


class Sets(NamedTuple):
  """`Evaluation` with its sets opened.

  own:     the test set in the numbers of the run's classes; None where it has others, or the run has none.
  foreign: why `own` is None although the run has classes, for runs that learn them; else ''.
  notes:   sentences for the start of the run.
  classes: names that the labels of both sets count.
  prompts: these in templates, i32[k, t, l], or None.
  """
  train: Source
  test: Source
  own: Source | None
  foreign: str
  notes: tuple[str, ...]
  classes: tuple[str, ...]
  every_steps: int
  size: int | None
  prompts: np.ndarray | None
  baselines: bool
  pictures: bool


def open_sets(spec: Evaluation, trained_on: Source | None) -> Sets:
  """Opens the sets, so that what is wrong with them is told before training; `trained_on` is the run's source.

  Raises:
    ConfigError: a set without labels, or without that of some example; test examples of a class that the training set
      lacks; too few examples of a class for the probe with PER_CLASS of them; templates where the source has no texts.
  """
  train = configs.build(data.sources, spec.train, 'config.evaluate.train')
  test = configs.build(data.sources, spec.test, 'config.evaluate.test')
  for what, source in (('train', train), ('test', test)):
    if not len(source):
      raise configs.ConfigError(f'config.evaluate.{what}: {source.origin} is empty')
    if source.labels is None:
      raise configs.ConfigError(f'config.evaluate.{what}: kNN and probes need labels, and this source has none')
    if missing := int((source.labels < 0).sum()):
      raise configs.ConfigError(f'config.evaluate.{what}: {missing} of the {len(source)} examples of {source.origin} '
                                'are of no class (label -1), and kNN and probes need a label of each')
    check_encoding(source, trained_on, f'config.evaluate.{what}')
  classes = train.classes
  counts = np.bincount(train.labels, minlength=len(classes))
  own, foreign = None, ''
  if trained_on is not None and trained_on.classes is not None:
    try:
      own = numbered_as(test, trained_on.classes, here='config.evaluate.test', there='config.source')
    except ValueError as error:  # a head for other classes can still have learned features
      foreign = f'the run\'s own head is not scored on the test set: {error}'
  notes = train.notes + test.notes
  test = numbered_as(test, classes, here='config.evaluate.test', there='config.evaluate.train')
  if few := [f'{name}: {count}' for name, count in zip(classes, counts.tolist(), strict=True) if count < PER_CLASS]:
    raise configs.ConfigError(f'config.evaluate.train: wanted at least {PER_CLASS} examples of each class, for the '
                              f'probe with {PER_CLASS} labels of each; got {shown(few)}')
  prompts = None
  if spec.templates is not None:
    if trained_on is None or trained_on.tokenizer is None or text.MODALITY.key not in trained_on.beside:
      raise configs.ConfigError('config.evaluate.templates: classifying by names needs a source of images with texts, '
                                'and config.source has none')
    length = trained_on.column(text.MODALITY.key).shape[1]
    prompts = class_prompts(trained_on.tokenizer, length, classes, spec.templates)
  size = spec.size or frontends.of_source(train).side(train.shape)
  return Sets(train, test, own, foreign, notes, classes, spec.every_steps, size, prompts, spec.baselines, spec.pictures)


def check_encoding(source: Source, trained_on: Source | None, where: str) -> None:
  """Raises ConfigError where texts or tables are made into numbers in another way than those a model was trained on."""
  if trained_on is None:
    return
  here, there = source.encoding, trained_on.encoding
  if differing := [key for key in here.keys() & there.keys() if here[key] != there[key]]:
    raise configs.ConfigError(f'{where}: another {" and another ".join(sorted(differing))} than that of config.source '
                              f'({trained_on.origin}): the same numbers would mean other things in {source.origin}; '
                              'texts need the same tokenizer, tables have to be splits of one file')


def check_encodes(objective, state, sets: Sets) -> None:
  """Raises ConfigError where the features of a set cannot be computed: another number of channels or columns, another
  kind of input."""
  for what, source in (('train', sets.train), ('test', sets.test)):
    modality = frontends.of_source(source)
    view, given = modality.view(sets.size), jax.ShapeDtypeStruct((BATCH, *source.shape), modality.dtype)
    try:
      jax.eval_shape(lambda *x, view=view: objective.encode(*x[:2], view(x[2])), state.params, state.memory, given)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
      raise configs.ConfigError(f'config.evaluate.{what}: {error}') from error


def online(run, state, workdir: Path) -> dict[str, float]:
  """{'eval/knn': accuracy, 'eval/effective_rank': ...} of a part of the training set against the test set.

  Raises:
    BadRecordsError: more of the two sets cannot be read than config.max_bad_share.
  """
  train, test = listed(run, workdir)
  some = np.random.default_rng(run.seed).permutation(len(train))[:ONLINE]
  measured = Measured(*features(run, encoder(run, state), train.take(np.sort(some))),
                      *features(run, encoder(run, state), test))
  judge(run, [measured], workdir)
  x, y, z, truth = measured.readable()
  # One k gives one number, which the type of `knn` does not say.
  return {'eval/knn': knn(x, y, z, truth, k=min(K, len(x)),  # pyrefly: ignore[bad-assignment]
                          classes=len(run.evaluation.classes)),
          'eval/effective_rank': health(z)['effective_rank'],
          **{f'eval/{name}': value for name, value in of_its_own(run, state).items()}}


class Measured(NamedTuple):
  """Features f32[n, d], labels i32[n] and bool[n] which could be read, of the training and of the test set."""
  x: np.ndarray
  y: np.ndarray
  good: np.ndarray
  z: np.ndarray
  truth: np.ndarray
  good_test: np.ndarray

  def readable(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y, z, truth of the examples that could be read."""
    return self.x[self.good], self.y[self.good], self.z[self.good_test], self.truth[self.good_test]

  def unreadable(self) -> dict[str, int]:
    """What the table says of the others; {} where there are none."""
    counts = {'unreadable': int((~self.good_test).sum()), 'unreadable_train': int((~self.good).sum())}
    return {name: count for name, count in counts.items() if count}


def listed(run, workdir: Path) -> list[Source]:
  """The two sets; examples of them that cannot be read are listed in the run's bad_records.jsonl."""
  path = str(workdir / processes.own_file('bad_records.jsonl'))
  return [dataclasses.replace(source, bad=BadRecords(path)) for source in (run.evaluation.train, run.evaluation.test)]


def judge(run, measured: list[Measured], workdir: Path) -> None:
  """Raises BadRecordsError if more examples of a set cannot be read than config.max_bad_share."""
  for each in measured:
    for name, good in (('train', each.good), ('test', each.good_test)):
      if (bad := int((~good).sum())) > run.max_bad_share * len(good):
        raise BadRecordsError(too_many(bad, len(good), f'examples of config.evaluate.{name}', run.max_bad_share,
                                       str(workdir / 'bad_records.jsonl')))


def table(run, state, workdir: Path) -> list[dict]:
  """Measures baselines, random and pretrained backbone; prints rows, writes evaluation.json and the report's arrays.

  Examples that cannot be read are left out and counted in the rows.

  Returns:
    The rows; the last has `of_its_own` too, and where there is a projector, as `projector`, the geometry behind it.
  Raises:
    BadRecordsError: more of a set cannot be read than config.max_bad_share; the table is written before.
  """
  (train, test), classes = listed(run, workdir), run.evaluation.classes
  encoders = {}
  if run.evaluation.baselines:
    encoders = {**frontends.of_source(train).baselines(train), 'random backbone': encoder(run, run.training.init())}
  encoders['pretrained backbone'] = encoder(run, state)
  measured = {name: Measured(*features(run, encode, train), *features(run, encode, test))
              for name, encode in encoders.items()}
  own = of_its_own(run, state)
  projected = run.objective.project and features(run, Partial(run.objective.project, state.params, state.memory), test)
  rows: list[dict] = []
  if jax.process_index() == 0:  # the features were a common work; process 0 writes what they are worth
    try:
      rows = [measure(name, *each.readable(), classes=len(classes), k=min(K, int(each.good.sum())), per_class=PER_CLASS,
                      seed=run.seed) | each.unreadable() for name, each in measured.items()]
    except ValueError as error:  # too few are left of a class, say
      judge(run, list(measured.values()), workdir)
      raise ValueError(f'{error}, of those that can be read') from error
    print_table(rows)
    print_unreadable(measured['pretrained backbone'])
    for name, value in own.items():
      print(f'{HOW[name]}: {value:.1%}')
    if projected:
      z, truth, good = projected
      rows[-1]['projector'] = geometry(z[good], truth[good])
    write_json(workdir / 'evaluation.json', {'step': int(state.step), 'rows': rows, **own})
    if run.evaluation.pictures:
      pictures(run, train, test, measured, classes, workdir)
  judge(run, list(measured.values()), workdir)
  return [*rows[:-1], *(row | own for row in rows[-1:])]


def print_unreadable(each: Measured) -> None:
  """Says how many examples are not in the table, where there are any."""
  if each.unreadable():
    (bad, n), (bad_train, n_train) = (((~good).sum(), len(good)) for good in (each.good_test, each.good))
    print(f'{bad} of {n} test examples and {bad_train} of {n_train} training examples cannot be read; they are left '
          'out and listed in bad_records.jsonl')


HOW = {'accuracy': 'classified by its own head', 'zero_shot': 'classified by the names of the classes'}


def of_its_own(run, state) -> dict[str, float]:
  """Accuracies on the test set without a probe, of objectives that have classes or match texts: some of `HOW`."""
  found = {}
  if run.objective.predict and run.evaluation.own is not None:
    found['accuracy'] = accuracy(run, state, run.evaluation.own)
  if run.evaluation.prompts is not None and run.objective.towers:
    image, text = (Partial(tower, state.params, state.memory) for tower in run.objective.towers)
    z, truth, good = features(run, image, run.evaluation.test)
    found['zero_shot'] = zero_shot(z[good], truth[good], text, run.evaluation.prompts)
  return found


def pictures(run, train, test, measured, classes, workdir: Path) -> None:
  """report_data.npz: features to be projected; views of a few images, neighbours of a few test images."""
  rng = np.random.default_rng(run.seed)
  each = measured['pretrained backbone']
  x, y, z, truth = each.readable()
  unit = lambda a: a / np.linalg.norm(a, axis=1, keepdims=True).clip(1e-12)
  queries = rng.permutation(len(z))[:SHOWN]
  drawn = rng.permutation(len(z))[:DRAWN]
  drawings = {}
  places, shown_queries = np.flatnonzero(each.good), np.flatnonzero(each.good_test)[queries]
  kind = frontends.of_source(test)
  if (draw := kind.pictures) is not None:
    first = lambda source, positions: np.asarray(draw(source.batch(positions)[kind.key])[:, 0])  # u8[m, h, w, c]
    nearest = np.argsort(-unit(z[queries]) @ unit(x).T, 1)[:, :SHOWN]  # [q, k]
    originals, augmented = some_views(run, draw, kind.key)
    drawings = dict(originals=originals, views=augmented, queries=first(test, shown_queries),
                    neighbors=np.stack([first(train, places[rows]) for rows in nearest]),
                    query_labels=truth[queries], neighbor_labels=y[nearest])
  save_report_data(
      workdir, features={name: measured[name].readable()[2][drawn] for name in measured if 'backbone' in name},
      labels=truth[drawn], classes=classes, **drawings)


def some_views(run, draw: Callable, key: str):
  """A few raw pictures u8[m, h, w, c] of the first batch, and their views as a list of f32[m, v, h, w, c].

  Args:
    draw, key: `pictures` and key of a `frontends.Modality`.
  """
  with run.batches(start=0, bad_records=None) as batches:
    batch = jax.tree.map(lambda x: jnp.asarray(x[:SHOWN]), next(batches))
  views = jax.jit(run.views)(batch, jax.random.key(run.seed))
  drawn = [shown for view in views.values() if (shown := draw(view)) is not None]
  raw = batch.get('unlabeled', batch).get(key)
  if raw is None:  # the views draw the examples
    originals = jnp.round(255 * drawn[0][:, 0]).astype(jnp.uint8)
  else:
    originals = draw(raw)[:, 0]
  return np.asarray(originals), [np.asarray(view) for view in drawn if len(view) == len(originals)]


def encoder(run, state) -> Partial:
  return Partial(run.objective.encode, state.params, state.memory)


def features(run, encode, source: Source) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Features f32[n, d], labels i32[n] and bool[n] which could be read, of a labeled source."""
  found, good = extracted(encode, run, source, seen(run, source))
  return found, source.truth()[0], good
