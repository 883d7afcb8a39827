"""Plans of full-size configs for pods that are not here: the tables of docs/scale.md. Minutes a row, no TPU needed.

  python benchmarks/pods.py                      # all rows, one after the other; what is in --out is not planned again
  python benchmarks/pods.py --only=dinov2,v6e    # rows whose names contain all of these
  python benchmarks/pods.py --table              # the table of what is there

For TPUs wants `pip install -e .[plan]`, for GPUs `.[cuda]` (the compilers; no accelerator).
"""
import argparse
import json
import resource
import time
from pathlib import Path

from pretrain import config as configs
from pretrain.plan.plan import gb, plan

ROOT = Path(__file__).parents[1]
EXAMPLES = 1_281_167  # ImageNet-1k; a config that counts in steps does not need it
SCANNED = {'backbone.scan': True}
MODELS = {  # name: (config, overrides on every pod)
    'MAE ViT-L/16, b 4,096': ('configs/mae.py:vit_l16_imagenet', SCANNED),
    'MAE ViT-H/14, b 4,096': ('configs/mae.py:vit_h14_imagenet', SCANNED),
    'SimCLR ResNet-50, b 4,096': ('configs/simclr.py:resnet50_imagenet', {}),
    'DINOv2 ViT-L/14, b 3,072': ('configs/dinov2.py:vit_l14_imagenet22k', SCANNED | {'backbone.remat': 'everything'}),
    'DINOv2 ViT-g/14, b 3,072': ('configs/dinov2.py:vit_g14_imagenet22k', {}),
    'SigLIP ViT-B/16 + text, b 32,768': ('configs/siglip.py:vit_b16_webli', SCANNED | {
        'objective.text.scan': True, 'backbone.remat': 'everything', 'objective.text.remat': 'everything'}),
}
ONCE = {'mesh': {'data': 1, 'fsdp': 256}, 'gather_once': True}
MAE = {'MAE ViT-L/16, b 4,096': ONCE, 'MAE ViT-H/14, b 4,096': ONCE}
PLAIN = {'SimCLR ResNet-50, b 4,096': {'mesh': {}}}  # 24 million parameters: nothing to split
PODS = {  # name: (topology, slices, {'' or model: overrides})
    'v5e:16x16': ('v5e:16x16', 1, {'': {'mesh': {'data': 16, 'fsdp': 16}}} | MAE | PLAIN),
    'v5p:8x8x8': ('v5p:8x8x8', 1, {'': {'mesh': {'data': 8, 'fsdp': 64}}} | PLAIN),
    'v6e:16x16': ('v6e:16x16', 1, {'': {'mesh': {'data': 16, 'fsdp': 16}}} | PLAIN),
    '2 x v5e:16x16': ('v5e:16x16', 2, {'': {'mesh': {'data': 16, 'fsdp': 16}}} | MAE | PLAIN),
    'h100:32x8': ('h100:32x8', 1, {'': {'mesh': {'data': 32, 'fsdp': 8}}} | PLAIN),
}


def overrides(model: str, pod: str) -> dict:
  """Of a row: those of its model, then of its pod, an entry named after the model last."""
  each = PODS[pod][2]
  return MODELS[model][1] | each[''] | each.get(model, {})


def row(model: str, pod: str) -> dict:
  """The report of a plan, with the seconds that planning took and the host's memory."""
  topology, slices, _ = PODS[pod]
  changes = overrides(model, pod)
  tree = configs.load(str(ROOT / MODELS[model][0]), [f'{key}={value!r}' for key, value in changes.items()])
  began, used = time.perf_counter(), time.process_time()
  report = plan(tree, topology, slices=slices, examples=EXAMPLES)
  return report | {'model': model, 'pod': pod, 'overrides': changes, 'planned': {
      'seconds': time.perf_counter() - began, 'cpu_seconds': time.process_time() - used,
      'gigabytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}}


def table(reports: list[dict]) -> str:
  """In Markdown, a line a row."""
  span = lambda pair, scale=1.: ' to '.join(dict.fromkeys(f'{x * scale:,.3g}' for x in pair))
  out = ['| model | pod | mesh and options | HBM a device, of | arithmetic | memory | network (not overlapped) | '
         'step, ms | MFU, % | all steps, days | bound by |', '|---|---|---|---|---|---|---|---|---|---|---|']
  for r in reports:
    how = ' '.join(f'{k}={v}' for k, v in r['overrides'].items() if k != 'mesh')
    mesh = ' '.join(f'{k}={v}' for k, v in r['mesh'].items() if v > 1)
    hbm = f'{gb(r["hbm_bytes_per_device"])}, {gb(r["hbm_limit_bytes"])}'
    if not r['step_seconds']:
      out.append(f'| {r["model"]} | {r["pod"]} | {mesh}; {how} | **{hbm}: does not fit** | | | | | | | |')
      continue
    s = {k: f'{v * 1e3:.3g}' for k, v in r['seconds'].items()}
    out.append(f'| {r["model"]} | {r["pod"]} | {mesh}; {how} | {hbm} | {s["compute"]} | {s["memory"]} | {s["network"]} '
               f'({s["exposed"]}) | {span(r["step_seconds"], 1e3)} | {span(r["mfu"], 100)} | {span(r["days"])} | '
               f'{r["bound_by"]} |')
  return '\n'.join(out)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--only', default='', help='words, comma-separated, that a row must contain')
  parser.add_argument('--out', default='runs/pods', help='a report a row, as JSON')
  parser.add_argument('--table', action='store_true', help='plan nothing')
  args = parser.parse_args()
  out, reports = Path(args.out), []
  out.mkdir(parents=True, exist_ok=True)
  for model in MODELS:
    for pod in PODS:
      if not all(word.lower() in f'{model} {pod}'.lower() for word in args.only.split(',')):
        continue
      path = out / f'{model} {pod}.json'.replace('/', '-').replace(' ', '_')
      if not path.exists() and not args.table:
        path.write_text(json.dumps(row(model, pod)))
      if path.exists():
        reports.append(json.loads(path.read_text()))
        print(f'{model}, {pod}: {reports[-1]["planned"]}', flush=True)
  print(table(reports))


if __name__ == '__main__':
  main()
