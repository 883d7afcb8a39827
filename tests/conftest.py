"""Eight CPU devices and one persistent compilation cache."""
import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Optimisation level 0 halves compiling.
# Eight devices on two cores may wait long for each other: by default XLA kills the process after 40 seconds.
os.environ['XLA_FLAGS'] = ('--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 '
                           '--xla_cpu_collective_call_terminate_timeout_seconds=600 '
                           + os.environ.get('XLA_FLAGS', ''))
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(ROOT / '.cache' / 'jax'))
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')

import jax  # noqa: E402
import pytest  # noqa: E402

compiled: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: compiled.append(name) if name.endswith('backend_compile_duration') else None)


@pytest.fixture
def compilations():
  """A function that says how many programs XLA has compiled (or found in its cache) since the test began."""
  before = len(compiled)
  return lambda: len(compiled) - before


def pytest_collection_modifyitems(items):
  """Workers of xdist take whole files, since tests share compiled steps; of the suite, whole objectives."""
  for item in items:
    name = getattr(item, 'callspec', None) and item.callspec.params.get('name')
    suite = item.path.name == 'test_objectives.py' and name
    item.add_marker(pytest.mark.xdist_group(f'{item.path.name}-{name}' if suite else item.path.name))
