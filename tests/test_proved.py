"""Which papers' suites a run of all tests has: those whose code is not what was proved, and a tenth."""
import functools
import json
import os
import subprocess
import sys

import pytest

from tests import proved


@pytest.fixture
def tree(tmp_path, monkeypatch):
  """A project of two papers; the second imports what the first does not."""
  files = {
      'pretrain/objectives/one.py': 'from pretrain import losses\nfrom pretrain.config import Count\n',
      'pretrain/objectives/two.py': 'from pretrain.models.net import net\n',
      'pretrain/models/net.py': 'def net(): pass\n',
      'pretrain/losses/__init__.py': 'from pretrain.losses.basic import mean\n',
      'pretrain/losses/basic.py': 'mean = 1\n',
      'pretrain/config.py': 'Count = int\n', 'pretrain/__init__.py': '', 'tests/__init__.py': '',
      'tests/test_objectives.py': 'import pretrain.step\n', 'pretrain/step.py': '"""A step."""\n',
      'tests/papers/test_one.py': 'from pretrain.objectives.one import one\n',
      'tests/papers/test_two.py': 'from pretrain.objectives.two import two\nfrom . import kit\n',
      'tests/papers/kit.py': '',
      'tests/test_kills.py': 'import pytest\nfrom tests import kit\n\npytestmark = pytest.mark.suite(\'system\')\n',
      'tests/test_net.py': 'from pretrain.models import net\n\npytestmark = pytest.mark.suite(\'nets\')\n',
      'tests/kit.py': 'x = 0\n'}
  for name, text in files.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
  monkeypatch.setattr(proved, 'ROOT', tmp_path)
  monkeypatch.setattr(proved, 'RECORD', tmp_path / 'tests/proved.json')
  forget()
  yield tmp_path
  forget()


def forget():
  for function in (proved.papers, proved.marked, proved.imported, proved.content, proved.versions):
    function.cache_clear()


def changed() -> list[str]:
  forget()
  return sorted(proved.changed())


PASSED = {'tests/papers/test_one.py::test_a': 'passed', 'tests/test_objectives.py::test_b[data=8-two]@g': 'passed',
          'tests/test_objectives.py::test_c[two-2]@g': 'passed', 'tests/test_kills.py::test_k[1]@g': 'passed',
          'tests/test_net.py::test_n': 'passed', 'tests/test_step.py::test_d': 'failed'}


@pytest.mark.usefixtures('tree')
def test_a_papers_suite_rests_on_what_its_tests_import_without_the_spine():
  assert proved.files('one') == [
      'pretrain/losses/__init__.py', 'pretrain/losses/basic.py', 'pretrain/objectives/one.py',
      'tests/papers/test_one.py', 'tests/test_objectives.py']
  assert {'tests/papers/kit.py', 'pretrain/models/net.py'} <= set(proved.files('two'))


@pytest.mark.parametrize(('file', 'text', 'papers'), [
    ('pretrain/losses/basic.py', 'mean = 2\n', ['one']),
    ('pretrain/models/net.py', 'def net(): return 1\n', ['nets', 'two']),
    ('tests/papers/kit.py', 'x = 1\n', ['two']),
    ('tests/test_objectives.py', 'x = 1\n', ['one', 'two']),
    ('pretrain/losses/basic.py', '"""What it says."""\n# and why\nmean = 1\n', []),
    ('pretrain/step.py', 'x = 1\n', ['system']),
    ('tests/kit.py', 'x = 1\n', ['system']),
    ('tests/test_kills.py', 'x = 1\n\npytestmark = pytest.mark.suite(\'system\')\n', ['system']),
    ('pretrain/objectives/three.py', 'x = 1\n', [])])
def test_what_is_not_as_it_was_proved_has_its_suite_run(tree, file, text, papers):
  assert changed() == ['nets', 'one', 'system', 'two']  # nothing is on record
  proved.write(PASSED, '2026-01-01')
  assert changed() == []
  (tree / file).write_text(text)
  assert changed() == papers


@pytest.mark.usefixtures('tree')
def test_a_suite_that_failed_or_was_not_run_is_not_proved():
  proved.write(PASSED | {'tests/test_objectives.py::test_e[one]@g': 'failed'}, '2026-01-01')
  assert changed() == ['one']
  kept = json.loads(proved.RECORD.read_text())
  assert (kept['passed'], kept['failed'], kept['date']) == (5, 2, '2026-01-01')
  proved.write({}, '2026-01-02')
  assert changed() == ['nets', 'one', 'system', 'two']


@pytest.mark.usefixtures('tree')
def test_versions_of_what_computes_are_part_of_it(monkeypatch):
  proved.write(PASSED, '2026-01-01')
  monkeypatch.setattr(proved.importlib.metadata, 'version', lambda _: '0')
  assert changed() == ['nets', 'one', 'system', 'two']


def test_a_tenth_is_drawn_by_name():
  many = [f'paper_{i}' for i in range(2000)]
  assert 150 < sum(map(proved.drawn, many)) < 250
  assert all(proved.suites_of(f'tests/papers/test_{paper}.py::test_x[a-1]') == (paper,) for paper in proved.papers())
  assert proved.suites_of('tests/test_step.py::test_x[dino]') == ()
  assert proved.suites_of('tests/test_configs.py::test_x[dino.py:fashion_mnist]@g') == ('dino', 'system')


@pytest.mark.usefixtures('tree')
def test_a_run_has_what_changed_a_tenth_and_what_belongs_to_no_suite():
  proved.write(PASSED, '2026-01-01')
  forget()
  needed = functools.partial(proved.needed, changed=proved.changed())
  papers = {paper: needed(f'tests/papers/test_{paper}.py::test_a') for paper in ('one', 'two')}
  assert papers == {paper: proved.drawn(paper) for paper in papers}
  system = [f'tests/test_kills.py::test_k[{i}]@g' for i in range(2000)]
  assert 150 < sum(map(needed, system)) < 250
  assert needed('tests/test_step.py::test_d')
  (proved.ROOT / 'pretrain/step.py').write_text('x = 1\n')
  forget()
  assert all(map(functools.partial(proved.needed, changed=proved.changed()), system))


def test_a_run_inside_of_another_has_what_it_names_and_a_part_leaves_the_record_alone():
  before = proved.RECORD.read_bytes()
  env = os.environ | {'PRETRAIN_SUITES': 'changed', 'PRETRAIN_CHANGED': ''}
  for flags in ([], ['--everything']):
    command = [sys.executable, '-m', 'pytest', '--collect-only', '-p', 'no:xdist', 'tests/papers/test_byol.py', *flags]
    done = subprocess.run(command, cwd=proved.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and 'tests/papers/test_byol.py::test_its_twin' in done.stdout, done.stdout + done.stderr
  assert proved.RECORD.read_bytes() == before
