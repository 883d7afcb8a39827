"""Multinomial logistic regression on frozen features, its penalty chosen on a part of the training set."""
import math
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pretrain.evaluate.knn import check

PENALTIES = tuple(10. ** p for p in range(1, -6, -1))
HELD_OUT = 1000  # labels that choose the penalty, where there are as many
TOLERANCE, LOOSE = 5e-4, 5e-3  # of the preconditioned gradient's norm over sqrt(loss); LOOSE while choosing
ITERATIONS = 1000


def linear_probe(train_features, train_labels, test_features, test_labels, *, classes: int, seed: int = 0,
                 penalties: tuple[float, ...] = PENALTIES) -> dict:
  """Accuracy of a linear classifier trained on frozen features.

  Minimises mean cross entropy + penalty / 2 * |kernel|^2 (scikit-learn's C is 1 / (penalty n)), the bias free, over
  features standardised by the mean and standard deviation of the examples that it is trained on. The penalty is the one
  of highest accuracy on held-out training examples (then lowest cross entropy, then largest): stratified fifths, one
  of them if it has 1,000 labels, else as many as hold 1,000 together, at most all five. Penalties are tried from the
  largest on until two in succession are better in neither. Then all training examples are used. The test set is
  looked at once.

  Args:
    train_features, test_features: float[n, d], float[m, d]; all in memory, n * d some 10^8 at most.
    train_labels, test_labels: int[n], int[m] in [0, classes).
    classes: number of classes.
    seed: of the split.
    penalties: > 0.
  Returns:
    accuracy and validation_accuracy in [0, 1], penalty, n and n_test examples, converged (whether the last fit has).
  Raises:
    ValueError: no penalty or one that is not positive, fewer than 5 examples, or shapes and labels that do not fit.
  """
  x, y = check(train_features, train_labels, classes, 'training')
  test, truth = check(test_features, test_labels, classes, 'test')
  if x.shape[1] != test.shape[1]:
    raise ValueError(f'wanted training and test features of one width, got {x.shape} and {test.shape}')
  if not penalties or min(penalties) <= 0:
    raise ValueError(f'wanted penalties > 0, got {penalties}')
  if len(x) < 5:
    raise ValueError(f'wanted at least 5 training examples to hold a fifth out, got {len(x)}')
  penalty, validation = _choose(x, y, classes, seed, penalties)
  problem = standardize(x, np.ones(len(x), bool))
  fitted = fit(problem, y, penalty, classes=classes)
  if not fitted.converged:
    warnings.warn(f'the linear probe (penalty={penalty}) has not converged in {fitted.iterations} iterations: gradient '
                  f'norm over sqrt(loss) {fitted.slope:.1e}, wanted {TOLERANCE:.0e}', stacklevel=2)
  accuracy = float((predict(problem, fitted, test).argmax(1) == truth).mean())
  return {'accuracy': accuracy, 'penalty': float(penalty), 'validation_accuracy': validation, 'n': len(x),
          'n_test': len(test), 'converged': bool(fitted.converged)}


