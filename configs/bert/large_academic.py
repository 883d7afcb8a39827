"""BERT with an academic budget, 24 layers of width 1024 on Wikipedia and BookCorpus: arXiv:2104.07705v2.

Settings of the command in the authors' README (IntelLabs/academic-budget-bert) and of its dataset/README.md. The budget
there is 24 hours; the 20,000 steps here stand for them, as their number could not be looked up: choose 86,400 *
examples_per_second / 4,096 of a short run on your machine, with warmup_steps to match. Deviations: no dropout (theirs
0.1); moments are corrected for their start; masks are new each time; another tokeniser of as many ids, which
`python -m data tokenizer` makes. Encoder in bfloat16. The folder holds .txt files, a document each, and the tokeniser's
file.

  python -m pretrain train --config=configs/bert/large_academic.py --workdir=runs/bert_large_academic
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='text', path='data_sets/wikibooks', length=128,
                  tokenizer='data_sets/wikibooks/tokenizer.json')
  c.batch = 4096
  c.steps = 20000
  c.backbone = dict(name='text', vocabulary=30522, length=128, width=1024, depth=24, heads=16, mlp=4096,
                    dtype='bfloat16')
  c.objective = dict(name='bert', mask_ratio=0.15)
  c.schedule = dict(name='warmup_stable_decay', peak=1e-3, warmup_steps=1200, decay_steps=18800, shape='linear')  # 6 %
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01)
  c.checkpoint = dict(every_steps=1000)
  return c
