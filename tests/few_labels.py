"""What tests of methods with few labels share: logits of a step, a small classifier, the average that is evaluated."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from pretrain import config, objectives
from pretrain.config import ConfigError
from pretrain.method.semi_supervised import classifier, classify
from pretrain.models.functional import functional
from pretrain.models.layers import batch_norm
from pretrain.models.vit import vit
from tests.cases import Case
from tests.checks import assert_close, assert_finite, descended, is_array, normal
from tests.reference import average as twin

BACKBONE = vit(image=8, channels=1, patch=4, width=16, depth=1, heads=2, mlp=16)
B, U, K, EXAMPLES, KEY = 4, 8, 3, 20, jax.random.key(0)


# --- Logits --------------------------------------------------------------------------------------------------------

def odds(*rows):
  """Logits whose softmax is the rows, which need not sum to 1."""
  return np.log(np.array(rows, np.float32))


def labels(seed: int, n: int, k: int):
  return np.random.default_rng(seed).integers(0, k, n, np.int32)


def probabilities(seed: int, n: int, k: int, scale: float = 2):
  x = np.exp(normal(seed, n, k, scale=scale).astype(np.float64))
  return (x / x.sum(1, keepdims=True)).astype(np.float32)


def distribution(seed: int, k: int):
  """k positive numbers that sum to 1, float32."""
  weights = np.exp(normal(seed, k))
  return weights / weights.sum()


def step(seed: int, b: int = B, u: int = U, k: int = K, scale: float = 2):
  """(labeled, label, weak, strong): logits and classes of a step, some of the weak ones confident."""
  return normal(seed, b, k), labels(seed, b, k), normal(seed + 1, u, k, scale=scale), normal(seed + 2, u, k)


def named(labeled, label, weak, strong):
  """Of a step those that losses take by place, and those that they take by name."""
  return (labeled, label), {'weak': weak, 'strong': strong}


def soft(seed: int, b: int, u: int, k: int):
  """(labeled, label, probabilities, strong)"""
  return normal(seed, b, k), labels(seed, b, k), probabilities(seed + 1, u, k), normal(seed + 2, u, k)


def mixed(seed: int, b: int, n: int, k: int):
  """Logits and mixed labels, of the labeled and of the unlabeled."""
  return normal(seed, b, k), probabilities(seed + 1, b, k), normal(seed + 2, n, k), probabilities(seed + 3, n, k)


EVEN = np.zeros((2, 4), np.float32), np.array([0, 3])  # logits and labels of two examples
# Of the tests of shapes: 2 labeled and 4 unlabeled examples of 3 classes, and a row that would be broadcast.
LABELED, CLASSES, WEAK, _ = step(50, 2, 4, 3)
ONE, THREE = normal(0, 1, 3), np.full(3, 0.5, np.float32)


def uniform(logits):
  return jnp.full(logits.shape[1], 1 / logits.shape[1])


def large():
  """A step of logits of about 1e4."""
  labeled, label, weak, strong = step(41, 2, 5, 3)
  return 1e4 * labeled, label, 1e4 * weak, 1e4 * strong


def check_finite(loss):
  """Value and gradient of loss((labeled, label), weak, strong) have no nan and no infinity at extreme logits."""
  labeled, label, weak, strong = step(40, 2, 5, 3)
  first = np.tile(np.array([[1, 0, 0]], np.float32), (5, 1))
  points = [
    (1e4 * labeled, 1e4 * weak, 1e4 * strong), (1e4 * labeled, 1e4 * weak, -1e4 * strong),
    (1e4 * labeled, 1e4 * weak, -1e4 * weak), (labeled, 1e4 * weak, 1e-4 * strong),
    (0 * labeled, 0 * weak, 0 * strong),
    (labeled, 1e4 * first, 1e4 * first), (labeled, 1e4 * first, -1e4 * first),  # one class for all
  ]
  assert_finite(lambda x, w, s: loss((x, label), w, s)[0], *points)


def check_one_class(loss):
  """loss((labeled, label), weak, strong) is 0 where there is one class, which all examples are certain of."""
  one = normal(0, 3, 1)
  value, terms = loss((one, np.zeros(3, int)), 2 * one, -one)
  assert_close(value, 0)
  assert_close(terms.get('use_ratio', 1), 1)


def check_invariances(loss, *arguments):
  """Orders of examples and of classes, constants in rows of logits, and examples that come twice change nothing.

  The loss is called with the arguments by place: matrices of logits (those behind the labels are of the unlabeled),
  labels, vectors of classes, numbers; the last is the weight of the unlabeled, or of the fairness behind it.
  """
  value, terms = loss(*arguments)
  matrices = [i for i, x in enumerate(arguments) if is_array(x) and x.ndim == 2]
  label = next(i for i, x in enumerate(arguments) if isinstance(x, np.ndarray) and not is_array(x))
  unlabeled = [i for i in matrices if i > label]
  u, k = arguments[unlabeled[0]].shape

  def changed(**functions):
    """The loss with functions of unlabeled logits, all logits, vectors of classes and labels applied."""
    result = list(arguments)
    for i, x in enumerate(arguments):
      names = ['unlabeled'] * (i in unlabeled) + ['logits'] * (i in matrices) + ['label'] * (i == label)
      names += ['vector'] * (is_array(x) and x.ndim == 1)
      for name in names:
        result[i] = functions.get(name, lambda x: x)(result[i])
    return loss(*result)[0]

  order, classes = np.random.default_rng(0).permutation(u), np.random.default_rng(1).permutation(k)[::-1]
  inverse = np.argsort(classes)
  assert_close(changed(unlabeled=lambda x: x[order]), value)
  assert_close(changed(logits=lambda x: x[:, classes], vector=lambda x: x[classes], label=lambda y: inverse[y]), value)
  assert_close(changed(logits=lambda x: x + 3 * np.arange(len(x), dtype=np.float32)[:, None]), value)
  assert_close(changed(unlabeled=lambda x: np.concatenate([x, x])), value)  # means, not sums
  fair = 'fairness' in terms
  weight, unfair = arguments[-2 if fair else -1], arguments[-1] * terms['fairness'] if fair else 0
  assert_close(value, terms['supervised'] + weight * terms['consistency'] + unfair)


# --- Objectives over a small classifier ------------------------------------------------------------------------------

def images(seed: int):
  """A batch with all keys that methods with few labels take."""
  rng = np.random.default_rng(seed)
  batch = {name: jnp.asarray(rng.uniform(size=(n, 8, 8, 1)), jnp.float32)
           for name, n in (('image', B), ('image_strong', B), ('weak', U), ('strong', U))}
  batch['strongs'] = jnp.stack([batch['strong'], batch['weak'][::-1]], 1)
  return batch | {'label': jnp.asarray(rng.integers(0, K, B)), 'index': jnp.asarray(rng.permutation(EXAMPLES)[:U])}


def value(made, params, memory, at: int = 0, **changes):
  return made.loss(params, memory, images(0) | changes, KEY, at)[0]


def after(made, n: int):
  """Parameters and memory after n steps of plain gradient descent."""
  params, memory = made.init(KEY)
  for at in range(n):
    params, memory = descended(made, params, memory, images(at), KEY, at)
  return params, memory


def first_batch(made):
  """The first parameters' probabilities of the weak views, and memory after the first step."""
  params, memory = made.init(KEY)
  _, (carry, _) = made.loss(params, memory, images(0), KEY, 0)
  return jax.nn.softmax(logits_of(params, images(0)['weak'])), made.update(params, memory, carry, 0)[1]


