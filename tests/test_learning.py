"""After a short run on real images an objective's features beat those of the random backbone."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pretrain.files import read_rows

ROOT = Path(__file__).parents[1]

# config, steps, the measure, by how much it must rise above the random backbone's, more of the config
RUNS = {
    'supervised': ('supervised.py:fashion_mnist', 120, 'knn', 0.08),
    'simclr': ('demo.py', 80, 'knn', 0.05),
    'dino': ('dino.py:fashion_mnist', 150, 'knn', 0.03),
    'mae': ('mae.py:fashion_mnist', 250, 'knn', 0.01),
    'mae in int8': ('mae.py:fashion_mnist', 250, 'knn', 0.01, 'backbone.quantize=int8'),
    'fixmatch': ('fixmatch.py:fashion_mnist', 150, 'knn', 0.02),
    'clip': ('clip.py:fashion_mnist', 80, 'knn', 0.05),
}


def run(file: str, workdir: Path, *overrides: str, **entries) -> dict[str, dict]:
  """Trains a config in a process of its own; the evaluation's rows by the features' name."""
  flags = [f'--config.{text}' for text in (*overrides, *(f'{key}={value!r}' for key, value in entries.items()))]
  done = subprocess.run([sys.executable, '-m', 'pretrain', 'train', f'--config=configs/{file}', '--quiet',
                         f'--workdir={workdir}', *flags], cwd=ROOT, env=os.environ | {'XLA_FLAGS': ''},
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  rows = {row['features']: row for row in json.loads((workdir / 'result.json').read_text())['evaluation']}
  print({key: {k: row[k] for k in ('knn', 'linear', 'linear_10_per_class')} for key, row in rows.items()})
  return rows


@pytest.mark.slow
def test_bert_learns_which_page_of_the_docs_a_line_is_of(tmp_path):
  pages = {page.stem: page.read_text().encode() for page in sorted((ROOT / 'docs').glob('*.md'))}
  pieces = [{'text': text[i:i + 60].decode(errors='replace'), 'label': name} for name, text in pages.items()
            for i in range(0, len(text) - 60, 60)]
  sets = {}
  for split, chosen in (('test', pieces[::5]), ('train', [p for i, p in enumerate(pieces) if i % 5])):
    (tmp_path / f'{split}.jsonl').write_text('\n'.join(map(json.dumps, chosen)))
    sets[split] = dict(name='labeled_text', path=str(tmp_path / f'{split}.jsonl'), tokenizer='bytes', length=64)
  rows = run('bert.py:docs', tmp_path / 'run', evaluate=sets)
  assert rows['pretrained backbone']['linear'] > rows['random backbone']['linear'] + 0.05, rows
  assert rows['counts of the tokens']['width'] == 260


@pytest.mark.slow
@pytest.mark.parametrize('name', RUNS)
def test_a_probe_on_real_images_improves(name, tmp_path):
  file, steps, measure, margin, *more = RUNS[name]
  rows = run(file, tmp_path, f'steps={steps}', f'schedule.warmup_steps={steps // 10}', 'evaluate.every_steps=0', *more)
  assert json.loads((tmp_path / 'config.json').read_text())['objective']['name'] == name.split(' ')[0]
  assert rows['pretrained backbone'][measure] > rows['random backbone'][measure] + margin, rows
  losses = [row['loss'] for row in read_rows(tmp_path / 'metrics.jsonl') if 'loss' in row]
  assert losses[-1] < losses[0]
