"""The loop: exact resume, stops, kills, NaN, and what the run directory holds."""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pretrain import config, train
from pretrain.__main__ import main
from pretrain.files import read_rows
from pretrain.machine.checkpoint import Checkpoints
from pretrain.machine.hardware import CHIPS
from pretrain.plan.plan import plan
from pretrain.train import DONE, FAILED, STOPPED, prepare
from tests.tiny import pixels

pytestmark = pytest.mark.suite('system')

ROOT = Path(__file__).parents[1]
TINY = str(ROOT / 'tests' / 'tiny.py')
FIXMATCH = ["unlabeled={'batch': 64}", "views={'name': 'fixmatch'}",
            "labels={'per_class': 4, 'seed': 0}",
            "objective={'name': 'fixmatch', 'classes': 10, 'threshold': 0.2, 'unlabeled_weight': 1., "
            "'ema_momentum': 0.9}"]


def tiny(*overrides: str) -> dict:
  return config.load(TINY, list(overrides))


def final(workdir: Path, tree: dict, step: int | None = None):
  """The state and the rest of the newest checkpoint, or of that of a step."""
  run = config.call(prepare, tree, 'config')
  checkpoints = Checkpoints(workdir / 'checkpoints')
  state, meta = checkpoints.restore(run.training.abstract, step)
  checkpoints.close()
  return jax.device_get(state), meta


def assert_same(one, other):
  for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


def losses(workdir: Path) -> dict[int, float]:
  return {row['step']: row['loss'] for row in read_rows(workdir / 'metrics.jsonl') if 'loss' in row}


def events(workdir: Path) -> list[str]:
  return [row['event'] for row in read_rows(workdir / 'events.jsonl')]


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('undisturbed')
  assert train.train(tiny(), workdir, quiet=True) == DONE
  return workdir


class StopAfter:
  """Stands for a signal that arrives while this step runs."""

  def __init__(self, monkeypatch, step: int, number=signal.SIGTERM):
    place = train.sharding.place
    self.calls = 0

    def counted(*args):
      self.calls += 1
      if self.calls == step:
        os.kill(os.getpid(), number)
      return place(*args)

    monkeypatch.setattr(train.sharding, 'place', counted)


def test_the_run_directory_is_the_contract(undisturbed):
  names = {path.name for path in undisturbed.iterdir()}
  assert names >= {'config.json', 'metrics.jsonl', 'events.jsonl', 'checkpoints', 'tensorboard', 'result.json',
                   'report.html'}
  rows = read_rows(undisturbed / 'metrics.jsonl')
  assert [row['step'] for row in rows] == list(range(1, 13))
  assert all({'loss', 'lr', 'grad_norm'} <= row.keys() for row in rows) and 'examples_per_second' in rows[-1]
  assert events(undisturbed) == ['start', 'compile', 'first_step', 'save', 'save', 'save', 'stop']
  assert json.loads((undisturbed / 'config.json').read_text())['objective']['name'] == 'simclr'
  result = json.loads((undisturbed / 'result.json').read_text())
  assert result['steps'] == 12 and result['examples'] == 12 * 32 and result['metrics'] == rows[-1]
  assert any(path.name.startswith('events') for path in (undisturbed / 'tensorboard').iterdir())


def test_rows_have_the_rate_of_their_step(undisturbed):
  """The step of a row is the number of steps done: its rate is the schedule's at the one before."""
  rates = [row['lr'] for row in read_rows(undisturbed / 'metrics.jsonl')]
  wanted = [1e-3 * n / 2 if n < 2 else 1e-3 * (1 + np.cos(np.pi * (n - 2) / 10)) / 2 for n in range(12)]
  np.testing.assert_allclose(rates, wanted, rtol=1e-5)


