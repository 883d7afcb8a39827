"""Unsupervised Pre-Training of Image Features on Non-Curated Data (clustering, pretext task)."""
from pathlib import Path

import numpy as np
from sklearn.metrics import normalized_mutual_info_score

import data.sources
from data import labels as stores
from data.wrap import places
from pretrain import config as configs
from pretrain.config import ConfigError, Count
from pretrain.programs.stages import check, cluster, fit, probes, relabeled

PAPER = 'deepercluster'


def deepercluster(*, workdir: Path, train: dict, super_clusters: Count, clusters: Count, cycles: Count,
                  dim: Count | None = None) -> list[dict]:
  """The features of all images are clustered, the network learns clusters and rotations, and again.

  arXiv:1905.01278, section 4 (the number from memory), and the authors' code: whitened features of images that are not
  turned, k-means in two levels by ten iterations, images drawn so that all clusters are equally frequent, new heads
  after each clustering. The features that are clustered first are those of a network that learned the rotations alone
  (of random parameters, where `train.objective` has rotations=1). Deviations: the optimizer starts anew in each cycle,
  and so does the schedule of the rate.

  Args:
    train: config of every run, of the objective `deepercluster` but for `classes` and `super_clusters`; its steps are
      those from one clustering to the next; no label of its source is looked at, but for the result.
    super_clusters: m; 4 in the paper, so 16 super-classes.
    clusters: k, in each super-cluster; 80,000 in the paper.
    cycles: how often the features are clustered.
    dim: of the whitened features; the paper's 4096 are all that VGG-16 has; None: all.
  Returns:
    A row for each run: stage, examples, the number of clusters that have any, where the source has labels the
    normalised mutual information of clusters and labels, and where `train` has `evaluate` see `stages.probes`.
  Raises:
    ConfigError: another objective.
  """
  objective = train.get('objective') or {}
  if objective.get('name') != 'deepercluster' or {'classes', 'super_clusters'} & objective.keys():
    raise ConfigError("config.train.objective: wanted dict(name='deepercluster'), of which the program sets classes "
                      f'and super_clusters, got {objective}')
  check('train', with_clusters(train, 1, 1), given=('labels', 'unlabeled', 'initialize'))
  source, seed = train['source'], train.get('seed', 0)
  truth = configs.build(data.sources, source, 'config.train.source')
  model, rows = None, []
  for cycle in range(cycles + 1):
    sizes = (super_clusters, clusters) if cycle else (1, 1)
    store = cluster(model, workdir / f'clusters{cycle}', source=source, super_clusters=sizes[0], clusters=sizes[1],
                    dim=dim, seed=seed, generation=cycle)
    run = with_clusters(train, *sizes) | {'seed': seed + cycle}
    run = relabeled(run, source, store, balanced=True, incomplete=True)
    if model:
      run['initialize'] = dict(workdir=str(model), parts=('backbone',))
    model = fit(run, workdir / f'cycle{cycle}')
    found = stores.read(store)
    row: dict = {'stage': model.name, 'examples': len(found.label), 'clusters': len(np.unique(found.label))}
    if truth.labels is not None:
      label = found.label[places(found.index, truth.index, str(store))]
      row['information'] = float(normalized_mutual_info_score(truth.labels, label))
    rows.append(row | probes(model))
  return rows


def with_clusters(train: dict, super_clusters: int, clusters: int) -> dict:
  """The config of a run with so many clusters to tell apart."""
  return train | {'objective': train['objective'] | dict(classes=super_clusters * clusters,
                                                         super_clusters=super_clusters)}
