"""Jobs of a SLURM cluster: one sbatch script, which requeues itself when the run wants to be run again."""
import math
import os
import re
import shlex
import shutil
import subprocess

from launch.job import FRUITLESS, Job, simulated
from pretrain.config import ConfigError

DRAINED = 'down, drained or reserved'  # nodes that will come back
WARNING = 120  # seconds before the time limit; SLURM may send it up to a minute earlier

# what the parts are for, each met on a real cluster:
# - a trap cuts `wait` short, so it is asked again until the step is gone;
# - USR1, not TERM: SLURM takes TERM for the end of the step, sends it twice and kills soon after;
# - --kill-on-bad-exit would turn the orderly 75 of the first process into a kill of the others;
# - SLURM requeues a preempted job only if it outlives the grace period, so a job that leaves in time does it itself;
# - an element of an array must name itself A_T: the bare number of the first would requeue the whole array.
# - srun gives the highest code of its tasks, which does not say why they ended: each writes down its own, and when;
#   where the node of this script failed, those of the attempt before are still there;
# - variables are set for the tasks alone: none can change what this script does.
SCRIPT = r"""#!/bin/bash
{directives}

{command}
id=$SLURM_JOB_ID
[ -n "${{SLURM_ARRAY_JOB_ID:-}}" ] && id=${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}
notes={notes}-$id restarts=${{SLURM_RESTART_COUNT:-0}}
rm -f "$notes".[0-9]*
progress() {{  # grows with every new checkpoint and part
  [ -n "$place" ] && find -L "$place" -mindepth 2 -maxdepth 3 2>/dev/null | awk -F/ '
    $(NF-1) == "parts" && $NF !~ /^[.]/ {{ sum++ }}
    $(NF-1) == "checkpoints" && $NF ~ /^[0-9]+$/ {{
      step = $NF + 0; $NF = ""; if (step > newest[$0] + 0) newest[$0] = step
    }}
    END {{ for (run in newest) sum += newest[run]; print sum + 0 }}'
}}
before=$(progress)
task='trap : USR1 TERM; "$@"; code=$?; echo "$(date +%s) $code" > "$0.${{SLURM_PROCID:-0}}"; exit $code'
trap 'echo "the time limit is near: asking the run to save"; scancel --signal=USR1 "$id.0"' USR1
srun --kill-on-bad-exit=0 --wait=60 bash -c "$task" "$notes" "${{command[@]}}" &
step=$!
while kill -0 $step 2>/dev/null; do wait $step; done
wait $step
code=$?
# what ended first is the cause, a kill before a mistake; but 76 and 134 follow from what befell others
code=$(for n in $(seq 0 {last}); do cat "$notes.$n" 2>/dev/null && rm "$notes.$n"; done |
  awk '$2 != 0 && $2 != 75 {{ print $1, $2 <= 128, $2 }}' | sort -n -k 1,1 -k 2,2 | awk -v code=$code '
    NR == 1 {{ first = $1; code = $3 }}
    !cause && $1 <= first + 1 && $3 != 76 && $3 != 134 {{ cause = code = $3 }}
    END {{ print code }}')
echo "ended with $code after $restarts restarts"
[ $code -eq 75 ] || [ $code -eq 76 ] || [ $code -gt 128 -a $code -le 192 ] || exit $code
[ -n "$place" ] && new=$(( $(progress) > before )) || new=$(( code == 75 ))
echo "$new $code" >> "$notes.attempts"
if [[ $(tail -n {fruitless} "$notes.attempts" | cut -c 1 | tr -d '\n') == {zeros} ]]; then
  echo "gave up: {fruitless} attempts in a row without a new checkpoint${{place:+ in $place}}"
elif [ $restarts -ge {restarts} ]; then
  echo "gave up: it was run again $restarts times"
else
  scontrol requeue "$id" && sleep 60
fi
exit $code
"""


def render(job: Job, partition: str | None = None, account: str | None = None) -> str:
  """The sbatch script of a job.

  Raises:
    ConfigError: the job wants TPUs; its logs are in a directory that SLURM cannot name.
  """
  if job.target and not job.target.gpu:
    raise ConfigError(f'--engine=slurm: {job.target.name} are TPUs; wanted GPUs, such as h100:2x8, or --engine=k8s')
  logs = os.path.abspath(job.logs)
  if '\\' in logs:
    raise ConfigError(f'--engine=slurm: {logs} has a backslash, after which SLURM puts no job number into the name of '
                      'a log; wanted another directory')
  several = len(job.commands) > 1
  options = {
      'job-name': job.name, 'nodes': job.nodes, 'ntasks-per-node': job.processes,
      'gpus-per-node': job.target.shape[1] if job.target else None,
      'time': max(1, math.ceil(job.hours * 60)), 'signal': f'B:USR1@{WARNING}', 'requeue': True, 'open-mode': 'append',
      'output': f'{logs.replace("%", "%%")}/{job.name}-{"%A_%a" if several else "%j"}.log',
      'array': f'0-{len(job.commands) - 1}%{job.parallel}' if several else None,
      'export': 'ALL' if job.inherited else None,
      'dependency': f'afterok:{":".join(job.after)}' if job.after else None,
      'kill-on-invalid-dep': 'yes' if job.after else None, 'partition': partition, 'account': account,
  }
  directives = '\n'.join(f'#SBATCH --{key}' + ('' if value is True else f'={escaped(str(value))}')
                         for key, value in options.items() if value is not None)
  variables = [f'{key}={value}' for key, value in simulated(job.env, job.devices).items()]
  lines = [f'command=({shlex.join((*(["env", *variables] if variables else []), *command))}) '
           f'place={shlex.quote(os.path.abspath(job.progress[number])) if job.progress else ""}'
           for number, command in enumerate(job.commands)]
  if several:
    cases = '\n'.join(f'  {number}) {line} ;;' for number, line in enumerate(lines))
    command = f'case $SLURM_ARRAY_TASK_ID in\n{cases}\nesac'
  else:
    command = lines[0]
  return SCRIPT.format(directives=directives, command=command, notes=shlex.quote(f'{logs}/{job.name}'),
                       last=job.nodes * job.processes - 1, restarts=job.restarts, fruitless=FRUITLESS,
                       zeros='0' * FRUITLESS)


def escaped(text: str) -> str:
  """A value of an #SBATCH line: spaces need quotes, in which a backslash makes the next character an ordinary one.

  sbatch takes a line with one of two words, wherever in it, for the beginning of another component of the job.
  """
  if re.fullmatch(r'[\w./=:,@%+-]*', text, re.ASCII) and not re.search('hetjob|packjob', text, re.IGNORECASE):
    return text
  return '"' + re.sub(r'["\\]|(?<=het)j(?=ob)|(?<=pack)j(?=ob)', r'\\\g<0>', text, flags=re.IGNORECASE) + '"'


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
    raise ConfigError(f'sbatch refused {shlex.quote(str(script))}: {done.stderr.strip()}')
  return done.stdout.strip().split(';')[0]


def follow(identity: str, job: Job) -> str:
  """How to look after a submitted job."""
  log = shlex.quote(f'{os.path.abspath(job.logs)}/{job.name}-{identity}')
  return (f'state:  squeue --jobs={identity}\n'
          f'follow: tail --follow=name --retry {log}*.log\n'
          f'cancel: scancel {identity}')