def test_a_row_is_of_its_step_alone_and_says_how_much_of_the_peak_was_used(undisturbed, tmp_path, monkeypatch):
  monkeypatch.setattr(train, 'by_kind', lambda _: CHIPS['v5e']._replace(flops=1e6))
  assert train.train(tiny('log_every_steps=5'), tmp_path, quiet=True) == DONE
  every = losses(undisturbed)
  assert losses(tmp_path) == {step: every[step] for step in (5, 10, 12)}
  flops = read_rows(tmp_path / 'events.jsonl')[0]['flops_per_step']
  planned = plan(tiny(), 'v5e:2x4', free=True)['flops_per_step']
  scores, sums = 2 * 64 * 2 * 5 * 5 * 16, 2 * 64 * (5 * (2 * 32 + 64 + 3 * 32) + 4 * 32)
  assert flops == planned + scores + sums  # CPUs compute scores twice and add up the gradients of biases by products
  for row in read_rows(tmp_path / 'metrics.jsonl'):
    rate = flops * row['examples_per_second'] / 32
    assert row['mfu'] == pytest.approx(rate / 8e6, rel=1e-3)
    assert row['tflops_per_second'] == pytest.approx(rate / 1e12, abs=1e-4)


def test_a_finished_run_says_so(undisturbed, capsys):
  before = (undisturbed / 'metrics.jsonl').read_bytes()
  assert train.train(tiny(), undisturbed) == DONE
  assert 'complete' in capsys.readouterr().out
  assert (undisturbed / 'metrics.jsonl').read_bytes() == before


@pytest.mark.parametrize(('step', 'number'), [(3, signal.SIGTERM), (8, signal.SIGUSR1), (1, signal.SIGINT)])
def test_stopped_and_resumed_is_bit_for_bit_the_undisturbed_run(step, number, undisturbed, tmp_path, monkeypatch,
                                                                capsys):
  with monkeypatch.context() as patch:
    StopAfter(patch, step, number)
    assert train.train(tiny(), tmp_path, quiet=True) == STOPPED
  assert f'stopped by {signal.Signals(number).name} after saving step {step}' in capsys.readouterr().out
  assert not (tmp_path / 'result.json').exists() and len(losses(tmp_path)) == step
  assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
  assert train.train(tiny(), tmp_path, quiet=True) == DONE
  assert losses(tmp_path) == losses(undisturbed)
  one, meta = final(tmp_path, tiny())
  other, _ = final(undisturbed, tiny())
  assert meta['data'] == {'next_index': 12}
  assert_same(one, other)


def test_two_streams_resume_bit_for_bit(tmp_path, monkeypatch):
  tree = tiny(*FIXMATCH, 'steps=6', 'checkpoint.every_steps=100')
  assert train.train(tree, tmp_path / 'whole', quiet=True) == DONE
  with monkeypatch.context() as patch:
    StopAfter(patch, 4)
    assert train.train(tree, tmp_path / 'parts', quiet=True) == STOPPED
  assert train.train(tree, tmp_path / 'parts', quiet=True) == DONE
  assert losses(tmp_path / 'parts') == losses(tmp_path / 'whole')
  assert_same(final(tmp_path / 'parts', tree)[0], final(tmp_path / 'whole', tree)[0])


