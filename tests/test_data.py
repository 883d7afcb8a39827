"""Sources, order, position and broken images of the input side, on real files of every format."""
import dataclasses
import hashlib
import io
import itertools
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from data import splits
from data.__main__ import main
from data.bad import BadRecords, BadRecordsError
from data.decode import decode
from data.loader import in_order, loader, two_streams
from data.source import Source, images
from data.sources.array_record import array_record
from data.sources.arrays import arrays
from data.sources.digits import digits
from data.sources.fashion_mnist import CLASSES, fashion_mnist
from data.sources.folder import folder
from data.sources.huggingface import huggingface
from data.sources.tfds import tfds
from data.sources.webdataset import webdataset
from data.wrap import few_labels, subset
from tests.tiny import pixels

ROOT = Path(__file__).parents[1]


def encoded(image: Image.Image, form: str, **options) -> bytes:
  out = io.BytesIO()
  image.save(out, form, **options)
  return out.getvalue()


def photo(k: int, size=(64, 48)) -> Image.Image:
  """A crop of a real photograph, different for every k."""
  return Image.fromarray(load_sample_images().images[k % 2]).crop((5 * k, 3 * k, 5 * k + 300, 3 * k + 225)).resize(size)


def quadrants(w: int = 40, h: int = 40) -> Image.Image:
  """Red top left, green top right, blue bottom left, white bottom right."""
  pixels = np.full((h, w, 3), 255, np.uint8)
  pixels[:h // 2, :w // 2], pixels[:h // 2, w // 2:], pixels[h // 2:, :w // 2] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
  return Image.fromarray(pixels)


@pytest.fixture
def photos(tmp_path) -> Path:
  """Twelve good photographs of 3 classes, as JPEG, PNG and WebP."""
  for k in range(12):
    name, form = (('a', 'JPEG'), ('b', 'PNG'), ('c', 'WEBP'))[k % 3]
    at = tmp_path / 'photos' / name
    at.mkdir(parents=True, exist_ok=True)
    (at / f'{k:02d}.{"JPEG" if form == "JPEG" else form.lower()}').write_bytes(encoded(photo(k), form))
  return tmp_path / 'photos'


def counted(n: int) -> Source:
  """A source whose only pixel is the example's number."""
  return images(np.arange(n, dtype=np.uint8).reshape(n, 1, 1), np.arange(n) % 3)


def take(batches, count: int) -> list[dict]:
  with batches:
    return list(itertools.islice(batches, count))


def same(a, b) -> bool:
  return len(a) == len(b) and all(x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)
                                  for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------------------------------------------------- sources


def test_embedded_fashion_mnist_is_the_selection_of_the_readme():
  readme = (ROOT / 'data/fashion_mnist/README.md').read_text()
  for split, n in (('train', 10_000), ('test', 2_000)):
    source = fashion_mnist(split=split)
    assert (len(source), source.shape, source.classes) == (n, (28, 28, 1), CLASSES)
    assert (np.bincount(source.labels) == n // 10).all()
    assert hashlib.sha256(pixels(source).tobytes()).hexdigest() in readme
    assert hashlib.sha256(source.labels.astype(np.uint8).tobytes()).hexdigest() in readme


@pytest.mark.skipif(not os.path.isdir('/usr/share/datasets/fashion-mnist'), reason='needs Debian dataset-fashion-mnist')
def test_embed_script_reproduces_the_arrays(tmp_path):
  subprocess.run([sys.executable, '-m', 'data.embed_fashion_mnist', '/usr/share/datasets/fashion-mnist', str(tmp_path)],
                 cwd=ROOT, check=True, capture_output=True)
  made = arrays(path=str(tmp_path), split='test')
  assert np.array_equal(pixels(made), pixels(fashion_mnist(split='test')))


def test_digits_are_scaled_and_split_once():
  train, test = digits(split='train'), digits(split='test')
  assert (len(train), len(test), train.shape) == (1437, 360, (8, 8, 1))
  assert (pixels(train).max(), pixels(train).min()) == (255, 0)
  assert np.bincount(test.labels, minlength=10).min() >= 30


def test_item_and_batch_agree_and_have_the_types_of_the_interface(photos):
  for source in (fashion_mnist(split='test'), folder(path=str(photos), split=None, size=16)):
    batch = source.batch(np.array([3, 0, 3]))
    assert {k: (v.dtype, v.shape) for k, v in batch.items()} == {
        'image': (np.uint8, (3, *source.shape)), 'label': (np.int32, (3,)), 'index': (np.int32, (3,))}
    item = source[3]
    assert isinstance(item['index'], int) and item['index'] == 3 and item['label'].dtype == np.int32
    assert np.array_equal(item['image'], batch['image'][0]) and item['label'] == batch['label'][2]
    assert np.array_equal(source[len(source) - 1]['image'], source[-1]['image'])
    with pytest.raises(IndexError, match=f'{len(source)} examples'):
      source[len(source)]


def test_arrays_from_one_archive_and_from_a_folder(tmp_path):
  image, label = np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.array([0, 1, 2, 0, 1, 2])
  np.savez(tmp_path / 'one.npz', train_image=image, train_label=label, val_image=image[:2], classes=['x', 'y', 'z'])
  source = arrays(path=str(tmp_path / 'one.npz'), split='train')
  assert source.shape == (2, 2, 1) and source.classes == ('x', 'y', 'z') and source[4]['label'] == 1
  assert arrays(path=str(tmp_path / 'one.npz'), split='val').labels is None
  with pytest.raises(ValueError, match="unknown split .*'trian'; nearest: 'train'; all: train, val"):
    arrays(path=str(tmp_path / 'one.npz'), split='trian')
  with pytest.raises(FileNotFoundError, match='no file or folder'):
    arrays(path=str(tmp_path / 'none.npz'), split='train')
  (tmp_path / 'text.npz').write_text('hello')
  with pytest.raises(ValueError, match='not an .npz archive'):
    arrays(path=str(tmp_path / 'text.npz'), split='train')
  with pytest.raises(ValueError, match='wanted images u8.*got float64'):
    images(image / 255)
  with pytest.raises(ValueError, match=r'row 2: 2 is no label, and 1 more are .* one of the 2 classes \[x, y\]'):
    images(image, label, ('x', 'y'))


def test_folder_has_sorted_classes_and_files(photos):
  source = folder(path=str(photos), split=None, size=16)
  assert source.classes == ('a', 'b', 'c') and source.shape == (16, 16, 3)
  assert source.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
  assert [Path(source.examples.reader.file(i)).stem for i in range(4)] == ['00', '03', '06', '09']
  wanted = np.asarray(photo(4, (64, 48)).crop((8, 0, 56, 48)).resize((16, 16), Image.Resampling.BICUBIC))
  image = source[5]['image']  # a PNG is lossless; at the cut the filter sees beyond it, in the middle all is equal
  assert np.array_equal(image[:, 2:-2], wanted[:, 2:-2]) and np.abs(image.astype(int) - wanted).max() < 16
  assert folder(path=str(photos), split=None, size=16, channels=1).batch(np.arange(12))['image'].shape[-1] == 1


def test_folder_splits_share_their_classes(photos):
  (photos.parent / 'set/val/c').mkdir(parents=True)
  (photos.parent / 'set/val/a').mkdir()
  photos.rename(photos.parent / 'set/train')
  root = photos.parent / 'set'
  (root / 'val/c/x.png').write_bytes(encoded(photo(1), 'PNG'))
  val = folder(path=str(root), split='val', size=8)
  assert val.classes == ('a', 'b', 'c') and val.labels.tolist() == [2]
  with pytest.raises(ValueError, match='holds the splits train, val: give split='):
    folder(path=str(root), split=None, size=8)
  with pytest.raises(ValueError, match="'tran'; nearest: 'train'"):
    folder(path=str(root), split='tran', size=8)


def test_folder_messages(tmp_path):
  with pytest.raises(FileNotFoundError, match='no folder'):
    folder(path=str(tmp_path / 'none'), split=None, size=8)
  with pytest.raises(ValueError, match=r'no image in .*\.jpg'):
    folder(path=str(tmp_path), split=None, size=8)
  (tmp_path / 'x.png').write_bytes(encoded(photo(1), 'PNG'))
  flat = folder(path=str(tmp_path), split=None, size=8)
  assert flat.classes is None and flat.labels is None and 'label' not in flat[0] and 'label' not in flat.batch([0])
  for needs in (Source.truth, lambda s: few_labels(s, per_class=1, seed=0),
                lambda s: two_streams(s, s, labeled_batch=1, unlabeled_batch=1, seed=0)):
    with pytest.raises(ValueError, match='folder .* has no labels.*one folder per class'):
      needs(flat)


# --------------------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize('orientation, upright', [
    (3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)])
