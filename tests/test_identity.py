"""What data are is part of a run: the same set anywhere is accepted, another one is refused with what differs."""
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data import identity
from data.source import images
from data.sources.arrays import arrays
from data.sources.folder import folder
from data.sources.huggingface import huggingface
from data.sources.pseudo_labeled import pseudo_labeled
from pretrain import train
from pretrain.__main__ import main
from pretrain.config import ConfigError
from pretrain.files import read_rows
from pretrain.programs import label
from pretrain.train import DONE, STOPPED
from tests.test_data import encoded, parquet_table, photo
from tests.test_train import ROOT, StopAfter, losses, tiny

pytestmark = pytest.mark.suite('system')

VIT = ('batch=8', 'steps=6', 'schedule.warmup_steps=1', 'checkpoint.every_steps=100', 'evaluate=None')


def folders(root: Path, classes=('a', 'b', 'c'), count=6) -> Path:
  """Class folders of different images of 8 x 8."""
  for k, name in enumerate(classes):
    (root / name).mkdir(parents=True)
    for i in range(count):
      photo(10 * k + i, (8, 8)).save(root / name / f'{i}.png')
  return root


def seen(root: Path) -> identity.Seen:
  return identity.look(folder(path=str(root), size=8))


def bound(root: Path) -> Path:
  """The same folder at another place, by a link."""
  (root.parent / 'mount').symlink_to(root)
  return root.parent / 'mount'


def touched(root: Path) -> Path:
  for path in root.rglob('*.png'):
    os.utime(path, (1, 1))
    path.chmod(0o400)
  return root


def beside(root: Path) -> Path:
  (root / 'a' / '.DS_Store').write_text('x')
  (root / 'a' / 'notes.txt').write_text('x')
  return root


HEALTHY = {
    'opened again': lambda root: root,
    'moved': lambda root: root.rename(root.parent / 'elsewhere'),
    'copied': lambda root: Path(shutil.copytree(root, root.parent / 'copy')),
    'behind a link': bound,
    'touched and read only': touched,
    'with files that are no images': beside,
    'by a relative path': lambda root: Path(os.path.relpath(root)),
    'with a slash at the end': lambda root: f'{root}/',
    'as links to its files': lambda root: Path(shutil.copytree(root, root.parent / 'links', copy_function=os.symlink)),
    'written by another process': lambda root: Path(subprocess.run(
        ['cp', '-r', root, root.parent / 'by cp'], check=True) and root.parent / 'by cp')}


@pytest.mark.parametrize('change', HEALTHY)
def test_the_same_images_are_the_same_data(change, tmp_path):
  before = seen(folders(tmp_path / 'set'))
  now = seen(HEALTHY[change](tmp_path / 'set'))
  assert identity.differences(before.identity, now.identity, before, now) == []
  assert now.identity.digest == before.identity.digest and now.identity.unseen() == ''


def test_the_same_digest_in_every_process(tmp_path):
  folders(tmp_path / 'set')
  script = (f'from data import identity; from data.sources.folder import folder; '
            f'print(identity.look(folder(path={str(tmp_path / "set")!r}, size=8)).identity.digest)')
  for number in '12':
    done = subprocess.run([sys.executable, '-c', script], cwd=ROOT, capture_output=True, text=True, check=True,
                          env=os.environ | dict(PYTHONHASHSEED=number, LC_ALL='C'))
    assert done.stdout.strip() == seen(tmp_path / 'set').identity.digest


def add(root):
  shutil.copy(root / 'a/0.png', root / 'b/00.png')


def rewrite(root):
  photo(99, (8, 8)).save(root / 'c/3.png')


def swap_names(root):
  (root / 'a').rename(root / 'x')
  (root / 'b').rename(root / 'a')
  (root / 'x').rename(root / 'b')


