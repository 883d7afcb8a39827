"""Train steps beside those of lightly and timm on PyTorch: the same work, in turns, and no ratio where it differs.

  python benchmarks/peers.py --peers=PEERS/bin/python [--only=mae,dino] [--levels=step,views,files] [--rounds=5]
                             [--precisions=float32,best] [--threads=N] [--scale=1] [--out=peers.json] [--plot=FILE.png]

The peers' environment is one of its own, with any Python that PyTorch has wheels for (CPU wheels will do):

  python -m venv PEERS && PEERS/bin/pip install torch torchvision lightly timm kornia

A case is trained by two processes, `peers_ours.py` and `peers_torch.py`, on the same cores. Both are alive, but work in
turns, A B A B ..., and the one whose turn it is not is stopped (SIGSTOP), with its threads and workers. A round is
--steps steps and before them as many that are not timed: the host of a virtual machine takes back what a stopped
process has freed, and finding it again doubled the time of a step. The first round of each is not counted, and a ratio
is that of two rounds beside each other: above 1 ours is faster.

Levels, from the least to the whole:
  forward  the loss alone, without gradients, to say where a difference comes from
  step     forward, backward, optimizer and teacher, on views that are made and in memory
  views    the same with augmentations: ours inside the jitted step; the peers' the faster of lightly's transforms
           (image by image in a DataLoader with as many workers as threads) and kornia's (batches, in the process)
  files    the same from JPEG files that have the size of the images, so that both decode the same: ours through the
           folder source and its loader, the peers' through ImageFolder, DataLoader and lightly's transforms

Precisions: 'float32' is that of both; for 'best' each side has the faster of float32 and bfloat16 (ours `dtype`, theirs
autocast). The peers' step is the fastest of those in `FORMS`, tried before. What was tried is printed, and what failed.

Where a ratio would be of unlike things there is none, but the reason. The numbers of trained and of decayed parameters,
the batch, the shapes of the views and the optimizer must be equal. And before a case is timed, our parameters (each
moved by noise, so that none is 0 or 1) are copied into the PyTorch modules, and the losses of three steps on the same
views compared: the first within 1e-4 (relative, float32; 2e-2 in bfloat16), those after one and two updates within
1e-3. For this the masks of MAE are given, and DINO's positions are the same for all patches, as the two libraries
interpolate them differently.

What is not equal: lightly crops bicubically for MAE and DINO, ours bilinearly; lightly computes MAE's last layer for
hidden patches, ours for all; ours divides pixels by their deviation in the step, the peers before it; our steps also
compute metrics (the gradient's norm; for DINO entropies); torchvision's RandAugment has one strength, ours draws it
(kornia's draws one chain for a batch, so that FixMatch has none of kornia); LARS has |g| + weight_decay |w| below in
lightly, |g + weight_decay w| in ours. Neither lightly nor timm has FixMatch and its WRN: `peers_torch.py` has them.

Both sides have large pages for their heaps, as our commands ask for (`pretrain/__main__.py`).

`fastest` is the ratio of each side's shortest round, which an uneven machine moves least; that of CPU seconds is what
other load of it moves least. Peak memory is of the whole process (ru_maxrss), libraries and compiler included.
DataLoader's workers are in neither. Our compiled programs are kept in a temporary directory, so that the process that
is measured loads them.
"""
import argparse
import contextlib
import ctypes
import gc
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGES = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
LEVELS = ('forward', 'step', 'views', 'files')
OPTIMIZERS = {'adamw': ('b1', 'b2', 'eps'), 'sgd': ('momentum', 'nesterov'), 'lars': ('momentum', 'trust_coefficient')}
FORMS = {  # of the peers' step: whether the layout is channels_last, and whether torch.compile compiles it
    'eager': (False, False), 'compile': (False, True), 'channels_last': (True, False),
    'channels_last+compile': (True, True)}
