"""Data as they are found: damaged, doubled, linked, badly named. No wrong number comes of them, and nothing hangs."""
import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data import identity
from data.__main__ import main as data_main
from data.classes import numbered_as
from data.source import images
from data.sources.array_record import array_record
from data.sources.arrays import arrays
from data.sources.clips import clips
from data.sources.folder import folder
from data.sources.huggingface import huggingface
from data.sources.labeled_text import labeled_text
from data.sources.mixed import Several
from data.sources.noisy_labels import noisy_labels
from data.sources.of_classes import of_classes
from data.sources.pairs import pairs
from data.sources.table import table
from data.sources.webdataset import webdataset
from data.text import train as train_tokenizer
from pretrain import config
from pretrain.config import ConfigError
from pretrain.files import read_rows, write_json
from pretrain.machine.metrics import event
from pretrain.run import prepare
from pretrain.train import DONE, train
from tests.test_data import encoded, parquet_table, photo, tar
from tests.test_train import StopAfter, losses, tiny

PIXELS = [encoded(photo(k, (8, 8)), 'PNG') for k in range(12)]


def folders(root, names='ab', count=3):
  for k, name in enumerate(names):
    (root / name).mkdir(parents=True)
    for i in range(count):
      (root / name / f'{i}.png').write_bytes(PIXELS[3 * k + i])
  return root


# Sets that are damaged, or not what they are named --------------------------------------------------------------------

def tar_of(path, numbers):
  parts = lambda k: (('png', PIXELS[k]), ('cls', '0'))
  return tar(path, {f'{k}.{suffix}': content for k in numbers for suffix, content in parts(k)})


@pytest.mark.parametrize('damage', ['header', 'zeroed header', 'zeroed half', 'two in one', 'cut at a member'])
def test_a_damaged_tar_file_is_refused_and_does_not_end_early(damage, tmp_path):
  path = tar_of(tmp_path / 'a.tar', range(6))
  with tarfile.open(path) as file:
    at = file.getmembers()[6].offset
  content = bytearray(path.read_bytes())
  if damage == 'header':
    content[at + 150] ^= 0x40
  elif damage == 'zeroed header':
    content[at:at + 512] = bytes(512)
  elif damage == 'zeroed half':
    content[at:] = bytes(len(content) - at)
    content[-5] = 1
  elif damage == 'two in one':
    content += tar_of(tmp_path / 'b.tar', range(6, 9)).read_bytes()
  else:
    content = content[:at]
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'a\.tar: wanted a whole, uncompressed tar file'):
    webdataset(path=str(path), size=8)


def test_tar_files_that_overlap_are_refused_and_equal_names_are_not(tmp_path):
  tar_of(tmp_path / 'a-0.tar', range(4))
  tar_of(tmp_path / 'a-1.tar', range(3, 6))
  with pytest.raises(ValueError, match=r'3 in .*a-1\.tar is also in .*a-0\.tar: examples would come twice'):
    webdataset(path=str(tmp_path / 'a-*.tar'), size=8)
  for shard in (0, 1):  # names that begin anew in each file
    tar(tmp_path / f'b-{shard}.tar', {f'{k}.png': PIXELS[6 * shard + k] for k in range(3)})
  assert len(webdataset(path=str(tmp_path / 'b-*.tar'), size=8)) == 6


def arrow(path, table, tail=b''):
  path.parent.mkdir(parents=True, exist_ok=True)
  out = io.BytesIO()
  with pa.ipc.new_stream(out, table.schema) as writer:
    writer.write_table(table, max_chunksize=2)
  path.write_bytes(out.getvalue() + tail)


