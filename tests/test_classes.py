"""Labels are read in one way, classes meet by name, and what cannot be read leaves an evaluation."""
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from data.bad import BadRecordsError
from data.classes import numbered_as, read_labels
from data.source import images
from data.sources.folder import folder
from pretrain import config, train
from pretrain.config import ConfigError
from pretrain.files import read_rows
from pretrain.run import prepare
from pretrain.train import DONE
from tests.test_train import tiny

pytestmark = pytest.mark.suite('system')

COLOURS = dict(a=40, b=120, c=200, d=250)


@pytest.mark.parametrize(('values', 'label', 'classes'), [
    (['b', 'a', 'b'], [1, 0, 1], ('a', 'b')),
    (['b', None, 'a'], [1, -1, 0], ('a', 'b')),
    ([2, 0, -1], [2, 0, -1], ('0', '1', '2')),
    ([0, None, 1], [0, -1, 1], ('0', '1')),
    ([2., 0., float('nan')], [2, 0, -1], ('0', '1', '2')),
    ([True, False], [1, 0], ('False', 'True')),
    ([], [], ()), ([None, None], [-1, -1], ()),
    (np.array([3, 1], np.uint64), [3, 1], ('0', '1', '2', '3')),
    (np.array([1, 0], np.int8), [1, 0], ('0', '1')),
    (np.array(['y', 'x']), [1, 0], ('x', 'y')),
    (np.array(['y', None], object), [0, -1], ('y',)),
    (pa.array(['b', 'a']).dictionary_encode(), [1, 0], ('a', 'b')),
    (pa.array([1, 0]).dictionary_encode(), [1, 0], ('0', '1')),
    (pa.chunked_array([pa.array(['b']).dictionary_encode(), pa.array(['a']).dictionary_encode()]), [1, 0], ('a', 'b')),
    (pa.array(['b', 'a'], pa.large_string()), [1, 0], ('a', 'b')),
])
def test_labels_of_every_type(values, label, classes):
  found, names = read_labels(values, 'label')
  assert found.tolist() == label and found.dtype == np.int32 and names == classes


def test_labels_of_given_classes():
  for values, label in [(['dog', 'cat', None], [1, 0, -1]), ([1, 0, -1], [1, 0, -1]), ([1., 0.], [1, 0]),
                        ([True, False], [1, 0])]:
    found, names = read_labels(values, 'label', ('cat', 'dog'))
    assert found.tolist() == label and names == ('cat', 'dog')


@pytest.mark.parametrize(('values', 'names', 'words'), [
    ([0., 1.7], None, r'label, row 1: 1\.7 is no label; wanted a whole number'),
    ([0, 0, -2, -3], None, 'row 2: -2 is no label, and 1 more are none'),
    ([0, 2**31], None, 'row 1: 2147483648 is no label; .* store them as strings'),
    (np.array([2**63 + 1, 0], np.uint64), None, 'row 0: 9223372036854775809 is no label'),
    ([0, 2], ('a', 'b'), r'row 1: 2 is no label; wanted one of the 2 classes \[a, b\]'),
    (['a', 'x', 'y'], ('a', 'b'), r"row 1: 'x' is none of the classes \[a, b\], and 1 more are none"),
    ([float('inf')], None, 'row 0: inf is no label'),
    ([None, [0, 1], [1]], None, r'row 1: .*several labels an example, such as \[0, 1\]'),
    ([1, 'a'], None, r"row 1: wanted labels of one kind.*'a' \(str\) behind 1 \(int\)"),
    (np.zeros((3, 1), int), None, r'wanted one label an example, \[n\], got the shape \(3, 1\)'),
    (pa.array([1, 2], pa.timestamp('s')), None, 'row 0: .*labels of type timestamp'),
])
def test_what_is_no_label_is_named_by_its_row(values, names, words):
  with pytest.raises(ValueError, match=f'^label, {words}|^label: {words}|{words}'):
    read_labels(values, 'label', names)


