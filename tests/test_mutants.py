"""`make mutants`: which wrong lines are made, where none is, and what is said of those that no test notices."""
import subprocess
import time
from pathlib import Path

import pytest

from tests import mutants
from tests.mutants import File, Tree

ROOT = Path(__file__).parents[1]
QUIET = '''"""1 + 2 and True."""
from typing import TYPE_CHECKING
__all__ = [1 + 2]
if TYPE_CHECKING:
  x = 1 + 2


class Two(tuple):
  """Not 3 < 4."""
  value: tuple[1, 2]


def f(a: 'int' = None, *, b: dict[1, 2] = None) -> range(3):
  """Not a + b."""
  if a:
    raise ValueError(f'{a + 1}', 2 * 3)
  print(f'{a + b}', 'a + b')
  x = f'{a + b}'
  os.kill(a, 9)
  return zip(a, b, strict=True)
'''


def made(body: str, **required: set) -> dict[str, list[str]]:
  """Lines that are made of those of a function, by kind."""
  text = 'def f(a, b, c):\n  ' + body.replace('\n', '\n  ') + '\n'
  found: dict[str, list[str]] = {}
  file = File('x.py', text, required)
  for mutant in file.mutants():
    assert file.valid(mutant), mutant
    found.setdefault(mutant.kind, []).append(mutant.after)
  return found


@pytest.mark.parametrize(('line', 'kind', 'wanted'), [
    ('return (a) - (-b)', 'sign', 'return (a) + (-b)'),
    ('return a.x / b', 'times', 'return a.x * b'),
    ('return (a.x + 1) * b', 'factor', 'return (a.x + 1)'),
    ('return 3', 'number', 'return 2'),
    ('return jnp.sum(a, -1)', 'axis', 'return jnp.sum(a, 0)'),
    ('return a.x is not b', 'comparison', 'return a.x is b'),
    ('return a.x and b and c.x', 'logic', 'return a.x and b or c.x'),
    ('return not a', 'not', 'return a'),
    ('return a[:-b]', 'slice', 'return a[:(-b) - 1]'),
    ('return g(a, b.x, c)', 'swap', 'return g(a, c, b.x)'),
    ('return 2 * normalize(a + b)', 'wrap', 'return 2 * (a + b)'),
    ('first, second = a\nreturn g(first), h(second)', 'name', 'return g(second), h(second)'),
    ("return g(a), g(b['t'])", 'argument', "return g(b['t']), g(b['t'])"),
    ("return a['weak'] + a['strong']", 'key', "return a['strong'] + a['strong']"),
    ('return jnp.mean(a)', 'word', 'return jnp.sum(a)'),
    ('return g(a, b=b, c=c)', 'keyword', 'return g(a, b=b)'),
    ('return True', 'boolean', 'return False'),
    ('a, b = g(a, b)\nreturn a', 'statement', 'pass'),
])
def test_each_kind_of_wrong_line_is_made(line, kind, wanted):
  assert wanted in made(line).get(kind, []), made(line)


@pytest.mark.parametrize('line', ["return 'a' + b", 'return sum(a)', 'return a.x @ b.y'])
def test_some_changes_are_not_made(line):
  assert not made(line)


def test_an_argument_without_a_default_stays():
  assert 'keyword' not in made('return g(b=b)', g={'b'})
  assert mutants.required(['def g(a, c=1, *, b, d=2): pass\nclass H:\n  x: int\n  y: int = 2']) == {
      'g': {'a', 'b'}, 'H': {'x'}}


def test_docstrings_annotations_messages_and_imports_stay_and_nothing_is_killed():
  assert {mutant.after for mutant in File('x.py', QUIET, {}).mutants()} == {
      'if b:', 'return zip(b, a, strict=True)', 'return zip(a, a, strict=True)', 'return zip(b, b, strict=True)'}


def test_the_sample_is_that_of_its_seed_and_part_of_a_larger_one():
  files = {path: File(path, (ROOT / path).read_text(), {})
           for path in ('pretrain/method/memory.py', 'pretrain/plan/sweep.py')}
  few, many, other = (mutants.sample(files, n, seed) for n, seed in ((8, 0), (16, 0), (8, 1)))
  assert set(few) < set(many) and few != other and len(set(many)) == 16
  assert [x.path for x in few[:4]] == [*files] * 2  # areas take turns


