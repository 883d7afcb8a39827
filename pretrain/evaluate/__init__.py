"""What frozen features are worth: kNN and linear classifiers, from those of labeled examples."""
from rich.console import Console
from rich.table import Table

from pretrain.evaluate.health import health, tolerance
from pretrain.evaluate.knn import knn
from pretrain.evaluate.linear import few_shot, linear_probe


def measure(name: str, x, y, test, truth, *, classes: int, k: int = 20, per_class: int = 10, trials: int = 5,
            seed: int = 0) -> dict:
  """One row of the table: kNN, a linear probe on all labels, and one on a few of each class.

  Args:
    name: of what gave the features.
    x, y: f32[n, d], i32[n], the training examples.
    test, truth: f32[m, d], i32[m].
    classes: number of classes.
    k: neighbours.
    per_class, trials: labels of each class, and draws of them, of the few-label probe.
    seed: of draws and splits; the same for features that are compared.
  Returns:
    What JSON can hold: features (the name), knn, linear, linear_<per_class>_per_class and its _std over draws (shares
    of 1), width (d), n, n_test, protocol, a sentence with the settings, and the `geometry` of the test examples.
  Raises:
    ValueError: too few examples for k or per_class, or what the parts raise.
  """
  data = x, y, test, truth
  linear = linear_probe(*data, classes=classes, seed=seed)
  few = few_shot(*data, classes=classes, per_class=per_class, trials=trials, seed=seed)
  column = f'linear_{per_class}_per_class'
  return {
    'features': name, 'knn': knn(*data, k=k, classes=classes), 'linear': linear['accuracy'], column: few['accuracy'],
    f'{column}_std': few['std'], 'geometry': geometry(test, truth),
    'width': x.shape[1], 'n': len(x), 'n_test': len(test),
    'protocol': f'kNN with k={k}; linear probe on {len(x)} labels, penalty {linear["penalty"]:g} chosen on a part of '
                f'them; with {per_class} labels a class, mean and standard deviation of {trials} draws; seed {seed}; '
                f'{len(test)} test examples'}


def geometry(features, labels) -> dict[str, float]:
  """How features float[n, d] are spread out: what `health` gives, and `tolerance`."""
  return health(features) | {'tolerance': tolerance(features, labels)}


def print_table(rows: list[dict], console: Console | None = None) -> None:
  """Prints rows of `measure`: accuracies in percent, with their spread where there is one."""
  table = Table(title='Accuracy on held-out examples, %')
  table.add_column('features')
  hidden = ('features', 'geometry', 'protocol')
  columns = [key for key in rows[0] if key not in hidden and not key.endswith('_std')] if rows else []
  for column in columns:
    table.add_column(column.replace('_', ' '), justify='right')
  for row in rows:
    table.add_row(row['features'], *(_cell(row[key], row.get(f'{key}_std')) for key in columns))
  (console or Console()).print(table)


def _cell(value: float, spread: float | None) -> str:
  if isinstance(value, int):
    return str(value)
  return f'{100 * value:.1f}' + (f' ± {100 * spread:.1f}' if spread is not None else '')
