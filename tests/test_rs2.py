"""Repeated random subsets: which examples a round holds, limits, exact position, and the length of the run."""
import json
from pathlib import Path

import numpy as np
import pytest

from data.loader import loader
from data.shuffle import permutation
from data.source import Source, images
from pretrain import config
from pretrain.config import ConfigError
from pretrain.run import Subset, prepare, round_of
from tests.reference import rs2 as twin
from tests.tiny import get_config

SEED = 3


def source(n: int) -> Source:
  pixels = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
  return images(pixels, np.arange(n, dtype=np.int32) % 3, ('a', 'b', 'c'), 'numbers')


def stream(n: int, fraction: float, replacement: bool, batches: int, batch: int = 4, start: int = 0):
  _, epoch = round_of(Subset(fraction, replacement), n)
  with loader(source(n), batch=batch, seed=SEED, epoch=epoch, start=start, threads=0) as loaded:
    return np.concatenate([next(loaded)['index'] for _ in range(batches)])


@pytest.mark.parametrize('replacement', [True, False])
@pytest.mark.parametrize(('n', 'fraction'), [(20, 0.2), (12, 0.25), (10, 0.3), (8, 1.0), (9, 0.1)])
def test_rounds_are_the_twins(n, fraction, replacement):
  size, _ = round_of(Subset(fraction, replacement), n)
  assert size == max(1, round(fraction * n))
  got = stream(n, fraction, replacement, 12)
  wanted = twin.rounds([permutation(n, SEED, epoch) for epoch in range(60)], size, len(got) // size, replacement)
  assert got[:len(wanted) * size].tolist() == [i for each in wanted for i in each]


def test_without_replacement_a_pass_visits_each_example_once_and_with_it_rounds_are_fresh():
  for first in (0, 20):  # two passes of five rounds
    assert sorted(stream(20, 0.2, False, 10)[first:first + 20]) == list(range(20))
  rounds = stream(20, 0.2, True, 10).reshape(-1, 4)
  assert all(len(set(each)) == 4 for each in rounds) and len({tuple(sorted(each)) for each in rounds}) == len(rounds)
  assert len(set(rounds[:5].ravel())) < 20


@pytest.mark.parametrize('replacement', [True, False])
def test_all_of_the_set_is_the_ordinary_order_and_a_restart_goes_on_in_the_same_permutation(replacement):
  with loader(source(10), batch=4, seed=SEED, threads=0) as plain:
    ordinary = np.concatenate([next(plain)['index'] for _ in range(8)])
  assert np.array_equal(stream(10, 1.0, replacement, 8), ordinary)
  whole = stream(20, 0.35, replacement, 12)  # batches straddle rounds
  for start in (1, 2, 5):
    assert np.array_equal(stream(20, 0.35, replacement, 12 - start, start=start), whole[4 * start:])


def test_the_schedule_has_the_length_of_the_smaller_budget():
  tree = get_config().to_dict() | {'steps': None, 'epochs': 10., 'subset': dict(fraction=0.1, replacement=True)}
  run = config.call(prepare, tree, 'config')
  assert run.steps == 10 * round(0.1 * 1437) // 32


@pytest.mark.parametrize(('changes', 'words'), [
    ({'subset': dict(fraction=0., replacement=True)}, 'subset.fraction: wanted a number in \\(0, 1\\], got 0.0'),
    ({'subset': dict(fraction=1.5, replacement=True)}, 'subset.fraction'),
    ({'subset': dict(fraction=1e-4, replacement=False)}, '0.0001 of 1437 examples is none; wanted at least 0.0006'),
    ({'subset': dict(fraction=0.5)}, "needs \\['replacement'\\]"),
    ({'subset': dict(fraction=0.5, replacment=True)}, "nearest: 'replacement'"),
    ({'subset': dict(fraction=0.5, replacement=True), 'unlabeled': dict(batch=32)}, 'wanted one stream'),
])
def test_a_subset_that_does_not_fit_is_refused_in_words(changes, words):
  with pytest.raises(ConfigError, match=words):
    config.call(prepare, get_config().to_dict() | changes, 'config')


def test_its_table_is_a_table():
  from launch.spec import read
  path = Path(__file__).parents[1] / 'launch' / 'tables' / 'rs2.py'
  _, cells = read(str(path), Path('runs'))
  steps = {json.dumps(config.call(prepare, dict(cell.config), 'config').steps) for cell in cells if cell.seed == 0}
  assert len(steps) == 1  # the same budget in every cell
