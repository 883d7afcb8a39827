"""The one interface between a paper and the loop, the constructor of it, and what several papers share around it."""
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from pretrain.config import nearest
from pretrain.method.memory import Average
from pretrain.method.memory import ema as follow
from pretrain.models.functional import Net, functional


class Objective(NamedTuple):
  """A method as pure functions over explicit state, after the shape of `optax.GradientTransformation`.

  `params` is what the optimizer trains; `memory` is everything else that the method keeps (teacher, centre, queue,
  batch statistics, arrays of length n addressed by the batch's global `index`). Both are plain pytrees of arrays.

  batch:   {key: shape}, what the views must deliver, e.g. {'views': 'b 2 h w c'}; letters are bound across keys,
           numbers are literal. Checked before the first compile.
  init:    key -> (params, memory).
  loss:    (params, memory, batch, key, step) -> (loss, (carry, metrics)). Differentiated in `params` alone, written
           over the global batch: no axis names, no collectives, no device count.
  update:  (params, memory, carry, step) -> (params, memory). Runs after the optimizer.
  encode:  (params, memory, images f32[b, h, w, c] in [0, 1]) -> features f32[b, d]. All that kNN and probes ever see.
  predict: (params, memory, images) -> probabilities f32[b, k], where the method has classes.
  hold:    step -> {path: bool[]}: parameters ('head/prototypes', or 'head' for all below) that stand still in this
           step, as where PyTorch's gradient is None: the step keeps their value and the optimizer's state of them.
  rate:    step -> {path: f32[]}: what multiplies the optimizer's step of parameters; its state goes on.
  project: (params, memory, images) -> what a projector makes of the features, f32[b, d], where the method has one:
           evaluation tells how it is spread out.
  couples_batch: True if one example's loss depends on the others, so that accumulating gradients would change them.
  compares: True if the examples of a batch are told from each other, so that one that is there twice is taken for two.
  towers:  (image, text) where the method matches the two: (params, memory, images, or tokens i32[b, l]) ->
           embeddings f32[b, d] of length 1, for classification by names.
  spec:    () -> {path: Leaf} of parameters and copies of them, 'params/backbone/...' and 'memory/teacher/...': how they
           are laid out, decayed and layered, see `functional.Leaf`; what is not in it has the defaults.
  halves:  (embed, compare) where the loss is made of two, see `method`, and examples meet only in the second: then the
           gradient of the whole batch can be had in chunks (`config.grad_cache`).
  """
  batch: dict[str, str]
  init: Callable
  loss: Callable
  update: Callable
  encode: Callable
  predict: Callable | None = None
  couples_batch: bool = False
  compares: bool = False
  halves: tuple[Callable, Callable] | None = None
  towers: tuple[Callable, Callable] | None = None
  project: Callable | None = None
  hold: Callable | None = None
  rate: Callable | None = None
  spec: Callable = dict


class Network:
  """A module bound to arrays, which lives for one trace: `student.projector(student.backbone(x, train=True))`.

  Its parts are attributes; batch statistics that they move are the network's next ones, read once the loss is done.

  params, statistics: what it is bound to, nested dicts of arrays.
  """

  def __init__(self, net: Net, params, statistics):
    self.params, self.statistics, self._net = params, statistics, net
    self._module = net.bind(params, statistics)

  def __getattr__(self, part: str) -> Any:
    return getattr(self._module, part)

  def at(self, params) -> 'Network':
    """Other parameters in the present trace, with the statistics that this network had at first; its own are dropped.

    `student.at(student.params)` is a pass whose batch statistics are not kept. Inside of grad, jvp, scan and cond this
    is the only network: one that was bound outside may not move its statistics there.
    """
    return Network(self._net, params, self.statistics)

  @property
  def moved(self):
    """The statistics as the calls so far left them."""
    return self._net.mutable(self._module)