def test_classes_meet_by_name():
  pixels = np.zeros((6, 2, 2), np.uint8)
  source = images(pixels, [0, 1, 1, -1, 0, 1], ('a', 'c'), 'test')
  found = numbered_as(source, ('a', 'b', 'c'), here='test', there='train')
  assert found.labels.tolist() == [0, 2, 2, -1, 0, 2] and found.classes == ('a', 'b', 'c')
  assert found.take([4, 2]).batch(np.arange(2))['label'].tolist() == [0, 2]
  assert numbered_as(source, ('a', 'c'), here='', there='') is source
  unused = images(pixels, np.zeros(6, int), ('a', 'x'), 'test')  # a class without an example is no difference
  assert numbered_as(unused, ('b', 'a'), here='test', there='train').labels.tolist() == [1] * 6
  with pytest.raises(ValueError, match=r'test: classes meet by name, and train has no \[c\]\. test has \[a, c\], train '
                                       r'has \[a, b\]; rename them'):
    numbered_as(source, ('a', 'b'), here='test', there='train')
  with pytest.raises(ValueError, match=r'train has no \[0, 1\].*numbers in place of names: give its source classes='):
    numbered_as(images(pixels, np.arange(6) % 2), ('cat', 'dog'), here='test', there='train')


# Evaluations ----------------------------------------------------------------------------------------------------------

def grey(root, classes, count=12, seed=0):
  """Class folders of images of 8 x 8 that their brightness tells apart."""
  rng = np.random.default_rng(seed)
  for name in classes:
    (root / name).mkdir(parents=True)
    for i in range(count):
      pixels = np.clip(COLOURS[name] + rng.normal(0, 5, (8, 8)), 0, 255).astype(np.uint8)
      Image.fromarray(pixels).save(root / name / f'{i:02}.png')
  return dict(name='folder', path=str(root), size=8, channels=1)


def run_on(source, train_set, test_set, *more):
  """A config that is evaluated on the two sets."""
  return tiny('batch=8', 'steps=2', 'schedule.warmup_steps=1', 'checkpoint.every_steps=100',
              "objective={'name': 'supervised', 'classes': 4}", "views={'name': 'supervised', 'size': 8, 'pad': 0}",
              *more) | {'source': source, 'evaluate': dict(train=train_set, test=test_set, baselines=False,
                                                           pictures=True)}


def evaluation(workdir):
  return json.loads((workdir / 'evaluation.json').read_text())


def test_a_test_set_without_a_class_is_scored_by_the_names(tmp_path):
  train_set, test_set = grey(tmp_path / 'train', 'abc'), grey(tmp_path / 'test', 'ac', seed=1)
  tree = run_on(train_set, train_set, test_set)
  assert train.train(tree, tmp_path / 'run', quiet=True) == DONE
  assert evaluation(tmp_path / 'run')['rows'][-1]['knn'] == 1


def test_the_runs_own_head_is_scored_by_the_names_of_its_classes(tmp_path, capsys):
  """The head counts a, b, c, d; the sets of the evaluation are of other classes in other numbers."""
  taught, train_set = grey(tmp_path / 'taught', 'abcd'), grey(tmp_path / 'train', 'bd')
  tree = run_on(taught, train_set, grey(tmp_path / 'test', 'bd', seed=1))
  made = config.call(prepare, tree, 'config')
  assert made.evaluation.test.labels.tolist() == [0] * 12 + [1] * 12
  assert made.evaluation.own.labels.tolist() == [1] * 12 + [3] * 12 and made.evaluation.own.classes == tuple('abcd')
  foreign = run_on(train_set, taught, grey(tmp_path / 'foreign', 'abd', seed=2))
  assert config.call(prepare, foreign, 'config').evaluation.own is None
  assert train.train(foreign, tmp_path / 'run', quiet=True) == DONE
  assert ('own head is not scored on the test set: config.evaluate.test: classes meet by name, and config.source has '
          'no [a]') in ' '.join(capsys.readouterr().out.split())
  assert 'accuracy' not in evaluation(tmp_path / 'run')


@pytest.mark.parametrize(('test', 'words'), [
    ('abd', r'config\.evaluate\.train has no \[d\]\. config\.evaluate\.test has \[a, b, d\], '
            r'config\.evaluate\.train has \[a, b, c\]'),
    ('few', r'wanted at least 10 examples of each class.*got \[d: 3\]')])
def test_classes_that_do_not_meet_are_told_before_anything_is_compiled(test, words, tmp_path, compilations):
  train_set = grey(tmp_path / 'train', 'abc')
  if test == 'few':
    train_set = grey(tmp_path / 'other', 'bc')
    grey(tmp_path / 'more', 'd', 3)
    (tmp_path / 'more/d').rename(tmp_path / 'other/d')
    test = 'b'
  before = compilations()
  with pytest.raises((ConfigError, ValueError), match=words):
    config.call(prepare, run_on(train_set, train_set, grey(tmp_path / 'test', test, seed=1)), 'config')
  assert compilations() == before


