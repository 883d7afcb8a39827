"""Where the time of a step of each objective goes: views, products and convolutions, optimizer, all else.

  python benchmarks/parts.py [--only=NAME ...] [--steps=3] [--out=parts.md]

Each small config's step, on one thread, by XLA's own trace: every operation's time goes to one of
  views     what makes the views, resampling by matrix products included
  products  matrix products and convolutions of the networks, heads and losses, of both passes, teachers included
  update    the optimizer, the moving average of a teacher
  else      activations, norms, attention's softmax, losses, copies
"""
import os

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = ('--xla_cpu_enable_xprof_traceme=true --xla_cpu_multi_thread_eigen=false '
                           + os.environ.get('XLA_FLAGS', ''))
import argparse  # noqa: E402
import re  # noqa: E402
import tempfile  # noqa: E402
from collections import Counter  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
from objectives import everything, prepared  # noqa: E402  the benchmark beside this one

from pretrain.machine import sharding  # noqa: E402

KINDS = ('views', 'products', 'update', 'else')
OPERATION = re.compile(r'^\s+(?:ROOT )?%?([\w.\-]+) = .*?\s([\w\-]+)\(')
PRODUCTS, OUTER = {'dot', 'convolution'}, {'while', 'call', 'conditional'}  # whose time is that of what is in them


def kinds(text: str) -> dict[str, str]:
  """A compiled program's operations, by name: which part of the step each belongs to."""
  inside, computation, found = {}, '', {}
  for line in text.splitlines():
    if line.endswith('{') and not line.startswith(' '):
      computation = line.removeprefix('ENTRY ').removeprefix('%').split(' ')[0]
    elif operation := OPERATION.match(line):
      name, code = operation.groups()
      inside.setdefault(computation, set()).add(code)
      called = inside.get(''.join(re.findall(r'calls=%?([\w.\-]+)', line)), set())  # printed before what calls it
      scope = ''.join(re.findall(r'op_name="([^"]*)"', line))
      if code not in OUTER:
        found[name] = ('views' if '(views)' in scope or '/views/' in scope else 'update' if '/update/' in scope else
                       'products' if PRODUCTS & {code, *called} else 'else')
  return found


def measure(name: str, steps: int) -> tuple[float, Counter]:
  """Milliseconds of a step, and of each kind."""
  _, run, training, arrays = prepared(name)
  with run.batches(start=0, bad_records=None) as batches:
    batch = sharding.place(next(batches) | arrays, run.mesh)
  state = training.init()
  compiled = training.step.lower(state, batch).compile()
  state, _ = jax.block_until_ready(compiled(state, batch))
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      for _ in range(steps):
        state, _ = jax.block_until_ready(compiled(state, batch))
    trace = jax.profiler.ProfileData.from_file(str(next(Path(folder).glob('**/*.xplane.pb'))))
  of, total = kinds(compiled.as_text()), Counter()
  for event in (event for plane in trace.planes for line in plane.lines for event in line.events):
    if event.name in of:
      total[of[event.name]] += event.duration_ns / 1e6 / steps
  return sum(total.values()), total


def main() -> None:
  """Prints the shares as a table."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--only', action='append')
  parser.add_argument('--steps', type=int, default=3)
  parser.add_argument('--out', type=Path)
  args = parser.parse_args()
  lines = [f'| objective | ms | {" | ".join(f"{kind}, %" for kind in KINDS)} |', '|---' * (2 + len(KINDS)) + '|']
  print('\n'.join(lines), flush=True)
  for name in args.only or everything():
    whole, total = measure(name, args.steps)
    lines.append(f'| `{name}` | {whole:.0f} | {" | ".join(f"{100 * total[kind] / whole:.0f}" for kind in KINDS)} |')
    print(lines[-1], flush=True)
  if args.out:
    args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
  main()
