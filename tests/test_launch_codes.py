"""Exit codes: what each engine makes of them, over attempts and of several processes.

SLURM's script is run by bash with stand-ins for SLURM's programs; a Kubernetes policy by what the Job and the JobSet
controller are documented to do with it.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from launch import k8s, slurm
from launch.__main__ import launch, outcome
from launch.job import SETTLE, Job, again, verdict
from launch.local import Local, cores
from pretrain.config import ConfigError
from pretrain.machine.hardware import target
from tests.test_launch_input import attempt

pytestmark = pytest.mark.suite('system')

WANTS_ANOTHER = {75, 76, *range(129, 193)}  # as a shell has them

# one command, over attempts

# word by word what an attempt does, the last one for ever: its exit code (-9: a kill), and what it leaves behind;
# + is a newer checkpoint; a word without a code is there before
HISTORIES = {  # how it ends: (history, restarts, attempts, exit code of the launcher)
    'done or a mistake': [
        *((f'{code}{saved}', 5, 1, code) for code in (0, 1, 2) for saved in ('', '+')),
        *((f'{code}+', 5, 1, code) for code in (3, 74, 77, 128, 193, 255)),
        ('75+ 76+ 137+ 134+ 143+ 0', 5, 6, 0), ('75 0', 5, 2, 0), ('76 0', 5, 2, 0), ('-9 0', 5, 2, 0),
        ('76 76+ 76 75+ 137 0', 5, 6, 0),  # every second one saves
        ('75+ 1', 5, 2, 1), ('76 2', 5, 2, 2), ('76+ -9+ 1', 2, 3, 1)],
    'gave up: 2 attempts in a row without a new checkpoint': [
        *((f'{code}', 5, 2, code) for code in (75, 76, 129, 134, 137, 143, 192)),
        ('-9', 5, 2, 137), ('-15', 5, 2, 143), ('75 76', 5, 2, 76), ('137 75 0', 5, 2, 75), ('76+ 76 137 0', 5, 3, 137),
        ('76', 1, 2, 76),
        (':checkpoints/50 76', 5, 2, 76), (':checkpoints/50 76:checkpoints/60 76', 5, 3, 76),
        ('76:checkpoints/10 76:checkpoints/9 76', 5, 3, 76),  # an older one is not new
        ('76:a/checkpoints/100 76:b/checkpoints/5 76', 5, 4, 76),  # stages each count from 0
        ('76:b/checkpoints/100 76:a/checkpoints/5 76', 5, 4, 76),
        ('76:parts/p1 76:parts/p2 76', 5, 4, 76), ('76:parts/p1 76:a/parts/p1 76', 5, 4, 76),
        ('76:parts/.p1', 5, 2, 76), ('76:checkpoints/10.orbax-checkpoint-tmp', 5, 2, 76),
        ('76:checkpoints/damaged-10', 5, 2, 76), ('76:other/10', 5, 2, 76), ('76:a/b/checkpoints/10', 5, 2, 76)],
    'gave up: it was run again {restarts} times': [
        *((f'{code}+', 2, 3, code) for code in (75, 76, 134, 137, 143)),
        ('-9+', 5, 6, 137), ('76+', 0, 1, 76), ('75', 0, 1, 75), ('137+', 1, 2, 137), ('76 76+', 1, 2, 76)],
}
UNKNOWN = {  # where nobody knows where checkpoints are, 75 is progress
    'done or a mistake': [('75 76 75 137 75 0', 5, 6, 0), ('1', 5, 1, 1)],
    'gave up: 2 attempts in a row without a new checkpoint': [('76+', 5, 2, 76), ('75 -9+', 5, 3, 137)],
    'gave up: it was run again {restarts} times': [('75', 3, 4, 75), ('76 75', 2, 3, 75)],
}
ATTEMPT = r"""
place=$1; shift; echo >> "$0"; n=$(wc -l < "$0"); shift $(( n < $# ? n - 1 : $# - 1 ))
word=${1/+/:checkpoints/$n}; code=${word%%:*}; [[ $word == *:* ]] && mkdir -p "$place/${word#*:}"
[[ $code == -* ]] && kill $code $$; exit $code"""


def on_this_machine(job: Job, capsys) -> tuple[int, str]:
  code = launch(job, argparse.Namespace(engine='local', dry_run=None))
  said = capsys.readouterr().out
  assert said.count(f' of {job.restarts})') == said.count('runs again (')
  last = re.findall(r' ended with (\S+); log: .*/job-0-0\.log\n', said)
  assert outcome([int(each) for each in last] or [0]) == code and len(last) == (code > 0)
  return code, said


def on_slurm(job: Job, capsys) -> tuple[int, str]:
  del capsys
  for restart in range(99):
    done = attempt(slurm.render(job), job.logs, SLURM_RESTART_COUNT=str(restart))
    assert f'after {restart} restarts' in done.stdout, done
    if 'scontrol' not in done.stdout:
      break
    assert done.stdout.count('scontrol requeue 7\n') == done.stdout.count('scontrol') == 1
  return done.returncode, done.stdout


@pytest.mark.parametrize('engine', [on_this_machine, on_slurm])
@pytest.mark.parametrize(('known', 'end', 'history', 'restarts', 'attempts', 'code'), [
    (known, end, *row) for known, table in ((1, HISTORIES), (0, UNKNOWN)) for end in table for row in table[end]])
def test_attempts(tmp_path, capsys, engine, known, end, history, restarts, attempts, code):
  words, place, count = history.split(), tmp_path / 'a run/parts', tmp_path / 'count'
  if words[0].startswith(':'):
    (place / words.pop(0)[1:]).mkdir(parents=True)
  job = Job('job', (('bash', '-c', ATTEMPT, str(count), str(place), *words),), tmp_path, restarts=restarts,
            progress=(place,) if known else ())
  found, said = engine(job, capsys)
  assert (len(count.read_text().splitlines()), found) == (attempts, code), said
  assert ('gave up' in said) == ('gave up' in end)
  assert end == 'done or a mistake' or end.format(restarts=restarts) in said


def test_which_codes_want_another_attempt():
  assert {code for code in range(256) if again(code)} == WANTS_ANOTHER
  assert all(again(-number) for number in range(1, 65))  # Python's codes of what a signal has killed


@pytest.mark.parametrize(('codes', 'code'), [
    ([0, 0], 0), ([0, 75], 75), ([75, 76], 76), ([76, 75], 76), ([75, -9, 0], 137), ([-9, 76], 137), ([75, 1, 76], 1),
    ([-9, 2, 1], 2), ([-15], 143), ([-6, 0], 134), ([0, 3, 75], 3), ([192, 193], 193)])
def test_the_code_of_many(codes, code):
  assert outcome(codes) == code


# several processes, one attempt

# how each process ended, SECOND:CODE where not at 0 (x: killed together with what would have told of it), and the code
# of the command; second 1 is soon enough to be the cause of what ended at 0, second 2 is not
CAUSES = [
    *((str(code), code) for code in (0, 1, 2, 3, 75, 76, 128, 129, 134, 137, 143, 192, 193)),
    ('75 0', 75), ('0 2:75', 75), ('75 9:1', 1), ('75 2:137', 137), ('75 2:76', 76), ('0 0 2:76', 76), ('2 75', 2),
    ('x 75', 137),
    *((f'{cause} {later}:{behind}', cause) for cause in (1, 2, 137, 143) for behind in (76, 134) for later in (0, 2)),
    *((f'{behind} 1:{cause}', cause) for behind in (76, 134) for cause in (1, 137)),
    *((f'{first} 2:{second}', first) for first in (76, 134, 1, 137) for second in (1, 2, 137) if first != second),
    ('1 137', 137), ('2 143', 143), ('1 1:137', 1), ('137 1:1', 137), ('76 76', 76), ('76 1:76 2:1', 76),
    ('76 134 1:2 1:137', 137), ('76 134 1:2 2:137', 2), ('0 75 1:75 9:143', 143)]


def ends(text: str) -> list[tuple[int, int | None]]:
  """Second and exit code of each process."""
  words = (word.rpartition(':') for word in text.split())
  return [(int(at or 0), None if code == 'x' else int(code)) for at, _, code in words]


@pytest.mark.parametrize(('codes', 'code'), CAUSES)
def test_slurm_tells_what_ended_first_and_requeues_by_it(tmp_path, codes, code):
  """srun gives the highest of its tasks' codes, whichever came first."""
  tasks = ends(codes)
  nodes = 1 + (len(tasks) % 2 == 0)
  job = Job('job', (('bash', '-c', 'exit $0'),), tmp_path, nodes=nodes, processes=len(tasks) // nodes)
  for order in (tasks, tasks[::-1])[:len(tasks)]:
    lines = '\n'.join('worst=137' if each is None else f'AT={1000 + at} SLURM_PROCID={n} "$@" {each}; code=$?; '
                      '(( code > worst )) && worst=$code' for n, (at, each) in enumerate(order))
    srun = f'while [[ $1 == --* ]]; do shift; done; worst=0\n{lines}\nexit $worst'
    for n in range(len(tasks)):  # of an attempt whose script was killed
      (tmp_path / f'job-7.{n}').write_text('9 1\n')
    done = attempt(slurm.render(job), tmp_path, {'srun': srun, 'date': 'echo $AT'})
    assert f'ended with {code} after 0 restarts\n' in done.stdout and done.returncode == code, done
    assert done.stdout.count('scontrol requeue 7\n') == done.stdout.count('scontrol') == (code in WANTS_ANOTHER)
    assert {path.name for path in tmp_path.iterdir()} <= {'stubs', 'script.sh', 'job-7.attempts'}
    (tmp_path / 'job-7.attempts').unlink(missing_ok=True)


@pytest.mark.parametrize(('codes', 'code'), CAUSES)
def test_the_cause_is_what_ended_first(codes, code):
  at = {0: 0., 1: SETTLE, 2: SETTLE + 0.01, 9: 9.}
  ended = [(at[second], 137 if each is None else each) for second, each in ends(codes)]
  python = lambda code: 128 - code if 128 < code <= 192 else code
  for order in (ended, ended[::-1]):
    assert (verdict(order) or max(each for _, each in order)) == code
    assert verdict([(second, python(each)) for second, each in order]) in (python(code), None)


@pytest.mark.parametrize(('first', 'second', 'code'), [
    ('os.kill(os.getpid(), 9)', 'time.sleep(0.5); sys.exit(1)', -9),  # a peer's error is one behind a kill
    ('os.kill(os.getpid(), 9)', 'time.sleep(0.5); os.abort()', -9), ('sys.exit(1)', 'os.abort()', 1),
    ('sys.exit(2)', 'time.sleep(100)', 2), ('sys.exit(75)', 'time.sleep(0.5); sys.exit(1)', 1),
    ('sys.exit(75)', 'sys.exit(0)', 75), ('sys.exit(75)', 'time.sleep(100)', 76),
    ('sys.exit(0)', 'time.sleep(1.5); sys.exit(0)', 0)])  # one may be done long before the other
def test_two_processes_of_this_machine(tmp_path, monkeypatch, first, second, code):
  monkeypatch.setattr('launch.local.GRACE', 0.5 if '1.5' in second else 2.)
  (tmp_path / 'both.py').write_text(
      'import os, sys, time\nmine = os.environ["JAX_PROCESS_ID"]\nopen(sys.argv[1] + mine, "w")\n'
      'while not (os.path.exists(sys.argv[1] + "0") and os.path.exists(sys.argv[1] + "1")): time.sleep(0.001)\n'
      'exec(sys.argv[2 + int(mine)])')
  for order in ((first, second), (second, first)):
    command = (sys.executable, str(tmp_path / 'both.py'), str(tmp_path / f'there{order.index(first)}-'), *order)
    job = Job('both', (command,), tmp_path / 'logs', processes=2, restarts=0)
    assert Local(lambda _: None).run(job) == [code]


@pytest.mark.parametrize(('count', 'parallel', 'shares'), [
    (8, 2, [{0, 1, 2, 3}, {4, 5, 6, 7}]), (8, 3, [{0, 1}, {2, 3}, {4, 5}]), (3, 1, [{0, 1, 2}]), (1, 2, [None, None])])
def test_shares_of_the_cores(monkeypatch, count, parallel, shares):
  monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(count)))
  assert cores(parallel) == shares


@pytest.mark.parametrize('commands', [1, 2])
def test_the_terminal_is_that_of_one_process_of_one_command(tmp_path, capfd, commands):
  script = 'read -ra stat < /proc/$$/stat; echo $JAX_PROCESS_ID ${stat[5]} $$'
  assert Local().run(Job('job', (('bash', '-c', script),) * commands, tmp_path, processes=2)) == [0] * commands
  lines = [capfd.readouterr().out, *((tmp_path / f'job-0-{n}.log').read_text() for n in range(2))]
  found = [(process, session == str(os.getsid(0)), session == pid)
           for process, session, pid in (line.split() for line in lines if line)]
  assert found == [('0', commands == 1, commands == 2), ('1', False, True)]
  assert bool(lines[0]) == (commands == 1) != bool(lines[1])


# signals

STOPPED = 'trap "{word}" {name}; echo x >> "$0"; for n in {{1..500}}; do sleep 0.01; done; exit 3'


def told(job: Job, true, number: signal.Signals = signal.SIGTERM) -> list[int]:
  """Codes of a job on this machine, whose launcher gets a signal once something is true."""
  def tell():
    deadline = time.time() + 60
    while not true() and time.time() < deadline:
      time.sleep(0.01)
    os.kill(os.getpid(), number)

  before, teller, says = signal.getsignal(number), threading.Thread(target=tell), []
  teller.start()
  codes = Local(says.append).run(job)
  teller.join()
  assert signal.getsignal(number) is before and not any('again' in line for line in says)
  return codes


@pytest.mark.parametrize(('number', 'word', 'code'), [
    (signal.SIGTERM, 'exit 75', 75), (signal.SIGINT, 'exit 0', 0), (signal.SIGUSR1, 'exit 1', 1),
    (signal.SIGUSR1, 'exit 76', 75), (signal.SIGTERM, 'kill -9 $$', 75), (signal.SIGINT, 'exit 137', 75)])
def test_signals_reach_the_command_and_nothing_begins_after_them(tmp_path, number, word, code):
  there, text = tmp_path / 'there', STOPPED.format(word=word, name=number.name[3:])
  job = Job('stopped', (('bash', '-c', text, str(there)),) * 2, tmp_path / 'logs')
  assert told(job, there.exists, number) == [code, 75]
  assert there.read_text() == 'x\n'


def test_a_signal_just_before_processes_are_started_keeps_them_from_it(tmp_path):
  began = threading.Event()

  class Logs(type(tmp_path)):
    def mkdir(self, *args, **options):
      super().mkdir(*args, **options)
      began.set()
      time.sleep(0.2)

  command = ('bash', '-c', STOPPED.format(word='exit 0', name='TERM'), str(tmp_path / 'there'))
  assert told(Job('stopped', (command,), Logs(tmp_path / 'logs')), began.is_set) == [75]
  assert not (tmp_path / 'there').exists()


def test_a_signal_while_processes_are_started_reaches_them_all(tmp_path, monkeypatch):
  there, began = tmp_path / 'there', threading.Event()

  class Slow(subprocess.Popen):
    def __init__(self, *args, **options):
      super().__init__(*args, **options)
      while not there.exists():
        time.sleep(0.01)
      began.set()
      time.sleep(0.2)  # before it is known here

  monkeypatch.setattr('launch.local.subprocess.Popen', Slow)
  command = ('bash', '-c', STOPPED.format(word='exit 75', name='TERM'), str(there))
  assert told(Job('stopped', (command,), tmp_path / 'logs', processes=2), began.is_set) == [75]


@pytest.mark.parametrize('array', [False, True])
def test_slurms_warning_reaches_every_task_however_often_it_comes(tmp_path, array):
  """The shell of a task hears it, too, and must outlive it."""
  saving = 'n=0; trap "let n+=1; echo >> heard" USR1; echo $$ $PPID >> pids\n' \
      'for i in {1..1000}; do sleep 0.01; (( n < 3 )) || exit 75; done'
  job = Job('job', (*[('false',)] * 3 * array, ('bash', '-c', saving)), tmp_path, processes=2)
  srun = 'while [[ $1 == --* ]]; do shift; done\nSLURM_PROCID=0 "$@" & SLURM_PROCID=1 "$@" & wait -n; wait -n'
  stubs = {'srun': srun, 'scancel': 'echo scancel "$@"; kill -USR1 $(cat pids)'}
  identity = '7_3' if array else '7'
  lines = lambda name: len((tmp_path / name).read_text().splitlines()) if (tmp_path / name).exists() else 0

  def warn():
    for heard in range(3):
      deadline = time.time() + 60
      while (lines('pids') < 2 or lines('heard') < 2 * heard) and time.time() < deadline:
        time.sleep(0.01)
      os.kill(int((tmp_path / 'pid').read_text()), signal.SIGUSR1)

  teller = threading.Thread(target=warn)
  teller.start()
  variables = {'SLURM_ARRAY_JOB_ID': '7', 'SLURM_ARRAY_TASK_ID': '3', 'SLURM_JOB_ID': '10'} if array else {}
  done = attempt(f'echo $$ > pid\n{slurm.render(job)}', tmp_path, stubs, **variables)
  teller.join()
  assert done.stdout.count(f'scancel --signal=USR1 {identity}.0\n') == 3 and done.returncode == 75, done
  assert 'ended with 75 after 0 restarts' in done.stdout and done.stdout.count(f'scontrol requeue {identity}\n') == 1
  assert (tmp_path / f'job-{identity}.attempts').read_text() == '1 75\n' and not list(tmp_path.glob('job-*.[0-9]'))


# SLURM's other programs

def test_what_sbatch_is_asked_for(tmp_path):
  asked = lambda job, **options: [line.removeprefix('#SBATCH --') for line in slurm.render(job, **options).splitlines()
                                  if line.startswith('#SBATCH')]
  one = Job('one', (('true',),), tmp_path, nodes=2, processes=3, hours=0.001)
  assert asked(one) == ['job-name=one', 'nodes=2', 'ntasks-per-node=3', 'time=1', 'signal=B:USR1@120', 'requeue',
                        'open-mode=append', f'output={tmp_path}/one-%j.log']
  many = Job('many', (('true',),) * 3, tmp_path, target('h100:2x8'), nodes=2, processes=8, hours=1.51, inherited=('A',),
             after=('1', '2_3'), parallel=2)
  assert asked(many, partition='p', account='a b') == [
      'job-name=many', 'nodes=2', 'ntasks-per-node=8', 'gpus-per-node=8', 'time=91', 'signal=B:USR1@120', 'requeue',
      'open-mode=append', f'output={tmp_path}/many-%A_%a.log', 'array=0-2%2', 'export=ALL', 'dependency=afterok:1:2_3',
      'kill-on-invalid-dep=yes', 'partition=p', 'account="a b"']


@pytest.mark.parametrize(('sbatch', 'identity'), [
    ('[ $1 = --test-only ] || echo 4711', '4711'), ('[ $1 = --test-only ] || echo "4711;cluster"', '4711'),
    ('[ $1 = --test-only ] && { echo "nodes are down, drained or reserved" >&2; exit 1; }; echo 4711', '4711'),
    ('[ $1 = --test-only ] && { echo "no such nodes" >&2; exit 1; }; echo 4711', None),
    ('[ $1 = --test-only ] || { echo "down, drained or reserved" >&2; exit 1; }', None)])
def test_submitting_to_slurm(tmp_path, monkeypatch, sbatch, identity):
  (tmp_path / 'sbatch').write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls\n{sbatch}\n')
  (tmp_path / 'sbatch').chmod(0o755)
  monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
  job = Job('job', (('true',),), tmp_path / 'logs')
  if identity:
    assert slurm.submit(job) == identity
    assert (tmp_path / 'calls').read_text() == ''.join(f'--{flag} {tmp_path}/logs/job.sbatch\n'
                                                       for flag in ('test-only', 'parsable'))
    assert (tmp_path / 'logs/job.sbatch').read_text() == slurm.render(job)
  else:
    with pytest.raises(ConfigError, match='sbatch refused .*(no such nodes|down, drained or reserved)'):
      slurm.submit(job)


# Kubernetes

# github.com/kubernetes/api batch/v1 types.go, github.com/kubernetes-sigs/jobset api/jobset/v1alpha2/jobset_types.go
REASONS = ('BackoffLimitExceeded', 'DeadlineExceeded', 'FailedIndexes', 'MaxFailedIndexesExceeded', 'PodFailurePolicy')
Pod = tuple[int, bool]  # the exit code of its container; whether it has the condition DisruptionTarget


def failure(spec: dict, pods: list[Pod]) -> tuple[str, str] | None:
  """Reason and message with which a Job fails; None where it does not, and a pod that failed is made anew by itself.

  The first rule that matches a failed pod decides about it: FailJob fails the Job at once, what is counted does once
  there is more of it than backoffLimit.
  """
  template, rules = spec['template']['spec'], spec.get('podFailurePolicy', {}).get('rules', [])
  assert template['restartPolicy'] == 'Never' or not rules, 'refused by the server'
  counted = 0
  for number, (code, disrupted) in enumerate(pods):
    if not code:
      continue
    for index, rule in enumerate(rules):
      assert ('onExitCodes' in rule) != ('onPodConditions' in rule), 'refused by the server'
      if codes := rule.get('onExitCodes'):
        assert codes['values'] == sorted(set(codes['values'])) and len(codes['values']) <= 255, 'refused by the server'
        assert codes['operator'] == 'NotIn' or 0 not in codes['values'], 'refused by the server'
        name, = (container['name'] for container in template['containers'])
        matches = codes.get('containerName', name) == name and (code in codes['values']) == (codes['operator'] == 'In')
        text = f'Container {name} for pod default/pod-{number} failed with exit code {code}'
      else:
        matches = disrupted and {'type': 'DisruptionTarget', 'status': 'True'} in [
            {'status': 'True'} | condition for condition in rule['onPodConditions']]
        text = f'Pod default/pod-{number} has condition DisruptionTarget'
      if matches:
        if rule['action'] == 'FailJob':
          return 'PodFailurePolicy', f'{text} matching FailJob rule at index {index}'
        counted += {'Count': 1, 'Ignore': 0}[rule['action']]
        break
    else:
      counted += 1
  return ('BackoffLimitExceeded', 'Job has reached the specified backoff limit') \
      if counted > spec.get('backoffLimit', 6) else None


def follows(jobset: dict, jobs: list[list[Pod]], counted: int = 0) -> str:
  """What comes of the pods of each child Job: 'done', 'failed', 'restart', 'restart, not counted', or another action.

  The first rule that matches any Job that failed decides, by default it is RestartJobSet.

  Args:
    counted: restarts before.
  """
  policy, (replicated,) = jobset['spec'].get('failurePolicy'), jobset['spec']['replicatedJobs']
  failures = [found for pods in jobs if (found := failure(replicated['template']['spec'], pods))]
  if not failures:
    return 'a pod alone' if any(code for pods in jobs for code, _ in pods) else 'done'
  if policy is None:
    return 'failed'
  for rule in policy.get('rules', ()):
    assert re.fullmatch('[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?', rule['name']), 'refused by the server'
    assert set(rule.get('onJobFailureReasons', ())) <= set(REASONS), 'refused by the server'
  action = next((rule['action'] for rule in policy.get('rules', ()) for reason, message in failures
                 if reason in rule.get('onJobFailureReasons', REASONS)
                 and any(re.search(pattern, message) for pattern in rule.get('onJobFailureMessagePatterns', ('',)))
                 and replicated['name'] in rule.get('targetReplicatedJobs', (replicated['name'],))), 'RestartJobSet')
  if action == 'RestartJobSet' and counted >= policy.get('maxRestarts', 0):
    return 'failed'
  return {'FailJobSet': 'failed', 'RestartJobSet': 'restart',
          'RestartJobSetAndIgnoreMaxRestarts': 'restart, not counted'}.get(action, action)


def manifest(restarts: int = 5, **more) -> dict:
  return yaml.safe_load(k8s.render(Job('job-1', (('true',),), Path('x'), restarts=restarts, **more), image='i'))


def pods(text: str) -> list[list[Pod]]:
  """'76,e137 0': the first Job's pods ended with 76 and, evicted, with 137; the second's with 0."""
  return [[(int(word.lstrip('e')), word[0] == 'e') for word in job.split(',')] for job in text.split()]


@pytest.mark.parametrize(('end', 'all_pods'), [
    ('done', ['0', '0,0 0,0']),
    ('failed', ['1', '2', '3', '74', '77', '126', '127', '128', '193', '255']),
    ('failed', ['1,1', '76,2', '1,137', '75 1', '0 2', '134 76,1', '76,76 1,1']),
    ('restart', ['75', '76', '129', '134', '137', '139', '143', '192', '0,76', '76,76,137', '75 75', '0 76',
                 '137 76,76']),
    ('restart, not counted', ['e75', 'e76', 'e137', 'e143', 'e1', 'e2', 'e75,75', '76,e137', 'e137 76', '75 e75',
                              '1 e137', 'e137 1', 'e143 e143'])])
def test_what_kubernetes_makes_of_the_policy(end, all_pods):
  assert {text: follows(manifest(), pods(text)) for text in all_pods} == dict.fromkeys(all_pods, end)


@pytest.mark.parametrize(('history', 'restarts', 'attempts', 'end'), [
    ('76', 5, 6, 'failed'), ('137', 1, 2, 'failed'), ('75', 0, 1, 'failed'), ('76 75 0', 2, 3, 'done'),
    ('e75 e137 e75 0', 0, 4, 'done'), ('e75 76 e75 76 e75 0', 2, 6, 'done'), ('e75 76 e75 76', 1, 4, 'failed'),
    ('76 1', 5, 2, 'failed'), ('e137 2', 5, 2, 'failed')])
def test_restarts_of_kubernetes(history, restarts, attempts, end):
  words, found = history.split(), []
  while not found or found[-1].startswith('restart'):
    found.append(follows(manifest(restarts), pods(words[min(len(found), len(words) - 1)]), found.count('restart')))
  assert (len(found), found[-1]) == (attempts, end)


@pytest.mark.parametrize(('change', 'text', 'end'), [
    (dict(backoffLimit=1), '76', 'a pod alone'), (dict(backoffLimit=1), '76,76', 'restart'),
    (dict(backoffLimit=1), '76,1', 'failed'), (dict(podFailurePolicy={'rules': []}), '1', 'restart'),
    (dict(podFailurePolicy={'rules': [{'action': 'Ignore', 'onExitCodes': {'operator': 'In', 'values': [3]}}]}), '3',
     'a pod alone'),
    (dict(podFailurePolicy={'rules': [{'action': 'Count', 'onExitCodes': {'operator': 'In', 'values': [1]}},
                                      {'action': 'FailJob', 'onExitCodes': {'operator': 'NotIn', 'values': [75]}}]}),
     '1', 'restart'),
    (dict(podFailurePolicy={'rules': [{'action': 'FailJob', 'onExitCodes': {'operator': 'NotIn', 'values': [75]}}]}),
     '75', 'restart'),
    (dict(podFailurePolicy={'rules': [{'action': 'FailJob', 'onExitCodes': {'operator': 'NotIn', 'values': [75]}}]}),
     'e1', 'failed')])
def test_another_policy_has_another_end(change, text, end):
  changed = manifest()
  changed['spec']['replicatedJobs'][0]['template']['spec'] |= change
  assert follows(changed, pods(text)) == end