TOLERANCE = {'float32': (1e-4, 1e-3, 1e-3), 'bfloat16': (2e-2, 2e-2, 2e-2)}  # of the losses of three steps
ADAMW = dict(name='adamw', b2=0.95, weight_decay=0.05)
CASES = {  # side of the raw images, config
    'simclr_r18': (32, dict(
        batch=256, views=dict(name='simclr', size=32, scale=(0.08, 1.0), jitter=0.5, blur=0.0),
        backbone=dict(name='resnet', depth=18, stem='cifar', channels=3, zero_init=False),
        objective=dict(name='simclr', hidden=(512,), dim=128, temperature=0.5),
        optimizer=dict(name='lars', weight_decay=1e-6), schedule=dict(name='constant', peak=0.3))),
    'simclr_vits': (256, dict(
        batch=32, views=dict(name='simclr', size=224, scale=(0.08, 1.0), jitter=1.0, blur=0.5),
        backbone=dict(name='vit', variant='S/16', image=224, channels=3),
        objective=dict(name='simclr', hidden=(2048,), dim=128, temperature=0.1),
        optimizer=ADAMW, schedule=dict(name='constant', peak=1e-5))),  # with more its loss is 0 at once, of 8 images
    'mae': (256, dict(
        batch=32, views=dict(name='mae', size=224, scale=(0.2, 1.0)),
        backbone=dict(name='vit', variant='S/16', image=224, channels=3, positions='sincos'),
        objective=dict(name='mae', mask_ratio=0.75, decoder_width=512, decoder_depth=8, decoder_heads=16,
                       standardize=True),
        optimizer=ADAMW, schedule=dict(name='constant', peak=1e-4))),
    'dino': (256, dict(
        batch=8, views=dict(name='dino', size=224, local_size=96, local_crops=6, global_scale=(0.4, 1.0),
                            local_scale=(0.05, 0.4)),
        backbone=dict(name='vit', variant='Ti/16', image=224, channels=3),
        objective=dict(name='dino', prototypes=65536, hidden=2048, bottleneck=256, student_temperature=0.1,
                       teacher_temperature=0.04, teacher_temperature_start=0.04, teacher_warmup_steps=1,
                       momentum=0.996, center_momentum=0.9, freeze_prototypes_steps=0),
        optimizer=dict(name='adamw', weight_decay=0.04), schedule=dict(name='constant', peak=1e-4))),
    'fixmatch': (32, dict(
        batch=32, unlabeled=dict(batch=224), labels=dict(per_class=25, seed=0), views=dict(name='fixmatch'),
        backbone=dict(name='wide_resnet', depth=28, widen=2, channels=3),
        objective=dict(name='fixmatch', classes=10, threshold=0.1,  # labels of a model without training count too
                       unlabeled_weight=1.0, ema_momentum=0.999),
        optimizer=dict(name='sgd', nesterov=True, weight_decay=5e-4), schedule=dict(name='constant', peak=0.03)))}


# What is compared -----------------------------------------------------------------------------------------------------

def differences(ours: dict, peer: dict, at: str = '') -> Iterator[str]:
  """In which entries two descriptions differ, each in words; floats are equal to six digits."""
  for key in sorted(ours.keys() | peer.keys()):
    a, b = ours.get(key), peer.get(key)
    if isinstance(a, dict) and isinstance(b, dict):
      yield from differences(a, b, f'{at}{key}.')
    elif not (a == b or isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=1e-6)):
      yield f"{at}{key}: ours {a}, the peers' {b}"


def disagreement(ours: list[float], peer: list[float], tolerance: tuple[float, ...]) -> Iterator[str]:
  """Which losses of the same steps are not within the tolerances, each in words."""
  if not len(ours) == len(peer) == len(tolerance):
    yield f"losses: wanted {len(tolerance)} of both, ours {len(ours)}, the peers' {len(peer)}"
    return
  for step, (a, b, most) in enumerate(zip(ours, peer, tolerance, strict=True)):
    if not abs(a - b) <= most * abs(a):  # a NaN differs from everything
      yield f"loss after {step} updates: ours {a:.7g}, the peers' {b:.7g}, wanted within {most:g}"


# Processes ------------------------------------------------------------------------------------------------------------

