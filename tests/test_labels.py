"""Label stores: written part after part, read, joined with their source; starting from parts of another run."""
import json
import signal

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pytest

import data.sources
from data import identity
from data import labels as stores
from data.__main__ import main as data_main
from data.describe_labels import describe
from data.loader import in_order, loader
from data.source import images
from data.sources.digits import digits
from data.sources.long_tailed import long_tailed
from data.sources.mixed import mixed
from data.sources.noisy_labels import noisy_labels
from data.sources.of_classes import of_classes
from data.sources.pseudo_labeled import pseudo_labeled
from data.wrap import few_labels
from pretrain import config, train
from pretrain.__main__ import main
from pretrain.config import ConfigError
from pretrain.machine import rundir
from pretrain.programs import label
from pretrain.train import DONE, STOPPED, prepare
from tests.test_train import final, tiny
from tests.tiny import pixels

pytestmark = pytest.mark.suite('system')

DIGITS = dict(name='digits', split='train')
N, K = 1437, 10
SUPERVISED = ["views={'name': 'supervised', 'size': 8, 'pad': 1}", "objective={'name': 'supervised', 'classes': 10}",
              "labels={'per_class': 20, 'seed': 0}", 'schedule.peak=1e-2', 'steps=80', 'checkpoint.every_steps=80']


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('teacher')
  assert train.train(tiny(*SUPERVISED), workdir, quiet=True) == DONE
  return workdir


@pytest.fixture(scope='module')
def store(teacher, tmp_path_factory):
  out = tmp_path_factory.mktemp('store') / 'labels'
  assert main(['label', f'--workdir={teacher}', f'--out={out}', '--config.examples_per_part=500', '--quiet']) == DONE
  return out


def test_a_store_is_parquet_that_others_read(store):
  assert sorted(path.name for path in (store / 'parts').iterdir()) == [
      f'part-0000{i}-of-00003.parquet' for i in range(3)]
  table = pyarrow.dataset.dataset(store / 'parts').to_table()
  types = {field.name: field.type for field in table.schema}
  assert types == {'index': pa.int64(), 'label': pa.int32(), 'confidence': pa.float32(),
                   'probabilities': pa.list_(pa.float32(), K)}
  assert table.column('index').to_pylist() == list(range(N))
  summary = json.loads((store / 'labels.json').read_text())
  assert summary['classes'] == K and summary['examples'] == N and sum(summary['labels']) == N
  assert summary['source'] == 'train of digits' and summary['generation'] == 0 and len(summary['model']) == 25
  assert {path.name for path in store.iterdir()} == {'parts', 'labels.json'}