def method(batch: dict[str, str], modules: Callable[[nnx.Rngs], nnx.Module], loss: Callable | None = None, *,
           embed: Callable | None = None, compare: Callable | None = None, teacher: Average | None = None,
           ema: Average | None = None, frozen: Mapping[str, Callable] | None = None, fixed: tuple[str, ...] = (),
           memory: Callable | None = None, remember: Callable | None = None, after: Callable | None = None,
           hold: Callable | None = None, rate: Callable | None = None, encode: str = 'student',
           predict: Callable | None = None, towers: tuple[Callable, Callable] | None = None,
           couples_batch: bool = False, compares: bool = False) -> Objective:
  """An `Objective` from a loss over bound networks, as the paper writes it.

    def loss(student, teacher, batch, key):
      z = teacher.projector(teacher.backbone(batch['views'][:, 1], train=True), train=True)
      p = student.projector(student.backbone(batch['views'][:, 0], train=True, key=key), train=True)
      return byol_loss(p, z), {}

    method({'views': 'b 2 h w c'}, modules, loss, teacher=Average(0.99, 'own'))

  Functions name what they need: `student`, `teacher`, `ema`, the names in `frozen` (each a `Network`), `batch`, `key`,
  `step` and `memory` (None where there is none). The student's batch statistics are kept, those of teachers whose
  statistics are 'own' too.

  Args:
    batch: what the views must deliver, see `Objective`.
    modules: rngs -> nnx.Dict of the student's parts, of which one is `backbone`; a part `projector` gives `project`.
    loss: -> (value, metrics), or (value, metrics, kept): what `remember` and `after` read. Under the name of an average
      it holds its next parameters; under 'statistics', and '<name>_statistics' of an 'own' one, the next batch
      statistics, where they are not those of the network that was given (`moved`). Not beside `embed`.
    embed, compare: a loss in two, for GradCache: embed -> h, a pytree of [b, ...], each example alone; compare, which
      may name `h` instead of `key`, -> as a loss. If the backbone has batch statistics examples meet in `embed`
      already, and `Objective.halves` is None.
    teacher, ema: averages of the student, memory's entries of these names (and '<name>_statistics').
    frozen: name -> modules of a further network, never trained, filled by `initialize`; in memory under that name.
    fixed: paths of parameters that are never trained, 'backbone/project': kept in memory's 'fixed', where neither
      gradient nor optimizer reaches them.
    memory: key -> NamedTuple, what else the method keeps; its fields are entries of the run's memory.
    remember: (memory, kept, step) -> memory after a step; None: `memory._replace(**kept)`.
    after: (params, kept, step) -> params, a change of the parameters after the optimizer's step.
    hold, rate: see `Objective`.
    encode: whose features are evaluated: 'student', 'teacher' or 'ema'.
    predict: (network, images) -> probabilities, of the same network.
    towers: see `Objective`, each (network, inputs) -> embeddings.
    couples_batch: whether the loss makes examples depend on each other, even if the student does not; True as well
      where rows of examples are kept, which `accumulate` would average.
    compares: see `Objective`; True with `embed`.
  Raises:
    ValueError: a function, `encode` or an average that names what there is not; a field of the memory with a name that
      is taken; when traced, a path of `fixed` where there is nothing, what a loss keeps and nothing reads.
  """
  net = functional(modules)
  averages = {name: average for name, average in (('teacher', teacher), ('ema', ema)) if average}
  nets = {'student': net} | {name: _part_of(modules, average.of) for name, average in averages.items()} | {
      name: functional(build) for name, build in (frozen or {}).items()}
  kind = type(jax.eval_shape(lambda: memory(jax.random.key(0)))) if memory else None
  asked: set[str] = set()
  for function, more in ((loss, {'key'}), (embed, {'key'}), (compare, {'h'})):
    asked |= _names_of(function, {*nets, 'batch', 'step', 'memory', *more})
  if (loss is None) == (embed is None) or (embed is None) != (compare is None):
    raise ValueError('method: wanted a loss, or embed and compare')
  if idle := [name for name, average in averages.items() if average.statistics == 'own' and name not in asked]:
    raise ValueError(f'method: no function names {idle[0]!r}, so statistics of its own would never move; wanted it '
                     "there, or statistics='shared'")
  if encode not in nets:
    raise ValueError(f'method: wanted encode to name a network, got {encode!r}{nearest(encode, nets)}')
  taken = {'statistics', 'fixed', *nets, *(f'{name}_statistics' for name in nets)}
  if taken := sorted(taken & {*(kind._fields if kind else ())}):
    raise ValueError(f'method: wanted other names for the fields {taken} of its memory: they are its own')

  def init(key):
    params, statistics = net.init(key)
    params, apart = _without(params, fixed)
    kept = memory(jax.random.fold_in(key, 0))._asdict() if memory else {}
    kept |= {'statistics': statistics} | ({'fixed': apart} if fixed else {})
    for name, average in averages.items():
      kept[name] = _of(params, average.of)
      if average.statistics != 'shared':
        kept[f'{name}_statistics'] = _of(statistics, average.of)
    for place, name in enumerate(frozen or {}):
      kept[name], kept[f'{name}_statistics'] = nets[name].init(jax.random.fold_in(key, 1 + place))
    return params, kept

  def bound(name, params, kept):
    """A network, of the memory or of the memory and a carry."""
    of, shared = None, name == 'student'
    if name in averages:
      of, shared = averages[name].of, averages[name].statistics == 'shared'
    tree = params if name == 'student' else kept[name]
    if fixed and name not in (frozen or {}):
      tree = _merged(tree, _of(kept['fixed'], of))
    return Network(nets[name], tree, _of(kept['statistics'], of) if shared else kept[f'{name}_statistics'])

  def call(function, params, kept, carry, **given):
    """What a function makes of the networks that it names, and their next statistics."""
    names = inspect.signature(function).parameters
    networks = {name: bound(name, params, kept | carry) for name in nets if name in names}
    given |= {'memory': _own(kind, kept)} | networks
    made = function(**{name: given[name] for name in names})
    moving = {'student': 'statistics'} | {
        name: f'{name}_statistics' for name, average in averages.items() if average.statistics == 'own'}
    start = {at: (kept | carry)[at] for at in moving.values()}
    return made, start | {at: networks[name].moved for name, at in moving.items() if name in networks}

  def finished(made, carry):
    if not isinstance(made, tuple) or len(made) not in (2, 3):
      raise ValueError(f'method: wanted (value, metrics) or (value, metrics, kept) of a loss, got {made!r:.100}')
    value, metrics, kept = made if len(made) == 3 else (*made, {})
    unread = kept.keys() - carry.keys() - averages.keys() - {*(kind._fields if kind else ())}
    if unread and not (remember or after):
      raise ValueError(f'method: the loss keeps {sorted(unread)}, which nothing reads; wanted fields of its memory')
    if kind and not remember and (still := set(kind._fields) - kept.keys()):
      raise ValueError(f'method: the loss keeps nothing for the fields {sorted(still)} of its memory, which so stay '
                       'as they are; wanted them in (value, metrics, kept), or remember')
    return value, (carry | kept, metrics)

  def whole(params, memory, batch, key, step):
    return finished(*call(loss, params, memory, {}, batch=batch, key=key, step=step))

  def embedded(params, memory, batch, key, step):
    return call(embed, params, memory, {}, batch=batch, key=key, step=step)

  def compared(params, h, carry, memory, batch, step):
    return finished(*call(compare, params, memory, carry, h=h, batch=batch, step=step))

  def in_two(params, memory, batch, key, step):
    h, carry = embedded(params, memory, batch, key, step)
    return compared(params, h, carry, memory, batch, step)

  def update(params, memory, carry, step):
    of_networks = {'statistics', *(f'{name}_statistics' for name in averages)}
    statistics = {name: value for name, value in carry.items() if name in of_networks}
    kept = {name: value for name, value in carry.items() if name not in statistics}
    params = after(params, kept, step) if after else params
    new = memory | statistics
    for name, average in averages.items():
      share = average.share(step)
      new[name] = kept.pop(name) if name in kept else follow(memory[name], _of(params, average.of), share)
      if average.statistics == 'averaged':
        new[f'{name}_statistics'] = follow(memory[f'{name}_statistics'], _of(carry['statistics'], average.of), share)
    if kind:
      own: Any = _own(kind, memory)
      new |= (remember(own, kept, step) if remember else own._replace(**kept))._asdict()
    return params, new

  def spec():
    said = {'params': net.spec} | {f'memory/{name}': each.spec for name, each in nets.items() if name != 'student'}
    said |= {'memory/fixed': net.spec} if fixed else {}
    return {f'{place}/{path}': leaf for place, leaves in said.items() for path, leaf in leaves.items()}

  def of(function):
    return function and (lambda params, memory, inputs: function(bound(encode, params, memory), inputs))

  project = (lambda m, x: m.projector(m.backbone(x))) if 'projector' in nets[encode].parts else None
  return Objective(
      batch, init, in_two if embed else whole, update, of(lambda m, x: m.backbone(x)), of(predict),
      couples_batch or net.couples_batch, compares or embed is not None,
      (embedded, compared) if embed and 'backbone' not in net.coupled else None,
      (of(towers[0]), of(towers[1])) if towers else None, of(project), hold, rate, spec)