DIFFERENT = {
    'added': (add, '18 examples were, 19 are; 1 added, such as b/00.png'),
    'removed': (lambda root: (root / 'b/5.png').unlink(), '18 examples were, 17 are; 1 removed, such as b/5.png'),
    'renamed': (lambda root: (root / 'b/5.png').rename(root / 'b/6.png'),
                '1 added, such as b/6.png; 1 removed, such as b/5.png'),
    'changed': (rewrite, '1 changed, such as c/3.png'),
    'folders that change their names': (swap_names, '12 changed, such as a/0.png'),
    'a new class': (lambda root: folders(root, ('aa',), 1),
                    '18 examples were, 19 are; 1 added, such as aa/0.png; other classes: with aa'),
    'a class renamed': (lambda root: (root / 'b').rename(root / 'd'),
                        '6 added, such as d/0.png; 6 removed, such as b/0.png; other classes: without b and with d')}


@pytest.mark.parametrize('change', DIFFERENT)
def test_other_images_are_other_data_and_it_is_said_which(change, tmp_path):
  spoil, words = DIFFERENT[change]
  before = seen(folders(tmp_path / 'set'))
  spoil(tmp_path / 'set')
  now = seen(tmp_path / 'set')
  assert '; '.join(identity.differences(before.identity, now.identity, before, now)) == words
  assert identity.differences(before.identity, now.identity), 'without the arrays the kinds are known'


def test_sets_without_names_are_told_apart_by_their_contents():
  pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), np.uint8)
  labels = np.arange(20) % 2
  look = lambda *args: identity.look(images(*args))
  before = look(pixels, labels, ('a', 'b'))
  order = np.array([1, 0, *range(2, 20)])
  for now, words in [
      (look(pixels[:19], labels[:19], ('a', 'b')), '20 examples were, 19 are; 1 removed, such as example 19'),
      (look(pixels[order], labels[order], ('a', 'b')), 'reordered'),
      (look(pixels, labels[order], ('a', 'b')), '2 relabelled, such as example 0: a -> b'),
      (look(pixels, labels, ('b', 'a')), '20 relabelled, such as example 0: a -> b; other classes: in another order'),
      (look(pixels), 'other classes: without a, b')]:
    assert '; '.join(identity.differences(before.identity, now.identity, before, now)) == words
  changed = pixels.copy()
  changed[7] += 1
  now = look(changed, labels, ('a', 'b'))
  assert identity.differences(before.identity, now.identity, before, now) == [
      '1 added, such as example 7', '1 removed, such as example 7']


@pytest.mark.parametrize('count', [30, identity.ALL + 5])
def test_archives_and_parquet_are_known_by_checksums_and_sizes(count, tmp_path):
  """Also sets of which not all contents are looked at."""
  pixels = np.random.default_rng(0).integers(0, 256, (count, 2, 2), np.uint8)
  find = lambda: identity.look(arrays(path=str(tmp_path / 'set.npz'), split='train')).identity
  np.savez(tmp_path / 'set.npz', train_image=pixels)
  one = find()
  assert (one.looked, one.unseen() == '') == ((30, True) if count == 30 else (identity.SOME, False))
  np.savez_compressed(tmp_path / 'set.npz', train_image=pixels)
  assert find() == one
  pixels[5] += 1
  np.savez(tmp_path / 'set.npz', train_image=pixels)
  assert find().contents != one.contents
  of_parquet = lambda at: identity.look(huggingface(path=str(at), split='train', size=8)).identity
  table = parquet_table(range(6))
  for name, rows in (('one', table), ('copy', table), ('other', parquet_table(range(1, 7)))):
    (tmp_path / name).mkdir()
    pq.write_table(rows, tmp_path / name / 'train.parquet')
  assert of_parquet(tmp_path / 'one') == of_parquet(tmp_path / 'copy') != of_parquet(tmp_path / 'other')


def test_subsets_and_what_stands_beside_belong_to_the_identity():
  source = images(np.arange(40, dtype=np.uint8).reshape(10, 2, 2), np.arange(10) % 2)
  plain = identity.look(source).identity
  weighted = source.relabeled(source.labels, source.classes, 'x', weight=np.ones(10, np.float32))
  for other, field in ((source.take(np.arange(9)), 'order'), (source.take(np.arange(10)[::-1]), 'order'),
                       (weighted, 'labels')):
    found = identity.look(other).identity
    assert getattr(found, field) != getattr(plain, field) and found.digest != plain.digest
  assert identity.look(dataclasses.replace(source, origin='other words')).identity == plain
  assert identity.look(source.take(np.arange(10))).identity == plain


