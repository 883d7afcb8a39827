"""The same runs with backbones in float32 and in bfloat16, on digits and on Fashion-MNIST: do they learn the same?

  python -m launch.table launch/tables/bfloat16.py run --workers=2
"""
from launch.tables import labels_digits, labels_fashion_mnist, learning_digits, learning_fashion_mnist

SHORT = {'evaluate.every_steps': 0, 'evaluate.pictures': False, 'checkpoint.every_steps': 10_000}
PROBED = {'steps': 300, 'evaluate.baselines': True}


def row(table, title: str, more: dict) -> dict:
  """The row of another table, with its overrides, and these."""
  spec = table.get_table()
  own = spec['rows'][title]
  return dict(config=own['config'], overrides=spec.get('shared', {}) | own['overrides'] | more)


def get_table():
  return dict(
      title='Backbones in bfloat16 against float32',
      differs='Rows of `learning_digits`, `learning_fashion_mnist` and, with 25 labels a class and for 300 steps, of '
              '`labels_digits` and `labels_fashion_mnist`; on Fashion-MNIST SimCLR for 150 steps of 128 and MAE for '
              '400. Features, of networks of three blocks, are those of FixMatch too.',
      rows={
          'SimCLR, digits': row(learning_digits, 'SimCLR', {}),
          'MAE, digits': row(learning_digits, 'MAE', {}),
          'DINO, digits': row(learning_digits, 'DINO', {}),
          'FixMatch, digits': row(labels_digits, 'FixMatch', PROBED),
          'SimCLR, Fashion-MNIST': dict(config='configs/demo.py', overrides=SHORT | {
              'batch': 128, 'steps': 150, 'schedule.warmup_steps': 15}),
          'MAE, Fashion-MNIST': row(learning_fashion_mnist, 'MAE', {'steps': 400, 'schedule.warmup_steps': 40}),
          'FixMatch, Fashion-MNIST': row(labels_fashion_mnist, 'FixMatch', PROBED)},
      seeds=(0, 1, 2, 3, 4, 5),
      columns={'float32': {}, 'bfloat16': {'backbone.dtype': 'bfloat16'}},
      metrics={name: learning_digits.METRICS[name] for name in (
          'kNN, random', 'kNN, pretrained', 'linear, pretrained', '10 labels a class, pretrained')})
