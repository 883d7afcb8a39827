"""The benchmark beside other libraries refuses to compare unlike work; nothing of theirs is needed here."""
import copy
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'
sys.path.insert(0, str(BENCHMARKS))
import peers  # noqa: E402

FACTS = {'parameters': 11_000, 'examples': 8, 'views': {'global': [8, 2, 32, 32, 3]},
         'optimizer': {'name': 'adamw', 'lr': 1e-3, 'weight_decay': 0.05, 'decayed': 10_000, 'b1': 0.9}}
CHILD = '''
import sys
sys.path.insert(0, {benchmarks!r})
import peers

def start(spec):
  print('libraries talk')
  if 'facts' not in spec:
    raise ValueError('this is no spec')
  return spec['facts'], lambda: print('more talk')

peers.serve(start)
'''


@pytest.mark.parametrize('keys, value, words', [
    (('parameters',), 11_001, "parameters: ours 11000, the peers' 11001"),
    (('examples',), 16, "examples: ours 8, the peers' 16"),
    (('views', 'global'), [8, 2, 28, 28, 3], 'views.global: ours [8, 2, 32, 32, 3]'),
    (('views', 'local'), [8, 6, 16, 16, 3], 'views.local: ours None'),
    (('optimizer', 'name'), 'sgd', "optimizer.name: ours adamw, the peers' sgd"),
    (('optimizer', 'lr'), 2e-3, 'optimizer.lr'),
    (('optimizer', 'decayed'), 11_000, 'optimizer.decayed'),
])
def test_what_differs_is_named(keys, value, words):
  other = copy.deepcopy(FACTS)
  at = other
  for key in keys[:-1]:
    at = at[key]
  at[keys[-1]] = value
  found, = peers.differences(FACTS, other)
  assert words in found


def test_equal_descriptions_pass_also_through_json():
  assert not list(peers.differences(FACTS, json.loads(json.dumps(FACTS))))


def test_losses_are_compared_step_by_step():
  most = peers.TOLERANCE['float32']
  assert not list(peers.disagreement([2., 1., 0.5], [2.0001, 1.0005, 0.5], most))
  found, = peers.disagreement([2., 1., 0.5], [2.001, 1., 0.5], most)
  assert 'loss after 0 updates: ours 2, the peers\' 2.001, wanted within 0.0001' in found
  found, = peers.disagreement([2., 1., 0.5], [2., 1., float('nan')], most)
  assert 'after 2 updates' in found
  found, = peers.disagreement([2., 1., 0.5], [2.], most)
  assert 'wanted 3' in found


def test_a_refused_row_has_the_reason_and_no_number():
  row = {'case': 'mae', 'level': 'step', 'precision': 'float32', 'refused': ["parameters: ours 1, the peers' 2"],
         'ours': {'how': 'float32'}, 'peers': {'how': 'float32'}}
  assert "no ratio: parameters: ours 1, the peers' 2" in peers.line(row)


def test_a_child_answers_in_turns_and_is_stopped_between(tmp_path):
  path = tmp_path / 'child.py'
  path.write_text(CHILD.format(benchmarks=str(BENCHMARKS)))
  with peers.Child([sys.executable, str(path)], {'facts': FACTS}) as child:
    assert child.facts == FACTS
    assert child.ask()['seconds'] < 1 and child.ask()['peak_bytes'] > 1 << 20
    assert Path(f'/proc/{child.process.pid}/stat').read_text().split()[2] == 'T'
  with pytest.raises(peers.ChildError, match='this is no spec'):
    peers.Child([sys.executable, str(path)], {})