def test_an_arrow_file_is_read_to_its_end_or_refused(tmp_path):
  path = tmp_path / 'train/data-00000-of-00001.arrow'
  arrow(path, parquet_table(range(4)))
  read = lambda: huggingface(path=str(tmp_path), split='train', size=8)
  whole = path.read_bytes()
  assert len(read()) == 4
  for content, words in ((whole + whole, 'is not read'), (whole[:-8], 'ends early'), (whole[:len(whole) // 2], '')):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'data-00000-of-00001\.arrow cannot be read: .*{words}'):
      read()


def test_parquet_files_of_the_same_content_are_refused(tmp_path):
  for shard in range(2):
    pq.write_table(parquet_table(range(3)), tmp_path / f'train-0000{shard}-of-00002.parquet')
  with pytest.raises(ValueError, match='examples come twice, such as .*train-00000.* and .*train-00001'):
    huggingface(path=str(tmp_path), split='train', size=8)


def test_files_of_the_hub_and_of_file_systems_are_not_taken_for_others(tmp_path):
  """Fingerprints in names, hidden folders, a folder above that looks like a shard."""
  root = tmp_path / 'fold-1-of-5'
  (root / '.cache').mkdir(parents=True)
  for shard, mark in enumerate(('8b4dc2a0e3a1b5a1', '0f3dc2a0e3a1b5a9')):
    pq.write_table(parquet_table(range(3 * shard, 3 * shard + 3)), root / f'train-0000{shard}-of-00002-{mark}.parquet')
  pq.write_table(parquet_table(range(3)), root / '.cache/train-00000-of-00001.parquet')
  (root / '._train-00000-of-00002-8b4dc2a0e3a1b5a1.parquet').write_bytes(b'x')
  assert len(huggingface(path=str(root), split='train', size=8)) == 6
  (root / 'train-00001-of-00002-0f3dc2a0e3a1b5a9.parquet').unlink()
  with pytest.raises(ValueError, match='train-00001-of-00002.parquet is missing'):
    huggingface(path=str(root), split='train', size=8)


def test_prepared_shards_that_change_places_are_refused(tmp_path, capsys):
  folders(tmp_path / 'set', count=2)
  assert data_main(['prepare', f'--folder={tmp_path / "set"}', f'--out={tmp_path / "out"}', '--shards=2']) == 0
  capsys.readouterr()
  one, two = sorted((tmp_path / 'out').glob('*.array_record'))
  one.rename(tmp_path / 'x')
  two.rename(one)
  (tmp_path / 'x').rename(two)
  with pytest.raises(ValueError, match=r'train-00000-of-00002\.array_record does not hold what was prepared'):
    array_record(path=str(tmp_path / 'out'), split='train', size=8)


@pytest.mark.parametrize('features', ['null', '[]', '3', '{"label": {"_type": "ClassLabel", "names": 3}}'])
def test_metadata_that_is_none_is_named(features, tmp_path, capsys):
  table_ = parquet_table(range(3)).replace_schema_metadata({'huggingface': f'{{"info": {{"features": {features}}}}}'})
  pq.write_table(table_, tmp_path / 'train.parquet')
  code = data_main(['prepare', f'--huggingface={tmp_path}', f'--out={tmp_path / "out"}'])
  assert code == 0 or 'its metadata of `datasets` cannot be read' in capsys.readouterr().err


# Labels and classes ---------------------------------------------------------------------------------------------------

def test_two_classes_of_one_name_are_refused(tmp_path):
  pq.write_table(parquet_table(range(3), names=('a', 'a', 'b')), tmp_path / 'train.parquet')
  np.savez(tmp_path / 'set.npz', train_image=np.zeros((2, 2, 2), np.uint8), train_label=[0, 1], classes=['a', 'a'])
  for open_ in (lambda: huggingface(path=str(tmp_path), split='train', size=8),
                lambda: arrays(path=str(tmp_path / 'set.npz'), split='train')):
    with pytest.raises(ValueError, match="the class 'a' is there twice"):
      open_()


def test_labels_of_other_byte_orders_and_names_as_bytes(tmp_path):
  np.savez(tmp_path / 'set.npz', train_image=np.zeros((2, 2, 2), np.uint8), train_label=np.array([1, 0], '>i4'),
           classes=np.array([b'cat', b'dog']))
  source = arrays(path=str(tmp_path / 'set.npz'), split='train')
  assert source.labels.tolist() == [1, 0] and source.classes == ('cat', 'dog')


def test_soft_labels_are_not_left_behind_by_new_ones(monkeypatch):
  soft = images(np.zeros((4, 2, 2), np.uint8)).relabeled(np.array([0, 1, 0, 1]), ('a', 'b'), 'soft',
                                                         probabilities=np.full((4, 2), 0.5, np.float32))
  for name, wrap in (('of_classes', lambda: of_classes(source={}, classes=('b', 'a'))),
                     ('noisy_labels', lambda: noisy_labels(source={}, rate=0.5, seed=0))):
    monkeypatch.setattr(f'data.sources.{name}.opened', lambda *_: soft)
    with pytest.raises(ValueError, match='soft has probabilities of its classes.*before soft labels are made'):
      wrap()
  repeated = images(np.zeros((4, 2, 2), np.uint8), [0, 1, 0, 1]).take([0, 0, 1, 1])
  with pytest.raises(ValueError, match='examples several times, which would get several labels'):
    repeated.relabeled(np.array([0, 1, 1, 1]), ('0', '1'), 'noisy')
  assert repeated.relabeled(np.array([1, 1, 0, 0]), ('0', '1'), 'new').labels.tolist() == [1, 1, 0, 0]


def test_names_meet_in_either_form_of_unicode():
  one = images(np.zeros((2, 2, 2), np.uint8), [0, 1], ('caf\u00e9', 'x'))
  assert numbered_as(one, ('x', 'cafe\u0301'), here='', there='').labels.tolist() == [1, 0]


# Links, pipes and names -----------------------------------------------------------------------------------------------

def test_folders_that_link_to_each_other_come_once_and_do_not_take_for_ever(tmp_path):
  names = 'abcdefgh'
  root = folders(tmp_path / 'set', names[:4], 1)
  for name in names[4:]:
    (root / name).mkdir()
  for one in names:
    for other in names:
      (root / one / f'to_{other}').symlink_to(root / other)
  source = folder(path=str(root), size=8)
  assert len(source) == 4 and source.labels.tolist() == [0, 1, 2, 3]
  assert '64 files ignored' in source.notes[0] and 'links to folders that are in the set already' in source.notes[0]
  farm = tmp_path / 'farm'  # classes that are links, two of them to one folder
  farm.mkdir()
  for name, target in (('x', 'a'), ('y', 'b'), ('z', 'a')):
    (farm / name).symlink_to(root / target)
  linked = folder(path=str(farm), size=8)
  files = [linked.examples.file(i).removeprefix(str(farm)) for i in range(len(linked))]
  assert files[:1] + files[-1:] == ['/x/0.png', '/y/0.png'] and len(files) == 4
  assert linked.classes == ('x', 'y', 'z') and 'in the set already' in linked.notes[0]


def test_a_link_to_itself_and_folders_of_systems_are_passed_over(tmp_path):
  root = folders(tmp_path / 'set')
  (root / 'a/self.png').symlink_to(root / 'a/self.png')
  (root / '__MACOSX').mkdir()
  (root / '__MACOSX/x.png').write_bytes(PIXELS[0])
  (root / 'lost+found').mkdir()
  source = folder(path=str(root), size=8)
  assert source.classes == ('a', 'b') and len(source) == 6 and 'a/self.png' in source.notes[0]


def test_pipes_in_place_of_files_are_told(tmp_path):
  for name in ('x.png', 'set.npz', 'train.npz'):
    os.mkfifo(tmp_path / name)
  (tmp_path / 'pairs.jsonl').write_text('{"image": "x.png", "text": "a"}\n')
  source = pairs(path=str(tmp_path / 'pairs.jsonl'), size=8, tokenizer='bytes', length=8)
  identity.look(source)
  assert not source.read(np.array([0]))[1].any()
  for path in ('set.npz', '.'):
    with pytest.raises(ValueError, match='is a folder, a pipe or a device'):
      arrays(path=str(tmp_path / path), split='train')


def test_what_cannot_be_read_costs_no_open_files(tmp_path):
  (tmp_path / 'folder.png').mkdir()
  (tmp_path / 'pairs.jsonl').write_text('{"image": "folder.png", "text": "a"}\n')
  source = pairs(path=str(tmp_path / 'pairs.jsonl'), size=8, tokenizer='bytes', length=8)
  before = len(os.listdir('/proc/self/fd'))
  for _ in range(5):
    source.read(np.array([0]))
  assert len(os.listdir('/proc/self/fd')) == before


def test_frames_stay_in_their_folder(tmp_path):
  for at, first in (('a/v', 0), ('a/v/5x', 100)):
    (tmp_path / at).mkdir(parents=True)
    for i in range(1, 11):
      Image.new('L', (8, 8), first + i).save(tmp_path / at / f'{i}.png')
  source = clips(path=str(tmp_path), size=8, channels=1, frames=10, every=1)
  found = source.batch(np.arange(2))['image'][:, :, 0, 0, 0]
  assert found.tolist() == [list(range(1, 11)), list(range(101, 111))]
  before = identity.look(source)
  Image.new('L', (8, 8), 9).save(tmp_path / 'a/v/5x/3.png')
  now = identity.look(clips(path=str(tmp_path), size=8, channels=1, frames=10, every=1))
  assert identity.differences(before.identity, now.identity, before, now) == ['1 changed, such as a/v/5x/1.png']


def test_names_that_are_no_utf8_are_written_and_printed(tmp_path, capsys):
  root = os.fsencode(folders(tmp_path / 'set'))
  os.rename(root + b'/a', root + b'/a\xff')
  os.symlink(b'nothing', root + b'/b/dang\xfc.png')
  source = folder(path=str(tmp_path / 'set'), size=8)
  assert all(note.encode() for note in source.notes)
  write_json(tmp_path / 'x.json', {'classes': source.classes})
  assert tuple(json.loads((tmp_path / 'x.json').read_text())['classes']) == source.classes
  event(tmp_path, 'start', classes=source.classes)
  assert tuple(read_rows(tmp_path / 'events.jsonl')[0]['classes']) == source.classes
  assert data_main(['prepare', f'--folder={tmp_path / "set"}', f'--out={tmp_path / "out"}']) == 0
  assert array_record(path=str(tmp_path / 'out'), split='train', size=8).classes == source.classes
  assert 'dang' in capsys.readouterr().out


# Tables and texts -----------------------------------------------------------------------------------------------------

def test_a_column_of_one_value_or_of_huge_ones_stays_finite(tmp_path):
  rows = ''.join(f'0.1,{(-1) ** i * 1e300},{i * 1e-310},{"ab"[i % 2]}\n' for i in range(40))
  (tmp_path / 't.csv').write_text('x,y,z,l\n' + rows)
  values = table(path=str(tmp_path / 't.csv'), split='train', label='l').batch(np.arange(32))['row']
  np.testing.assert_allclose(values.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(values.std(0), [0, 1, 1], atol=1e-5)
  test_row = np.setdiff1d(np.arange(40), table(path=str(tmp_path / 't.csv'), split='train', label='l').index)[0]
  lines = rows.splitlines()
  lines[test_row] = lines[test_row].replace('0.1,', '0.2,')
  (tmp_path / 't.csv').write_text('x,y,z,l\n' + '\n'.join(lines))
  assert abs(table(path=str(tmp_path / 't.csv'), split='test', label='l').batch(np.arange(8))['row'][:, 0]).max() < 2


def test_an_evaluation_reads_texts_as_the_run_does(tmp_path):
  for name, words in (('one', 'a dog and a cat '), ('two', 'to be or not to be ')):
    (tmp_path / f'{name}.txt').write_text(words * 40)
    train_tokenizer([tmp_path / f'{name}.txt'], 280, str(tmp_path / f'{name}.json'))
  (tmp_path / 'set.jsonl').write_text(''.join(
      json.dumps({'text': f'text {i}', 'label': 'ab'[i % 2]}) + '\n' for i in range(40)))
  spec = lambda name: dict(name='labeled_text', path=str(tmp_path / 'set.jsonl'), length=16,
                           tokenizer=name if name == 'bytes' else str(tmp_path / f'{name}.json'))
  text = dict(name='text', vocabulary=280, length=16, width=16, depth=1, heads=2, mlp=16, pool='mean')
  tree = tiny('batch=8', "objective={'name': 'supervised', 'classes': 2, 'tokens': True}", 'views=None') | dict(
      source=spec('one'), backbone=text)
  made = lambda evaluate: config.call(prepare, tree | {'evaluate': evaluate}, 'config')
  try:
    made(dict(train=spec('one'), test=spec('one'), pictures=False))
  except ConfigError as error:
    assert 'tokenizer' not in str(error)
  for other in ('two', 'bytes'):
    with pytest.raises(ConfigError, match=r'config\.evaluate\.test: another tokenizer than that of config\.source'):
      made(dict(train=spec('one'), test=spec(other)))
  (tmp_path / 'moved.json').write_bytes((tmp_path / 'one.json').read_bytes())
  same = labeled_text(**{k: v for k, v in spec('moved').items() if k != 'name'})
  assert same.encoding == labeled_text(**{k: v for k, v in spec('one').items() if k != 'name'}).encoding


# Runs -----------------------------------------------------------------------------------------------------------------

def test_a_set_that_is_moved_is_given_by_its_new_path(tmp_path, monkeypatch):
  spec = lambda path: f"source={{'name': 'folder', 'path': '{path}', 'size': 8, 'channels': 1}}"
  flags = ['batch=8', 'steps=6', 'schedule.warmup_steps=1',  # of six images, which are not compared
           "objective={'name': 'simsiam', 'hidden': (32,), 'dim': 16, 'predictor_hidden': 8}"]
  tree = tiny(*flags, spec(folders(tmp_path / 'set')))
  with monkeypatch.context() as patch:
    StopAfter(patch, 3)
    train(tree, tmp_path / 'run', quiet=True)
  (tmp_path / 'set').rename(tmp_path / 'moved')
  assert train(tiny(*flags, spec(tmp_path / 'moved')), tmp_path / 'run', quiet=True) == DONE
  assert list(losses(tmp_path / 'run')) == [1, 2, 3, 4, 5, 6]


def test_labels_that_are_kept_secret_are_no_labels_and_empty_sets_are_told(tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
  np.savez(tmp_path / 'set.npz', train_image=pixels, train_label=np.full(40, -1), none_image=pixels[:0],
           none_label=np.zeros(0, int))
  tree = tiny('batch=8') | {'source': dict(name='arrays', path=str(tmp_path / 'set.npz'), split='train')}
  assert config.call(prepare, tree, 'config').data['source'].labels is None
  with pytest.raises(ConfigError, match='none of .* is empty'):
    config.call(prepare, tree | {'source': tree['source'] | {'split': 'none'}}, 'config')


def test_the_members_of_a_mixture_are_found_by_their_place():
  one = images(np.arange(5, dtype=np.uint8).reshape(5, 1, 1)).take([4, 2])
  two = images(np.arange(10, 14, dtype=np.uint8).reshape(4, 1, 1))
  both = Several((one, two))
  found, broken = both.read(np.array([5, 0, 1, 2]))
  assert found['image'].ravel().tolist() == [13, 4, 2, 10] and not broken and len(both) == 6
  assert both.file(1) == 'arrays#2' and both.file(5) == 'arrays#3'