def test_what_was_seen_is_kept_and_a_damaged_file_is_only_less_to_say(tmp_path):
  before = seen(folders(tmp_path / 'set'))
  identity.write(tmp_path / 'data.npz', {'source': before})
  kept = identity.read(tmp_path / 'data.npz', 'source')
  assert kept.identity == before.identity and kept.names == before.names
  assert all(np.array_equal(a, b) for a, b in zip(kept[2:], before[2:], strict=True))
  assert identity.read(tmp_path / 'data.npz', 'unlabeled') is None
  (tmp_path / 'data.npz').write_bytes((tmp_path / 'data.npz').read_bytes()[:300])
  assert identity.read(tmp_path / 'data.npz', 'source') is None and identity.read(tmp_path / 'none', 'source') is None


# Runs -----------------------------------------------------------------------------------------------------------------

def spec(root: Path) -> str:
  return f"source={{'name': 'folder', 'path': '{root}', 'size': 8, 'channels': 1}}"


def stopped(tree: dict, workdir: Path, monkeypatch, step: int = 3) -> None:
  with monkeypatch.context() as patch:
    StopAfter(patch, step)
    assert train.train(tree, workdir, quiet=True) == STOPPED


def test_a_run_goes_on_with_its_own_data_alone(tmp_path, monkeypatch, capsys):
  tree = tiny(*VIT, spec(folders(tmp_path / 'set')))
  assert train.train(tree, tmp_path / 'whole', quiet=True) == DONE
  stopped(tree, tmp_path / 'run', monkeypatch)
  start = next(row for row in read_rows(tmp_path / 'run/events.jsonl') if row['event'] == 'start')
  digest = start['data']['source']['digest']
  assert start['data']['source']['examples'] == 18 and len(digest) == 12
  add(tmp_path / 'set')
  capsys.readouterr()
  with pytest.raises(ConfigError, match=r'trained on until step 3\. config\.source: 18 examples were, 19 are; 1 added, '
                                        r'such as b/00\.png\. .*--config\.accept_data=(\w{12})$') as refused:
    train.train(tree, tmp_path / 'run', quiet=True)
  accepted = str(refused.value)[-12:]
  assert accepted != digest
  with pytest.raises(ConfigError, match='1 added'):  # another data set than the one accepted
    train.train(tree | {'accept_data': digest}, tmp_path / 'run', quiet=True)
  shutil.copytree(tmp_path / 'run', tmp_path / 'accepts')
  assert train.train(tree | {'accept_data': accepted}, tmp_path / 'accepts', quiet=True) == DONE
  (tmp_path / 'set/b/00.png').unlink()
  (tmp_path / 'set').rename(tmp_path / 'moved')
  (tmp_path / 'set').symlink_to(tmp_path / 'moved')
  assert train.train(tree | {'reading': {'threads': 3}}, tmp_path / 'run', quiet=True) == DONE
  assert losses(tmp_path / 'run') == losses(tmp_path / 'whole')


def test_epochs_of_a_grown_set_do_not_change_a_run_under_way(tmp_path, monkeypatch):
  """Otherwise the steps, and with them the rate, would be others from there on."""
  tree = tiny(*VIT, spec(folders(tmp_path / 'set')), 'steps=None', 'epochs=3')
  stopped(tree, tmp_path / 'run', monkeypatch)
  for k in range(18):
    shutil.copy(tmp_path / 'set/a/0.png', tmp_path / f'set/a/x{k}.png')
  with pytest.raises(ConfigError, match='18 added'):
    train.train(tree, tmp_path / 'run', quiet=True)
  assert [row['lr'] for row in read_rows(tmp_path / 'run/metrics.jsonl')][-1] > 0


