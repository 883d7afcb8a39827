"""DeeperCluster: the clusters of a whole set, and the program."""
import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from data import identity
from data import labels as stores
from data.sources.digits import digits
from data.sources.pseudo_labeled import pseudo_labeled
from pretrain.config import ConfigError
from pretrain.evaluate.predictions import features
from pretrain.programs import label as labeling
from pretrain.programs.cluster import in_two_levels, kmeans, whiten
from pretrain.programs.stages import program
from pretrain.train import DONE, STOPPED
from tests.checks import normal
from tests.test_train import StopAfter, tiny
from tests.test_train import losses as losses_of

pytestmark = pytest.mark.suite('system')

VIEWS = dict(name='supervised', size=8, pad=0, flip=0.)


# Clusters -------------------------------------------------------------------------------------------------------------

def test_whitened_features_are_principal_components_of_length_1():
  x = normal(0, 300, 6) @ normal(1, 6, 6)
  wanted = PCA(4, whiten=True).fit_transform(x)
  wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
  found = whiten(x, 4)
  np.testing.assert_allclose(found * np.sign(found[0]) * np.sign(wanted[0]), wanted, atol=2e-4)
  assert whiten(x).shape == (300, 6)
  assert np.isfinite(whiten(np.concatenate([x, np.zeros((300, 1))], 1))).all()  # a feature that says nothing
  assert np.isfinite(whiten(np.ones((5, 3)))).all()