def broken(root, name, count):
  for path in sorted((root / name).iterdir())[:count]:
    path.write_bytes(path.read_bytes()[:40])


def test_images_that_cannot_be_read_leave_an_evaluation(tmp_path, capsys):
  """They are counted in the table and listed; above max_bad_share the table is written, and the run says it."""
  train_set, test_set = grey(tmp_path / 'train', 'abc'), grey(tmp_path / 'test', 'abc', seed=1)
  broken(tmp_path / 'test', 'b', 12)
  broken(tmp_path / 'train', 'a', 1)
  tree = run_on(train_set, train_set, test_set, 'max_bad_share=0.4') | {'source': dict(name='digits', split='train')}
  tree['objective']['classes'] = 10
  assert train.train(tree, tmp_path / 'run', quiet=True) == DONE
  row = evaluation(tmp_path / 'run')['rows'][-1]
  assert (row['knn'], row['n'], row['n_test'], row['unreadable'], row['unreadable_train']) == (1, 35, 24, 12, 1)
  said = capsys.readouterr().out
  assert '12 of 36 test examples and 1 of 36 training examples cannot be read' in ' '.join(said.split())
  listed = read_rows(tmp_path / 'run/bad_records.jsonl')
  assert len(listed) == 13 and sum('/test/b/' in row['file'] for row in listed) == 12
  strict = tree | {'max_bad_share': 0.05}
  with pytest.raises(BadRecordsError, match=r'12 of the 36 examples of config\.evaluate\.test are broken \(33\.3%, the '
                                            r'limit is 5\.0%\); listed in .*config\.max_bad_share is the limit'):
    train.train(strict, tmp_path / 'strict', quiet=True)
  assert evaluation(tmp_path / 'strict')['rows'][-1]['n_test'] == 24
  assert not (tmp_path / 'strict/result.json').exists()
  assert train.train(tree, tmp_path / 'strict', quiet=True) == DONE  # the limit may change
  with pytest.raises(BadRecordsError, match='config.evaluate.test are broken'):
    online = strict | {'evaluate': strict['evaluate'] | {'every_steps': 1}}
    train.train(online, tmp_path / 'online', quiet=True)


def test_a_class_that_cannot_be_read_at_all_is_told_by_its_images(tmp_path):
  train_set = grey(tmp_path / 'train', 'abc')
  broken(tmp_path / 'train', 'b', 12)
  tree = run_on(dict(name='digits', split='train'), train_set, grey(tmp_path / 'test', 'abc', seed=1))
  tree['objective']['classes'] = 10
  with pytest.raises(BadRecordsError, match=r'12 of the 36 examples of config\.evaluate\.train are broken'):
    train.train(tree, tmp_path / 'run', quiet=True)


def test_files_of_the_same_number_in_two_sets_are_both_listed(tmp_path):
  one, two = grey(tmp_path / 'one', 'a'), grey(tmp_path / 'two', 'a')
  path = tmp_path / 'bad.jsonl'
  for spec, name in ((one, 'one'), (two, 'two')):
    broken(tmp_path / name, 'a', 1)
    source = folder(**{key: value for key, value in spec.items() if key != 'name'})
    source.bad.path = str(path)
    source.batch(np.array([0]))
  assert [row['index'] for row in read_rows(path)] == [0, 0]


def test_labels_without_a_class_are_refused_before_the_first_step(tmp_path):
  np.savez(tmp_path / 'set.npz', train_image=np.zeros((40, 8, 8), np.uint8), train_label=np.arange(40) % 2,
           test_image=np.zeros((40, 8, 8), np.uint8), test_label=np.where(np.arange(40) % 2, 1, -1))
  one, two = (dict(name='arrays', path=str(tmp_path / 'set.npz'), split=split) for split in ('train', 'test'))
  for tree, words in ((run_on(one, one, two), r'config\.evaluate\.test: 20 of the 40 examples .*label -1'),
                      (run_on(two, one, one), r'config\.source: 20 of its examples are of no class')):
    with pytest.raises(ConfigError, match=words):
      config.call(prepare, tree, 'config')