def test_a_second_stream_is_part_of_the_run_too(tmp_path, monkeypatch):
  heap = folders(tmp_path / 'heap')
  tree = tiny(*VIT, spec(folders(tmp_path / 'set')), "views={'name': 'fixmatch'}", "labels={'per_class': 2, 'seed': 0}",
              "objective={'name': 'fixmatch', 'classes': 3, 'threshold': 0.2, 'unlabeled_weight': 1., "
              "'ema_momentum': 0.9}") | {'unlabeled': dict(batch=8, source=dict(
                  name='folder', path=str(heap), size=8, channels=1))}
  stopped(tree, tmp_path / 'run', monkeypatch)
  rewrite(heap)
  with pytest.raises(ConfigError, match=r'config\.unlabeled\.source: 1 changed, such as c/3\.png'):
    train.train(tree, tmp_path / 'run', quiet=True)


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
  """A finished supervised run on three class folders."""
  root = tmp_path_factory.mktemp('classes')
  tree = tiny(*VIT, spec(folders(root / 'set', count=10)), "objective={'name': 'supervised', 'classes': 4}",
              "views={'name': 'supervised', 'size': 8, 'pad': 0}")
  assert train.train(tree, root / 'run', quiet=True) == DONE
  return root, tree


def test_labels_of_a_model_are_those_of_the_classes_it_was_taught(classifier, tmp_path, capsys):
  root, tree = classifier
  shutil.copytree(root, tmp_path, dirs_exist_ok=True)
  for name in ('run/config.json',):  # the copy's own data
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(str(root), str(tmp_path)))
  store = tmp_path / 'store'
  assert label.write_labels(tmp_path / 'run', store, quiet=True) == DONE
  about = json.loads((store / 'labels.json').read_text())
  assert about['names'] == ['a', 'b', 'c', '3'] and about['data']
  given = dict(source=tree['source'] | {'path': str(tmp_path / 'set')}, store=str(store), incomplete=True)
  assert len(pseudo_labeled(**given)) == 30
  rewrite(tmp_path / 'set')
  with pytest.raises(ValueError, match='holds labels of other data'):
    pseudo_labeled(**given)
  folders(tmp_path / 'set', ('aa',), 10)
  sets = dict(train=tree['source'], test=tree['source'])
  for command in (['label', f'--out={tmp_path / "z"}'], ['evaluate', f'--config.evaluate={sets}']):
    assert main([*command, f'--workdir={tmp_path / "run"}']) == 1
    assert 'was trained with the classes [a, b, c], config.source now has [a, aa, b, c]' in capsys.readouterr().err


@pytest.mark.parametrize('key', ['initialize', 'continues'])
def test_a_head_is_not_taken_over_for_other_classes(key, classifier, tmp_path):
  root, tree = classifier
  how = {'initialize': dict(workdir=str(root / 'run'), parts=('backbone', 'head'))} if key == 'initialize' else {
      'continues': str(root / 'run'), 'steps': 12}
  other = tree | {'source': tree['source'] | {'path': str(folders(tmp_path / 'other', ('b', 'a', 'x')))}} | how
  with pytest.raises(ConfigError, match=rf'config\.{key}.*was trained with the classes \[a, b, c\], config\.source now '
                                        r'has \[a, b, x\]'):
    train.train(other, tmp_path / 'run', quiet=True)
  same = other | {'source': tree['source'] | {'path': str(folders(tmp_path / 'same', count=3))}}
  assert train.train(same, tmp_path / 'run', quiet=True) == DONE
  if key == 'initialize':  # a backbone knows no classes
    backbone = other | {'initialize': dict(workdir=str(root / 'run'), parts=('backbone',))}
    assert train.train(backbone, tmp_path / 'backbone', quiet=True) == DONE


def test_an_image_that_is_added_is_told_by_its_file_also_among_thousands(tmp_path):
  root = tmp_path / 'many'
  (root / 'a').mkdir(parents=True)
  data = encoded(Image.new('L', (8, 8)), 'PNG')
  for k in range(identity.ALL + 10):
    (root / 'a' / f'{k}.png').write_bytes(data)
  before = seen(root)
  assert before.identity.looked == identity.SOME and 'the contents of 64 are compared' in before.identity.unseen()
  (root / 'a' / 'new.png').write_bytes(data)
  now = seen(root)
  assert identity.differences(before.identity, now.identity, before, now)[1] == '1 added, such as a/new.png'
