"""T-JEPA's features against the columns themselves, for a linear model: what arXiv:2410.05016 claims, on small tables.

  python -m launch.table launch/tables/t_jepa.py run --workers=2
"""
COLUMNS = lambda n, k: {'backbone.numeric': n, 'objective.context_columns': k, 'objective.target_columns': k}
OF = lambda path: {key: dict(name='table', path=path, split=split) for key, split in (
    ('source', 'train'), ('evaluate.train', 'train'), ('evaluate.test', 'test'))}


def get_table():
  row = lambda path, n, k: dict(config='configs/t_jepa.py:breast_cancer', overrides=OF(path) | COLUMNS(n, k))
  return dict(
      title='Linear models of columns, and of features of random and pretrained encoders',
      differs='Tables of scikit-learn: 569 rows of 30 numbers (breast cancer), 178 of 13 (wine), 1,797 of 64 (digits), '
              'a fifth of them for the test; an encoder of two blocks of width 64, 400 steps of 128 rows. The paper: '
              'tables of 5,000 to 580,000 rows, encoders of up to 16 blocks, MLPs and the like on the features.',
      rows={'breast cancer': row('breast_cancer', 30, 8), 'wine': row('wine', 13, 4), 'digits': row('digits', 64, 16)},
      shared={'checkpoint.every_steps': 400, 'evaluate.pictures': False, 'evaluate.every_steps': 0},
      seeds=(0, 1, 2, 3, 4),
      metrics={f'{title}, {start}': f'evaluation/{features}/{key}'
               for title, key in (('all labels', 'linear'), ('10 labels a class', 'linear_10_per_class'))
               for start, features in (('columns', 'raw columns'), ('random', 'random backbone'),
                                       ('pretrained', 'pretrained backbone'))})