def few_shot(train_features, train_labels, test_features, test_labels, *, classes: int, per_class: int, trials: int,
             seed: int = 0, penalties: tuple[float, ...] = PENALTIES) -> dict:
  """`linear_probe` with `per_class` labels of each class, for several draws from the training set.

  Args:
    per_class: labels of each class, at least 2; the penalty too is chosen on these alone.
    trials: number of draws.
    seed: draw t is a function of (seed, t), and so is its split.
    others: as in `linear_probe`.
  Returns:
    accuracy (the mean over draws), std (over draws, ddof=1; 0 for one draw), accuracies (one a draw), per_class,
    trials, n = classes * per_class.
  Raises:
    ValueError: a class has fewer examples, per_class < 2, trials < 1, or as `linear_probe`.
  """
  x, y = check(train_features, train_labels, classes, 'training')
  counts = np.bincount(y, minlength=classes)
  if per_class < 2 or trials < 1:
    raise ValueError(f'wanted per_class >= 2 (one to hold out) and trials >= 1, got {per_class} and {trials}')
  if counts.min() < per_class:
    raise ValueError(f'wanted per_class={per_class} training examples of each class, got {counts.min()} of class '
                     f'{counts.argmin()}')
  accuracies = []
  for trial in range(trials):
    rng = np.random.default_rng([seed, trial])
    rows = np.concatenate([rng.choice(np.flatnonzero(y == c), per_class, replace=False) for c in range(classes)])
    probe = linear_probe(x[rows], y[rows], test_features, test_labels, classes=classes, seed=seed + trial,
                         penalties=penalties)
    accuracies.append(probe['accuracy'])
  return {'accuracy': float(np.mean(accuracies)), 'std': float(np.std(accuracies, ddof=1)) if trials > 1 else 0.,
          'accuracies': accuracies, 'per_class': per_class, 'trials': trials, 'n': classes * per_class}


def folds(labels, rng) -> np.ndarray:
  """i64[n] in [0, 5), the fifth of each example: within a class of c examples a fifth has c / 5, rounded up or down."""
  fold = np.empty(len(labels), np.int64)
  for c in np.unique(labels):
    rows = rng.permutation(np.flatnonzero(labels == c))
    fold[rows] = (np.arange(len(rows)) + rng.integers(5)) % 5  # a random start: else fold 0 has all the remainders
  return fold


def _choose(x, y, classes: int, seed: int, penalties: tuple[float, ...]) -> tuple[float, float]:
  """(penalty, its held-out accuracy)."""
  rng = np.random.default_rng(seed)
  fold = folds(y, rng)
  parts = [fold != i for i in range(min(5, max(1, math.ceil(5 * HELD_OUT / len(x))))) if (fold == i).any()]
  problems = [standardize(x, part) for part in parts]
  held = [~part for part in parts]
  fits = [None] * len(parts)
  tried, best_loss, since = [], math.inf, 0
  for penalty in sorted(penalties, reverse=True):
    fits = [fit(problem, y, penalty, classes=classes, start=start, tolerance=LOOSE)
            for problem, start in zip(problems, fits, strict=True)]
    logits = np.concatenate([np.asarray(f.logits)[h] for f, h in zip(fits, held, strict=True)])
    truth = np.concatenate([y[h] for h in held])
    accuracy = float((logits.argmax(1) == truth).mean())
    loss = float(np.mean(np.logaddexp.reduce(logits, 1) - logits[np.arange(len(truth)), truth]))
    better = not tried or accuracy > max(tried)[0] or loss < best_loss
    tried.append((accuracy, -loss, penalty))
    best_loss, since = min(loss, best_loss), 0 if better else since + 1
    if since == 2:
      break
  accuracy, _, penalty = max(tried)
  return penalty, accuracy


# One fit --------------------------------------------------------------------------------------------------------------

class Problem(NamedTuple):
  """Standardised examples in an orthonormal basis of r <= min(n, d) directions: a rotation leaves |kernel|^2 as it is.

  mean, std:  f32[d], of the examples that count.
  basis:      f32[d, r]; (x - mean) / std @ basis is `rotated`.
  rotated:    f32[n, r].
  curvature:  f32[r], mean square of each column of `rotated`, over the examples that count.
  weight:     f32[n], 1 / number of examples that count, 0 for the others.
  """
  mean: np.ndarray
  std: np.ndarray
  basis: np.ndarray
  rotated: np.ndarray
  curvature: np.ndarray
  weight: np.ndarray


class Fit(NamedTuple):
  """kernel f32[r, classes] and bias f32[classes] in the problem's basis, logits f32[n, classes] and how it ended."""
  kernel: jax.Array
  bias: jax.Array
  logits: jax.Array
  loss: jax.Array
  iterations: jax.Array
  slope: jax.Array
  converged: jax.Array


