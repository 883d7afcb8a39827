"""Jobs of a SLURM cluster: one sbatch script, which requeues itself when the run was stopped and wants to go on."""
import math
import shlex
import shutil
import subprocess

from launch.job import Job, simulated
from pretrain.config import ConfigError

DRAINED = 'down, drained or reserved'  # nodes that will come back
WARNING = 120  # seconds before the time limit; SLURM may send it up to a minute earlier

# what the parts are for, each met on a real cluster:
# - a trap cuts `wait` short, so it is asked again until the step is gone;
# - USR1, not TERM: SLURM takes TERM for the end of the step, sends it twice and kills soon after;
# - --kill-on-bad-exit would turn the orderly 75 of the first process into a kill of the others;
# - SLURM requeues a preempted job only if it outlives the grace period, so a job that leaves in time does it itself;
# - an element of an array must name itself A_T: the bare number of the first would requeue the whole array.
SCRIPT = """\
#!/bin/bash
{directives}

{exports}
{command}
id=$SLURM_JOB_ID
[ -n "${{SLURM_ARRAY_JOB_ID:-}}" ] && id=${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}
trap 'echo "the time limit is near: asking the run to save"; scancel --signal=USR1 "$id.0"' USR1
srun --kill-on-bad-exit=0 --wait=60 "${{command[@]}}" &
step=$!
wait $step
code=$?
while kill -0 $step 2>/dev/null; do wait $step; code=$?; done
echo "ended with $code after ${{SLURM_RESTART_COUNT:-0}} restarts"
if [ $code -eq 75 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {restarts} ]; then
  scontrol requeue "$id" && sleep 60
fi
exit $code
"""


def render(job: Job, partition: str | None = None, account: str | None = None) -> str:
  """The sbatch script of a job.

  Raises:
    ConfigError: the job wants TPUs.
  """
  if job.target and not job.target.gpu:
    raise ConfigError(f'--engine=slurm: {job.target.name} are TPUs; wanted GPUs, such as h100:2x8, or --engine=k8s')
  several = len(job.commands) > 1
  options = {
      'job-name': job.name, 'nodes': job.nodes, 'ntasks-per-node': job.processes,
      'gpus-per-node': job.target.shape[1] if job.target else None,
      'time': max(1, math.ceil(job.hours * 60)), 'signal': f'B:USR1@{WARNING}', 'requeue': True, 'open-mode': 'append',
      'output': f'{job.logs.absolute()}/%x-{"%A_%a" if several else "%j"}.log',
      'array': f'0-{len(job.commands) - 1}%{job.parallel}' if several else None,
      'dependency': f'afterok:{":".join(job.after)}' if job.after else None,
      'kill-on-invalid-dep': 'yes' if job.after else None, 'partition': partition, 'account': account,
  }
  directives = '\n'.join(f'#SBATCH --{key}' + ('' if value is True else f'={value}')
                         for key, value in options.items() if value is not None)
  exports = '\n'.join(f'export {key}={shlex.quote(value)}' for key, value in simulated(job.env, job.devices).items())
  if several:
    cases = '\n'.join(f'  {n}) command=({shlex.join(command)}) ;;' for n, command in enumerate(job.commands))
    command = f'case $SLURM_ARRAY_TASK_ID in\n{cases}\nesac'
  else:
    command = f'command=({shlex.join(job.commands[0])})'
  return SCRIPT.format(directives=directives, exports=exports, command=command, restarts=job.restarts)


def submit(job: Job, **options) -> str:
  """Submits a job; returns its id.

  Raises:
    ConfigError: there is no SLURM here, or it refuses the job.
  """
  text = render(job, **options)
  if not shutil.which('sbatch'):
    raise ConfigError('--engine=slurm: no sbatch on this machine; run this where jobs are submitted, or add --dry-run '
                      'to see the script')
  job.logs.mkdir(parents=True, exist_ok=True)
  script = job.logs / f'{job.name}.sbatch'
  script.write_text(text)
  sbatch = lambda flag: subprocess.run(['sbatch', flag, str(script)], capture_output=True, text=True)
  done = sbatch('--test-only')  # a job that no nodes of this cluster could ever run would wait for ever
  if not done.returncode or DRAINED in done.stderr:
    done = sbatch('--parsable')
  if done.returncode:
    raise ConfigError(f'sbatch refused {script}: {done.stderr.strip()}')
  return done.stdout.strip().split(';')[0]


def follow(identity: str, job: Job) -> str:
  """How to look after a submitted job."""
  return (f'state:  squeue --jobs={identity}\n'
          f'follow: tail --follow=name --retry {job.logs}/{job.name}-{identity}*.log\n'
          f'cancel: scancel {identity}')

