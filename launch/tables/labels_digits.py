"""Every semi-supervised method on scikit-learn's digits, 4 and 25 labels a class, one network, one number of steps.

  python -m launch.table launch/tables/labels_digits.py run --workers=2
"""
from launch.tables.labels_fashion_mnist import SETTING, table


def get_table():
  return table(
      'digits', {'backbone.mean': (0.305,), 'backbone.std': (0.375,), 'views.flip': 0.0},
      alone={'views.size': 8, 'views.pad': 1}, hole=0.25, more={'Noisy Student': {'program.per_class': 100}},
      probe='train', title='Accuracy of the classifier on digits over labels a class, all methods',
      differs='1,437 images of 8 x 8 pixels (360, mostly of other writers, for the test), a residual network of three '
              f'blocks of width 16, {SETTING}; no images are mirrored.')