def serve(start: Callable[[dict], tuple[dict, Callable]]) -> None:
  """A child's life: reads a spec, answers with facts, and then every line with the seconds of the second of two rounds.

  Args:
    start: spec -> facts, round.
  """
  ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: none stays behind, stopped, where the parent is killed
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # what libraries print is no answer
  facts, work = start(json.loads(sys.stdin.readline()))
  gc.collect()  # what only setting up needs, as the raw images of 'step', is no memory of the steps
  if trim := getattr(ctypes.CDLL(None), 'malloc_trim', None):
    trim(0)
  print(json.dumps(facts), file=answers, flush=True)
  for _ in sys.stdin:
    work()
    since, used = time.perf_counter(), time.process_time()
    work()
    row = {'seconds': time.perf_counter() - since, 'cpu_seconds': time.process_time() - used,
           'peak_bytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10}
    print(json.dumps(row), file=answers, flush=True)


class ChildError(Exception):
  """A child ended before it answered; the last line that it wrote."""


class Child:
  """One side's process, stopped while nothing is asked of it; `facts` is what it says of its work."""

  def __init__(self, command: list[str], spec: dict):
    self.errors = tempfile.TemporaryFile('w+')  # noqa: SIM115
    self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                    text=True, start_new_session=True, env=PAGES | os.environ)
    try:
      self.facts = self.ask(json.dumps(spec))
    except BaseException:
      self.close()
      raise

  def ask(self, line: str = 'go') -> dict:
    """Raises ChildError if there is no answer."""
    assert self.process.stdin and self.process.stdout
    os.killpg(self.process.pid, signal.SIGCONT)
    with contextlib.suppress(BrokenPipeError):  # why is said below
      print(line, file=self.process.stdin, flush=True)
    answer = self.process.stdout.readline()
    if not answer:
      self.process.wait()
      self.errors.seek(0)
      raise ChildError((self.errors.read().strip().splitlines() or ['no message'])[-1])
    os.killpg(self.process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
    return json.loads(answer)

  def close(self) -> None:
    if self.process.poll() is None:
      os.killpg(self.process.pid, signal.SIGKILL)
    self.process.wait()
    self.errors.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()


class Bench:
  """What is measured with the same arguments and files.

  Attributes:
    tried: seconds of a round by (side, case, level, how), so that nothing is tried twice.
  """

  def __init__(self, args, folder: Path):
    self.args, self.folder, self.tried = args, folder, {}
    self.commands = {'ours': [sys.executable, str(HERE / 'peers_ours.py')],
                     'peers': [args.peers, str(HERE / 'peers_torch.py')]}

  def start(self, side: str, case: str, level: str, how: dict) -> Child:
    raw, tree = CASES[case]
    tree = tree | {'batch': round(tree['batch'] * self.args.scale)}
    if 'unlabeled' in tree:
      tree['unlabeled'] = {'batch': round(tree['unlabeled']['batch'] * self.args.scale)}
    spec = dict(level=level, tree=tree, steps=self.args.steps, threads=self.args.threads, raw=raw,
                folder=str(self.folder), case=case, **how)
    return Child(self.commands[side], spec)

  def check(self, case: str, dtype: str) -> dict:
    """The losses of both on the same parameters and views, their relative differences, and why not to compare."""
    facts = {}
    for side in ('ours', 'peers'):  # ours writes parameters and views
      try:
        with self.start(side, case, 'check', dict(dtype=dtype, form='eager', views='lightly')) as child:
          facts[side] = child.facts
      except ChildError as error:
        return {'relative': [], 'refused': [f'nothing to compare with, {side} failed: {error}']}
    ours, peer = (facts[side].pop('losses') for side in ('ours', 'peers'))
    return {'ours': ours, 'peers': peer, 'relative': [abs(a - b) / abs(a) for a, b in zip(ours, peer, strict=True)],
            'refused': [*differences(facts['ours'], facts['peers']), *disagreement(ours, peer, TOLERANCE[dtype])]}

  def fastest(self, side: str, case: str, level: str, ways: list[dict]) -> dict:
    """The way whose second or third round is the shortest; one alone is not tried. Raises ChildError if none works."""
    if len(ways) == 1:
      return ways[0]
    times = {}
    for how in ways:
      key = (side, case, level, *how.values())
      if key not in self.tried:
        try:
          with self.start(side, case, level, how) as child:
            self.tried[key] = min([child.ask()['seconds'] for _ in range(3)][1:])
          print(f'  tried {case} {level} {side} {name(how)}: {self.tried[key]:.2f} s', flush=True)
        except ChildError as error:
          self.tried[key] = math.inf
          print(f'  tried {case} {level} {side} {name(how)}: failed, {error}', flush=True)
      times[key] = self.tried[key]
    best = min(times, key=times.__getitem__)
    if times[best] == math.inf:
      raise ChildError(f'{side}: no way of {case} works')
    return ways[list(times).index(best)]

  def ways(self, case: str, level: str, precision: str) -> dict[str, dict]:
    """How each side does this level: dtypes and forms as fast as may be at the step, then the views."""
    dtypes = ['float32'] if precision == 'float32' else ['float32', 'bfloat16']
    conv = CASES[case][1]['backbone']['name'] != 'vit'
    forms = [form for form in self.args.forms if conv or not FORMS[form][0]]
    ours = self.fastest('ours', case, 'step', [dict(dtype=dtype) for dtype in dtypes])
    peer = self.fastest('peers', case, 'step', [dict(dtype=dtype, form=form, views='lightly')
                                                for dtype in dtypes for form in forms])
    if level == 'views' and case != 'fixmatch':
      peer = self.fastest('peers', case, 'views', [peer | {'views': views} for views in ('lightly', 'kornia')])
    return {'ours': ours, 'peers': peer}

  def row(self, case: str, level: str, precision: str, refused: list[str]) -> dict:
    """One line of the table: times of both, or why there is no ratio."""
    row = {'case': case, 'level': level, 'precision': precision, 'refused': refused}
    if refused:
      return row
    try:
      ways = self.ways(case, level, precision)
      with self.start('ours', case, level, ways['ours']) as ours, \
          self.start('peers', case, level, ways['peers']) as peers:
        if refused := list(differences(ours.facts, peers.facts)):
          return row | {'refused': refused}
        rounds = [(ours.ask(), peers.ask()) for _ in range(1 + self.args.rounds)][1:]  # the first warms up
    except ChildError as error:
      return row | {'refused': [str(error)]}
    examples = ours.facts['examples'] * self.args.steps
    for side, results in zip(('ours', 'peers'), zip(*rounds, strict=True), strict=True):
      seconds = [result['seconds'] for result in results]
      row[side] = {'how': name(ways[side]), 'seconds': seconds,
                   'examples_per_second': examples / statistics.median(seconds),
                   'cpu_seconds': [result['cpu_seconds'] for result in results],
                   'peak_bytes': results[-1]['peak_bytes']}
    ratios, cpu = ([b[key] / a[key] for a, b in rounds] for key in ('seconds', 'cpu_seconds'))
    return row | {'ratio': {'min': min(ratios), 'median': statistics.median(ratios), 'max': max(ratios)},
                  'fastest_ratio': min(row['peers']['seconds']) / min(row['ours']['seconds']),
                  'cpu_ratio': statistics.median(cpu),
                  'memory_ratio': row['peers']['peak_bytes'] / row['ours']['peak_bytes']}


def name(how: dict) -> str:
  return ', '.join(value for key, value in how.items() if (key, value) not in (('views', 'lightly'), ('form', 'eager')))


# Files and results ----------------------------------------------------------------------------------------------------

def write_images(folder: Path, side: int, count: int) -> None:
  """Smooth noise: `count` images of 10 classes in images<side>/train.npz and as JPEGs in jpegs<side>/train/<class>/."""
  import numpy as np
  from PIL import Image
  rng, images, labels = np.random.default_rng(0), [], np.arange(count) % 10
  for i, label in enumerate(labels):
    coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), np.uint8))
    image = coarse.resize((side, side), Image.Resampling.BICUBIC)
    at = folder / f'jpegs{side}' / 'train' / str(label)
    at.mkdir(parents=True, exist_ok=True)
    image.save(at / f'{i:05d}.jpg', quality=90)
    images.append(np.asarray(image))
  (folder / f'images{side}').mkdir()
  np.savez(folder / f'images{side}' / 'train.npz', image=np.stack(images), label=labels)