def test_resume_on_another_mesh_goes_on_from_the_same_numbers(undisturbed, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    StopAfter(patch, 5)
    assert train.train(tiny(), tmp_path, quiet=True) == STOPPED
  assert train.train(tiny('mesh.data=2', 'mesh.fsdp=4'), tmp_path, quiet=True) == DONE
  got, want = losses(tmp_path), losses(undisturbed)
  np.testing.assert_allclose([got[s] for s in sorted(got)], [want[s] for s in sorted(want)], rtol=1e-4)


def test_a_second_signal_is_not_caught_unless_it_is_an_echo(monkeypatch):
  outside = []
  before = signal.signal(signal.SIGTERM, lambda number, frame: outside.append((number, frame)))
  try:
    with train.stop_signals() as stop:
      os.kill(os.getpid(), signal.SIGTERM)
      assert stop.signal == 'SIGTERM' and not outside
      os.kill(os.getpid(), signal.SIGTERM)
      assert not outside
      monkeypatch.setattr('pretrain.machine.processes.TWICE', 0.)
      os.kill(os.getpid(), signal.SIGTERM)
      assert len(outside) == 1
  finally:
    signal.signal(signal.SIGTERM, before)


def test_another_config_is_refused_and_the_keys_are_named(undisturbed):
  with pytest.raises(config.ConfigError, match=r'belongs to another config.*objective.temperature: 0.2 -> 0.5'):
    train.train(tiny('objective.temperature=0.5'), undisturbed)


def test_a_directory_without_a_checkpoint_belongs_to_nobody(tmp_path, capsys):
  """A command that was refused, or ended before its first save, is corrected and given again."""
  with pytest.raises(config.ConfigError, match=r'config.seed: wanted a whole number in \[0, 4294967295\], got -1'):
    train.train(tiny('seed=-1'), tmp_path, quiet=True)
  assert not list(tmp_path.iterdir())
  (tmp_path / 'config.json').write_text(json.dumps(tiny('objective.temperature=0.5')))
  assert train.train(tiny('steps=2', 'schedule.warmup_steps=1'), tmp_path, quiet=True) == DONE
  assert 'holds another config, of a run without a checkpoint; this one begins there' in capsys.readouterr().out
  assert json.loads((tmp_path / 'config.json').read_text())['objective']['temperature'] == 0.2


def test_directories_are_paths_of_file_systems(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  short = ['--quiet', '--config.steps=1', '--config.schedule.warmup_steps=0']
  assert main(['train', f'--config={TINY}', '--workdir=~/run', *short]) == 0
  assert (tmp_path / 'run/result.json').exists() and not (tmp_path / '~').exists()
  for command in (['train', f'--config={TINY}'], ['evaluate'], ['report'], ['label', '--out=x']):
    for place in ('gs://bucket/run', 's3://bucket/run', 'gs:/bucket/run'):
      assert main([*command, f'--workdir={place}']) == 1
      assert f'--workdir: {place} is an object store' in capsys.readouterr().err
  assert main(['label', '--workdir=run', '--out=gs://bucket/x']) == 1
  assert sorted(path.name for path in tmp_path.iterdir()) == ['run']


def test_a_checkpoint_of_another_architecture_names_the_arrays(undisturbed):
  run = config.call(prepare, tiny('backbone.mlp=128'), 'config')
  checkpoints = Checkpoints(undisturbed / 'checkpoints')
  with pytest.raises(config.ConfigError, match=r'params/backbone/trunk/blocks/0/mlp1/kernel: checkpoint \[\[32, 64\]'):
    checkpoints.restore(run.training.abstract)
  checkpoints.close()


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, capsys):
  # the rate explodes after the warm-up, and the checkpoint of step 4 is from before
  tree = tiny('schedule.peak=1e38', 'schedule.warmup_steps=11', 'optimizer.weight_decay=0.', 'steps=12',
              "optimizer={'name': 'sgd', 'momentum': 0.}", 'checkpoint.every_steps=1', 'checkpoint.keep=20')
  assert train.train(tree, tmp_path, quiet=True) == FAILED
  out = capsys.readouterr().out
  step = int(out.split('not finite at step ')[1].split(';')[0])
  state, meta = final(tmp_path, tree)
  assert f'last good checkpoint is that of step {int(state.step)}' in out
  assert int(state.step) == step  # `step` steps were good, the one after them was not
  assert events(tmp_path)[-1] == 'stop' and not (tmp_path / 'result.json').exists()
  assert int(state.nonfinite) == -1 and meta['data']['next_index'] == step


def test_a_trace_of_some_steps(tmp_path, undisturbed, capsys):
  assert main(['train', f'--config={TINY}', f'--workdir={tmp_path}', '--quiet', '--profile=5:7']) == DONE
  trace, = tmp_path.glob('profile/plugins/profile/*/*.xplane.pb')
  assert trace.stat().st_size > 10_000 and losses(tmp_path) == losses(undisturbed)
  assert main(['train', f'--config={TINY}', f'--workdir={tmp_path}/x', '--profile=7:5']) == 1
  assert "wanted START:STOP, two steps such as 100:110, got '7:5'" in capsys.readouterr().err


def test_nothing_is_compiled_after_the_first_step(tmp_path, monkeypatch, compilations):
  seen = []
  place = train.sharding.place

  def counted(*args):
    seen.append(compilations())
    return place(*args)

  monkeypatch.setattr(train.sharding, 'place', counted)
  assert train.train(tiny('checkpoint.every_steps=100'), tmp_path, quiet=True) == DONE
  assert len(seen) == 12 and len(set(seen[2:])) == 1


def test_the_programs_of_all_seeds_are_one():
  runs = [config.call(prepare, tiny(f'seed={seed}'), 'config') for seed in (0, 2**32 - 1)]
  inits = [run.training.init.func.lower(*run.training.init.args).as_text() for run in runs]
  steps = [run.training.step.lower(run.training.abstract, run.abstract_batch).as_text() for run in runs]
  assert inits[0] == inits[1] and steps[0] == steps[1]
  one, other = (jax.tree.leaves(run.training.init().params) for run in runs)
  assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.skipif(not Path('/proc/self/fd').exists(), reason='open files are counted there')
def test_a_save_leaves_no_thread_and_no_open_file(tmp_path):
  """A run of many saves would end at the limit of open files."""
  with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
    held = []
    for step in range(1, 9):
      checkpoints.save(step, {'x': np.arange(3.)}, {})
      checkpoints.wait()
      held.append((threading.active_count(), len(os.listdir('/proc/self/fd'))))
  assert max(held[4:]) <= max(held[:4]), held


def test_no_right_and_no_room_to_write(tmp_path, capsys):
  (tmp_path / 'file').write_text('')
  assert main(['train', f'--config={TINY}', f'--workdir={tmp_path / "file" / "run"}']) == 1
  assert 'error: ' in capsys.readouterr().err
  if Path('/dev/full').exists():
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'events.jsonl').symlink_to('/dev/full')
    assert main(['train', f'--config={TINY}', f'--workdir={tmp_path / "run"}', '--quiet']) == 76
    assert 'No space left' in capsys.readouterr().err


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() != 0, reason='only root may mount a small file system')
def test_a_full_disk_is_one_line_and_keeps_the_last_whole_checkpoint(tmp_path):
  mount = ['mount', '-t', 'tmpfs', '-o', 'size=1500k', 'tmpfs', str(tmp_path)]
  if subprocess.run(mount, capture_output=True).returncode:
    pytest.skip('mounting is not allowed here')
  try:
    flags = ['--config.backbone.width=128', '--config.checkpoint.keep=9', '--config.steps=60', '--quiet']
    done = subprocess.run(command(tmp_path / 'run', *flags), cwd=ROOT, env=ENV, capture_output=True, text=True)
    assert done.returncode == 76
    assert done.stderr.startswith('error: ') and 'no space left' in done.stderr.lower(), done.stderr
    assert 'Traceback' not in done.stderr
    checkpoints = Checkpoints(tmp_path / 'run' / 'checkpoints')
    assert checkpoints.latest == [row for row in read_rows(tmp_path / 'run' / 'events.jsonl')
                                  if row['event'] == 'save'][-1]['step']
    checkpoints.close()
  finally:
    subprocess.run(['umount', str(tmp_path)], check=True)


