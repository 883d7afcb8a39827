"""A real SLURM cluster on this machine's loopback: munged, slurmctld and a slurmd a node; no systemd, nothing in /etc.

Needs Debian's packages slurmctld, slurmd, slurm-client and munge. Nodes are named by their loopback addresses, so that
the first name of a step's list of nodes resolves, where JAX looks for process 0.
"""
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from launch.local import free_port

CONF = """\
ClusterName=loop
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={d}/munge/socket
CredType=cred/munge
StateSaveLocation={d}/state
SlurmdSpoolDir={d}/spool-%n
SlurmctldPidFile={d}/run/slurmctld.pid
SlurmdPidFile={d}/run/slurmd-%n.pid
SlurmctldLogFile={d}/log/slurmctld.log
SlurmdLogFile={d}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,defer_batch=no
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=2
MinJobAge=3600
MessageTimeout=10
SlurmctldTimeout=30
SlurmdTimeout=30
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=120
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
ENDED = ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'NODE_FAIL', 'PREEMPTED')


class Cluster:
  """A cluster in a directory; a context manager, `env` holds SLURM_CONF."""

  def __init__(self, directory: Path, nodes: int = 2, gpus: int = 8):
    self.directory = d = directory.resolve()
    self.names = [f'127.0.0.{11 + n}' for n in range(nodes)]
    self.env = {'SLURM_CONF': f'{d}/slurm.conf'}
    for name in ('munge', 'state', 'log', 'run', 'dev', *(f'spool-{name}' for name in self.names)):
      (d / name).mkdir(parents=True)
    (d / 'munge').chmod(0o700)
    (d / 'munge/key').write_bytes(os.urandom(1024))
    (d / 'munge/key').chmod(0o400)
    host = socket.gethostname().split('.')[0]
    lines = '\n'.join(f'NodeName={name} NodeHostname={host} NodeAddr={name} Port={free_port()} CPUs=2 RealMemory=4000 '
                      f'Gres=gpu:{gpus} State=UNKNOWN' for name in self.names)
    (d / 'slurm.conf').write_text(CONF.format(host=host, port=free_port(), user=getpass.getuser(), d=d, nodes=lines))
    for n in range(gpus):  # SLURM counts device files and sets CUDA_VISIBLE_DEVICES; nothing opens them
      (d / f'dev/nvidia{n}').symlink_to('/dev/null')
    (d / 'gres.conf').write_text(f'AutoDetect=off\nName=gpu Flags=nvidia_gpu_env File={d}/dev/nvidia[0-{gpus - 1}]\n')

  def __enter__(self):
    try:
      d = self.directory
      self._daemon('munged', f'--key-file={d}/munge/key', f'--socket={d}/munge/socket',
                   f'--pid-file={d}/run/munged.pid', f'--log-file={d}/log/munged.log', f'--seed-file={d}/munge/seed',
                   '--num-threads=2', '--force')
      self._daemon('slurmctld', '-f', f'{d}/slurm.conf')
      for name in self.names:
        self.start_node(name)
      deadline = time.time() + 60
      while self('sinfo', '-h', '-N', '-p', 'main', '-o', '%T').split().count('idle') < len(self.names):
        assert time.time() < deadline, '\n'.join(p.read_text()[-600:] for p in (d / 'log').glob('*.log'))
        time.sleep(0.1)
      return self
    except BaseException:
      self.__exit__()
      raise

  def __exit__(self, *_):
    with contextlib.suppress(OSError, RuntimeError):
      self('scancel', '--user', getpass.getuser())
      deadline = time.time() + 10
      while time.time() < deadline and self('squeue', '-h'):
        time.sleep(0.1)
    pids = self.directory / 'run'
    for path in sorted(pids.glob('*.pid'), reverse=True):  # the nodes, the controller, munge
      with contextlib.suppress(OSError, ValueError):
        os.kill(int(path.read_text()), signal.SIGTERM)
    deadline = time.time() + 10
    while time.time() < deadline and any(pids.glob('*.pid')):
      time.sleep(0.05)

  def __call__(self, *command: str) -> str:
    done = subprocess.run(command, env=os.environ | self.env, capture_output=True, text=True)
    if done.returncode:
      raise RuntimeError(f'{command}: {done.returncode}: {done.stdout}{done.stderr}')
    return done.stdout.strip()

  def start_node(self, name: str) -> None:
    self._daemon('slurmd', '-N', name, '-f', f'{self.directory}/slurm.conf')

  def kill_node(self, name: str) -> None:
    """As if the machine were gone: its daemon and what ran there."""
    subprocess.run(['pkill', '-KILL', '-f', f'slurmstepd.*{name}'])
    os.kill(int((self.directory / 'run' / f'slurmd-{name}.pid').read_text()), signal.SIGKILL)

  def job(self, identity: str) -> dict[str, str]:
    line = self('scontrol', 'show', 'job', '-o', identity).splitlines()[0]
    return dict(pair.split('=', 1) for pair in line.split() if '=' in pair)

  def wait(self, identity: str, timeout: float = 300) -> dict[str, str]:
    """The job once it is over. SLURM holds a requeued job for two minutes: here it starts after three seconds."""
    deadline, held = time.time() + timeout, None
    while (job := self.job(identity))['JobState'] not in ENDED:
      assert time.time() < deadline, job
      waits = job['JobState'] == 'PENDING' and job['Reason'] == 'BeginTime'
      held = (held or time.time()) if waits else None
      if held and time.time() - held > 3:  # at once it would fail: the old credential is being revoked
        with contextlib.suppress(RuntimeError):
          self('scontrol', 'update', f'JobId={identity}', 'StartTime=now')
      time.sleep(0.2)
    return job

  def _daemon(self, name: str, *flags: str) -> None:
    self(shutil.which(name) or f'/usr/sbin/{name}', *flags)


def installed() -> bool:
  return all(shutil.which(name) or Path(f'/usr/sbin/{name}').exists() for name in ('munged', 'slurmctld', 'slurmd'))
