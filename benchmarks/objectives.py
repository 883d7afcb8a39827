"""What a step of each objective costs, over a step of its bare backbone on the same images.

  python benchmarks/objectives.py [--only=NAME ...] [--rounds=5] [--untimed] [--out=objectives.md]

For each small config: FLOPs of its step (views, networks, heads, losses, teacher), and its time, over those of the
gradient of its backbone's features on each raw image once. `ideal` is what the method's algorithm makes of these: a
pass with a gradient is 1, one without 1/3, a crop or a masked image its share of the pixels, a tower for texts what it
takes, and heads, decoders, losses and views nothing; so `FLOPs over ideal` says what these add, and what is computed in
vain. Both steps are timed in turn, compiled, the state donated.
"""
import argparse
import operator
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import pretrain.models  # noqa: E402
from pretrain import config as configs  # noqa: E402
from pretrain import frontends  # noqa: E402
from pretrain.machine import sharding  # noqa: E402
from pretrain.machine.flops import of_step  # noqa: E402
from pretrain.models.functional import functional  # noqa: E402
from pretrain.run import StepSpec, assemble, prepare  # noqa: E402

TWO, TEACHER, CROPS, CONSISTENT = (2, 0, 0), (2 + 2 / 3, 0, 1), (2, 0, 1), (1, 2, 0)
IDEAL = {  # passes of the labeled (or all) images, of the unlabeled ones, of the local crops
    'simclr': TWO, 'hard_simclr': TWO, 'dcl': TWO, 'nnclr': TWO, 'simsiam': TWO, 'barlow_twins': TWO, 'vicreg': TWO,
    'sup_con': TWO, 'isogclr': TWO, 'simclr_v2': TEACHER, 'multi_instance': (1, 0, 0), 'moco_v2': (1 + 1 / 3, 0, 0),
    'byol': TEACHER, 'moco_v3': TEACHER, 'swav': CROPS, 'dino': TEACHER,
    'ibot': TEACHER, 'dinov2': TEACHER, 'mae': (0.25, 0, 0), 'simmim': (1, 0, 0), 'data2vec': (1 + 1 / 3, 0, 0),
    'self_distillation_fpt': (0.25 + 1 + 1 / 3, 0, 0), 'spark': (0.4, 0, 0), 'videomae': (0.1, 0, 0),
    'supervised': (1, 0, 0), 'distill': (1, 0, 0), 'deepercluster': (1, 0, 0), 'efficienttrain': (1, 0, 0),
    'clip': (1, 0, 0), 'siglip': (1, 0, 0), 'pseudo_label': (1, 1, 0), 'mean_teacher': (1, 1 + 1 / 3, 0),
    # batch statistics are shared, so that the weak views have a gradient too
    'fixmatch': CONSISTENT, 'flexmatch': CONSISTENT, 'freematch': CONSISTENT, 'softmatch': CONSISTENT,
    'shrinkmatch': CONSISTENT, 'uda': CONSISTENT, 'dash': CONSISTENT, 'pi_model': (2, 2, 0), 'adamatch': (4, 2, 0),
    'comatch': (1, 3, 0), 's4l': (4, 4, 0), 'mixmatch': (1, 2 + 2 / 3, 0)}
FILES = {'simclr': 'demo.py', 'bert': 'bert.py:docs', 't_jepa': 't_jepa.py:breast_cancer',
         'distill': 'ssld.py:fashion_mnist'}  # others: NAME.py:fashion_mnist
SOURCE = dict(name='fashion_mnist', split='train')  # the program's, where the stage has none
LABELED = dict(name='supervised', classes=10)
STAGES = {  # of programs: the stage, an objective with its batches that needs no other run, what the program adds
    'dinov2_distill': ('student', 'teacher', {}, {}),
    'self_distillation_fpt': ('further', 'further', dict(name='self_distillation_fpt', weight=1.), {}),
    'distill': ('student', LABELED, {}, {'probabilities': (10,)}),
    'deepercluster': ('train', LABELED, dict(classes=100, super_clusters=4), {})}


def everything() -> list[str]:
  small = {path.stem: configs.rows(configs.from_file(str(path))).get('fashion_mnist')
           for path in ROOT.glob('configs/*.py')}
  return sorted({*FILES, *STAGES, *(name for name, row in small.items() if row and 'program' not in row())})


def gradient_of(model: dict, x):
  """A jitted (params, x) -> (value, gradient) of a network's features alone, and its arguments."""
  net = functional(configs.build(pretrain.models, model, 'config.backbone'))
  params, mutable = jax.jit(net.init)(jax.random.key(0))

  def value(params, x):
    features, _ = net.apply(params, mutable, lambda m: m(x, train=True, key=None))
    return jnp.sum(jnp.square(features))

  return jax.jit(jax.value_and_grad(value)), (params, x)


