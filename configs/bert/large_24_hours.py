"""BERT-large in 24 hours on one server: arXiv:2104.07705v2, the command of the authors' README.

Masked words alone, packed sequences of 128 tokens, a linear warm-up over 6 % of the budget and a linear decay to 0 at
its end. The budget there is a time: choose `steps` = 86,400 s * examples_per_second / 4,096 of a short run on your
machine, and with it warmup_steps and decay_steps; 20,000 is no number of theirs. Deviations: no dropout (0.1), bfloat16
instead of float16, sequences are masked anew each time (theirs in ten copies); the text is yours, the paper's is
Wikipedia and BookCorpus. Measured are tokens_per_second and mfu.

  python -m pretrain train --config=configs/bert/large_24_hours.py --workdir=runs/bert_large
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 42
  c.source = dict(name='text', path='data_sets/wikipedia_bookcorpus', length=128,
                  tokenizer='data_sets/bert_large_uncased_tokenizer.json')
  c.batch = 4096
  c.steps = 20_000
  c.backbone = dict(name='text', vocabulary=30522, length=128, width=1024, depth=24, heads=16, mlp=4096,
                    pool='mean', scan=True, dtype='bfloat16')
  c.objective = dict(name='bert', mask_ratio=0.15)
  c.schedule = dict(name='warmup_stable_decay', peak=1e-3, warmup_steps=1200, decay_steps=18_800, shape='linear')
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.98, eps=1e-6, weight_decay=0.01)
  c.checkpoint = dict(every_steps=1000)
  return c