def check_threshold(build, **settings):
  """A threshold that is no probability is refused."""
  for threshold in (-0.1, 95., float('nan')):
    spec = dict(classes=K, threshold=threshold, unlabeled_weight=1., ema_momentum=0.9, **settings)
    with pytest.raises(ConfigError, match=r'config\.objective\.threshold: wanted a number in \[0, 1\], got '):
      config.call(build, spec, 'config.objective', backbone=BACKBONE)


def logits_of(params, x):
  """Training logits of a classifier without batch statistics."""
  return functional(classifier(BACKBONE, K)).apply(params, {}, lambda m: classify(m, [x])[0])[0]


# --- The average that is evaluated, and its batch statistics ---------------------------------------------------------

class _Normed(nnx.Module):
  """Images -> a linear layer of width 3 and its batch normalisation."""

  width, dtype = 3, 'float32'

  def __init__(self, rngs):
    self.linear = nnx.Linear(64, 3, rngs=rngs)
    self.norm = batch_norm(3, rngs=rngs)

  def __call__(self, images, train=False, key=None):
    del key
    return self.norm(self.linear(images.reshape(len(images), -1)), use_running_average=not train)


def _normed(params):
  """Parameters of a `_Normed` classifier by the twin's names."""
  backbone, head = params['backbone'], params['head']['linear']
  linear, norm = backbone['linear'], backbone['norm']
  return {'kernel': linear['kernel'], 'bias': linear['bias'], 'scale': norm['scale'], 'offset': norm['bias'],
          'head_kernel': head['kernel'], 'head_bias': head['bias']}