def test_labels_are_those_of_predict_in_the_order_of_the_source(teacher, store):
  labels = stores.read(store)
  run = config.call(prepare, json.loads((teacher / 'config.json').read_text()), 'config')
  state, _ = final(teacher, json.loads((teacher / 'config.json').read_text()))
  shown = pixels(digits(split='train'))[490:510] / np.float32(255)  # over the edge of a part
  wanted = run.objective.predict(state.params, state.memory, shown)
  np.testing.assert_allclose(labels.probabilities[490:510], wanted, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(labels.label, labels.probabilities.argmax(1))
  np.testing.assert_array_equal(labels.confidence, labels.probabilities.max(1))
  assert np.mean(labels.label == digits(split='train').labels) > 0.25


def test_labels_of_a_part_of_a_source_are_under_the_numbers_of_the_whole(teacher, tmp_path):
  part, whole = dict(name='of_classes', source=DIGITS, classes=('7', '2')), digits(split='train')
  assert label.write_labels(teacher, tmp_path / 'store', source=part, examples_per_part=100, quiet=True) == DONE
  rows = np.flatnonzero(np.isin(whole.labels, (2, 7)))
  found, tree = stores.read(tmp_path / 'store'), json.loads((teacher / 'config.json').read_text())
  np.testing.assert_array_equal(found.index, rows)
  assert found.about.examples == len(rows) > 200 and found.about.names == tuple('0123456789')
  state, _ = final(teacher, tree)
  wanted = config.call(prepare, tree, 'config').objective.predict(state.params, state.memory,
                                                                 pixels(whole)[rows] / np.float32(255))
  np.testing.assert_allclose(found.probabilities, wanted, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(found.label, np.argmax(wanted, 1))


class Interrupted:
  """Stands for a signal while a part is computed, or for a kill while it is written."""

  def __init__(self, monkeypatch, at: int, act):
    write, self.calls = stores.write_part, 0

    def counted(*args):
      self.calls += 1
      if self.calls == at:
        act()
      return write(*args)

    monkeypatch.setattr(stores, 'write_part', counted)


def parts(out) -> list[str]:
  return sorted(path.name[:10] for path in (out / 'parts').glob('*'))


def test_an_interrupted_pass_goes_on_behind_its_last_whole_part(teacher, store, tmp_path, monkeypatch, capsys):
  options = dict(examples_per_part=500, batch=100)
  with monkeypatch.context() as patch:
    Interrupted(patch, 1, lambda: signal.raise_signal(signal.SIGTERM))
    assert label.write_labels(teacher, tmp_path, **options) == STOPPED
  assert parts(tmp_path) == ['part-00000'] and not (tmp_path / 'labels.json').exists()
  assert 'before part 1 of 3' in capsys.readouterr().out and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  with pytest.raises(ValueError, match='not finished: 1 of 3 parts'):
    stores.read(tmp_path)
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    def killed(*_):
      raise KeyboardInterrupt
    patch.setattr(stores.Path, 'replace', killed)
    label.write_labels(teacher, tmp_path, **options)
  assert parts(tmp_path) == ['part-00000']
  before = (tmp_path / 'parts' / 'part-00000-of-00003.parquet').stat().st_mtime_ns
  assert label.write_labels(teacher, tmp_path, **options) == DONE
  assert (tmp_path / 'parts' / 'part-00000-of-00003.parquet').stat().st_mtime_ns == before
  one, other = stores.read(tmp_path), stores.read(store)
  assert one.about == other.about
  np.testing.assert_array_equal(one.label, other.label)
  np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-5, atol=1e-6)
  capsys.readouterr()
  assert label.write_labels(teacher, tmp_path, **options) == DONE and 'is complete' in capsys.readouterr().out


def test_a_store_of_another_model_source_or_size_is_refused(teacher, store, tmp_path, capsys):
  args = ['label', f'--workdir={teacher}', f'--out={store}', '--quiet']
  for flags, words in [([], '3 parts, wanted 1'), (['--config.generation=1'], 'generation 0, wanted 1'),
                       ([f'--config.source={dict(name="digits", split="test")}'], 'train of digits'),
                       (['--config.sourc=1'], "nearest: 'source'")]:
    assert main([*args, *flags]) == 1
    assert words in capsys.readouterr().err
  other = tmp_path / 'other'
  assert train.train(tiny(*SUPERVISED, 'seed=1', 'steps=2', 'schedule.warmup_steps=0'), other, quiet=True) == DONE
  assert main(['label', f'--workdir={other}', f'--out={store}', '--config.examples_per_part=500']) == 1
  assert 'model' in capsys.readouterr().err
  simclr = tmp_path / 'simclr'
  assert train.train(tiny('steps=1', 'schedule.warmup_steps=0'), simclr, quiet=True) == DONE
  assert main(['label', f'--workdir={simclr}', f'--out={tmp_path / "x"}']) == 1
  assert 'no classes' in capsys.readouterr().err
  assert main(['label', f'--workdir={tmp_path}', f'--out={tmp_path / "x"}']) == 1
  assert 'config.json' in capsys.readouterr().err


def made(store, *, n=20, k=4, source='arrays', model='m', generation=0, leave_out=(), broken=(), seed=0):
  """A store without a run: probabilities drawn by the seed."""
  p = np.random.default_rng(seed).dirichlet(np.full(k, 0.5), n).astype(np.float32)
  path = source.removeprefix('train of ')
  seen = 'of others' if path == source else identity.look(
      config.build(data.sources, dict(name='arrays', path=path, split='train'), 'source').unlabeled()).identity.digest
  about = stores.About(model, source, seen, n, k, tuple('abcdef'[:k]), generation)
  keep = np.setdiff1d(np.arange(n), leave_out)
  bad = np.isin(keep, broken)
  for part, rows in enumerate(np.array_split(np.arange(len(keep)), 2)):
    stores.write_part(store, part, 2, stores.Labels(about, keep[rows], np.where(bad, -1, p[keep].argmax(1))[rows],
                                                    np.where(bad, 0, p[keep].max(1))[rows], p[keep][rows]))
  stores.finish(store, 2, about)
  return stores.read(store)


def test_what_is_admitted():
  rng = np.random.default_rng(0)
  n, k = 1000, 4
  p = rng.dirichlet(np.full(k, 0.3), n).astype(np.float32)
  labels = stores.Labels(stores.About('m', 's', 'd', n, k, None, 0), np.arange(n), p.argmax(1), p.max(1), p)
  all_ = np.arange(n)
  np.testing.assert_array_equal(stores.admitted(labels, all_, threshold=0.9), np.flatnonzero(p.max(1) >= 0.9))
  top = np.sort(p, 1)
  np.testing.assert_array_equal(stores.admitted(labels, all_, margin=0.3),
                                np.flatnonzero(top[:, -1] - top[:, -2] >= np.float32(0.3)))
  np.testing.assert_array_equal(stores.admitted(labels, all_, percentile=0.), all_)
  before = set()
  for percentile in (99.95, 80., 60, 40, 20, 0):  # nested, the numbers of the definition; the authors' threshold
    now = stores.admitted(labels, all_, percentile=percentile)
    assert len(now) == int(np.ceil(round((100 - percentile) / 100 * n, 6))) and before <= set(now)
    assert set(now) == set(np.flatnonzero(p.max(1) >= np.percentile(p.max(1), percentile)))
    before = set(now)
  equal = labels._replace(confidence=np.ones(n, np.float32))  # saturated: neither the first ones nor all
  some = stores.admitted(equal, all_, percentile=90)
  assert len(some) == 100 and some.max() > 900 and set(some) < set(stores.admitted(equal, all_, percentile=80))
  few = stores.admitted(labels, all_, per_class=30)
  assert np.bincount(labels.label[few]).tolist() == [30] * k
  for c in range(k):
    mine = p.max(1)[labels.label == c]
    assert labels.confidence[few][labels.label[few] == c].min() == np.sort(mine)[-30]
  filled = stores.admitted(labels, all_[:12], per_class=9, repeat=True)
  assert np.bincount(labels.label[filled], minlength=k)[np.unique(labels.label[:12])].tolist() == \
      [9] * len(np.unique(labels.label[:12]))
  gone = labels._replace(label=np.where(all_ < 990, -1, labels.label))
  assert stores.admitted(gone, all_).tolist() == list(range(990, n))
  for bad in (dict(threshold=1.1), dict(threshold=-0.1), dict(margin=2.), dict(percentile=100.), dict(percentile=-1.),
              dict(per_class=0), dict(repeat=True)):
    with pytest.raises(ValueError, match='wanted'):
      stores.admitted(labels, all_, **bad)
  with pytest.raises(ValueError, match='no probabilities'):
    stores.admitted(labels._replace(probabilities=None), all_, margin=0.1)


@pytest.fixture
def archive(tmp_path):
  """20 images of 4 classes, whose corner is their number."""
  image = np.zeros((20, 8, 8, 1), np.uint8)
  image[:, 0, 0, 0] = np.arange(20)
  np.savez(tmp_path / 'set.npz', train_image=image, train_label=np.arange(20) % 4, classes=np.array(list('abcd')))
  return dict(name='arrays', path=str(tmp_path / 'set.npz'), split='train')


def test_a_source_joined_with_its_labels(archive, tmp_path):
  origin, store = f'train of {archive["path"]}', str(tmp_path / 'store')
  labels = made(store, source=origin)
  whole = pseudo_labeled(source=archive, store=store)
  np.testing.assert_array_equal(whole.labels, labels.label)
  assert whole.classes == tuple('abcd') and sorted(whole[3]) == ['image', 'index', 'label']
  some = pseudo_labeled(source=archive, store=store, percentile=50., soft=True, weighted=True,
                        labels=dict(per_class=1, seed=0))
  own = few_labels(images(np.zeros((20, 2, 2), np.uint8), np.arange(20) % 4), per_class=1, seed=0).rows
  assert len(some) == 4 + 8 and set(own) <= set(some.rows)
  with loader(some, batch=24, seed=0) as batches:
    batch = next(batches)
  assert batch['probabilities'].shape == (24, 4) and batch['weight'].dtype == np.float32
  for image, index, y, p, w in zip(batch['image'], batch['index'], batch['label'], batch['probabilities'],
                                   batch['weight'], strict=True):
    assert image[0, 0, 0] == index
    if index in own:
      assert y == index % 4 and w == 1 and p.tolist() == np.eye(4)[y].tolist()
    else:
      assert y == labels.label[index] and w == labels.confidence[index]
      np.testing.assert_array_equal(p, labels.probabilities[index])
  assert sorted(some.unlabeled()[0]) == ['image', 'index']
  twice = pseudo_labeled(source=archive, store=store, per_class=8, repeat=True)
  assert np.bincount(twice.labels).tolist() == [8] * 4 and len(list(in_order(twice, batch=8))) == 4
  part = some.take([0, 2])
  assert len(part) == 2 and part[1]['index'] == some[2]['index']


@pytest.mark.parametrize(('change', 'options', 'words'), [
    (dict(source='another'), {}, "'another'"), (dict(n=30), {}, '30 examples'),
    (dict(leave_out=(3, 7)), {}, r'lacks 2 of the 20 examples.*\[3, 7\]'),
    ({}, dict(threshold=1.5), r'threshold.*\[0, 1\]'), ({}, dict(threshold=1.0), 'no label .* is admitted'),
    ({}, dict(percentile=95.), r'of the classes \['), (dict(k=3), {}, '3'),
])
def test_what_a_join_refuses(archive, tmp_path, change, options, words):
  store = str(tmp_path / 'store')
  made(store, **(dict(source=f'train of {archive["path"]}') | change))
  if change == dict(k=3):
    assert pseudo_labeled(source=archive, store=store).classes == ('a', 'b', 'c')  # the model's, by name
  else:
    with pytest.raises(ValueError, match=words):
      pseudo_labeled(source=archive, store=store, **options)


def test_a_join_without_a_store_or_with_a_broken_image(archive, tmp_path):
  with pytest.raises(FileNotFoundError, match='no label store'):
    pseudo_labeled(source=archive, store=str(tmp_path / 'none'))
  store = str(tmp_path / 'store')
  made(store, source=f'train of {archive["path"]}', broken=(5,))
  assert 5 not in pseudo_labeled(source=archive, store=store).rows
  (tmp_path / 'store' / 'labels.json').unlink()
  with pytest.raises(ValueError, match='not finished'):
    pseudo_labeled(source=archive, store=store)


def test_broken_images_are_labeled_as_such(teacher, tmp_path):
  from PIL import Image
  folder = tmp_path / 'heap'
  folder.mkdir()
  for i in range(40):
    Image.fromarray(pixels(digits(split='train'))[i, ..., 0]).save(folder / f'{i:02}.png')
  (folder / '07.png').write_text('not an image')
  source = dict(name='folder', path=str(folder), size=8, channels=1)
  assert label.write_labels(teacher, tmp_path / 'store', source=source, quiet=True) == DONE
  found = stores.read(tmp_path / 'store')
  assert np.flatnonzero(found.label == -1).tolist() == [7] and found.confidence[7] == 0


def test_a_store_described(archive, tmp_path, capsys):
  origin, truth = f'train of {archive["path"]}', config.build(data.sources, archive, 'truth')
  one = made(tmp_path / 'one', source=origin, broken=(5,))
  other = made(tmp_path / 'other', source=origin, seed=1)
  found = describe(tmp_path / 'one', tmp_path / 'other', truth)
  good = np.arange(20) != 5
  assert found['labels'] == 19 and found['broken'] == 1 and sum(row['labels'] for row in found['bins']) == 19
  assert found['classes'] == np.bincount(one.label[good], minlength=4).tolist()
  assert found['accuracy'] == pytest.approx(np.mean((one.label == np.arange(20) % 4)[good]))
  assert found['agreement'] == pytest.approx(np.mean((one.label == other.label)[good]))
  for row in found['bins']:
    mine = good & (one.confidence >= row['from']) & (one.confidence < row['to'] + (row['to'] == 1))
    assert row['labels'] == mine.sum()
    assert row['accuracy'] == (pytest.approx(np.mean(one.label[mine] == mine.nonzero()[0] % 4)) if mine.any() else None)
  argv = ['labels', 'describe', str(tmp_path / 'one')]
  text = f'dict(name="arrays", path="{archive["path"]}", split="train")'
  assert data_main([*argv, str(tmp_path / 'other'), '--truth', text, '--out', str(tmp_path / 'x.png')]) == 0
  printed = capsys.readouterr().out
  assert '19 labels of' in printed and 'agreement' in printed and '0.9 - 1.0' in printed
  assert (tmp_path / 'x.png').read_bytes().startswith(b'\x89PNG')
  made(tmp_path / 'foreign', source='another')
  for more, said in [([str(tmp_path / 'foreign')], 'another'), (['--truth', 'nonsense('], '--truth'),
                     (['--truth', text, '--out', 'x.jpg'], "'.jpg'"), (['x', 'y'], 'one store or two')]:
    assert data_main([*argv, *more]) == 1
    assert said in capsys.readouterr().err


# Sources --------------------------------------------------------------------------------------------------------------

def test_long_tailed_counts_and_nesting():
  tail = long_tailed(source=DIGITS, ratio=10., largest=100, seed=0)
  counts = np.bincount(tail.labels)
  assert counts.tolist() == [int(100 * 10 ** (-c / 9) + 1e-9) for c in range(K)]
  assert counts[0] == 100 and counts[9] == 10
  less = long_tailed(source=DIGITS, ratio=20., largest=100, seed=0)
  assert set(less.rows) < set(tail.rows)
  assert np.bincount(long_tailed(source=DIGITS, ratio=1., seed=1).labels).tolist() == [
      min(np.bincount(digits(split='train').labels))] * K
  for ratio, largest, words in [(0.5, 10, 'at least 1'), (10., 0, 'at least 1'), (2., 1000, 'wanted')]:
    with pytest.raises(ValueError, match=words):
      long_tailed(source=DIGITS, ratio=ratio, largest=largest, seed=0)


def test_of_classes_labels_by_their_order():
  some, whole = of_classes(source=DIGITS, classes=('7', '2')), digits(split='train')
  assert some.classes == ('7', '2') and len(some) == sum(np.isin(whole.labels, (2, 7)))
  batch = some.batch(np.arange(40))
  assert (whole.labels[batch['index']] == np.where(batch['label'] == 0, 7, 2)).all()
  np.testing.assert_array_equal(batch['label'], some.labels[:40])
  np.testing.assert_array_equal(batch['image'], pixels(whole)[batch['index']])
  both = mixed(source=dict(name='of_classes', source=DIGITS, classes=('7', '2')),
               others=dict(name='of_classes', source=DIGITS, classes=('1', '0')), share=0.5, seed=0)
  assert len(both) == 2 * len(some) and sorted(set(both.labels)) == [-1, 0, 1]
  ones = both.batch(np.arange(len(some), len(both)))['image']
  assert all((pixels(whole)[np.isin(whole.labels, (0, 1))] == image).all((1, 2, 3)).any() for image in ones[:20])
  for classes, words in [(('7', '7'), 'each once'), ((), 'each once'), (('x',), 'all: 0')]:
    with pytest.raises(ValueError, match=words):
      of_classes(source=DIGITS, classes=classes)


def test_mixed_has_a_share_of_foreign_images_without_a_class():
  both = mixed(source=dict(name='digits', split='test'), others=DIGITS, share=0.25, seed=0)
  assert len(both) == 360 + 120 and (both.labels == -1).sum() == 120 and both.classes == tuple('0123456789')
  batch = both.batch(np.array([0, 359, 360, 479]))
  assert batch['index'].tolist() == [0, 359, 360, 479] and batch['label'][2:].tolist() == [-1, -1]
  test, others = digits(split='test'), pixels(digits(split='train'))
  np.testing.assert_array_equal(batch['image'][:2], pixels(test)[[0, 359]])
  assert all((others == image).all((1, 2, 3)).any() for image in batch['image'][2:])
  part = few_labels(both, per_class=2, seed=0)
  assert len(part) == 20 and part.labels.min() == 0 and both.take([400])[0]['index'] == 400
  assert 'label' not in both.unlabeled().batch(np.arange(3)) and both.unlabeled().labels is None
  none = mixed(source=dict(name='digits', split='test'), others=DIGITS, share=0., seed=0)  # the row of a table at 0 %
  assert len(none) == 360
  tree = tiny(*SUPERVISED[:2], f'source={dict(name="mixed", source=DIGITS, others=DIGITS, share=0.1, seed=0)}')
  with pytest.raises(ConfigError, match='of no class'):
    config.call(prepare, tree, 'config')
  for share, others, words in [(0.9, DIGITS, 'needs'), (0.1, dict(name='fashion_mnist', split='test'), 'one shape')]:
    with pytest.raises(ValueError, match=words):
      mixed(source=dict(name='digits', split='test'), others=others, share=share, seed=0)


def test_noisy_labels_are_wrong_at_the_rate_and_symmetric():
  truth = digits(split='train').labels
  some, more = (noisy_labels(source=DIGITS, rate=rate, seed=0) for rate in (0.2, 0.8))
  wrong = some.labels != truth
  assert wrong.sum() == round(0.2 * N) and (more.labels != truth).sum() == round(0.8 * N)
  np.testing.assert_array_equal(more.labels[wrong], some.labels[wrong])
  shifts = np.bincount((more.labels - truth) % K, minlength=K)[1:]
  assert abs(shifts / shifts.sum() - 1 / 9).max() < 0.03
  batch = next(loader(some, batch=8, seed=0))
  np.testing.assert_array_equal(batch['label'], some.labels[batch['index']])
  np.testing.assert_array_equal(noisy_labels(source=DIGITS, rate=0., seed=0).labels, truth)


def test_a_store_that_is_being_written_is_nobody_elses(teacher, store, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(rundir, 'PATIENCE', 0.2)
  out, options = tmp_path / 'store', dict(examples_per_part=500, quiet=True)
  refused = []

  def second():
    refused.append(main(['label', f'--workdir={teacher}', f'--out={out}', '--config.examples_per_part=500', '--quiet']))

  with monkeypatch.context() as patch:
    Interrupted(patch, 2, second)
    assert label.write_labels(teacher, out, **options) == DONE
  assert refused == [1] and f'{out} is in use by process' in capsys.readouterr().err
  assert {path.name for path in out.iterdir()} == {'parts', 'labels.json'}
  np.testing.assert_array_equal(stores.read(out).label, stores.read(store).label)
  with rundir.locked(out):  # who reads a store, or finds it complete, asks for no lock
    assert label.write_labels(teacher, out, **options) == DONE and len(stores.read(out).index) == N
