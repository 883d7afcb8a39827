"""What all sources have in common, over one table of them: the contract, labels, identity, broken and lost files."""
import ast
import dataclasses
import functools
import io
import json
import math
import os
import pickle
import re
import shutil
import signal
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data.sources
from data import identity
from data import labels as stores
from data.bad import BadRecords
from data.decode import decode
from data.loader import in_order
from data.source import Source
from data.sources.array_record import FORMAT
from pretrain import config
from tests.test_data import encoded, parquet_table, photo, prepared_tfds, tar

N, SIZE = 8, 8
LABEL = [2, 0, 1, -1, 0, 1, 2, 0]
TEXT = dict(tokenizer='bytes', length=12)
DTYPES = dict(image=np.uint8, tokens=np.int32, row=np.float32, label=np.int32, index=np.int32, weight=np.float32,
              probabilities=np.float32)


def opened(spec: dict) -> Source:
  return config.build(data.sources, spec, 'config.source')


@functools.cache
def pictures() -> list[bytes]:
  """Crops of photographs, no two alike, 16 x 12."""
  return [encoded(photo(k, (16, 12)), 'PNG') for k in range(N)]


def write(path: Path, content: bytes | str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content.encode() if isinstance(content, str) else content)


def parts(values) -> list[tuple[str, slice]]:
  """The numbers of two shards, and which of the values lie in each."""
  return [('00000-of-00002', slice(0, (len(values) + 1) // 2)), ('00001-of-00002', slice((len(values) + 1) // 2, None))]


# ------------------------------------------------------------------------------- sources that take labels from data
# Each writes a set of encoded images with these labels, and names of classes or None, and returns its spec.


def named(spec: dict, classes) -> dict:
  return spec if classes is None else spec | dict(classes=classes)


def arrays(at, images, label=LABEL, classes=None):
  np.savez(at / 'set.npz', train_image=[decode(image, size=SIZE, channels=3) for image in images], train_label=label)
  return named(dict(name='arrays', path=str(at / 'set.npz'), split='train'), classes)


def array_record(at, images, label=LABEL, classes=None):
  from array_record.python import array_record_module
  shards = []
  for number, part in parts(images):
    shards.append(f'train-{number}.array_record')
    writer = array_record_module.ArrayRecordWriter(str(at / shards[-1]), 'group_size:1')
    for image in images[part]:
      writer.write(image)
    writer.close()
  np.save(at / 'train-labels.npy', label)
  about = dict(format=FORMAT, classes=classes or ['0', '1', '2'], size=SIZE,
               splits=dict(train=dict(count=len(images), shards=shards)))
  write(at / 'metadata.json', json.dumps(about))
  return dict(name='array_record', path=str(at), split='train')


def rows_of(images, label) -> pa.Table:
  image = pa.array([dict(bytes=image, path=None) for image in images], parquet_table([]).schema.field('image').type)
  return pa.table(dict(image=image, label=label if isinstance(label, pa.Array) else pa.array(label)))


def parquet(at, images, label=LABEL, classes=None):
  for number, part in parts(images):
    pq.write_table(rows_of(images[part], label[part]), at / f'train-{number}.parquet', row_group_size=3)
  return named(dict(name='huggingface', path=str(at), split='train', size=SIZE), classes)


def arrow(at, images, label=LABEL, classes=None):
  (at / 'train').mkdir()
  for number, part in parts(images):
    table = rows_of(images[part], label[part])
    with pa.OSFile(str(at / f'train/data-{number}.arrow'), 'wb') as f, pa.ipc.new_stream(f, table.schema) as writer:
      writer.write_table(table, 1)  # rows at a time
  return named(dict(name='huggingface', path=str(at), split='train', size=SIZE), classes)


def webdataset(at, images, label=LABEL, classes=None):
  for number, part in parts(images):
    tar(at / f'set-{number}.tar', {f'{k}{suffix}': content for k in range(len(images))[part] for suffix, content in
                                   (('.png', images[k]), ('.cls', str(label[k])), ('.txt', f'text {k}'))})
  return named(dict(name='webdataset', path=str(at / 'set-*.tar'), size=SIZE), classes)


def labeled_text(at, images, label=LABEL, classes=None):
  write(at / 'set.jsonl', '\n'.join(json.dumps(dict(text=f'text {k}', label=label[k])) for k in range(len(images))))
  return named(dict(name='labeled_text', path=str(at / 'set.jsonl'), **TEXT), classes)


def table(at, images, label=LABEL, classes=None):
  assert classes is None
  write(at / 'set.csv', '\n'.join(['a,b,kind', *(f'{k % 5},{"xyz"[k % 3]},{label[k]}' for k in range(len(images)))]))
  return dict(name='table', path=str(at / 'set.csv'), split='train', label='kind')


FORMS = dict(arrays=arrays, array_record=array_record, parquet=parquet, arrow=arrow, webdataset=webdataset,
             labeled_text=labeled_text, table=table)


# ---------------------------------------------------------------------------------------------------- other sources


def folder(at, images):
  for k, image in enumerate(images):
    write(at / f'photos/{"abc"[k % 3]}/{k}.png', image)
  return dict(name='folder', path=str(at / 'photos'), size=SIZE)


def clips(at, images):
  for k, image in enumerate(images):
    write(at / f'videos/{"ab"[k % 2]}/{k // 4}/frame_{k + 7}.png', image)
  return dict(name='clips', path=str(at / 'videos'), size=SIZE, frames=2, every=1)


def tfds(at, images):
  with pytest.MonkeyPatch.context() as patch:
    made = iter([*images[:6], *images[:2]])
    patch.setattr('tests.test_data.encoded', lambda *_: next(made))
    patch.setattr('tests.test_data.__name__', __name__)  # TFDS looks for the files of a builder's package
    prepared_tfds(at)
  return dict(name='tfds', dataset='tiny_photos', split='train', data_dir=str(at), size=SIZE)


def pairs_of_lines(at, images):
  for k, image in enumerate(images):
    write(at / f'photos/{k}.png', image)
  write(at / 'set.jsonl', '\n'.join(json.dumps(dict(image=f'photos/{k}.png', text=f'text {k}'))
                                    for k in range(len(images))))
  return dict(name='pairs', path=str(at / 'set.jsonl'), size=SIZE, **TEXT)


def pairs_of_tar(at, images):
  return dict(name='pairs', path=webdataset(at, images)['path'], size=SIZE, **TEXT)


def pairs_of_parquet(at, images):
  return parquet(at, images, pa.array([f'text {k}' for k in range(len(images))])) | dict(
      name='pairs', text_column='label', **TEXT)


def text(at, images):
  write(at / 'texts/b.txt', 'A text that is cut. ' * len(images))
  write(at / 'texts/a/a.md', 'It comes first.')
  return dict(name='text', path=str(at / 'texts'), **TEXT)


def over(make=folder, **spec):
  """A source over another."""
  return lambda at, images: dict(source=make(at, images), **spec)


def mixed(at, images):
  return dict(name='mixed', source=folder(at, images), others=arrays(at, pictures()), share=0.2, seed=0)


def pseudo_labeled(at, images):
  source = opened(spec := folder(at, images))
  about = stores.About('model', source.origin, identity.look(source.unlabeled()).identity.digest, N, 3,
                       ('x', 'y', 'z'), 0)
  p = np.eye(3, dtype=np.float32)[np.arange(N) % 3] * 0.7 + 0.1
  stores.write_part(at / 'store', 0, 1, stores.Labels(about, np.arange(N), p.argmax(1), p.max(1), p))
  stores.finish(at / 'store', 1, about)
  return dict(name='pseudo_labeled', source=spec, store=str(at / 'store'), soft=True, weighted=True, balanced=True)


# What each writes a healthy set with, and the spec that opens it; a key begins with the source's name.
KINDS = {
    'folder': folder, 'array_record': array_record, 'arrays': arrays, 'huggingface: parquet': parquet,
    'huggingface: arrow': arrow, 'tfds': tfds, 'webdataset': webdataset, 'pairs: lines': pairs_of_lines,
    'pairs: tar': pairs_of_tar, 'pairs: parquet': pairs_of_parquet, 'clips': clips, 'mixed': mixed, 'text': text,
    'labeled_text': labeled_text, 'table': table, 'pseudo_labeled': pseudo_labeled,
    'captions': over(name='captions', templates=('a {}', 'the {}'), **TEXT),
    'long_tailed': over(name='long_tailed', ratio=2., seed=0),
    'of_classes': over(name='of_classes', classes=('c', 'a')),
    'noisy_labels': over(name='noisy_labels', rate=0.5, seed=0),
    'fractals': lambda *_: dict(name='fractals', codes=2, per_code=3),
    'digits': lambda *_: dict(name='digits', split='test'),
    'fashion_mnist': lambda *_: dict(name='fashion_mnist', split='test')}
DECODED = ('folder', 'array_record', 'huggingface: parquet', 'huggingface: arrow', 'tfds', 'webdataset', 'pairs: lines',
           'pairs: tar', 'pairs: parquet', 'clips', 'mixed', 'captions', 'noisy_labels')


def source_name(kind: str) -> str:
  return kind.partition(':')[0]


def test_every_source_is_in_the_table():
  sources = set(map(source_name, KINDS))
  assert sources == set(config.names(data.sources)) == set(config.files(data.sources))


@pytest.fixture(scope='module', params=KINDS)
def made(request, tmp_path_factory) -> tuple[Path, dict]:
  """A folder with a healthy set of a kind, and its spec."""
  at = tmp_path_factory.mktemp('set')
  spec = KINDS[request.param](at, pictures())
  assert spec['name'] == source_name(request.param)
  return at, spec


@pytest.fixture(scope='module')
def source(made) -> Source:
  return opened(made[1])


def some(source: Source) -> np.ndarray:
  """Positions all over a source: of a small one all."""
  return np.unique(np.linspace(0, len(source) - 1, 24).astype(np.int64))


def assert_equal(found: dict, wanted: dict) -> None:
  assert found.keys() == wanted.keys()
  for key, value in wanted.items():
    np.testing.assert_array_equal(found[key], value, err_msg=key)


# --------------------------------------------------------------------------------------------------------- contract


def test_an_item_is_a_row_of_a_batch(source):
  n, positions = len(source), some(source)
  assert n >= 3
  batch = source.batch(positions)
  for place, i in enumerate(positions):
    item = source[int(i)]
    assert isinstance(item['index'], int)
    assert_equal(item, {key: value[place] for key, value in batch.items()})
  assert_equal(source[-1], source[n - 1])
  assert_equal(source[-n], source[0])
  for outside in (n, -n - 1):
    with pytest.raises(IndexError, match=f'has {n} examples, got index {outside}'):
      source[outside]


def test_batches_have_the_types_and_shapes_of_the_interface(source):
  positions = some(source)
  batch = source.batch(positions)
  assert {key: value.dtype for key, value in batch.items()} == {key: np.dtype(DTYPES[key]) for key in batch}
  assert {'index', *source.beside} <= batch.keys() and all(len(value) == len(positions) for value in batch.values())
  read = batch.keys() - {'index', *source.beside}
  assert [batch[key].shape[1:] for key in read] == ([source.shape] if source.shape else [])
  assert ('tokens' in batch) == (source.vocabulary is not None)


def test_the_index_is_that_of_the_whole_set(source):
  assert len(source.index) == len(source) and source.index.max() < len(source.examples)
  few = source.take([2, 0, 2, 1])
  fewer = few.take([3, 2, 2])
  for part, positions in ((few, [2, 0, 2, 1]), (fewer, [1, 2, 2])):
    assert len(part) == len(positions) and part.shape == source.shape and part.classes == source.classes
    np.testing.assert_array_equal(part.index, source.index[positions])
    assert_equal(part.batch(np.arange(len(part))), source.batch(np.array(positions)))
    np.testing.assert_array_equal(part.batch(np.arange(len(part)))['index'], source.index[positions])
    if source.labels is not None:
      np.testing.assert_array_equal(part.labels, source.labels[positions])


def test_labels_are_those_of_the_batches_and_nothing_is_read_for_them(made, source, monkeypatch):
  monkeypatch.setattr(type(source.examples), 'read', lambda *_: pytest.fail('it reads'))
  fresh = opened(made[1])
  labels, classes = fresh.labels, fresh.classes
  monkeypatch.undo()
  batch = source.batch(np.arange(len(source)))
  assert source.labeled == ('label' in batch) == (labels is not None) == (classes is not None)
  if labels is not None:
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, batch['label'])
    assert isinstance(classes, tuple) and all(isinstance(name, str) for name in classes)
    assert len(set(classes)) == len(classes) and labels.min() >= -1 and 0 <= labels.max() < len(classes)
    assert_equal(dict(enumerate(source.truth())), {0: labels, 1: classes})


def test_unlabeled_has_nothing_that_says_the_class(source):
  for bare in (source.unlabeled(), source.take([0, 2, 1]).unlabeled(), source.unlabeled().take([1, 1])):
    assert bare.labels is None and bare.classes is None and not bare.labeled and not bare.beside
    found = bare.batch(np.arange(2)).keys() - {'index'}
    assert found == {key for key in ('image', 'row', 'tokens') if key in source[0] and key not in source.beside}
    assert bare[0].keys() == found | {'index'} and (bare.vocabulary is None) == ('tokens' not in found)
    assert all(not inner.beside and inner.classes is None for inner in getattr(bare.examples, 'sources', ()))
    with pytest.raises(ValueError, match='has no labels'):
      bare.truth()


def without_probabilities(source: Source) -> Source:
  """Of the classes as they are, which no other labels fit."""
  return dataclasses.replace(source, beside={k: v for k, v in source.beside.items() if k != 'probabilities'})


def test_new_labels_stay_with_their_examples(source):
  part = without_probabilities(source).take([2, 0])
  weight = np.array([0.5, 1], np.float32)
  again = part.relabeled(np.array([1, 0]), ('x', 'y'), 'again', weight=weight)
  assert again.labels.tolist() == [1, 0] and again.classes == ('x', 'y') and again.origin == 'again'
  assert_equal(again.batch(np.arange(2)), part.batch(np.arange(2)) | dict(label=again.labels, weight=weight))
  assert (again.column('label') >= 0).sum() == 2


def test_a_pickled_source_gives_equal_batches(source):
  for one in (source, source.take([2, 0, 2]), source.unlabeled()):
    again = pickle.loads(pickle.dumps(one))
    assert_equal(again.batch(some(one)), one.batch(some(one)))
    assert (len(again), again.shape, again.classes, again.origin) == (len(one), one.shape, one.classes, one.origin)


def test_all_of_a_healthy_set_can_be_read_and_lies_somewhere(source):
  batch, good = source.read(some(source))
  assert good.dtype == bool and good.all() and source.bad.bad == 0 and source.notes == ()
  assert_equal(batch, source.batch(some(source)))
  files = [source.examples.file(int(i)) for i in np.unique(source.index)]
  assert all(isinstance(file, str) and file for file in files) and len(set(files)) == len(files)


@pytest.mark.parametrize('kind, order, label', [
    *((kind, range(N), LABEL) for kind in ('arrays', 'array_record', 'huggingface: parquet', 'huggingface: arrow',
                                           'webdataset')),
    *((f'pairs: {kind}', range(N), None) for kind in ('lines', 'tar', 'parquet')),
    ('folder', [0, 3, 6, 1, 4, 7, 2, 5], [0, 0, 0, 1, 1, 1, 2, 2]),
    ('captions', [0, 3, 6, 1, 4, 7, 2, 5], [0, 0, 0, 1, 1, 1, 2, 2]),
    ('clips', [[0, 2], [4, 6], [1, 3], [5, 7]], [0, 0, 1, 1])])
def test_what_was_written_is_read(kind, order, label, tmp_path):
  batch = (source := opened(KINDS[kind](tmp_path, pictures()))).batch(np.arange(len(order)))
  assert len(source) == len(order)
  images = np.array([decode(image, size=SIZE, channels=3) for image in pictures()])
  np.testing.assert_array_equal(batch['image'], images[np.array(order)])
  assert (None if label is None else batch['label'].tolist()) == label
  texts = {'pairs': [f'text {k}' for k in range(N)], 'captions': [
      f'{("a", "the")[i % 2]} {"abc"[k]}' for i, k in enumerate(label or ())]}.get(source_name(kind))
  if texts:
    assert [bytes(row[1:1 + len(text)] - 4).decode() for row, text in zip(
        batch['tokens'].astype(np.uint8), texts, strict=True)] == texts


def test_in_order_has_every_example_once(source):
  n = len(source)
  batches, goods = zip(*in_order(source, batch=5 if n < 100 else 150, threads=2), strict=True)
  assert np.concatenate(goods).all()
  assert_equal({key: np.concatenate([batch[key] for batch in batches])[:n] for key in batches[0]},
               source.batch(np.arange(n)))


# --------------------------------------------------------------------------------------------------------- identity


def different(a: Source, b: Source) -> list[str]:
  """What differs, which is told with and without the arrays, or not at all."""
  before, now = identity.look(a), identity.look(b)
  found = identity.differences(before.identity, now.identity, before, now)
  assert bool(found) == bool(identity.differences(before.identity, now.identity))
  assert bool(found) == (before.identity.digest != now.identity.digest)
  return found


def test_a_set_is_the_same_wherever_it_lies(made, source, tmp_path):
  at, spec = made
  shutil.copytree(at, tmp_path / 'moved')
  moved = ast.literal_eval(repr(spec).replace(str(at), str(tmp_path / 'moved')))
  for same in (opened(spec), opened(moved), pickle.loads(pickle.dumps(source))):
    assert different(source, same) == []
  assert identity.look(source.unlabeled()).identity == identity.look(opened(moved).unlabeled()).identity


def test_another_set_has_another_identity(source):
  n, source = len(source), without_probabilities(source)
  label = np.zeros(n, np.int32) if source.labels is None else (source.labels + 1) % len(source.classes)
  classes = source.classes or ('one',)
  for other in (source.take(np.arange(n - 1)), source.take(np.arange(n)[::-1]), source.take([0, *range(1, n - 1), 0]),
                source.relabeled(label, classes, source.origin)):
    assert different(source, other) and different(other, source)
    assert identity.look(other).identity.examples == len(other)
  new = [source.relabeled(label, classes, source.origin, weight=np.full(n, k, np.float32)) for k in (1, 1, 2)]
  assert different(*new[:2]) == [] and different(*new[1:])
  assert bool(different(source, source.unlabeled())) == bool(source.beside)


@pytest.mark.parametrize('kind', ['arrays', 'huggingface: parquet', 'huggingface: arrow', 'webdataset'])
def test_what_is_known_of_all_examples_counts_where_few_are_looked_at(kind, tmp_path, monkeypatch):
  monkeypatch.setattr(identity, 'ALL', 2)
  monkeypatch.setattr(identity, 'SOME', 2)
  sources = []
  for name, size in (('one', (16, 12)), ('other', (17, 12))):
    (tmp_path / name).mkdir()
    sources.append(opened(KINDS[kind](tmp_path / name, [*pictures()[:4], encoded(photo(4, size), 'PNG'),
                                                        *pictures()[5:]])))
  one, other = map(identity.look, sources)
  assert one.identity.looked <= 2 and np.array_equal(one.contents, other.contents)
  assert different(*sources) == ['other contents']


# --------------------------------------------------------------------------------------------------- broken examples


def listed(source: Source, path: Path) -> Source:
  return dataclasses.replace(source, bad=BadRecords(str(path)))


@pytest.mark.parametrize('kind', DECODED)
def test_a_broken_example_is_told_and_replaced_with_all_that_stands_beside(kind, tmp_path):
  broken = [b'no image' if k == 5 else image for k, image in enumerate(pictures())]
  sources = []
  for name, images in (('whole', pictures()), ('broken', broken)):
    (tmp_path / name).mkdir()
    sources.append(opened(KINDS[kind](tmp_path / name, images)))
  source = listed(sources[1], tmp_path / 'bad.jsonl')
  n = len(source)
  whole, (read, good) = sources[0].batch(np.arange(n)), source.read(np.arange(n))
  [place] = np.flatnonzero(~good)
  assert not read['image'][place].any() and source.bad.bad == 1 and source.bad.drawn == n
  assert_equal({key: value[good] for key, value in read.items()}, {key: value[good] for key, value in whole.items()})
  assert_equal({key: value[place] for key, value in read.items() if key != 'image'},
               {key: value[place] for key, value in whole.items() if key != 'image'})
  instead = np.where(np.arange(n) == place, (place + 1) % n, np.arange(n))
  assert_equal(source.batch(np.arange(n)), {key: value[instead] for key, value in whole.items()})
  other = (place + 2) % n  # the next good one of a part, perhaps from its beginning
  for part in ([other, place], [place, place, other]):
    assert_equal(source.take(part).batch(np.arange(len(part))),
                 {key: value[[other] * len(part)] for key, value in whole.items()})
  assert [int(i) for batch, each in in_order(source, batch=n) for i in np.flatnonzero(~each)] == [place]
  [row] = map(json.loads, (tmp_path / 'bad.jsonl').read_text().splitlines())
  index = int(source.index[place])
  assert row['index'] == index and row['file'] == source.examples.file(index) and row['reason']
  assert different(sources[0], source)


# ----------------------------------------------------------------------------------------------------------- labels

NAMES, YES = ('x', 'y', 'z'), ('no', 'yes')
TAKEN = {  # values, names of classes or None, the labels and names that come of them
    'null': ([2, None, 0], None, [2, -1, 0], '012'), 'null alone': ([None, None, None], NAMES, [-1] * 3, NAMES),
    'minus one': ([2, -1, 0], None, [2, -1, 0], '012'), 'numbers': ([2, 1, 0], NAMES, [2, 1, 0], NAMES),
    'whole floats': ([1., 0., 2.], None, [1, 0, 2], '012'), 'nan': ([2., math.nan, 0.], None, [2, -1, 0], '012'),
    'booleans': ([True, False, True], None, [1, 0, 1], ('False', 'True')),
    'booleans of classes': ([True, False, True], YES, [1, 0, 1], YES),
    'strings': (['b', 'c', 'a'], None, [1, 2, 0], 'abc'),
    'strings of classes': (['z', 'x', 'x'], NAMES, [2, 0, 0], NAMES),
    'string or null': (['b', None, 'a'], None, [1, -1, 0], 'ab'),
    'categories': (pa.array(['b', None, 'a']).dictionary_encode(), None, [1, -1, 0], 'ab'),
    'categories of numbers': (pa.array([2, 0, 2]).dictionary_encode(), None, [2, 0, 2], '012')}
REFUSED = {  # values, names, the row that is named
    'fraction': ([2, 1.7, 0], None, 1), 'infinity': ([2., math.inf, 0.], None, 1), 'lists': ([[2], [0], [1]], None, 0),
    'minus two': ([2, -2, 0], None, 1), '2**31': ([2, 2**31, 0], None, 1), '2**40': ([2, 2**40, 0], None, 1),
    '2**70': ([2, 2**70, 0], None, 1), 'beyond the classes': ([0, 2, 1], YES, 1),
    'beyond the classes, negative': ([0, -2, 1], YES, 1), 'string of no class': (['x', 'X', 'y'], NAMES, 1)}
ARROW_ALONE = {'categories', 'categories of numbers'}
NO_NULL = {'null', 'null alone', 'string or null'}
# What a format cannot say: NumPy has no null; JSON no NaN; a .cls is a whole number, a cell of CSV a word.
LEFT_OUT = {
    'arrays': ARROW_ALONE | NO_NULL | {'2**70'},
    'array_record': ARROW_ALONE | NO_NULL | {'2**70', 'booleans', 'strings'},  # its classes have names in any case
    'parquet': {'2**70'}, 'arrow': {'2**70'}, 'labeled_text': ARROW_ALONE | {'nan', 'infinity', 'null alone'},
    'webdataset': ARROW_ALONE | NO_NULL | {'whole floats', 'nan', 'infinity', 'booleans', 'booleans of classes',
                                           'strings', 'strings of classes', 'string of no class'},
    'table': {*TAKEN, *REFUSED} - {'strings'}}
PLACES = {  # how the row of a wrong label is named
    'arrays': lambda row: rf'train of .*set\.npz: label{f", row {row}: " if row else ": .* the shape "}',
    'array_record': lambda row: rf'train-labels\.npy{f", row {row}: " if row else ": .* the shape "}',
    'parquet': lambda row: rf'train-00000-of-00002\.parquet: label, row {row}: ',
    'arrow': lambda row: rf'data-00000-of-00002\.arrow: label, row {row}: ',
    'webdataset': lambda row: rf'set-.*\.tar: (\.cls, row|class of) {row}: ',
    'labeled_text': lambda row: rf'set\.jsonl: label, line {row + 1}: '}


def of_forms(cases):
  return [(form, case) for form in FORMS for case in cases if case not in LEFT_OUT[form]]


@pytest.mark.parametrize('form, case', of_forms(TAKEN))
def test_labels_are_read_alike_from_every_format(form, case, tmp_path):
  values, names, label, classes = TAKEN[case]
  source = opened(FORMS[form](tmp_path, pictures()[:3], values, names))
  assert source.column('label').tolist() == label and source.column('label').dtype == np.int32
  assert source.classes == tuple(names or ('012' if form == 'array_record' else classes))


@pytest.mark.parametrize('form, case', of_forms(REFUSED))
def test_what_is_no_label_is_refused_by_its_place(form, case, tmp_path):
  values, names, row = REFUSED[case]
  with pytest.raises(ValueError, match=PLACES[form](row)):
    opened(FORMS[form](tmp_path, pictures()[:3], values, names))


def test_a_text_without_any_label_is_of_a_set_without_labels(tmp_path):
  source = opened(labeled_text(tmp_path, pictures()[:3], [None] * 3))
  assert source.labels is None and source.classes is None


def test_a_cell_without_a_label_is_refused(tmp_path):
  with pytest.raises(ValueError, match=r"set\.csv, line 3, column 'kind'"):
    opened(table(tmp_path, pictures()[:3], ['a', '', 'b']))


# --------------------------------------------------------------------------------------------- sets that are not whole

SHARDED = dict(array_record=array_record, parquet=parquet, arrow=arrow, webdataset=webdataset, tfds=tfds)


@pytest.fixture
def in_time():
  """Ends a test that takes more than 5 seconds, such as one that waits for a pipe."""
  before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail('takes more than 5 seconds'))
  signal.alarm(5)
  yield
  signal.alarm(0)
  signal.signal(signal.SIGALRM, before)


def shards(at: Path) -> list[Path]:
  return sorted(path for path in at.rglob('*-of-*') if path.is_file())


@pytest.mark.parametrize('number', range(2))
@pytest.mark.parametrize('form', ['array_record', 'parquet', 'arrow', 'webdataset'])
def test_a_lost_shard_is_told(form, number, tmp_path):
  spec = SHARDED[form](tmp_path, pictures())
  lost = shards(tmp_path)[number]
  lost.unlink()
  with pytest.raises((ValueError, FileNotFoundError), match=f'{lost.name}|shards are missing') as caught:
    opened(spec)
  assert lost.name in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize('form', ['parquet', 'arrow', 'webdataset'])
def test_shards_of_two_sets_are_told(form, tmp_path):
  spec = SHARDED[form](tmp_path, pictures())
  last = shards(tmp_path)[-1]
  shutil.copy(last, last.with_name(last.name.replace('00001-of-00002', '00002-of-00003')))
  with pytest.raises(ValueError, match='2 and of 3: files of two sets|00002.* and .*00003.*of several sets'):
    opened(spec)


@pytest.mark.parametrize('form', ['array_record', 'parquet', 'arrow', 'webdataset'])
@pytest.mark.parametrize('number', range(2))
@pytest.mark.parametrize('kept', [0, 0.3, 0.6, 1])
def test_a_file_that_ends_early_is_told(form, number, kept, tmp_path):
  """Nothing, a part, and all but the last byte that is no zero."""
  spec = SHARDED[form](tmp_path, pictures())
  short = shards(tmp_path)[number]
  content = short.read_bytes().rstrip(b'\0')
  short.write_bytes(content[:int(kept * len(content)) - (kept == 1)])
  with pytest.raises(ValueError, match=re.escape(str(tmp_path if form == 'array_record' else short))):
    opened(spec)


def test_a_tar_file_that_ends_between_two_members_is_told(tmp_path):
  spec = webdataset(tmp_path, pictures())
  with tarfile.open(short := shards(tmp_path)[1]) as file:
    ends = [member.offset for member in file.getmembers()][1:]
  content = short.read_bytes()
  for end in ends:
    short.write_bytes(content[:end])
    with pytest.raises(ValueError, match=rf'{short.name}: .*it ends early'):
      opened(spec)


def test_an_arrow_file_that_ends_between_two_batches_is_told(tmp_path):
  spec = arrow(tmp_path, pictures())
  content = (short := shards(tmp_path)[1]).read_bytes()
  for end in range(0, len(content), 8):  # all parts of the format begin at such places
    short.write_bytes(content[:end])
    with pytest.raises(ValueError, match=rf'{short.name} cannot be read'):
      opened(spec)


def test_a_tar_file_with_a_damaged_header_is_told(tmp_path):
  spec = webdataset(tmp_path, pictures())
  with tarfile.open(damaged := shards(tmp_path)[0]) as file:
    headers = [member.offset for member in file.getmembers()]
  content = damaged.read_bytes()
  for header in headers:
    damaged.write_bytes(content[:header + 100] + b'x' + content[header + 101:])
    with pytest.raises(ValueError, match=re.escape(str(damaged))):
      opened(spec)


@pytest.mark.parametrize('kept', [0, 0.5, 0.95])
def test_an_archive_of_arrays_that_ends_early_is_told(kept, tmp_path):
  spec = arrays(tmp_path, pictures())
  content = (tmp_path / 'set.npz').read_bytes()
  (tmp_path / 'set.npz').write_bytes(content[:int(kept * len(content))])
  with pytest.raises(ValueError, match=r'set\.npz'):
    opened(spec)


def test_an_array_that_is_damaged_is_told(tmp_path):
  spec = arrays(tmp_path, pictures())
  content = bytearray((tmp_path / 'set.npz').read_bytes())
  content[len(content) // 2] ^= 1
  (tmp_path / 'set.npz').write_bytes(content)
  with pytest.raises(ValueError, match=r"set\.npz: the array 'train_image' cannot be read"):
    opened(spec)


@pytest.mark.parametrize('kept', [None, 0, 0.5, 0.9])
def test_a_tfds_set_that_is_not_whole_is_told(kept, tmp_path):
  spec = tfds(tmp_path, pictures())
  [shard] = [path for path in shards(tmp_path) if 'train' in path.name]
  content = shard.read_bytes()
  shard.unlink()
  if kept is not None:
    shard.write_bytes(content[:int(kept * len(content))])
  with pytest.raises(ValueError, match=r'train\.array_record-00000-of-00001: dataset_info'):
    opened(spec)


def test_fewer_labels_than_records_are_told(tmp_path):
  spec = array_record(tmp_path, pictures())
  np.save(tmp_path / 'train-labels.npy', LABEL[:-1])
  with pytest.raises(ValueError, match=f'wanted a label of each of the {N} examples, got {N - 1}'):
    opened(spec)


def copy_of_a_shard(at):
  spec = webdataset(at, pictures())
  for path in shards(at):
    path.rename(at / path.name.replace('-of-00002', ''))
  shutil.copy(at / 'set-00000.tar', at / 'set-00002.tar')
  return spec


def link_to_a_shard(at):
  spec = copy_of_a_shard(at)
  (at / 'set-00002.tar').unlink()
  (at / 'set-00002.tar').symlink_to(at / 'set-00001.tar')
  return spec


def key_twice(at):
  spec, image = webdataset(at, pictures()), pictures()[0]
  tar(shards(at)[0], {'0.png': image, '0.cls': '1', '1.png': image, '1.cls': '1'})
  with tarfile.open(shards(at)[0], 'a') as file:
    file.addfile(file.getmember('0.png'), io.BytesIO(image))
    file.addfile(file.getmember('0.cls'), io.BytesIO(b'1'))
  return spec


def member_twice(at):
  spec, image = webdataset(at, pictures()), pictures()[0]
  tar(shards(at)[0], {'0.png': image, '0.PNG': image, '0.cls': '1'})
  return spec


def two_layouts(at):
  spec = parquet(at, pictures())
  (at / 'data').mkdir()
  pq.write_table(rows_of(pictures(), LABEL), at / 'data/train-00000-of-00001.parquet')
  return spec


def two_names(at):
  spec = parquet(at, pictures())
  pq.write_table(rows_of(pictures(), LABEL), at / 'train.parquet')
  return spec


def parquet_and_arrow(at):
  arrow(at, pictures())
  return parquet(at, pictures())


@pytest.mark.parametrize('make, words', [
    (copy_of_a_shard, r'0 in .*set-00002\.tar is also in .*set-00000\.tar'),
    (link_to_a_shard, r'4 in .*set-00002\.tar is also in .*set-00001\.tar'),
    (key_twice, r'00000-of-00002\.tar: examples come twice, such as number 1, 0 and number 3, 0'),
    (member_twice, r'00000-of-00002\.tar: examples come twice: 0\.PNG'),
    (two_layouts, 'there 2 times, as .* and data/'), (two_names, 'there 2 times'),
    (parquet_and_arrow, 'there 2 times')], ids=lambda value: getattr(value, '__name__', ''))
def test_examples_that_would_come_twice_are_told(make, words, tmp_path):
  with pytest.raises(ValueError, match=words):
    opened(make(tmp_path))


def test_keys_may_begin_anew_in_every_tar_file(tmp_path):
  for k in range(2):
    tar(tmp_path / f'{k}.tar', {'0.png': pictures()[k], '1.png': pictures()[k + 2]})
  assert len(opened(dict(name='webdataset', path=str(tmp_path / '*.tar'), size=SIZE))) == 4


# -------------------------------------------------------------------------------------- folders as people have them


@pytest.mark.usefixtures('in_time')
def test_links_to_what_is_in_the_set_are_passed_over(tmp_path):
  spec = folder(tmp_path, pictures())
  whole, root = opened(spec), tmp_path / 'photos'
  (root / 'a/loop').symlink_to(root)  # one loop
  (root / 'b/to_c').symlink_to(root / 'c')  # two folders that lead to each other
  (root / 'c/to_b').symlink_to(root / 'b')
  source = opened(spec)
  assert source.examples.names() == whole.examples.names()
  assert source.notes == (f'3 files ignored in {root}, links to folders that are in the set already: a/loop, b/to_c, '
                          'c/to_b',)
  assert opened(dict(name='clips', path=str(root), size=SIZE, frames=1, every=1)).notes == source.notes


@pytest.mark.usefixtures('in_time')
@pytest.mark.parametrize('again', ['elsewhere/deep', 'elsewhere'])
def test_what_links_lead_to_elsewhere_comes_once_and_whole(again, tmp_path):
  spec = folder(tmp_path, pictures())
  write(tmp_path / 'elsewhere/deep/x.png', pictures()[0])
  write(tmp_path / 'elsewhere/y.png', pictures()[1])
  (tmp_path / 'elsewhere/deep/back').symlink_to(tmp_path / 'photos')
  (tmp_path / 'photos/a/first').symlink_to(tmp_path / 'elsewhere/deep')
  (tmp_path / 'photos/b/second').symlink_to(tmp_path / again)
  names = (opened(spec).examples.names() or b'').decode().split('\0')
  linked = sorted(Path(name).name for name in names if 'first' in name or 'second' in name)
  assert len(names) == N + len(linked) and linked == (['x.png', 'y.png'] if again == 'elsewhere' else ['x.png'])


@pytest.mark.usefixtures('in_time')
@pytest.mark.parametrize('folders', [3, 12])
def test_many_folders_that_lead_to_each_other_end(folders, tmp_path):
  for k in range(folders):
    write(tmp_path / f'photos/{k}/{k}.png', pictures()[0])
  for k in range(folders):
    for other in range(folders):
      (tmp_path / f'photos/{k}/to_{other}').symlink_to(tmp_path / f'photos/{other}')
  assert len(opened(dict(name='folder', path=str(tmp_path / 'photos'), size=SIZE))) == folders


@pytest.mark.usefixtures('in_time')
def test_pipes_among_images_are_passed_over(tmp_path):
  spec = folder(tmp_path, pictures())
  os.mkfifo(tmp_path / 'photos/a/pipe.png')
  (tmp_path / 'photos/b/nothing.jpg').symlink_to(tmp_path / 'nothing')
  source = opened(spec)
  [note] = source.notes
  assert len(source) == N and note.startswith('2 files ignored') and 'a/pipe.png, b/nothing.jpg' in note
  assert source.read(np.arange(N))[1].all() and identity.look(source).identity.examples == N


def pairs_with_a_pipe(at: Path) -> Source:
  spec = pairs_of_lines(at, pictures())
  (at / 'photos/1.png').unlink()
  os.mkfifo(at / 'photos/1.png')
  return opened(spec)


@pytest.mark.usefixtures('in_time')
def test_a_pipe_that_is_named_as_an_image_is_broken(tmp_path):
  source = pairs_with_a_pipe(tmp_path)
  assert source.read(np.arange(3))[1].tolist() == [True, False, True]
  assert source.batch(np.arange(3))['index'].tolist() == [0, 2, 2]


@pytest.mark.usefixtures('in_time')
def test_a_pipe_that_is_named_as_an_image_has_an_identity(tmp_path):
  assert identity.look(pairs_with_a_pipe(tmp_path)).identity.examples == N


@pytest.mark.usefixtures('in_time')
@pytest.mark.parametrize('spec', [
    dict(name='arrays', path='pipe', split='train'), dict(name='table', path='pipe', split='train'),
    dict(name='webdataset', path='pipe', size=SIZE), dict(name='text', path='pipe', **TEXT),
    dict(name='labeled_text', path='pipe', **TEXT), dict(name='pairs', path='pipe', size=SIZE, **TEXT)],
    ids=lambda spec: spec['name'])
def test_a_pipe_is_no_set(spec, tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  with pytest.raises((ValueError, FileNotFoundError), match='pipe'):
    opened(spec | dict(path=str(tmp_path / 'pipe')))


@pytest.mark.usefixtures('in_time')
def test_pipes_beside_parquet_are_passed_over(tmp_path):
  spec = parquet(tmp_path, pictures())
  os.mkfifo(tmp_path / 'train.parquet')
  assert len(opened(spec)) == N


@pytest.mark.parametrize('kind', [
    'folder', 'clips', 'captions', 'mixed', 'noisy_labels', 'of_classes', 'long_tailed', 'text'])
def test_ignored_files_are_noted_once(kind, tmp_path):
  spec = KINDS[kind](tmp_path, pictures())
  root = next(path for path in tmp_path.iterdir() if path.is_dir())
  for name in ('a/x.tif', 'a/y.TIF', 'z', '.hidden', '.folder/x.tif'):
    write(root / name, 'no picture')
  source = opened(spec)
  assert source.notes == (f'3 files ignored in {root}: .tif 2, no suffix 1',)
  assert source.take([0]).unlabeled().notes == source.notes


@pytest.mark.parametrize('path', ['../secret.png', '/secret.png', 'a/../../secret.png', 'a/../b/0.png', '', None])
def test_a_path_in_parquet_does_not_lead_out_of_the_folder(path, tmp_path):
  root = tmp_path / 'set'
  write(tmp_path / 'secret.png', pictures()[0])
  write(root / 'b/0.png', pictures()[0])
  path = str(tmp_path / 'secret.png') if path == '/secret.png' else path
  cells = [dict(bytes=None, path='b/0.png'), dict(bytes=None, path=path), dict(bytes=pictures()[1], path=path), None]
  image = pa.array(cells, parquet_table([]).schema.field('image').type)
  pq.write_table(pa.table(dict(image=image)), root / 'train.parquet')
  source = opened(dict(name='huggingface', path=str(root), split='train', size=SIZE))
  batch, good = source.read(np.arange(4))
  assert good.tolist() == [True, False, True, False] and not batch['image'][[1, 3]].any()
  assert identity.look(source).identity.examples == 4


@pytest.mark.parametrize('name', ['../secret.png', '/secret.png', 'a/../../secret.png'])
def test_a_path_in_lines_does_not_lead_out_of_the_folder(name, tmp_path):
  spec = pairs_of_lines(tmp_path, pictures())
  with open(tmp_path / 'set.jsonl', 'a') as file:
    file.write('\n' + json.dumps(dict(image=name, text='x')))
  with pytest.raises(ValueError, match=rf'set\.jsonl, line {N + 1}: .*leads out'):
    opened(spec)


def test_splits_are_known_by_their_usual_names(tmp_path):
  root, splits = tmp_path / 'photos', ['Train', 'test', 'training_set', 'val2017']
  for k, split in enumerate(splits):
    write(root / split / 'abcd'[k] / 'x.png', pictures()[k])
  with pytest.raises(ValueError, match=f'holds the splits {", ".join(splits)}: give split='):
    opened(dict(name='folder', path=str(root), size=SIZE))
  for k, split in enumerate(splits):
    source = opened(dict(name='folder', path=str(root), size=SIZE, split=split))
    assert source.classes == ('a', 'b', 'c', 'd') and source.labels.tolist() == [k]


def test_a_folder_named_train_beside_others_is_a_class_if_images_lie_in_it(tmp_path):
  for name in ('bus', 'car', 'train'):
    write(tmp_path / f'photos/{name}/x.png', pictures()[0])
  source = opened(dict(name='folder', path=str(tmp_path / 'photos'), size=SIZE))
  assert source.classes == ('bus', 'car', 'train') and source.labels.tolist() == [0, 1, 2]
  write(tmp_path / 'other/train/cat/x.png', pictures()[0])
  (tmp_path / 'other/annotations').mkdir()
  with pytest.raises(ValueError, match='holds the splits train: give split='):
    opened(dict(name='folder', path=str(tmp_path / 'other'), size=SIZE))
  assert opened(dict(name='folder', path=str(tmp_path / 'other'), size=SIZE, split='train')).classes == ('cat',)