def check_average(name: str, case: Case, average: str, **settings):
  """The average is evaluated with the batch statistics that its authors, or where they have none its row, give it.

  average: whose: of the student ('shared'), a moving average of the student's ('averaged'), its own passes' ('own').
  settings: of the objective, instead of the case's.
  """
  settings = case.kwargs | dict(classes=K) | settings
  made = config.build(objectives, dict(name=name, **settings), 'test', backbone=_Normed, steps=10, examples=EXAMPLES)
  params, memory = made.init(KEY)
  entry = 'teacher' if average == 'own' else 'ema'

  @jax.jit
  def learn(params, memory, batch, at):
    (_, (carry, _)), grads = jax.value_and_grad(made.loss, has_aux=True)(params, memory, batch, KEY, at)
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
    return *made.update(params, memory, carry, at), carry

  seen, kept, own = [_normed(params)], [memory['statistics']['backbone']['norm']], [(np.zeros(3), np.ones(3))]
  for at in range(3):
    teacher, batch = memory[entry], images(at)
    params, memory, carry = learn(params, memory, batch, at)
    seen.append(_normed(params))
    kept.append(memory['statistics']['backbone']['norm'])
    own.append(twin.statistics(batch['weak'], _normed(carry['teacher'])) if name == 'fst' else
               twin.statistics(np.concatenate([batch[x] for x in ('image', 'weak')]), _normed(teacher)))
  momentum = settings.get('ema_momentum', 0.9)
  net = {key: twin.moving([each[key] for each in seen], momentum) for key in seen[0]}
  if name == 'fst':  # whose average follows students of its own
    net = _normed(memory[entry])
  of = {'shared': [np.asarray(kept[-1][key]) for key in ('mean', 'var')],
        'averaged': [twin.moving([each[key] for each in kept], momentum) for key in ('mean', 'var')],
        'own': [twin.moving([each[i] for each in own], 0.9) for i in range(2)]}
  x = images(9)['weak']
  assert_close(made.predict(params, memory, x), twin.probabilities(x, net, *of[average]), rtol=1e-4)
  assert_close(made.encode(params, memory, x), twin.features(x, net, *of[average]), rtol=1e-4, atol=1e-5)
  for other in set(of) - {average}:
    assert np.abs(np.subtract(of[other], of[average])).max() > 1e-2, f'{other} cannot be told from {average}'
  assert (f'{entry}_statistics' in memory) == (average != 'shared'), 'kept and not read'
