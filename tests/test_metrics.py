"""What a run leaves on disk must survive kills, resumes and NaNs, and be readable by any JSON parser."""

import io
import json
import os
import time

import numpy as np
import pytest

from pretrain.files import read_rows, strict, write_json
from pretrain.machine import metrics
from pretrain.machine.metrics import Recorder, event, goodput


def recorder(workdir, **changes):
  return Recorder(workdir, **{'steps': 1000, 'start': 0, 'batch': 32, 'quiet': True, **changes})


def parse_strictly(text: str) -> dict:
  def refuse(constant):
    raise AssertionError(f'{constant} is not JSON')

  return json.loads(text, parse_constant=refuse)


@pytest.fixture
def clock(monkeypatch):
  """A clock that moves when told to: `clock[0] += seconds`."""
  now = [100.0]
  monkeypatch.setattr(metrics.time, 'perf_counter', lambda: now[0])
  return now


def test_rows_are_strict_json_and_name_what_was_not_finite(tmp_path):
  with recorder(tmp_path) as rec:
    numbers = {'loss': float('nan'), 'grad_norm': np.float32(np.inf), 'lr': np.float32(0.5), 'count': np.int64(3)}
    row = rec.log(10, numbers)
  (line,) = (tmp_path / 'metrics.jsonl').read_text().splitlines()
  written = parse_strictly(line)
  assert written == row
  assert written['loss'] is None and written['grad_norm'] is None
  assert written['nonfinite'] == ['loss', 'grad_norm']
  assert (written['step'], written['lr'], written['count']) == (10, 0.5, 3)


def test_rows_are_on_disk_at_once(tmp_path):
  rec = recorder(tmp_path)
  rec.log(10, {'loss': 1.0})
  assert [row['step'] for row in read_rows(tmp_path / 'metrics.jsonl')] == [10]
  rec.close()
  rec.close()


def test_resume_drops_the_rows_past_its_step(tmp_path):
  with recorder(tmp_path) as rec:
    for step in (10, 20, 30, 40):
      rec.log(step, {'loss': float(step), 'z': float('nan')})
    rec.write(40, {'eval/knn': 0.5})
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 50, "lo')  # killed here
  with recorder(tmp_path, start=20) as rec:
    rec.log(30, {'loss': -1.0})
  rows = read_rows(tmp_path / 'metrics.jsonl')
  assert [(row['step'], row['loss']) for row in rows] == [(10, 10.0), (20, 20.0), (30, -1.0)]
  assert rows[0]['nonfinite'] == ['z']
  for line in (tmp_path / 'metrics.jsonl').read_text().splitlines():
    parse_strictly(line)


def test_a_start_at_zero_starts_over(tmp_path):
  for _ in range(2):
    with recorder(tmp_path) as rec:
      rec.write(0, {'eval/knn': 0.1})
  assert len(read_rows(tmp_path / 'metrics.jsonl')) == 1


def test_tensorboard_gets_the_scalars_and_the_purge(tmp_path, monkeypatch):
  made = []

  class Board:
    def __init__(self, folder, purge_step, **_):
      self.folder, self.purge_step, self.scalars = folder, purge_step, []
      made.append(self)

    def add_scalar(self, *scalar):
      self.scalars.append(scalar)

    def close(self):
      self.closed = True

  monkeypatch.setattr(metrics, 'SummaryWriter', Board)
  with recorder(tmp_path, start=20) as rec:
    rec.write(30, {'eval/knn': 0.5, 'bad': float('nan')})
  assert made[0].purge_step == 21 and made[0].closed
  assert made[0].folder == str(tmp_path / 'tensorboard')
  assert made[0].scalars == [('eval/knn', 0.5, 30)]


def test_read_rows_leaves_out_cut_lines(tmp_path):
  path = tmp_path / 'rows.jsonl'
  assert read_rows(path) == []
  path.write_bytes('{"a": 1}\n{"b": "é'.encode()[:-1])
  assert read_rows(path) == [{'a': 1}]


def test_events_append_after_a_cut_line(tmp_path):
  event(tmp_path, 'start', step=0)
  with (tmp_path / 'events.jsonl').open('a') as file:
    file.write('{"time": 1, "ev')
  event(tmp_path, 'save', step=np.int32(5), seconds=float('inf'))
  first, second = read_rows(tmp_path / 'events.jsonl')
  assert first['event'] == 'start' and first['time'] > 1e9
  assert (second['event'], second['step'], second['seconds'], second['nonfinite']) == ('save', 5, None, ['seconds'])


def test_write_json_is_strict_and_atomic(tmp_path, monkeypatch):
  path = tmp_path / 'deep' / 'result.json'
  write_json(path, {'a': (1, np.float32(2)), 'b': {'c': [float('nan')]}, 'path': tmp_path})
  wanted = {'a': [1, 2.0], 'b': {'c': [None]}, 'path': str(tmp_path), 'nonfinite': ['b.c.0']}
  assert parse_strictly(path.read_text()) == wanted

  def killed(*_):
    raise OSError('disk gone')

  monkeypatch.setattr(os, 'replace', killed)
  with pytest.raises(OSError, match='disk gone'):
    write_json(path, {'a': 2})
  assert parse_strictly(path.read_text()) == wanted
  assert [entry.name for entry in path.parent.iterdir()] == ['result.json']


