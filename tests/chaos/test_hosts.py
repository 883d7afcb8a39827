"""Several processes of which one is lost, hangs, errs, sees another disk: the others say so and end, within limits."""
import os
import re
import signal
import time

import pytest

from pretrain.machine import processes
from pretrain.machine.metrics import read_events, read_metrics
from tests.chaos.test_damage import flip, largest
from tests.test_processes import Processes, wait_for

pytestmark = pytest.mark.suite('system')

LONG = ('train', '--config=tests/tiny.py', '--config.steps=100000', '--config.checkpoint.every_steps=100000',
        '--config.log_every_steps=20')
SHORT = ('train', '--config=tests/tiny.py', '--config.steps=60', '--config.checkpoint.every_steps=10')


@pytest.mark.parametrize('victim', [0, 1])
def test_a_killed_process_is_a_lost_machine_to_the_other(victim, tmp_path):
  two = Processes(tmp_path / 'run', 2, 1, command=LONG)
  wait_for(tmp_path / 'run', 'first_step', two)
  if victim:
    asked_for_stacks(two)
    while not (rows := [row for row in read_metrics(tmp_path / 'run') if 'hosts/read' in row]):
      time.sleep(.1)
    assert len(rows[0]['hosts/read']) == len(rows[0]['hosts/busy']) == 2
    assert re.match(r'process [01] on \S+', rows[0]['hosts/slowest'])
  two.running[victim].kill()
  codes = two.wait()
  assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == processes.LOST, two.text()
  assert 'the same command goes on from the newest checkpoint' in two.text()
  assert not victim or read_events(tmp_path / 'run')[-1]['event'] == 'lost'


def test_a_process_that_is_killed_while_a_save_is_under_way_is_not_waited_for(tmp_path):
  """The other would wait for the dead one's part of the save."""
  often = (*LONG[:-2], '--config.checkpoint.every_steps=1', '--config.log_every_steps=20')
  two = Processes(tmp_path / 'run', 2, 1, command=often)
  wait_for(tmp_path / 'run', 'save', two)
  while not list((tmp_path / 'run/checkpoints').glob('*tmp*')):
    time.sleep(.001)
  two.running[1].kill()
  start = time.time()
  assert two.running[0].wait(100) == processes.LOST, two.text()
  assert time.time() - start < 30, two.text()


def asked_for_stacks(two: Processes):
  """SIGQUIT to one has all print them, and they go on."""
  two.running[1].send_signal(signal.SIGQUIT)
  deadline = time.time() + 60
  while not all('most recent call first' in output.read_text() for output in two.outputs):
    assert time.time() < deadline and all(process.poll() is None for process in two.running), two.text()
    time.sleep(.2)


def test_processes_go_on_from_the_checkpoint_before_a_damaged_one(tmp_path):
  workdir = tmp_path / 'run'
  one = Processes(workdir, 1, 1, '--config.steps=12', command=SHORT)
  assert one.wait() == [0], one.text()
  for name in ('result.json', 'report.html'):
    (workdir / name).unlink()
  flip(largest(workdir, 12))
  two = Processes(workdir, 2, 1, '--config.steps=12', command=SHORT)
  assert two.wait() == [0, 0], two.text()
  assert (workdir / 'checkpoints/damaged-12').is_dir() and (workdir / 'checkpoints/12').is_dir()
  assert [row['step'] for row in read_events(workdir) if row['event'] == 'start'] == [0, 10]
  assert 'checkpoint 12 in ' in two.text() and 'kept as damaged-12' in two.text()


def test_one_that_errs_alone_ends_the_others_with_its_words(tmp_path):
  two = Processes(tmp_path / 'run', 2, 1, command=SHORT, own_flags={1: ['--config.source.split=nonsense']})
  start = time.time()
  assert two.wait() == [1, 1], two.text()
  assert time.time() - start < 100
  assert re.search(r'error: process 1 (on \S+ )?(ended with 1|does not agree)', two.outputs[0].read_text()), two.text()


def test_a_directory_that_is_not_shared_is_told(tmp_path, monkeypatch):
  monkeypatch.setenv('PRETRAIN_SHARED_SECONDS', '3')
  two = Processes(tmp_path / 'run', 2, 1, command=SHORT, own_flags={1: [f'--workdir={tmp_path}/other']})
  assert two.wait() == [1, 1], two.text()
  assert re.search(r'process 1 on \S+ did not see within 3 s what process 0 wrote into .*/run; wanted a directory that '
                   'all hosts share', two.text()), two.text()
  assert not (tmp_path / 'other' / 'config.json').exists()


def test_one_that_hangs_is_named_and_all_print_their_stacks(tmp_path, monkeypatch):
  monkeypatch.setenv('PRETRAIN_WAIT_SECONDS', '25')
  two = Processes(tmp_path / 'run', 2, 1, command=LONG, environments={1: {'PRETRAIN_WAIT_SECONDS': '1000'}})
  wait_for(tmp_path / 'run', 'first_step', two)
  os.kill(two.running[1].pid, signal.SIGSTOP)
  start = time.time()
  assert two.running[0].wait(120) == processes.LOST and time.time() - start < 100
  two.running[1].send_signal(signal.SIGCONT)
  assert two.running[1].wait(120) == processes.LOST
  said = two.outputs[0].read_text()
  assert 'Thread 0x' in said and '(most recent call first)' in said
  assert re.search(r'training for \d+ s; the limit is 25 s .PRETRAIN_WAIT_SECONDS.. Behind all others, after step \d+: '
                   r'.*process 1 on \S+', said), said


def test_one_that_never_comes_is_named(tmp_path, monkeypatch):
  monkeypatch.setenv('PRETRAIN_WAIT_SECONDS', '6')
  two = Processes(tmp_path / 'run', 2, 1, command=SHORT)
  two.running[1].kill()
  start = time.time()
  code = two.running[0].wait(200)
  assert code == processes.LOST and time.time() - start < 100, two.text()


def test_a_signal_while_the_others_are_awaited_ends_both_with_75(tmp_path):
  two = Processes(tmp_path / 'run', 2, 1, command=LONG)
  deadline = time.time() + 120
  while not (tmp_path / 'run/lock').exists() and time.time() < deadline:
    time.sleep(.01)
  two.running[1].send_signal(signal.SIGTERM)
  assert two.wait() == [75, 75], two.text()