def vote(x, y, z, k=20, temperature=0.07):
  """Labels that the k nearest of x by cosine give to z, each weighted by exp(cosine / temperature)."""
  x, z = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (np.float64(x), np.float64(z)))
  cosine = z @ x.T
  near = np.argsort(-cosine, 1)[:, :k]
  votes = np.zeros((len(z), 10))
  np.add.at(votes, (np.arange(len(z))[:, None], y[near]), np.exp(np.take_along_axis(cosine, near, 1) / temperature))
  return votes.argmax(1)


def test_evaluate_and_report_of_a_run_on_another_mesh(tmp_path, undisturbed, capsys):
  sets = "dict(train=dict(name='digits', split='train'), test=dict(name='digits', split='test'), pictures=False)"
  tree = tiny(f'evaluate={sets}')
  tree['evaluate']['every_steps'] = 4
  assert train.train(tree, tmp_path, quiet=True) == DONE
  assert losses(tmp_path) == losses(undisturbed)  # evaluation draws nothing that a step would have drawn
  first = json.loads((tmp_path / 'evaluation.json').read_text())
  online = {row['step']: row for row in read_rows(tmp_path / 'metrics.jsonl') if 'eval/knn' in row}
  assert list(online) == [4, 8, 12] and first['step'] == 12
  (tmp_path / 'report.html').unlink()
  assert not (tmp_path / 'report_data.npz').exists()  # `evaluate` draws the pictures that the config leaves out
  assert main(['evaluate', f'--workdir={tmp_path}', '--config.mesh=dict(data=2, fsdp=4)']) == DONE
  again = json.loads((tmp_path / 'evaluation.json').read_text())
  for a, b in zip(first['rows'], again['rows'], strict=True):
    assert a['features'] == b['features'] and abs(a['knn'] - b['knn']) < 0.01
  run, one = config.call(prepare, tree, 'config'), 1.5 / 360  # near ties decide differently in another precision
  (x, y), (z, truth) = ((pixels(s) / np.float32(255), s.labels) for s in (run.evaluation.train, run.evaluation.test))
  states = {step: final(tmp_path, tree, step)[0] for step in (8, 12)} | {0: jax.device_get(run.training.init())}
  encode = jax.jit(run.objective.encode)
  seen = {n: [np.asarray(encode(state.params, state.memory, images)) for images in (x, z)]
          for n, state in states.items()}
  score = {n: np.mean(vote(features, y, tested) == truth) for n, (features, tested) in seen.items()}
  raw = np.mean(vote(x.reshape(len(x), -1), y, z.reshape(len(z), -1)) == truth)
  for found in (first, again):
    assert [row['knn'] for row in found['rows']] == pytest.approx([raw, score[0], score[12]], abs=one)
  for step in (8, 12):
    shares = np.linalg.svd(np.float64(seen[step][1]), compute_uv=False)
    shares /= shares.sum()
    assert online[step]['eval/knn'] == pytest.approx(score[step], abs=one)
    assert online[step]['eval/effective_rank'] == pytest.approx(np.exp(-shares @ np.log(shares)), rel=1e-3)
  mean, std = seen[12][0].mean(0), seen[12][0].std(0)
  penalty = float(re.search(r'penalty (\S+) chosen', first['rows'][-1]['protocol'])[1])
  probe = LogisticRegression(C=1 / (penalty * len(y)), max_iter=5000).fit((seen[12][0] - mean) / std, y)
  assert first['rows'][-1]['linear'] == pytest.approx(probe.score((seen[12][1] - mean) / std, truth), abs=3 * one)
  *_, trained = first['rows']
  assert trained['projector'] == pytest.approx(again['rows'][-1]['projector'], abs=1e-3)
  assert abs(trained['projector']['uniformity'] - trained['geometry']['uniformity']) > 0.01
  assert 'Nearest neighbours' in (tmp_path / 'report.html').read_text()
  assert main(['report', f'--workdir={tmp_path}']) == DONE
  assert 'report.html' in capsys.readouterr().out