def _names_of(function: Callable | None, there: set[str]) -> set[str]:
  """What a function names; raises ValueError for what is not there."""
  names = inspect.signature(function).parameters if function else {}
  for name in names:
    if name not in there:
      raise ValueError(f'method: {getattr(function, "__name__", function)} names {name!r}{nearest(name, there)}')
  return set(names)


def _own(kind: type | None, memory: dict):
  return kind and kind(**{name: memory[name] for name in kind._fields})


def _part_of(modules: Callable, names: tuple[str, ...] | None) -> Net:
  """The net of some of the modules' parts."""
  def build(rngs):
    made = modules(rngs)
    if lost := [name for name in names or () if name not in made]:
      raise ValueError(f'method: an average of {lost[0]!r}, which is no part{nearest(lost[0], made)}')
    return made if names is None else nnx.Dict(**{name: made[name] for name in names})
  return functional(build)


def _of(tree: dict, names: tuple[str, ...] | None) -> dict:
  return tree if names is None else {name: tree[name] for name in names if name in tree}


def _without(tree: dict, paths: tuple[str, ...]) -> tuple[dict, dict]:
  """The tree without what stands at some paths, and that alone. Raises ValueError where there is nothing."""
  rest, taken = dict(tree), {}
  for path in paths:
    name, _, below = path.partition('/')
    if name not in rest:
      raise ValueError(f'fixed: no parameters at {path!r}{nearest(name, rest)}')
    rest[name], part = _without(rest[name], (below,)) if below else (None, rest[name])
    taken = _merged(taken, {name: part})
    if rest[name] is None:
      del rest[name]
  return rest, taken