def standardize(x, use) -> Problem:
  """The problem of fitting to the rows `use` bool[n] of x f32[n, d]; constant features become 0."""
  n, d = x.shape
  mean = x[use].mean(0, dtype=np.float64)
  std = np.sqrt(np.mean((x[use] - mean.astype(np.float32)) ** 2, 0, dtype=np.float64))
  std = np.where(std > 1e-6 * np.abs(mean), std, np.inf)
  mean, std = mean.astype(np.float32), std.astype(np.float32)
  z = (x - mean) / std
  if n >= d:
    _, basis = np.linalg.eigh((z[use].T @ z[use]).astype(np.float64))
    basis = basis.astype(np.float32)
  else:  # the solution is a combination of the examples, so their span is enough
    squares, left = np.linalg.eigh(z.astype(np.float64) @ z.T.astype(np.float64))  # [n], [n, n]
    kept = squares > 1e-9 * squares.max()
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, squares, 1)), 0)  # 0: shapes stay those of (n, d)
    basis = (z.T @ (left * scale)).astype(np.float32)
  rotated, weight = z @ basis, (use / use.sum()).astype(np.float32)
  return Problem(mean, std, basis, rotated, weight @ rotated ** 2, weight)


def predict(problem: Problem, fitted: Fit, x) -> np.ndarray:
  """Logits f32[m, classes] of examples x f32[m, d]."""
  kernel = problem.basis @ np.asarray(fitted.kernel) / problem.std[:, None]  # [d, classes]
  return (x - problem.mean) @ kernel + np.asarray(fitted.bias)


def fit(problem: Problem, y, penalty: float, *, classes: int, start: Fit | None = None,
        tolerance: float = TOLERANCE) -> Fit:
  """Full-batch L-BFGS (optax), from zero or from another fit of the same problem; compiled once for each shape."""
  r = problem.rotated.shape[1]
  kernel, bias = (np.zeros((r, classes), np.float32), np.zeros(classes, np.float32)) if start is None else start[:2]
  return _fit(problem.rotated, problem.curvature, problem.weight, y, kernel, bias, np.float32(penalty),
              np.float32(tolerance))


@jax.jit
def _fit(x, curvature, weight, y, kernel, bias, penalty, tolerance) -> Fit:
  targets = jax.nn.one_hot(y, bias.shape[0])
  # The Hessian is at most curvature / 2 + penalty (Böhning's bound): in units of its root all directions are alike,
  # which takes a third of the iterations on pixels.
  unit = 1 / jnp.sqrt(curvature / 2 + penalty)[None]

  def loss(params):
    kernel, bias = params[0] * unit, params[1]  # [classes, r]: its gradient is computed much faster than [r, classes]
    logits = jnp.matmul(x, kernel.T, precision='highest') + bias[None]
    return weight @ optax.softmax_cross_entropy(logits, targets) + penalty / 2 * jnp.sum(kernel ** 2)

  tx = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def step(carry):
    params, state, _ = carry
    value, grad = value_and_grad(params, state=state)
    updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
    return optax.apply_updates(params, updates), state, optax.tree.norm(updates)

  def slope(state):  # its square bounds the loss's relative excess, up to the curvature
    return optax.tree.norm(optax.tree.get(state, 'grad')) / jnp.sqrt(optax.tree.get(state, 'value'))

  def going(carry):
    _, state, moved = carry
    count = optax.tree.get(state, 'count')
    return (count == 0) | ((count < ITERATIONS) & (slope(state) > tolerance) & (moved > 0))

  params = kernel.T / unit, bias
  params, state, _ = jax.lax.while_loop(going, step, (params, tx.init(params), jnp.inf))
  kernel, bias = (params[0] * unit).T, params[1]
  logits = jnp.matmul(x, kernel, precision='highest') + bias[None]
  count, value = optax.tree.get(state, 'count'), optax.tree.get(state, 'value')
  return Fit(kernel, bias, logits, value, count, slope(state), slope(state) <= tolerance)