def test_exif_orientation_is_applied(orientation, upright):
  exif = Image.Exif()
  exif[0x0112] = orientation
  data = encoded(quadrants(160, 120), 'JPEG', quality=95, exif=exif)
  stored = decode(encoded(quadrants(160, 120), 'JPEG', quality=95), size=20, channels=3)
  wanted = np.asarray(Image.fromarray(stored).transpose(upright))
  assert np.abs(decode(data, size=20, channels=3).astype(int) - wanted).max() < 8
  assert np.abs(stored.astype(int) - wanted).max() > 200


def test_large_jpeg_is_decoded_scaled_and_looks_the_same():
  data = encoded(photo(0, (1200, 900)), 'JPEG', quality=95)
  whole = Image.open(io.BytesIO(data)).crop((150, 0, 1050, 900)).resize((32, 32), Image.Resampling.BICUBIC)
  scaled = decode(data, size=32, channels=3).astype(int)
  assert 0 < np.abs(scaled - np.asarray(whole)).mean() < 3


def test_alpha_grey_palette_and_16_bit():
  clear = Image.new('RGBA', (8, 8), (255, 0, 0, 0))
  assert (decode(encoded(clear, 'PNG'), size=8, channels=3) == 255).all()
  half = decode(encoded(Image.new('RGBA', (8, 8), (255, 0, 0, 128)), 'PNG'), size=8, channels=3)
  assert np.abs(half[0, 0].astype(int) - [255, 127, 127]).max() <= 1
  grey = decode(encoded(Image.new('L', (8, 8), 77), 'PNG'), size=4, channels=3)
  assert grey.shape == (4, 4, 3) and (grey == 77).all()
  assert (decode(encoded(Image.new('RGB', (8, 8), (77, 77, 77)), 'JPEG'), size=4, channels=1) == 77).all()
  deep = Image.fromarray(np.full((8, 8), 200 * 256 + 5, np.uint16))
  assert (decode(encoded(deep, 'PNG'), size=8, channels=1) == 200).all()
  palette = quadrants(8, 8).convert('P', palette=Image.Palette.ADAPTIVE)
  assert decode(encoded(palette, 'PNG'), size=8, channels=3)[0, 0].tolist() == [255, 0, 0]
  cmyk = decode(encoded(quadrants(16, 16).convert('CMYK'), 'JPEG', quality=95), size=16, channels=3)
  assert cmyk[3, 3, 0] > 200 and cmyk[3, 3, 2] < 60


# ---------------------------------------------------------------------------------------------------- broken images