def _merged(a: dict, b: dict) -> dict:
  return a | {name: _merged(a[name], part) if name in a else part for name, part in b.items()}


def flat(views):
  """[b, v, ...] -> [b * v, ...], the views of an example beside each other: no example leaves its device."""
  return views.reshape(-1, *views.shape[2:])


def embed_views(student: Network, batch, key):
  """An `embed`: features [b, v, d] of batch['views'], all views in one pass, sharing batch statistics."""
  views = batch['views']
  return student.backbone(flat(views), train=True, key=key).reshape(*views.shape[:2], -1)


def embed_each_view(student: Network, batch, key):
  """As `embed_views`, but a pass for each of two views, which so have batch statistics of their own."""
  views = zip(jnp.unstack(batch['views'], axis=1), jax.random.split(key), strict=True)
  return jnp.stack([student.backbone(x, train=True, key=k) for x, k in views], 1)


def check_batch(objective: Objective, batch) -> None:
  """Raises ValueError unless `batch` holds what `objective.batch` declares; letters must agree across keys."""
  sizes, shapes = {}, {key: tuple(value.shape) for key, value in batch.items()}
  for key, pattern in objective.batch.items():
    wanted = f"the objective wants batch[{key!r}] of shape '{pattern}'"
    if key not in shapes:
      hint = ' (the source has no labels: a folder wants its images in one folder per class)' if key == 'label' else ''
      raise ValueError(f'{wanted}; the views deliver {shapes}{hint}')
    letters = pattern.split()
    if len(letters) != len(shapes[key]):
      raise ValueError(f'{wanted}, got {shapes[key]}')
    for letter, size in zip(letters, shapes[key], strict=True):
      want = int(letter) if re.fullmatch(r'\d+', letter) else sizes.setdefault(letter, size)
      if want != size:
        raise ValueError(f'{wanted}, got {shapes[key]}: {letter} is {want}, not {size}')