def test_clusters_in_two_levels():
  rng = np.random.default_rng(0)
  centers = np.array([[0, 0], [0, 4], [100, 0], [100, 4]])
  truth = rng.integers(0, 4, 200)
  label = in_two_levels(centers[truth] + rng.normal(0, 0.1, (200, 2)), 2, 2, seed=0)
  assert all(len(np.unique(label[truth == c])) == 1 for c in range(4)) and len(np.unique(label)) == 4
  assert len(np.unique(label[truth < 2] // 2)) == 1  # neighbours in one super-cluster
  one = in_two_levels(centers[truth], 1, 4, seed=0)
  np.testing.assert_array_equal(one, kmeans(centers[truth], 4, init='random', seed=0, iterations=10).labels)
  few = in_two_levels(np.float32([[0], [1], [100]]), 2, 2, seed=0)
  assert sorted(np.bincount(few // 2, minlength=2)) == [1, 2] and len(np.unique(few)) == 3


def test_labels_of_clusters_may_be_balanced_and_some_without_an_example(tmp_path):
  n = 1437
  label = np.where(np.arange(n) < 1000, 0, np.where(np.arange(n) < 1400, 2, 3)).astype(np.int32)
  data = identity.look(digits(split='train').unlabeled()).identity.digest
  about = stores.About('m', 'train of digits', data, n, 4, None, 0)
  stores.write_part(tmp_path, 0, 1, stores.Labels(about, np.arange(n), label, np.ones(n, np.float32), None))
  stores.finish(tmp_path, 1, about)
  source = dict(name='digits', split='train')
  with pytest.raises(ValueError, match=r'classes \[1\]'):
    pseudo_labeled(source=source, store=str(tmp_path))
  found = pseudo_labeled(source=source, store=str(tmp_path), balanced=True, incomplete=True)
  assert np.bincount(found.labels).tolist() == [1000, 0, 1000, 1000] and len(np.unique(found.rows)) == n


# The program ----------------------------------------------------------------------------------------------------------

def tree(*overrides: str, cycles: int = 2, **options) -> dict:
  run = tiny("objective={'name': 'deepercluster'}", 'steps=2', 'schedule.warmup_steps=0', 'checkpoint.every_steps=2',
             *overrides) | {'views': VIEWS}
  return dict(program=dict(name='deepercluster', super_clusters=2, clusters=6, cycles=cycles, **options), train=run)


def test_the_program_clusters_the_features_of_the_run_before(tmp_path, monkeypatch):
  with monkeypatch.context() as patch:  # in the features, of which two batches are made
    StopAfter(patch, 4)
    assert program(tree(cycles=1, dim=8), tmp_path, quiet=True) == STOPPED
  assert (tmp_path / 'cycle0' / 'result.json').exists() and not (tmp_path / 'clusters1').exists()
  assert program(tree(cycles=1, dim=8), tmp_path, quiet=True) == DONE
  rows = json.loads((tmp_path / 'result.json').read_text())['stages']
  assert [row['stage'] for row in rows] == ['cycle0', 'cycle1'] and [row['clusters'] for row in rows] == [1, 12]
  assert rows[0]['information'] == 0 < rows[1]['information'] < 1
  first, second = (json.loads((tmp_path / f'cycle{c}' / 'config.json').read_text()) for c in range(2))
  assert [c['objective']['classes'] for c in (first, second)] == [1, 12] and (first['seed'], second['seed']) == (0, 1)
  assert 'initialize' not in first and second['initialize'] == dict(workdir=str(tmp_path / 'cycle0'),
                                                                    parts=['backbone'])
  made = pseudo_labeled(**{key: value for key, value in second['source'].items() if key != 'name'})
  label = stores.read(tmp_path / 'clusters1').label
  assert len(made) == 12 * np.bincount(label).max()  # all clusters are as frequent

  model = labeling.open_model(tmp_path / 'cycle0')
  found, good = features(model.run, model.state(), digits(split='train'))
  assert good.all()
  clustered = lambda x: in_two_levels(x, 2, 6, seed=0, mesh=model.run.mesh)
  assert np.array_equal(label, clustered(whiten(found, 8)))
  assert np.mean(label == clustered(found)) < 0.9 and np.mean(label == clustered(whiten(found, 4))) < 0.9


@pytest.mark.slow
def test_stopped_in_any_stage_it_goes_on_to_the_same_clusters(tmp_path, monkeypatch):
  assert program(tree(), tmp_path / 'a', quiet=True) == DONE
  for at in (5, 9):
    with monkeypatch.context() as patch:
      StopAfter(patch, at)
      assert program(tree(), tmp_path / 'b', quiet=True) == STOPPED
  assert program(tree(), tmp_path / 'b', quiet=True) == DONE
  one, other = (json.loads((tmp_path / name / 'result.json').read_text())['stages'] for name in 'ab')
  assert one == other and losses_of(tmp_path / 'a' / 'cycle2') == losses_of(tmp_path / 'b' / 'cycle2')
  models = {stores.read(tmp_path / 'a' / f'clusters{c}').about.model for c in range(3)}
  assert len(models) == 3


@pytest.mark.parametrize(('change', 'words'), [
    (tree(cycles=0), 'cycles'), (tree(dim=0), 'dim'), (tree("objective={'name': 'simclr'}"), 'objective'),
    (tree('objective.classes=3'), 'the program sets classes'), (tree("labels={'per_class': 1}"), 'set by the program'),
    (tree('objective.rotation=1'), "nearest: 'rotations'")])
def test_what_the_program_refuses(change, words, tmp_path):
  with pytest.raises(ConfigError, match=words):
    program(change, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_the_clusters_of_rotated_digits_say_more_and_more_of_their_classes(tmp_path):
  made = tree('steps=150', 'checkpoint.every_steps=150', 'schedule.peak=3e-3', 'batch=64', 'backbone.width=64',
              'backbone.patch=2', 'backbone.depth=2', 'backbone.mlp=128', cycles=4)
  made['program'] |= dict(super_clusters=2, clusters=10)
  assert program(made, tmp_path, quiet=True) == DONE
  information = [row['information'] for row in json.loads((tmp_path / 'result.json').read_text())['stages']]
  print(information)
  assert information[-1] > information[1] + 0.05 and len(digits(split='train')) == 1437
