"""Whether two commits compute the same numbers, bit for bit, of every objective on the backbones that it takes.

  python benchmarks/same_numbers.py A [B] [--only=byol --only=dino]   # commits; B: the files as they are now

Each commit runs its own copy of this file (an older one, that has none, this one) on the shared suite's cases: with
their own backbone, and images also with a residual network with batch normalisation, where the objective takes it.
Compared are all arrays, by path, of: the first parameters and memory; of two steps loss, metrics, gradients, carry, and
what `update` makes; `encode`, `predict`, `project`; the halves of GradCache. Where the first states differ, B begins
with A's, so that the rest is still compared. Arrays of memory that are renamed or left out on purpose are matched as
`checkpoint.RENAMED` and `DROPPED` say, by which a checkpoint of A is read. Prints a line per objective and backbone;
the exit code is 1 where anything differs.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def record(out: Path, begin: Path | None, only: list[str]) -> None:
  """Writes the numbers of the tree around this file as .npz, a file per objective and backbone, into `out`.

  Args:
    begin: of another tree, to begin with its states; None: with this one's own.
  """
  os.environ['XLA_FLAGS'] = '--xla_backend_optimization_level=0'
  os.environ['JAX_PLATFORMS'] = 'cpu'
  import jax
  import jax.numpy as jnp

  from pretrain import config, objectives
  from pretrain.models.resnet import resnet
  from tests import cases

  vit = getattr(cases, 'VIT', cases.BACKBONE)  # of earlier commits, BACKBONE
  residual = resnet(depth=18, blocks=(1, 1), width=32, stem='cifar', channels=1, zero_init=False)
  for name, case in (cases.of_papers() if hasattr(cases, 'of_papers') else cases.CASES).items():
    if only and name not in only:
      continue
    free = case.backbone in (cases.BACKBONE, vit)
    for kind, backbone in ({'own': vit, 'resnet': residual} if free else {'own': case.backbone}).items():
      try:
        made = config.build(objectives, dict(name=name, **case.kwargs), 'case', backbone=backbone, steps=10,
                            examples=100)
        params, memory = jax.device_get(jax.jit(made.init)(jax.random.key(0)))
        batches = [jax.jit(case.views)(jax.tree.map(jnp.asarray, case.batch(i)), jax.random.key(i)) for i in (0, 1)]
        jax.eval_shape(made.loss, params, memory, batches[0], jax.random.key(0), jnp.int32(0))
      except (AttributeError, KeyError, TypeError, ValueError) as error:
        if kind == 'own':
          raise
        np.savez(out / f'{name}-{kind}.npz', refused=np.array(type(error).__name__))
        continue
      said = {'first': (params, memory)}
      if begin and (begin / f'{name}-{kind}.npz').exists():
        params, memory = placed((params, memory), np.load(begin / f'{name}-{kind}.npz'), 'first')
      gradient = jax.jit(jax.value_and_grad(made.loss, has_aux=True))
      update = jax.jit(made.update)
      for i, batch in enumerate(batches):
        step, key = jnp.int32(3 + i), jax.random.key(7 + i)
        if made.halves:
          def halves(params, memory, batch, key, step, made=made):
            h, carry = made.halves[0](params, memory, batch, key, step)
            return h, made.halves[1](params, h, carry, memory, batch, step)
          said[f'halves {i}'] = jax.jit(halves)(params, memory, batch, key, step) if not i else ()
        said[f'gradient {i}'] = (value, (carry, _)), grads = gradient(params, memory, batch, key, step)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        said[f'update {i}'] = params, memory = update(params, memory, carry, step)
      raw = case.batch(2)
      one = raw.get('unlabeled', raw)
      images = one['image'] / np.float32(255) if 'image' in one else one.get('tokens', one.get('row'))
      for function in ('encode', 'predict', 'project'):
        if getattr(made, function):
          said[function] = jax.jit(getattr(made, function))(params, memory, images)
      np.savez(out / f'{name}-{kind}.npz', **flat(said))
      jax.clear_caches()
      print('.', end='', flush=True)
  print()


def flat(tree) -> dict[str, np.ndarray]:
  """{path: array} of a pytree."""
  import jax
  return {jax.tree_util.keystr(path, simple=True, separator='/'): np.asarray(x)
          for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def placed(tree, arrays, prefix: str):
  """The tree with the arrays of a file of another commit, by path; those that it lacks stay."""
  import jax

  def one(path, x):
    name = f'{prefix}/{jax.tree_util.keystr(path, simple=True, separator="/")}'
    return arrays.get(before(name, arrays), x)

  return jax.tree_util.tree_map_with_path(one, tree)


MEMORY = r'^(first/1|update \d/1|gradient \d/0/1/0|halves \d/(?:0/1|1/1/0))/'  # or what a loss carries there


def before(name: str, there) -> str:
  """The path that an array has in a file of another commit."""
  if name in there or not (found := re.match(MEMORY, name)):
    return name
  from pretrain.machine.checkpoint import RENAMED
  paths = (re.sub(*rule, 'memory/' + name[found.end():]).replace('memory/', found[0], 1) for rule in RENAMED)
  return next((path for path in paths if path in there), name)


def dropped(name: str) -> bool:
  """Whether an array was left out on purpose."""
  from pretrain.machine.checkpoint import DROPPED
  found = re.match(MEMORY, name)
  return bool(found and re.match(DROPPED, 'memory/' + name[found.end():]))


def run(commit: str | None, out: Path, begin: Path | None, only: list[str]) -> None:
  """`record` by the files of a commit, in a process of its own."""
  flags = [f'--record={out}', *([f'--begin={begin}'] if begin else []), *(f'--only={name}' for name in only)]
  out.mkdir()
  if commit is None:
    subprocess.run([sys.executable, __file__, *flags], check=True)
    return
  tree = out.parent / f'{out.name}-tree'
  subprocess.run(['git', 'worktree', 'add', '--quiet', '--detach', tree, commit], cwd=ROOT, check=True)
  try:
    own = tree / 'benchmarks' / Path(__file__).name
    if not own.exists():
      shutil.copy(__file__, own)
    subprocess.run([sys.executable, own, *flags], check=True, cwd=tree)
  finally:
    subprocess.run(['git', 'worktree', 'remove', '--force', tree], cwd=ROOT, check=True)


def differences(a: Path, b: Path) -> list[str]:
  """Words about each array that differs between two files."""
  with np.load(a) as one, np.load(b) as two:
    if 'refused' in one and 'refused' in two:
      return []
    pairs = {path: before(path, one) for path in two}
    alone = {path for path, there in pairs.items() if there not in one} | (set(one) - set(pairs.values()))
    lines = [f'{path} is in one alone' for path in sorted(alone) if path in two or not dropped(path)]
    for path in sorted(pairs.keys() - alone):
      x, y = one[pairs[path]], two[path]
      if x.shape != y.shape or x.dtype != y.dtype:
        lines.append(f'{path}: {x.dtype}{x.shape}, {y.dtype}{y.shape}')
      elif x.tobytes() != y.tobytes():
        far = np.abs(x.astype(float) - y.astype(float)).max() if x.dtype.kind in 'fiub' else 'text'
        lines.append(f'{path}: {np.sum(x != y)} of {x.size} numbers, by at most {far:.3g}')
  return lines


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('commits', nargs='*', metavar='COMMIT')
  parser.add_argument('--only', action='append', default=[], metavar='OBJECTIVE')
  parser.add_argument('--record', type=Path, help=argparse.SUPPRESS)
  parser.add_argument('--begin', type=Path, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.record:
    record(args.record, args.begin, args.only)
    return 0
  if len(args.commits) not in (1, 2):
    parser.error(f'wanted one commit or two, got {len(args.commits)}')
  with tempfile.TemporaryDirectory() as folder:
    a, b = Path(folder) / 'a', Path(folder) / 'b'
    run(args.commits[0], a, None, args.only)
    run(args.commits[1] if len(args.commits) == 2 else None, b, a, args.only)
    names = sorted({path.name for path in (*a.iterdir(), *b.iterdir())})
    worse = 0
    for name in names:
      if not ((a / name).exists() and (b / name).exists()):
        lines = ['only one of the two has it']
      else:
        lines = differences(a / name, b / name)
      begun = [line for line in lines if line.startswith('first/')]
      rest = [line for line in lines if line not in begun]
      worse += bool(rest)
      said = f'{len(rest)} arrays differ' if rest else 'the same'
      drawn = f', {len(begun)} of the first state drawn otherwise' if begun else ''
      print(f'{name.removesuffix(".npz")}: {said}{drawn}')
      print(''.join(f'  {line}\n' for line in rest[:8]), end='')
  print(f'{len(names) - worse} of {len(names)} are the same, bit for bit')
  return int(bool(worse))


if __name__ == '__main__':
  sys.exit(main())