def test_what_has_no_json_form_is_named():
  with pytest.raises(TypeError, match=r'model\.act is a builtin_function_or_method'):
    strict({'model': {'act': len}})


def test_throughput_leaves_out_pauses_and_the_eta_does_not(tmp_path, clock, capsys):
  with recorder(tmp_path, batch=10, steps=100, quiet=False, tokens=128, flops=3e12, peak=1e14) as rec:
    clock[0] += 60  # XLA
    rec.restart(0)
    for name, seconds in (('read', 0.5), ('wait', 1.25), ('read', 0.25)):
      with rec.spend(name):
        clock[0] += seconds
    with rec.pause():
      clock[0] += 5
      with rec.pause():
        clock[0] += 3
    row = rec.log(10, {'loss': 4.5})
    assert row['examples_per_second'] == pytest.approx(50)  # 100 examples in 2 s
    assert row['tokens_per_second'] == pytest.approx(50 * 128)
    assert (row['tflops_per_second'], row['mfu']) == (5 * 3, 0.15)  # five steps a second
    assert (row['time/read'], row['time/wait']) == (0.075, 0.125)  # of 10 s, pauses too
    assert 'ETA 0:01:30' in capsys.readouterr().out  # 10 s for 10 steps, 90 to go
    with rec.pause():
      clock[0] += 5
      rec.log(10, {'loss': 4.5})
      clock[0] += 5
    clock[0] += 1
    row = rec.log(20, {'loss': 4.4})
    assert row['examples_per_second'] == pytest.approx(100) and row['mfu'] == 0.3 and 'time/read' not in row
    assert 'examples_per_second' not in rec.log(20, {'loss': 4.4})


def test_plain_rows_where_no_terminal_is(tmp_path, clock, capsys):
  with recorder(tmp_path, batch=100, quiet=False) as rec:
    clock[0] += 20
    rec.log(200, {'loss': 4.12345, 'lr': 0.1})
    rec.write(200, {'eval/knn': 0.71234})
    rec.log(300, {'loss': float('nan')})
  out, err = capsys.readouterr()
  first, second, third = out.splitlines()
  assert first == 'step 200/1000  loss 4.123  1,000 examples/s  ETA 0:01:20'
  assert second == 'step 200/1000  eval/knn 0.7123'
  assert third.startswith('step 300/1000  loss not finite')
  assert '\x1b' not in out and err == ''


def test_a_bar_on_a_terminal(tmp_path, clock, monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  out, err = Terminal(), Terminal()
  monkeypatch.setattr('sys.stdout', out)
  monkeypatch.setattr('sys.stderr', err)
  monkeypatch.setenv('TERM', 'xterm-256color')
  monkeypatch.setenv('COLUMNS', '200')
  with recorder(tmp_path, quiet=False, description='sim[clr]') as rec:
    clock[0] += 10
    rec.advance(50)
    rec.log(100, {'loss': 2.5})
  shown = err.getvalue()
  for text in ('sim[clr]', '100/1,000', 'loss 2.5', '320 examples/s', 'ETA'):
    assert text in shown
  assert 'step 100' not in out.getvalue()


@pytest.mark.parametrize('changes', [{'quiet': True}, {'quiet': False, 'process': 1}])
def test_quiet_and_other_processes_show_nothing(tmp_path, capsys, changes):
  with recorder(tmp_path, **changes) as rec:
    assert rec.log(10, {'loss': 1.0})['loss'] == 1.0
    rec.write(10, {'eval/knn': 1.0})
  assert capsys.readouterr() == ('', '')
  assert (tmp_path / 'metrics.jsonl').exists() == ('process' not in changes)
  assert (tmp_path / 'tensorboard').exists() == ('process' not in changes)


def test_goodput_counts_the_steps_that_were_kept_over_the_whole_life():
  times = lambda *rows: [{'event': event, 'time': float(time)} for event, time in rows]
  assert goodput([]) is None and goodput(times(('start', 0), ('first_step', 5))) is None
  assert goodput(times(('start', 0), ('first_step', 2), ('save', 6), ('save', 8), ('stop', 10))) == 0.8
  # killed at some moment after 40, begun again at 80: what came after the save is lost, and so is the time between
  killed = times(('start', 0), ('first_step', 10), ('save', 40), ('start', 80), ('first_step', 90), ('stop', 100))
  assert goodput(killed) == 0.4
  back = times(('start', 50), ('first_step', 60), ('save', 10), ('save', 30), ('stop', 20))  # the clock was set
  assert goodput(back) == 0.6667


def test_rows_say_where_the_time_went_and_how_much_of_the_peak_was_used(tmp_path):
  with Recorder(tmp_path, steps=10, start=0, batch=4, quiet=True, flops=2e12, peak=1e15) as log:
    with log.spend('read'):
      time.sleep(0.06)
    time.sleep(0.06)
    row = log.log(2, {'loss': 1.0})
    assert 0.2 < row['time/read'] < 0.8
    assert row['mfu'] == pytest.approx(2e12 * row['examples_per_second'] / 4 / 1e15, rel=1e-2)
    assert row['tflops_per_second'] == pytest.approx(row['mfu'] * 1e3, rel=1e-2)
    assert 'time/read' not in log.log(3, {'loss': 1.0})
  with Recorder(tmp_path, steps=10, start=0, batch=4, quiet=True, flops=2e12) as log:
    assert 'mfu' not in log.log(1, {'loss': 1.0})  # of an unknown device there is no share