def line(row: dict) -> str:
  """A row of the Markdown table."""
  head = f'| {row["case"]} | {row["level"]} | {row["precision"]} |'
  if row['refused']:
    return f'{head} no ratio: {"; ".join(row["refused"])} | | | | | |'
  sides = [f'{row[side]["examples_per_second"]:.2f} ({row[side]["how"]})' for side in ('ours', 'peers')]
  ratio = '{median:.2f} ({min:.2f} to {max:.2f})'.format(**row['ratio'])
  others = ' | '.join(f'{row[name]:.2f}' for name in ('fastest_ratio', 'cpu_ratio', 'memory_ratio'))
  return f'{head} {sides[0]} | {sides[1]} | {ratio} | {others} |'


def plot(rows: list[dict], path: str) -> None:
  """Ratios as bars, from the least to the largest of a round as whiskers."""
  import matplotlib
  matplotlib.use('Agg')
  from matplotlib import pyplot
  rows = [row for row in rows if not row['refused']][::-1]
  middle = [row['ratio']['median'] for row in rows]
  around = [[m - row['ratio']['min'] for m, row in zip(middle, rows, strict=True)],
            [row['ratio']['max'] - m for m, row in zip(middle, rows, strict=True)]]
  figure, axes = pyplot.subplots(figsize=(7, 1 + 0.3 * len(rows)), layout='constrained')
  axes.barh([f'{row["case"]}, {row["level"]}, {row["precision"]}' for row in rows], middle, xerr=around,
            color=['tab:blue' if m >= 1 else 'tab:orange' for m in middle], capsize=3)
  axes.axvline(1, color='black', linewidth=1)
  axes.margins(y=0.01)
  axes.set_xlabel("our examples per second over the peers'")
  figure.savefig(path, dpi=150)


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  some = lambda valid: lambda text: [each if each in valid else parser.error(f'{each!r} is none of {", ".join(valid)}')
                                     for each in text.split(',')]
  cores = sorted(os.sched_getaffinity(0))
  parser.add_argument('--peers', required=True, help='the Python of an environment with torch, lightly and timm')
  parser.add_argument('--only', type=some(CASES), default=list(CASES), help='cases')
  parser.add_argument('--levels', type=some(LEVELS), default=list(LEVELS[1:]))
  parser.add_argument('--precisions', type=some(('float32', 'best')), default=['float32', 'best'])
  parser.add_argument('--forms', type=some(FORMS), default=list(FORMS), help="of the peers' step")
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--steps', type=int, default=2, help='steps of a round')
  parser.add_argument('--scale', type=float, default=1., help='factor of the batches')
  parser.add_argument('--threads', type=int, default=len(cores))
  parser.add_argument('--out', default='peers.json')
  parser.add_argument('--plot')
  args = parser.parse_args()
  os.sched_setaffinity(0, cores[:args.threads])  # the children's too
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no child stays behind
  checks, rows, dtypes = {}, [], ['float32'] if args.precisions == ['float32'] else ['float32', 'bfloat16']
  result = {'threads': args.threads, 'rounds': args.rounds, 'steps': args.steps, 'checks': checks, 'rows': rows}
  with tempfile.TemporaryDirectory() as folder:
    bench = Bench(args, Path(folder))
    for side in {CASES[case][0] for case in args.only}:
      write_images(Path(folder), side, round(512 * max(1, args.scale)))
    for case in args.only:
      checks[case] = {dtype: bench.check(case, dtype) for dtype in dtypes}
      for dtype, found in checks[case].items():
        print(f'  {case} {dtype}: losses differ by {[float(f"{x:.1e}") for x in found["relative"]]}',
              *found['refused'], sep='; ', flush=True)
      for precision in args.precisions:
        for level in args.levels:
          refused = [reason for dtype in dtypes[:1 if precision == 'float32' else 2]
                     for reason in checks[case][dtype]['refused']]
          rows.append(bench.row(case, level, precision, refused))
          print(line(rows[-1]), flush=True)
          Path(args.out).write_text(json.dumps(result, indent=2) + '\n')
  print("\n| case | level | precision | ours, examples/s | the peers', examples/s | ratio | fastest | CPU seconds | "
        'memory |\n|---|---|---|---|---|---|---|---|---|\n' + '\n'.join(map(line, rows)))
  if args.plot:
    plot(rows, args.plot)


if __name__ == '__main__':
  main()