def test_the_tests_of_a_function_are_those_that_name_it_or_what_uses_it(tmp_path):
  path = tmp_path / 'test_x.py'
  path.write_text('from a import b as c\nV = b2()\ndef helper(): return V\ndef test_1(): c()\ndef test_2(): helper()\n'
                  '@mark(V)\ndef test_3(): pass\ndef test_4(): other()\n')
  assert mutants.using(path, {'b'}) == ['c', 'test_1']
  assert mutants.using(path, {'b2'}) == ['V', 'helper', 'test_2', 'test_3']


def test_a_wrong_line_of_a_paper_meets_the_tests_of_the_paper_first():
  path = 'pretrain/objectives/dcl.py'
  own, *others = mutants.stages(ROOT, File(path, (ROOT / path).read_text(), {}).mutants()[0])
  assert {test.partition('::')[0] for test in own} == {'tests/papers/test_dcl.py'}
  assert others and not set(own) & set(sum(others, []))


@pytest.fixture
def toy(tmp_path, monkeypatch):
  """A project of two lines, of which one is tested."""
  monkeypatch.setenv('PYTEST_DISABLE_PLUGIN_AUTOLOAD', '1')  # for time
  for path, text in {
      'pretrain/method/__init__.py': '',
      'pretrain/method/queue.py': 'def one(a):\n  return -a\n\n\ndef two(a):\n  return not a\n',
      'tests/test_memory.py': 'from pretrain.method import queue\n\n\n'
                                   'def test_one():\n  assert queue.one(3) == -3\n\n\n'
                                   'def test_two():\n  assert queue.two and vars(queue)["o" + "ne"](3) == -3\n',
  }.items():
    (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / path).write_text(text)
  subprocess.run('git init -q && git add .', shell=True, cwd=tmp_path, check=True)
  return tmp_path


def test_a_toy_project_is_left_alone_and_its_untested_line_is_named(toy, capsys, monkeypatch):
  mutants.main(['--n=9', '--seed=1', '--area=shells'], toy)
  said = capsys.readouterr().out
  assert 'shells        2: 1 caught, 1 survived\nall           2: 1 caught, 1 survived\n' in said
  assert 'pretrain/method/queue.py:2 sign: return a  [tests/test_memory.py::test_one]\n' in said
  assert '\n\npretrain/method/queue.py:6 (not; survived, 1 tests)\n- return not a\n+ return a\n' in said
  assert 'queue.py:2 (' not in said
  assert 'return -a' in (toy / 'pretrain/method/queue.py').read_text()

  monkeypatch.setattr(Tree, 'pytest', None)  # what is known is not run again
  (toy / 'tests/mutants_equivalent.txt').write_text('pretrain/method/queue.py: of no use\n- return not a\n+ return a\n')
  mutants.main(['--n=9', '--seed=1', '--area=shells'], toy)
  assert '2: 1 caught, 1 equivalent' in capsys.readouterr().out


def test_a_line_that_only_slow_tests_could_notice_is_undecided_until_there_is_time(toy, capsys):
  path = toy / 'tests/test_memory.py'
  path.write_text(path.read_text() + '\n\ndef test_slow():\n  assert not queue.two(3)\n')  # for all that is known
  mutants.main(['--n=9', '--area=shells', '--budget=0.2'], toy)
  assert '2: 1 caught, 1 undecided' in capsys.readouterr().out
  mutants.main(['--n=9', '--area=shells', '--budget=5'], toy)
  said = capsys.readouterr().out
  assert 'all           2: 2 caught' in said and 'test_slow]' in said and 'test_one]' not in said


def test_tests_that_fail_without_a_change_are_no_judges(toy):
  path = toy / 'tests/test_memory.py'
  path.write_text(path.read_text().replace('one(3) == -3', 'one(3) == 3'))
  with pytest.raises(SystemExit, match='these tests fail without any change: tests/test_memory.py::test_one'):
    mutants.main(['--n=9', '--area=shells'], toy)


def test_a_hang_is_ended_with_all_that_it_started():
  process = subprocess.Popen(['sh', '-c', 'sleep 60 & echo $!; wait'], stdout=subprocess.PIPE, start_new_session=True)
  assert process.stdout
  child = int(process.stdout.readline())
  assert mutants.finish(process, 0.2) is None
  process.stdout.close()
  end = time.monotonic() + 5
  while (stat := Path(f'/proc/{child}/stat')).exists() and ' Z ' not in stat.read_text() and time.monotonic() < end:
    time.sleep(0.01)
  assert time.monotonic() < end


def test_each_known_equivalent_is_a_change_of_a_line_that_is_there():
  for path, before, after in mutants.equivalent(ROOT):
    file = File(path, (ROOT / path).read_text(), {})
    assert any((mutant.before, mutant.after) == (before, after) for mutant in file.mutants()), (path, before)
