"""After a short run on real images an objective's features beat those of the random backbone."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.metrics import read_rows

ROOT = Path(__file__).parents[1]

# config, steps, the measure, by how much it must rise above the random backbone's, more of the config
RUNS = {
    'supervised': ('supervised/fashion_mnist', 120, 'knn', 0.08),
    'simclr': ('demo', 80, 'knn', 0.05),
    'dino': ('dino/fashion_mnist', 150, 'knn', 0.03),
    'mae': ('mae/fashion_mnist', 250, 'knn', 0.01),
    'mae in int8': ('mae/fashion_mnist', 250, 'knn', 0.01, 'backbone.quantize=int8'),
    'fixmatch': ('fixmatch/fashion_mnist', 150, 'knn', 0.02),
    'clip': ('clip/fashion_mnist', 80, 'knn', 0.05),
}


@pytest.mark.slow
@pytest.mark.parametrize('name', RUNS)
def test_a_probe_on_real_images_improves(name, tmp_path):
  file, steps, measure, margin, *more = RUNS[name]
  flags = [f'--config.steps={steps}', f'--config.schedule.warmup_steps={steps // 10}',
           '--config.evaluate.every_steps=0', *(f'--config.{text}' for text in more)]
  done = subprocess.run([sys.executable, '-m', 'pretrain', 'train', f'--config=configs/{file}.py', '--quiet',
                         f'--workdir={tmp_path}', *flags], cwd=ROOT, env=os.environ | {'XLA_FLAGS': ''},
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert json.loads((tmp_path / 'config.json').read_text())['objective']['name'] == name.split(' ')[0]
  rows = {row['features']: row for row in json.loads((tmp_path / 'result.json').read_text())['evaluation']}
  print({key: {k: row[k] for k in ('knn', 'linear', 'linear_10_per_class')} for key, row in rows.items()})
  assert rows['pretrained backbone'][measure] > rows['random backbone'][measure] + margin, rows
  losses = [row['loss'] for row in read_rows(tmp_path / 'metrics.jsonl') if 'loss' in row]
  assert losses[-1] < losses[0]