# With real processes --------------------------------------------------------------------------------------------------

def command(workdir, *flags: str) -> list[str]:
  return [sys.executable, '-m', 'pretrain', 'train', f'--config={TINY}', f'--workdir={workdir}', *flags]


ENV = os.environ | {'XLA_FLAGS': ''}  # one device


def start(workdir, *flags: str) -> subprocess.Popen:
  return subprocess.Popen(command(workdir, *flags), cwd=ROOT, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)


def wait_for(condition, process, seconds=120):
  deadline = time.time() + seconds
  while not condition() and process.poll() is None and time.time() < deadline:
    time.sleep(0.01)


LONG = ['--config.steps=400', '--config.checkpoint.every_steps=20', '--config.log_every_steps=20']


@pytest.fixture(scope='module')
def long_run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('long')
  process = start(workdir, *LONG)
  assert process.wait(300) == DONE, process.stdout.read()
  return workdir


def survives(workdir, long_run):
  """Runs the command until it is done; the numbers must be those of the run that nobody disturbed."""
  process = start(workdir, *LONG)
  assert process.wait(300) == DONE, process.stdout.read()
  assert losses(workdir) == losses(long_run)
  tree = tiny(*[flag.removeprefix('--config.') for flag in LONG])
  assert_same(final(workdir, tree)[0], final(long_run, tree)[0])