def broken_set(root: Path, good: int, bad: int) -> Path:
  """Class folders with, first in order, `bad` broken files of three kinds."""
  at = root / 'broken' / 'a'
  at.mkdir(parents=True)
  for k in range(bad):
    data = encoded(photo(k), 'JPEG')
    (at / f'0{k:03d}.jpg').write_bytes((b'just some text', data[:len(data) // 2], b'')[k % 3])
  for k in range(good):
    (at / f'1{k:03d}.jpg').write_bytes(encoded(photo(k), 'JPEG'))
  return root / 'broken'


def test_broken_images_are_replaced_by_the_next_and_listed_once(tmp_path):
  source = folder(path=str(broken_set(tmp_path, 5, 3)), split=None, size=8)
  batch = source.batch(np.array([0, 7, 2, 4]))
  assert batch['index'].tolist() == [3, 7, 3, 4] and (source.bad.bad, source.bad.drawn) == (2, 4)
  assert np.array_equal(batch['image'][0], source[3]['image'])
  listed = tmp_path / 'bad_records.jsonl'
  options = dict(batch=4, seed=0, bad_records=str(listed), max_bad_share=0.9)
  plain = take(loader(source, threads=0, **options), 6)
  assert same(plain, take(loader(source, threads=3, **options), 6))  # twice: a restart lists nothing anew
  assert not any(np.isin(b['index'], [0, 1, 2]).any() for b in plain)
  rows = [json.loads(line) for line in listed.read_text().splitlines()]
  assert [r['index'] for r in sorted(rows, key=lambda r: r['index'])] == [0, 1, 2]
  assert all(r['file'].endswith(f'a/000{r["index"]}.jpg') and r['reason'] for r in rows)


def test_replacement_stays_inside_a_subset(tmp_path):
  source = folder(path=str(broken_set(tmp_path, 5, 3)), split=None, size=8)
  assert subset(source, [1, 5, 6]).batch(np.array([0, 1, 2]))['index'].tolist() == [5, 5, 6]
  assert subset(source, [5, 6, 2]).batch(np.array([2]))['index'].tolist() == [5]
  with pytest.raises(BadRecordsError, match='all 2 examples .* are broken'):
    subset(source, [0, 1]).batch(np.array([0]))


def test_evaluation_leaves_broken_images_out(tmp_path):
  source = folder(path=str(broken_set(tmp_path, 5, 3)), split=None, size=8)
  listed = dataclasses.replace(source, bad=BadRecords(str(tmp_path / 'bad.jsonl')))
  batches = list(in_order(listed, batch=3))
  assert [b['index'][good].tolist() for b, good in batches] == [[], [3, 4, 5], [6, 7, 7]]
  assert all((b['image'][~good] == 0).all() for b, good in batches)
  assert len((tmp_path / 'bad.jsonl').read_text().splitlines()) == 3


def test_too_many_broken_images_stop_the_run(tmp_path):
  source = folder(path=str(broken_set(tmp_path, 16, 4)), split=None, size=8)
  listed = tmp_path / 'bad.jsonl'
  message = rf'\d of the \d+ examples drawn are broken \(\d\d\.\d%, the limit is 10\.0%\); listed in {listed}; '
  for threads in (0, 2):
    with pytest.raises(BadRecordsError, match=message):
      take(loader(source, batch=4, seed=0, threads=threads, bad_records=str(listed), max_bad_share=0.1), 100)
  take(loader(source, batch=4, seed=0, max_bad_share=0.4), 30)
  account = BadRecords(max_share=0.5, after=10)
  for k in range(9):
    account.count([(k, 'f', 'r')], 1)  # below the minimum count, nothing is judged
  with pytest.raises(BadRecordsError, match='give bad_records='):
    account.count([(9, 'f', 'r')], 1)


def test_list_of_broken_records_survives_a_kill_and_other_writers(tmp_path):
  path = tmp_path / 'bad.jsonl'
  path.write_text('{"index": 1, "file": "file 1", "reason": "r"}\n{"index": 2, "fi')
  accounts = [pickle.loads(pickle.dumps(BadRecords(str(path)))) for _ in range(2)]

  def write(account):
    for k in range(50):
      account.count([(k, f'file {k}', 'reason')], 1)
  threads = [threading.Thread(target=write, args=(a,)) for a in accounts * 2]
  [t.start() for t in threads]
  [t.join() for t in threads]
  assert accounts[0].bad == 100
  lines = path.read_text().splitlines()
  assert lines.pop(1) == '{"index": 2, "fi'
  assert sorted(json.loads(line)['index'] for line in lines) == list(range(50))


# ------------------------------------------------------------------------------------------------- order and position


@pytest.mark.parametrize('batch', [4, 7, 25])
def test_every_epoch_covers_every_index_once(batch):
  n, epochs = 10, 5
  batches = take(loader(counted(n), batch=batch, seed=3), -(-n * epochs // batch))
  stream = {k: np.concatenate([b[k] for b in batches])[:n * epochs] for k in ('index', 'epoch', 'image', 'label')}
  assert stream['epoch'].tolist() == sorted(list(range(epochs)) * n) and stream['epoch'].dtype == np.int32
  orders = stream['index'].reshape(epochs, n)
  assert (np.sort(orders) == np.arange(n)).all() and len({tuple(o) for o in orders}) == epochs
  assert np.array_equal(stream['image'].ravel(), stream['index'])
  assert np.array_equal(stream['label'], stream['index'] % 3)


def test_order_is_fixed_for_ever():
  order = np.concatenate([b['index'] for b in take(loader(counted(8), batch=8, seed=0), 2)])
  assert order.tolist() == ORDER
  assert order.tolist() != np.concatenate([b['index'] for b in take(loader(counted(8), batch=8, seed=1), 2)]).tolist()


def test_processes_see_the_rows_of_the_same_global_batches():
  whole = take(loader(counted(50), batch=16, seed=5), 7)
  for shares in ([[*range(8)], [*range(8, 16)]], [[0, 1, 8, 9], [2, 3, 10, 11], [12, 4, 13, 5], [6, 7, 14, 15]]):
    parts = [take(loader(counted(50), batch=16, seed=5, rows=np.array(rows)), 7) for rows in shares]
    for rows, part in zip(shares, parts, strict=True):
      assert same([{k: x[rows] for k, x in batch.items()} for batch in whole], part)


@pytest.mark.parametrize('threads', [0, 4])
def test_restart_at_any_batch_goes_on_alike(threads):
  source = counted(20)
  whole = take(loader(source, batch=6, seed=1, threads=0), 12)
  for start in range(0, 12, 3):
    assert same(whole[start:], take(loader(source, batch=6, seed=1, start=start, threads=threads), 12 - start))
  with loader(source, batch=6, seed=1, threads=threads) as batches:
    for _ in range(5):
      next(batches)
    state = json.loads(json.dumps(batches.get_state()))
    assert state == {'next_index': 5} and same(whole[5:8], [next(batches) for _ in range(3)])
    batches.set_state(state)  # back, though later batches were read ahead
    assert same(whole[5:9], [next(batches) for _ in range(4)])
  with loader(source, batch=6, seed=1, threads=threads) as fresh:
    fresh.set_state(state)
    assert same(whole[5:7], [next(fresh), next(fresh)]) and fresh.get_state() == {'next_index': 7}


def test_threads_and_worker_processes_do_not_matter(photos):
  source = folder(path=str(photos), split=None, size=16)
  plain = take(loader(source, batch=5, seed=2, threads=0), 8)
  assert same(plain, take(loader(source, batch=5, seed=2, threads=4), 8))
  with loader(source, batch=5, seed=2, start=3, workers=2) as batches:
    assert same(plain[3:6], [next(batches) for _ in range(3)])
    state = batches.get_state()
  assert state == {'next_index': 6}  # restored with another number of workers
  assert same(plain[6:], take(loader(source, batch=5, seed=2, start=state['next_index'], threads=1), 2))


class Stuck:
  """Examples that are read only when let go; counts the batches begun."""
  shape, decodes = (1, 1, 1), True

  def __init__(self):
    self.begun, self.go = threading.Semaphore(0), threading.Event()

  def __len__(self):
    return 4

  def read(self, index):
    self.begun.release()
    assert self.go.wait(60)
    return {'image': np.zeros((len(index), 1, 1, 1), np.uint8)}, {}


def test_reading_starts_at_once_and_close_does_not_wait():
  source = Stuck()
  batches = loader(Source(source, 'stuck'), batch=2, seed=0, threads=3)
  assert all(source.begun.acquire(timeout=30) for _ in range(3))  # nobody asked for a batch yet
  start = time.perf_counter()
  batches.close()
  batches.close()
  assert time.perf_counter() - start < 30
  source.go.set()
  with pytest.raises(ValueError, match='closed'):
    next(batches)


def test_two_streams_have_orders_of_their_own_and_no_labels_in_one():
  source = counted(30)
  few = few_labels(source, per_class=2, seed=0)
  options = dict(labeled_batch=4, unlabeled_batch=12, seed=9)
  whole = take(two_streams(few, source, **options), 10)
  assert whole[0].keys() == {'labeled', 'unlabeled'}
  assert whole[0]['labeled'].keys() == {'image', 'label', 'index', 'epoch'}
  assert all('label' not in b['unlabeled'] for b in whole)
  assert {i for b in whole for i in b['labeled']['index'].tolist()} == set(few.rows.tolist())
  same_size = take(two_streams(source, source, labeled_batch=8, unlabeled_batch=8, seed=9), 2)
  assert not np.array_equal(same_size[0]['labeled']['index'], same_size[0]['unlabeled']['index'])
  resumed = take(two_streams(few, source, start=6, threads=0, **options), 4)
  assert all(same([a[k]], [b[k]]) for a, b in zip(whole[6:], resumed, strict=True) for k in a)
  rows = {'labeled': np.array([3, 0]), 'unlabeled': np.arange(1, 12, 2)}
  some, = take(two_streams(few, source, labeled_rows=rows['labeled'], unlabeled_rows=rows['unlabeled'], **options), 1)
  assert all(np.array_equal(whole[0][k]['index'][rows[k]], some[k]['index']) for k in rows)


def test_evaluation_is_in_order_and_its_last_batch_is_filled_up():
  batches = [batch for batch, good in in_order(counted(10), batch=4) if good.all()]
  assert [b['index'].tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 9, 9]]
  assert batches[2].keys() == {'image', 'label', 'index'} and batches[2]['image'].shape == (4, 1, 1, 1)
  rows = np.concatenate([b['index'] for b, _ in in_order(subset(counted(10), [7, 2, 5]), batch=2)])
  assert rows.tolist() == [7, 2, 5, 5]
  some = list(in_order(counted(100), batch=80, rows=np.array([1, 70])))
  assert [b['index'].tolist() for b, _ in some] == [[1, 70], [81, 99]]


def test_loader_messages():
  for arguments, message in (
      (dict(batch=0), 'batch of at least 1, got 0'),
      (dict(batch=4, rows=np.array([2, 4])), r'rows of a batch in \[0, 4\), got \[2 4\]'),
      (dict(batch=4, rows=np.array([], int)), r'rows of a batch in \[0, 4\)'),
      (dict(batch=4, start=-1), 'must not be negative, got -1')):
    with pytest.raises(ValueError, match=message):
      loader(counted(8), seed=0, **arguments)
  for make, words in ((lambda s: loader(s, batch=1, seed=0), 'arrays is empty'),
                      (lambda s: next(in_order(s, batch=1)), '0 examples of arrays')):
    with pytest.raises(ValueError, match=words):
      make(images(np.zeros((0, 2, 2), np.uint8)))


# --------------------------------------------------------------------------------------------------------- wrappers


def test_unlabeled_has_no_label_anywhere(photos):
  for source in (fashion_mnist(split='test'), folder(path=str(photos), split=None, size=8)):
    for bare in (source.unlabeled(), subset(source, [1, 2]).unlabeled(), subset(source.unlabeled(), [1, 2])):
      assert bare.labels is None and bare.classes is None
      assert bare[1].keys() == {'image', 'index'} and bare.batch(np.array([0, 1])).keys() == {'image', 'index'}
      assert take(loader(bare, batch=2, seed=0), 1)[0].keys() == {'image', 'index', 'epoch'}
    assert 'label' in source[0]


def test_subsets_keep_the_global_index():
  source = subset(counted(20), [3, 5, 9, 19])
  inner = subset(source, [3, 1])
  assert len(inner) == 2 and inner[0]['index'] == 19 and inner.batch(np.array([1, 0]))['index'].tolist() == [5, 19]
  assert inner.labels.tolist() == [19 % 3, 5 % 3] and inner[0]['image'].item() == 19
  for indices, message in (([], 'at least one'), ([20], r'wanted indices in \[0, 20\), got 20\.\.20')):
    with pytest.raises(ValueError, match=message):
      subset(counted(20), indices)


def test_few_labels_are_balanced_seeded_and_nested():
  source = fashion_mnist(split='train')
  few = few_labels(source, per_class=4, seed=0)
  assert np.bincount(few.labels).tolist() == [4] * 10 and few[7]['label'] == source[few[7]['index']]['label']
  assert np.array_equal(few.rows, few_labels(source, per_class=4, seed=0).rows)
  assert not np.array_equal(few.rows, few_labels(source, per_class=4, seed=1).rows)
  assert set(few.rows) < set(few_labels(source, per_class=25, seed=0).rows)
  with pytest.raises(ValueError, match="class 'T-shirt/top' has 1000 examples, wanted per_class=1001"):
    few_labels(source, per_class=1001, seed=0)


def test_few_labels_as_frequent_as_they_come_or_balanced():
  label = np.repeat([0, 1, 2, -1], [600, 300, 60, 40])
  source = images(np.zeros((1000, 1, 1), np.uint8), label)
  some, more = (few_labels(source, count=count, seed=3) for count in (96, 480))
  assert len(some) == 96 and set(some.rows) < set(more.rows) and np.all(np.diff(more.rows) > 0)
  assert np.all(abs(np.bincount(more.labels) - [300, 150, 30]) < [40, 40, 15])
  largest = np.bincount(more.labels).max()
  for options, size in [({}, 600), (dict(count=480, seed=3), largest), (dict(per_class=9, seed=0), 9)]:
    even = few_labels(source, balanced=True, **options)
    assert np.bincount(even.labels).tolist() == [size] * 3
    assert set(even.rows) == set((few_labels(source, **options) if options else source.take(np.arange(960))).rows)
  for options, words in [
      ({}, 'one of per_class or count'), (dict(per_class=1), 'with a seed'), (dict(split='x', seed=0), 'one of'),
      (dict(per_class=1, count=3, seed=0), 'one of'), (dict(per_class=0, seed=0), 'per_class=0'),
      (dict(count=961, seed=0), '960 examples with labels, wanted count=961'), (dict(count=0, seed=0), 'count=0'),
      (dict(count=2, seed=0), r"of the classes \[.*'2'\] no example is among the 2")]:
    with pytest.raises(ValueError, match=words):
      few_labels(source, **options)


def test_a_split_is_a_file_that_fits_one_set_and_never_changes(tmp_path, capsys):
  path = tmp_path / 'split.json'
  spec = "dict(name='fashion_mnist', split='train')"
  command = ['split', f'--source={spec}', '--per-class=4', '--seed=0', f'--out={path}']
  assert main(command) == 0 and '40 of the 10000' in (said := capsys.readouterr().out)
  source = fashion_mnist(split='train')
  drawn, fixed = few_labels(source, per_class=4, seed=0), few_labels(source, split=str(path))
  np.testing.assert_array_equal(fixed.rows, drawn.rows)
  content = path.read_bytes()
  assert main(command) == 0 and path.read_bytes() == content and json.loads(content)['hash'] in said
  assert main([*command[:-2], '--seed=1', command[-1]]) == 1 and 'never changed' in capsys.readouterr().err
  assert main([*command[:2], '--count=50', '--seed=1', f'--out={tmp_path / "b.json"}']) == 0
  assert len(few_labels(source, split=str(tmp_path / 'b.json'))) == 50
  assert main(['split', '--source=fashion', *command[2:]]) == 1 and '--source: wanted' in capsys.readouterr().err
  # the same set in another order of reading, or with other words for its place; never a set that only looks like it
  moved = dataclasses.replace(source, origin='elsewhere')
  assert few_labels(moved, split=str(path)).rows.tolist() == drawn.rows.tolist()
  assert splits.write(tmp_path / 'c.json', drawn.rows, source=moved, made=dict(per_class=4, seed=0)
                      ) == json.loads(content)['hash']
  swapped = source.labels.copy()
  swapped[[0, 1]] = swapped[[1, 0]] if swapped[0] != swapped[1] else (swapped[0] + 1) % 10
  for other in (fashion_mnist(split='test'), dataclasses.replace(source, classes=tuple('abcdefghij')),
                source.relabeled(swapped, source.classes, source.origin), source.take(np.arange(9999))):
    with pytest.raises(ValueError, match=r"is a split of 10000 examples, 'train of fashion_mnist'; the source is"):
      few_labels(other, split=str(path))
  path.write_text(content.decode().replace('"indices": [', '"indices": [1, '))
  with pytest.raises(ValueError, match='changed after it was made'):
    few_labels(source, split=str(path))
  path.write_text('{"format": "split 0"}')
  with pytest.raises(ValueError, match="is not a split .*'split 0'"):
    few_labels(source, split=str(path))
  with pytest.raises(FileNotFoundError, match='data split --out='):
    few_labels(source, split=str(tmp_path / 'none.json'))


# ------------------------------------------------------------------------------------------ TFDS, Hugging Face, prepare


def prepared_tfds(root: Path) -> Path:
  """Really prepares a TFDS set, from encoded bytes: six images of three classes, as PNG and JPEG."""
  import tensorflow_datasets

  class TinyPhotos(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
    """Crops of two photographs."""
    # In a package it looks for the file by importlib_resources, which etils 1.15 no longer requires (2026-12).
    code_path = Path(__file__)
    VERSION = tensorflow_datasets.core.Version('1.2.0')

    def _info(self):
      return self.dataset_info_from_configs(features=tensorflow_datasets.features.FeaturesDict({
          'image': tensorflow_datasets.features.Image(shape=(None, None, 3)),
          'label': tensorflow_datasets.features.ClassLabel(names=['x', 'y', 'z']),
          'name': tensorflow_datasets.features.Text()}))

    def _split_generators(self, _):
      return {'train': self._generate_examples(range(6)), 'test': self._generate_examples(range(6, 8))}

    def _generate_examples(self, numbers):
      for k in numbers:
        data = encoded(photo(k), 'PNG' if k % 2 else 'JPEG')
        yield k, {'image': io.BytesIO(data), 'label': k % 3, 'name': str(k)}

  TinyPhotos(data_dir=root, file_format='array_record').download_and_prepare()
  return root


def wanted_rows(numbers, size: int) -> dict[int, np.ndarray]:
  return {k: decode(encoded(photo(k), 'PNG' if k % 2 else 'JPEG'), size=size, channels=3) for k in numbers}


def test_prepared_tfds_is_read_without_tensorflow(tmp_path):
  root = prepared_tfds(tmp_path)
  source = tfds(dataset='tiny_photos', split='train', data_dir=str(root), size=16)
  assert 'tensorflow' not in sys.modules
  assert len(source) == 6 and source.classes == ('x', 'y', 'z') and source.shape == (16, 16, 3)
  batch = source.batch(np.arange(6))
  wanted = wanted_rows(range(6), 16)
  numbers = [next(k for k in wanted if np.array_equal(wanted[k], image)) for image in batch['image']]
  assert sorted(numbers) == list(range(6)) and batch['label'].tolist() == [k % 3 for k in numbers]
  assert source.labels.tolist() == batch['label'].tolist()
  stored = tfds(dataset='tiny_photos:1.2.0', split='train[:50%]', data_dir=str(root), size=None)
  assert len(stored) == 3 and stored.shape == (48, 64, 3)
  assert stored.batch(np.arange(3))['image'].shape == (3, 48, 64, 3)
  assert same(take(loader(source, batch=4, seed=0, threads=0), 4), take(loader(source, batch=4, seed=0, threads=4), 4))
  assert len(pickle.loads(pickle.dumps(source)).batch(np.arange(2))['image']) == 2  # as worker processes get it
  for arguments, error, message in (
      (dict(dataset='tiny_photo', split='train'), ValueError, "'tiny_photo'; nearest: 'tiny_photos'"),
      (dict(dataset='tiny_photos', split='tets'), ValueError, "'tets'; nearest: 'test'"),
      (dict(dataset='tiny_photos:2.0.0', split='test'), ValueError, "'2.0.0'.*all: 1.2.0"),
      (dict(dataset='tiny_photos', split='test', data_dir=str(tmp_path / 'no')), FileNotFoundError, 'no folder')):
    with pytest.raises(error, match=message):
      tfds(**{'data_dir': str(root), 'size': 8} | arguments)


def parquet_table(numbers, *, bytes_of=lambda k: encoded(photo(k), 'PNG' if k % 2 else 'JPEG'), names=('x', 'y', 'z')):
  """A table in the Hugging Face layout: a struct of bytes and path, and the features in the schema's metadata."""
  table = pa.table({
      'image': pa.array([{'bytes': bytes_of(k), 'path': f'{k}.png'} for k in numbers],
                        pa.struct([('bytes', pa.binary()), ('path', pa.string())])),
      'label': pa.array([k % 3 for k in numbers], pa.int64())})
  features = {'image': {'_type': 'Image'}, 'label': {'names': list(names), '_type': 'ClassLabel'}}
  return table.replace_schema_metadata({'huggingface': json.dumps({'info': {'features': features}})})


def test_hugging_face_parquet(tmp_path):
  (tmp_path / 'data').mkdir()
  pq.write_table(parquet_table(range(5)), tmp_path / 'data/train-00000-of-00002.parquet', row_group_size=2)
  pq.write_table(parquet_table(range(5, 9)), tmp_path / 'data/train-00001-of-00002.parquet', row_group_size=3)
  pq.write_table(parquet_table(range(9, 11)), tmp_path / 'data/test-00000-of-00001.parquet')
  source = huggingface(path=str(tmp_path), split='train', size=16)
  assert len(source) == 9 and source.classes == ('x', 'y', 'z') and source.labels.tolist() == [k % 3 for k in range(9)]
  batch, wanted = source.batch(np.array([8, 0, 4, 5, 2])), wanted_rows(range(9), 16)
  assert all(np.array_equal(image, wanted[k]) for image, k in zip(batch['image'], [8, 0, 4, 5, 2], strict=True))
  assert batch['label'].tolist() == [2, 0, 1, 2, 2]
  assert source.examples.reader.file(6).endswith('train-00001-of-00002.parquet#1')
  assert same(take(loader(source, batch=4, seed=0, threads=0), 6), take(loader(source, batch=4, seed=0, threads=4), 6))
  assert np.array_equal(pickle.loads(pickle.dumps(source)).batch(np.array([8]))['image'][0], wanted[8])
  assert len(huggingface(path=str(tmp_path), split='test', size=8)) == 2
  for arguments, message in (({'split': 'trian'}, "'trian'; nearest: 'train'"),
                             ({'image_column': 'imag'}, "'imag'; nearest: 'image'"),
                             ({'label_column': 'labels'}, "'labels'; nearest: 'label'")):
    with pytest.raises(ValueError, match=message):
      huggingface(**{'path': str(tmp_path), 'split': 'train', 'size': 8} | arguments)


def test_hugging_face_row_groups_are_dropped_beyond_the_cache(tmp_path, monkeypatch):
  monkeypatch.setattr('data.sources.huggingface.CACHE', 1)
  pq.write_table(parquet_table(range(6)), tmp_path / 'train.parquet', row_group_size=2)
  source = huggingface(path=str(tmp_path), split='train', size=16)
  batch, wanted = source.batch(np.array([5, 0, 3, 4])), wanted_rows(range(6), 16)
  assert all(np.array_equal(image, wanted[k]) for image, k in zip(batch['image'], [5, 0, 3, 4], strict=True))
  assert len(source.examples.reader.table._cache) == 1


def test_hugging_face_saved_to_disk_string_labels_and_broken_files(tmp_path):
  for split, numbers in (('train', range(4)), ('test', range(4, 6))):
    (tmp_path / 'saved' / split).mkdir(parents=True)
    table = parquet_table(numbers)
    path = tmp_path / 'saved' / split / 'data-00000-of-00001.arrow'
    with pa.OSFile(str(path), 'wb') as f, pa.ipc.new_stream(f, table.schema) as writer:
      writer.write_table(table)
  saved = huggingface(path=str(tmp_path / 'saved'), split='test', size=16)
  assert np.array_equal(saved[1]['image'], wanted_rows([5], 16)[5]) and saved[1]['label'] == 2
  assert np.array_equal(pickle.loads(pickle.dumps(saved))[1]['image'], saved[1]['image'])
  table = parquet_table(range(4), bytes_of=lambda k: b'' if k == 1 else encoded(photo(k), 'PNG')).drop_columns('label')
  (tmp_path / 'words').mkdir()
  pq.write_table(table.append_column('kind', pa.array(['dog', 'cat', 'dog', 'cat'])), tmp_path / 'words/train.parquet')
  words = huggingface(path=str(tmp_path / 'words'), split='train', size=8, label_column='kind')
  assert words.classes == ('cat', 'dog') and words.labels.tolist() == [1, 0, 1, 0]
  assert words.batch(np.array([1]))['index'].tolist() == [2]
  assert huggingface(path=str(tmp_path / 'words'), split='train', size=8).labels is None
  (tmp_path / 'words/test.parquet').write_text('no parquet')
  with pytest.raises(ValueError, match='test.parquet cannot be read'):
    huggingface(path=str(tmp_path / 'words'), split='test', size=8)
  (tmp_path / 'none').mkdir()
  with pytest.raises(FileNotFoundError, match='no .parquet or .arrow'):
    huggingface(path=str(tmp_path / 'none'), split='test', size=8)


def tar(path: Path, members: dict[str, bytes | str], form: str = 'w') -> Path:
  with tarfile.open(path, form) as file:
    for name, content in members.items():
      content = content.encode() if isinstance(content, str) else content
      about = tarfile.TarInfo(name)
      about.size = len(content)
      file.addfile(about, io.BytesIO(content))
  return path


def test_tar_files_are_read_at_random(tmp_path):
  """Shards in their order, members whatever their suffixes' order; a broken image; pickled, for worker processes."""
  images = [encoded(photo(k), 'JPEG') for k in range(5)]
  tar(tmp_path / 'a-001.tar', {f'{k}.{suffix}': content for k in (2, 3, 4)
                               for suffix, content in (('cls', str(k % 3)), ('jpg', images[k]))})
  tar(tmp_path / 'a-000.tar', {'x/0.cls': '2', 'x/0.jpg': b'broken', 'y/1.JPG': images[1], 'y/1.json': '{}',
                               'y/1.cls': ' 0\n', '._y': 'of a file system'})
  for path in ('a-{000..001}.tar', 'a-*.tar'):
    source = pickle.loads(pickle.dumps(webdataset(path=str(tmp_path / path), size=24)))
    assert len(source) == 5 and source.classes == ('0', '1', '2') and source.labels.tolist() == [2, 0, 2, 0, 1]
    batch = source.batch(np.array([4, 0, 2]))
    assert batch['index'].tolist() == [4, 1, 2] and batch['label'].tolist() == [1, 0, 2], 'a neighbour for 0'
    for row, k in enumerate((4, 1, 2)):
      np.testing.assert_array_equal(batch['image'][row], decode(images[k], size=24, channels=3))
    assert 'a-000.tar, byte' in source.examples.reader.file(0)
  named = webdataset(path=str(tmp_path / 'a-*.tar'), size=24, classes=('cat', 'dog', 'cow', 'pig'))
  assert named.classes[1] == 'dog' and 'label' not in named.unlabeled().batch(np.arange(2))


def test_tar_files_that_are_refused(tmp_path):
  image = encoded(photo(0), 'PNG')
  of = lambda members, **how: webdataset(path=str(tar(tmp_path / 'one.tar', members)), size=8, **how)
  assert of({'0.png': image, '1.png': image}).labels is None
  for members, how, message in [
      ({'0.txt': 'a'}, {}, 'wanted one image of 0, got 0 in .txt'), ({}, {}, 'no image in it'),
      ({'0.png': image, '0.seg.png': image}, {}, 'wanted one image of 0, got 2'),
      ({'0.png': image, '0.cls': '1', '1.png': image}, {}, r'1 of 2 images have no \.cls'),
      ({'0.png': image, '0.cls': 'cat'}, {}, "class of 0: wanted a number, got 'cat'"),
      ({'0.png': image, '0.cls': '-2'}, {}, r'\.cls, row 0: -2 is no label'),
      ({'0.png': image, '0.cls': '2'}, {'classes': ('a', 'b')}, r'2 is no label; .* the 2 classes \[a, b\]')]:
    with pytest.raises(ValueError, match=message):
      of(members, **how)
  with pytest.raises(FileNotFoundError, match=r'1 of 2 tar files are missing: .*b-1\.tar'):
    tar(tmp_path / 'b-0.tar', {'0.png': image})
    webdataset(path=str(tmp_path / 'b-{0..1}.tar'), size=8)
  with pytest.raises(FileNotFoundError, match=r'c-\*\.tar'):
    webdataset(path=str(tmp_path / 'c-*.tar'), size=8)
  whole = tar(tmp_path / 'd.tar', {'0.png': image, '1.png': image}).read_bytes()
  for content in (whole[:700], whole[:2 * 512 + len(image) // 2 + 512 * (len(image) // 512)], b'no tar at all' * 99,
                  tar(tmp_path / 'd.tar', {'0.png': image}, 'w:gz').read_bytes()):
    (tmp_path / 'd.tar').write_bytes(content)
    with pytest.raises(ValueError, match=r'd\.tar: wanted a whole, uncompressed tar file'):
      webdataset(path=str(tmp_path / 'd.tar'), size=8)


def test_prepare_keeps_bytes_order_and_labels(photos, capsys):
  (photos / 'b/zz.jpg').write_text('not an image')
  out = photos.parent / 'out'
  assert main(['prepare', f'--folder={photos}', f'--out={out}', '--shards=3']) == 0
  assert '12 images in 3 shards, 1 broken left out' in capsys.readouterr().out
  before = folder(path=str(photos), split=None, size=16)
  after = array_record(path=str(out), split='train', size=16)
  good = [i for i in range(13) if not before.examples.reader.file(i).endswith('zz.jpg')]
  assert after.classes == before.classes and [after.examples.reader.read(i) for i in range(12)] == [
      before.examples.reader.read(i) for i in good]
  assert same([after.batch(np.arange(12)) | {'index': 0}], [before.batch(np.array(good)) | {'index': 0}])
  assert json.loads((out / 'bad_records.jsonl').read_text())['file'].endswith('b/zz.jpg')
  assert len(list(out.glob('train-*-of-00003.array_record'))) == 3
  assert same(take(loader(after, batch=5, seed=0, threads=0), 5), take(loader(after, batch=5, seed=0, threads=4), 5))
  assert main(['describe', f'--path={out}']) == 0 and 'train: 12 images, 3 classes' in capsys.readouterr().out


def test_prepare_resizes_and_splits(photos, capsys):
  out = photos.parent / 'out'
  assert main(['prepare', f'--folder={photos}', f'--out={out}', '--size=24', '--split-fraction=0.25']) == 0
  train, test = (array_record(path=str(out), split=s) for s in ('train', 'test'))
  assert (train.shape, len(train), len(test)) == ((24, 24, 3), 9, 3) and test.labels.tolist() == [0, 1, 2]
  assert all(Image.open(io.BytesIO(train.examples.reader.read(i))).size == (32, 24) for i in range(9))
  with pytest.raises(ValueError, match="'tset'; nearest: 'test'; all: train, test"):
    array_record(path=str(out), split='tset')
  again = photos.parent / 'again'
  assert main(['prepare', f'--folder={photos}', f'--out={again}', '--size=24', '--split-fraction=0.25']) == 0
  assert all((again / f.name).read_bytes() == f.read_bytes() for f in out.iterdir() if f.suffix != '.array_record')
  assert [array_record(path=str(again), split='test').examples.reader.read(i) for i in range(3)] == [
      test.examples.reader.read(i) for i in range(3)]
  assert not list(photos.parent.glob('.*partial*'))
  capsys.readouterr()


def test_prepare_from_tfds_and_from_parquet(tmp_path, capsys):
  prepared_tfds(tmp_path / 'tfds')
  (tmp_path / 'hub').mkdir()
  pq.write_table(parquet_table(range(5)), tmp_path / 'hub/train-00000-of-00001.parquet')
  assert main(['prepare', '--tfds=tiny_photos', f'--data_dir={tmp_path}/tfds', f'--out={tmp_path}/a']) == 0
  assert main(['prepare', f'--huggingface={tmp_path}/hub', f'--out={tmp_path}/b']) == 0
  capsys.readouterr()
  a = array_record(path=f'{tmp_path}/a', split='train', size=16)
  source = tfds(dataset='tiny_photos', split='train', data_dir=f'{tmp_path}/tfds', size=16)
  assert same([a.batch(np.arange(6))], [source.batch(np.arange(6))]) and a.classes == ('x', 'y', 'z')
  assert len(array_record(path=f'{tmp_path}/a', split='test')) == 2
  b = array_record(path=f'{tmp_path}/b', split='train', size=16)
  assert np.array_equal(b[4]['image'], wanted_rows([4], 16)[4]) and b.labels.tolist() == [0, 1, 2, 0, 1]


def test_command_line_errors_are_one_line_and_leave_nothing(photos, tmp_path, capsys):
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'there').mkdir()
  (tmp_path / 'texts/a').mkdir(parents=True)
  (tmp_path / 'texts/a/x.jpg').write_text('text')
  for arguments, message in (
      ([f'--folder={tmp_path}/no'], 'no folder'),
      ([f'--folder={tmp_path}/empty'], 'no image in'),
      ([f'--folder={tmp_path}/texts'], 'none of the 1 images .* decodes'),
      ([f'--folder={photos}', f'--out={tmp_path}/there'], 'exists already'),
      ([f'--folder={photos}', '--split-fraction=1.5'], '--split-fraction: wanted'),
      ([f'--folder={photos}', '--size=0'], '--size: wanted at least 1, got 0'),
      (['--tfds=x'], '--tfds needs --data-dir')):
    out = [] if any(a.startswith('--out') for a in arguments) else [f'--out={tmp_path}/out']
    assert main(['prepare', *arguments, *out]) == 1
    assert re.search(f'(^|\n)error: .*{message}.*\n$', capsys.readouterr().err)
  finished = subprocess.run([sys.executable, '-m', 'data', 'prepare', f'--folder={tmp_path}/no', '--out=x'], cwd=ROOT,
                            capture_output=True, text=True)
  assert finished.returncode == 1 and re.fullmatch(r'error: no folder .*/no\n', finished.stderr)
  assert not (tmp_path / 'out').exists() and not list(tmp_path.glob('.*partial*'))


def test_killed_prepare_leaves_no_set(tmp_path):
  at = tmp_path / 'many/a'
  at.mkdir(parents=True)
  data = encoded(photo(0, (1600, 1200)), 'PNG')
  for k in range(200):
    (at / f'{k}.png').write_bytes(data)
  process = subprocess.Popen([sys.executable, '-m', 'data', 'prepare', f'--folder={tmp_path}/many', '--size=64',
                              f'--out={tmp_path}/out'], cwd=ROOT, stderr=subprocess.DEVNULL)
  try:
    while not list(tmp_path.glob('.out.partial-*')):
      assert process.poll() is None
      time.sleep(0.01)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  assert not (tmp_path / 'out').exists()
  with pytest.raises(FileNotFoundError, match='no prepared set'):
    array_record(path=str(tmp_path / 'out'), split='train')


def test_incomplete_copy_of_a_prepared_set_is_refused(photos, capsys):
  out = photos.parent / 'out'
  main(['prepare', f'--folder={photos}', f'--out={out}', '--shards=2'])
  capsys.readouterr()
  first, second = sorted(out.glob('*.array_record'))
  second.unlink()
  with pytest.raises(FileNotFoundError, match='1 of 2 shards are missing'):
    array_record(path=str(out), split='train')
  second.write_bytes(first.read_bytes())
  (out / 'metadata.json').write_text((out / 'metadata.json').read_text().replace('"count": 12', '"count": 13'))
  with pytest.raises(ValueError, match='says 13 images in train, the shards hold 12'):
    array_record(path=str(out), split='train')


ORDER = [0, 3, 7, 5, 1, 2, 6, 4, 3, 7, 4, 2, 1, 6, 5, 0]
