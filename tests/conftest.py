"""Eight CPU devices and one persistent compilation cache."""
import collections
import datetime
import functools
import gc
import os
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Optimisation level 0 halves compiling.
# Eight devices on two cores may wait long for each other: by default XLA kills the process after 40 seconds.
os.environ['XLA_FLAGS'] = ('--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 '
                           '--xla_cpu_collective_call_terminate_timeout_seconds=600 '
                           + os.environ.get('XLA_FLAGS', ''))
# By default XLA has a thread a device; one that waits for several collectives at once takes those of others: deadlock.
os.environ['PJRT_NPROC'] = '32'
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(ROOT / '.cache' / 'jax'))
os.environ.setdefault('PRETRAIN_PLAN_CACHE', str(ROOT / '.cache' / 'plan'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')

import jax  # noqa: E402
import pytest  # noqa: E402

import pretrain.run  # noqa: E402
from tests import proved  # noqa: E402

jax.devices()
del os.environ['PJRT_NPROC']  # not for the processes that tests start

assemble, assembled = pretrain.run.assemble, collections.OrderedDict()


@functools.wraps(assemble)
def assemble_once(raw, mesh, spec):
  """`assemble`, of which runs of one config share what it made: a step is traced and compiled once."""
  name = spec.objective.get('name') if isinstance(spec.objective, dict) else None
  method = vars(sys.modules.get(f'pretrain.objectives.{name}', object)).get(name)  # a test's own one is another
  key = mesh, method, repr((raw, spec))
  made = assembled.pop(key, None) or assemble(raw, mesh, spec)
  assembled[key] = made
  while len(assembled) > 8:  # compiled programs take memory maps, of which a process has few
    assembled.popitem(last=False)
  return made


pretrain.run.assemble = assemble_once

compiled: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith('backend_compile_duration') else None)


@pytest.fixture
def compilations():
  """A function that says how many programs XLA has compiled (or found in its cache) since the test began."""
  before = len(compiled)
  return lambda: len(compiled) - before


EVERYTHING, CHANGED, NAMED = 'everything', 'changed', 'named'  # which papers' suites a run has
outcomes: dict[str, str] = {}


def pytest_addoption(parser):
  parser.addoption('--everything', action='store_true',
                   help='the suite of every paper, and tests/proved.json at the end; otherwise, where no file is '
                   'named, those of papers whose code has changed since, and a tenth')


def pytest_configure(config):
  """What a run has is decided once; the environment tells it to the workers of xdist, who are given other flags.

  A run that a test starts decides for itself.
  """
  if hasattr(config, 'workerinput'):
    return
  what = EVERYTHING if config.option.everything else CHANGED if whole(config) else NAMED
  os.environ['PRETRAIN_SUITES'] = what
  os.environ['PRETRAIN_CHANGED'] = ' '.join(sorted(proved.changed())) if what == CHANGED else ''


def whole(config) -> bool:
  """Whether no file is named."""
  return config.args_source is pytest.Config.ArgsSource.TESTPATHS


def pytest_terminal_summary(terminalreporter):
  if os.environ['PRETRAIN_SUITES'] == CHANGED:
    changed = os.environ['PRETRAIN_CHANGED'].split()
    names = ', '.join(changed if len(changed) < 9 else [*changed[:8], '...']) or 'none'
    terminalreporter.write_line(f'of {len(proved.suites())} suites {len(changed)} are not what `make test-all` last '
                                f'proved, and were run ({names}); of the others a tenth')


def group(item) -> str:
  """What shares compiled programs: a file; of papers' properties all of one, of small runs and rows those of some."""
  name = item.callspec.params.get('name') if hasattr(item, 'callspec') else None
  if item.path.name == 'test_objectives.py':
    return f'{item.path.name}-{name}'
  if name and (item.path.name == 'test_papers.py' or '.py:' in str(name)):
    return f'{item.path.name}-{zlib.crc32(name.encode()) % 6}'
  return item.path.name


def pytest_collection_modifyitems(config, items):
  """Group by group, which workers of xdist take as a whole: many short ones at the end, so that all end together."""
  if os.environ['PRETRAIN_SUITES'] == CHANGED:
    changed = frozenset(os.environ['PRETRAIN_CHANGED'].split())
    needed = {item: proved.needed(item.nodeid, changed) for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not needed[item]])
    items[:] = [item for item in items if needed[item]]
  order = {name: i for i, name in enumerate(dict.fromkeys(map(group, items)))}
  items.sort(key=lambda item: (item.path.name == 'test_objectives.py', order[group(item)]))
  for item in items:
    item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_runtest_logreport(report):
  if report.when == 'call' or report.outcome != 'passed':
    outcomes[report.nodeid] = 'failed' if outcomes.get(report.nodeid) == 'failed' else report.outcome


def pytest_sessionfinish(session, exitstatus):
  """Writes the record, but not of a part: of a run that was interrupted, names files or words, or runs nothing."""
  config, given = session.config, session.config.option
  part = given.keyword or given.maxfail or given.collectonly or not whole(config) or exitstatus not in (0, 1)
  if config.option.everything and not hasattr(config, 'workerinput') and not part:
    proved.write(outcomes, datetime.datetime.now(datetime.UTC).strftime('%Y-%m-%d %H:%M'))


def pytest_runtest_teardown(item, nextitem):
  """Drops a group's programs: each takes dozens of memory maps, and a process that has 65,530 is killed."""
  if nextitem is None or group(nextitem) != group(item):
    for value in vars(item.module).values():
      if hasattr(value, 'cache_clear') and hasattr(value, '__wrapped__'):
        value.cache_clear()
    assembled.clear()
    jax.clear_caches()
    gc.collect()