def prepared(name: str) -> tuple:
  """The small config of an objective, its run, its step, and what a program adds to the run's batches."""
  tree = configs.load(f'{ROOT}/configs/{FILES.get(name, f"{name}.py:fashion_mnist")}', [])
  stage, plain, more, arrays = STAGES.get(name, (None, None, {}, {}))
  objective = plain if isinstance(plain, dict) else (tree[plain] if plain else tree)['objective']
  tree = tree[stage] if stage else tree
  run = configs.call(prepare, {'source': SOURCE} | tree | {'objective': objective, 'evaluate': None}, 'config')
  arrays = {key: np.full((tree['batch'], *shape), 1 / shape[-1], np.float32) for key, shape in arrays.items()}
  if not stage:
    return tree, run, run.training, arrays
  parts = {key: tree[key] for key in ('backbone', 'optimizer', 'schedule')}
  spec = StepSpec(tree['views'], objective=tree['objective'] | more, steps=run.steps, examples=run.examples,
                  seed=run.seed, **parts)
  return tree, run, assemble(run.abstract_batch | arrays, run.mesh, spec).training, arrays


def measure(name: str, rounds: int, timed: bool) -> dict:
  tree, run, training, arrays = prepared(name)
  raw = run.abstract_batch.get('labeled', run.abstract_batch)
  b = len(raw['index'])
  u = len(run.abstract_batch['unlabeled']['index']) if 'unlabeled' in run.abstract_batch else 0
  step = training.step
  if tree.get('views') is None:  # texts and rows are seen as they are
    only = raw[frontends.of(raw).key]
    seen = jnp.zeros(only.shape, only.dtype)
  else:
    side = tree['backbone'].get('image') or tree['views'].get('size') or raw['image'].shape[1]
    frames = [tree['backbone']['frames']] if 'frames' in tree['backbone'] else []
    seen = jnp.zeros((b + u, *frames, side, side, tree['backbone']['channels']))
  bare, given = gradient_of(tree['backbone'], seen)
  one = of_step(bare, *given).total
  flops = of_step(step, training.abstract, run.abstract_batch | arrays).total / one
  views = jax.eval_shape(run.views, run.abstract_batch, jax.random.key(0)) if tree.get('views') else {}
  crops = views['local'].shape[:2] + views['local'].shape[2:4] if 'local' in views else None
  local = b * crops[1] * crops[2] * crops[3] / tree['views']['size'] ** 2 if crops else 0
  ideal = sum(map(operator.mul, IDEAL[name], (b, u, local))) / (b + u) if name in IDEAL else None
  if ideal and 'text' in tree['objective']:  # a second tower
    text = tree['objective']['text']
    tower, tokens = gradient_of(text, jnp.zeros((b, text['length']), jnp.int32))
    ideal += of_step(tower, *tokens).total / one
  row = {'flops': flops, 'ideal': ideal}
  if timed:
    with run.batches(start=0, bad_records=None) as batches:
      batch = sharding.place(next(batches) | arrays, run.mesh)
    state, whole, part = training.init(), [], []
    for turn in range(rounds + 1):
      begun = time.process_time()
      state, _ = jax.block_until_ready(step(state, batch))
      between = time.process_time()
      jax.block_until_ready(bare(*given))
      if turn:  # the first of each compiles
        whole.append(between - begun)
        part.append(time.process_time() - between)
    row['time'] = statistics.median(whole) / statistics.median(part)
  return row


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--only', action='append')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--untimed', action='store_true')
  parser.add_argument('--out', type=Path)
  args = parser.parse_args()
  names = args.only or everything()
  head = ('objective', 'FLOPs over the backbone', 'ideal', 'FLOPs over ideal', 'time over the backbone',
          'time over FLOPs')
  lines = [f'| {" | ".join(head)} |', '|---' * len(head) + '|']
  print('\n'.join(lines), flush=True)
  for name in names:
    row = measure(name, args.rounds, not args.untimed)
    ideal = [f'{row["ideal"]:.2f}', f'{row["flops"] / row["ideal"]:.2f}'] if row['ideal'] else ['', '']
    took = [f'{row["time"]:.2f}', f'{row["time"] / row["flops"]:.2f}'] if 'time' in row else ['', '']
    lines.append(f'| `{name}` | {row["flops"]:.2f} | {" | ".join(ideal)} | {" | ".join(took)} |')
    print(lines[-1], flush=True)
  if args.out:
    args.out.write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
  main()