@pytest.mark.slow
@pytest.mark.parametrize('trial', range(4))
def test_sigkill_during_a_run_then_resume_is_bit_for_bit(trial, tmp_path, long_run):
  rng, rows = np.random.default_rng(trial), tmp_path / 'metrics.jsonl'
  for _ in range(2):
    process = start(tmp_path, *LONG)
    before = len(read_rows(rows))
    wait_for(lambda before=before: len(read_rows(rows)) > before + rng.integers(1, 6), process)
    process.kill()
    process.wait()
  assert not (tmp_path / 'result.json').exists(), 'it was not killed in time'
  survives(tmp_path, long_run)


@pytest.mark.slow
@pytest.mark.parametrize('delay', [0., 0.005, 0.02])
def test_sigkill_during_a_save_then_resume_is_bit_for_bit(delay, tmp_path, long_run):
  process = start(tmp_path, *LONG)
  part = lambda: list((tmp_path / 'checkpoints').glob('*tmp*'))
  wait_for(part, process)
  time.sleep(delay)
  process.kill()
  process.wait()
  assert not (tmp_path / 'result.json').exists(), 'it was not killed in time'
  survives(tmp_path, long_run)


@pytest.mark.slow
def test_sigterm_saves_and_exits_75(tmp_path, long_run):
  process = start(tmp_path, *LONG)
  wait_for(lambda: len(losses(tmp_path)) >= 2, process)
  process.terminate()
  assert process.wait(60) == STOPPED
  assert events(tmp_path)[-1] == 'stop'
  survives(tmp_path, long_run)


@pytest.mark.slow
def test_memory_is_flat_over_ten_thousand_steps(tmp_path):
  """Of the process, with a row every 50 steps and a save every 500: what it holds does not grow."""
  process, held = start(tmp_path, '--config.steps=10000', '--config.checkpoint.every_steps=500',
                        '--config.log_every_steps=50', '--quiet'), {}
  page = os.sysconf('SC_PAGE_SIZE')
  while process.poll() is None:
    if rows := read_rows(tmp_path / 'metrics.jsonl'):
      held[rows[-1]['step']] = int(Path(f'/proc/{process.pid}/statm').read_text().split()[1]) * page
    time.sleep(0.1)
  assert process.returncode == DONE, process.stdout.read()
  steps, held = np.array(list(held)), np.array(list(held.values())) / 2**20
  early, late = held[(steps > 2000) & (steps <= 5000)], held[(steps > 7000) & (steps < 10_000)]
  assert len(early) > 20 and len(late) > 20
  assert np.median(late) < np.median(early) + 8, (np.median(early), np.median(late))


def test_the_demo_at_twenty_steps(tmp_path):
  """As README has it, in a process of its own on one device, up to the report."""
  done = subprocess.run([sys.executable, '-m', 'pretrain', 'train', '--config=configs/demo.py', f'--workdir={tmp_path}',
                         '--config.steps=20', '--config.schedule.warmup_steps=2'], cwd=ROOT, env=ENV,
                        capture_output=True, text=True, timeout=600)
  assert done.returncode == DONE, done.stderr
  for word in ('step 20/20', 'examples/s', 'ETA', 'raw pixels', 'random backbone', 'pretrained'):
    assert word in done.stdout, done.stdout
  rows = json.loads((tmp_path / 'result.json').read_text())['evaluation']
  assert [row['features'] for row in rows] == ['raw pixels', 'random backbone', 'pretrained backbone']
  assert all(0.3 < row['knn'] < 0.95 and 0.5 < row['linear'] < 0.95 for row in rows)
  page = (tmp_path / 'report.html').read_text()
  for word in ('simclr', 'Trouser', 'random backbone'):
    assert word in page
