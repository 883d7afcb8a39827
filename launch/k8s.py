"""Jobs of Kubernetes: a JobSet, with a Kueue queue, on TPU slices or GPU nodes of GKE.

Restarts: 75, 76 and every kill restart the whole JobSet, up to `restarts` times; evictions and maintenance do so
without being counted; every other code, a mistake in the config or the code, fails it at once. A JobSet sees no
checkpoints: each process finds the number of restarts in PRETRAIN_RESTARTS, and has to give up by itself where they
lead to nothing.
"""
import io
import math
import re
import shlex
import shutil
import subprocess
from typing import Any

import yaml

from launch.job import Job, again, digest, simulated
from pretrain.config import ConfigError

# cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus and .../how-to/gpus
TPUS = {'v4': 'tpu-v4-podslice', 'v5e': 'tpu-v5-lite-podslice', 'v5p': 'tpu-v5p-slice', 'v6e': 'tpu-v6e-slice',
        'tpu7x': 'tpu7x'}
GPUS = {'a100': 'nvidia-a100-80gb', 'h100': 'nvidia-h100-80gb', 'h200': 'nvidia-h200-141gb', 'b200': 'nvidia-b200'}
PORT = 8476
GRACE = 300  # seconds between SIGTERM and SIGKILL
RESTARTS = "metadata.annotations['jobset.sigs.k8s.io/restart-attempt']"
PLAIN = re.compile(r'(?!(y|n|yes|no|on|off|true|false|null|nan|inf|infinity)$)[a-z/][a-z0-9/._-]*', re.IGNORECASE)


def render(job: Job, image: str | None = None, queue: str | None = None, volume: str | None = None) -> str:
  """The YAML of a job: a JobSet for each command.

  Args:
    image: with this project and its packages installed, and as the working directory where configs are.
    queue: Kueue's local queue.
    volume: 'CLAIM:/path': a PersistentVolumeClaim that all nodes can write, where the run directories are.
  Raises:
    ConfigError: no image, no known accelerator.
  """
  if not image:
    raise ConfigError('--engine=k8s needs --image=REGISTRY/NAME:TAG, a container image with this project installed')
  documents = [jobset(job, number, image, queue, volume) for number in range(len(job.commands))]
  return written(documents)


def written(documents: list[dict[str, Any]]) -> str:
  """YAML in which a string is quoted wherever some reader could take it for something else: 'yes', '1e3', '0x1f'."""
  out = io.StringIO()
  dumper = yaml.SafeDumper(out, sort_keys=False, width=1e6, allow_unicode=True, explicit_start=len(documents) > 1)
  quoted = lambda dumper, text: dumper.represent_scalar('tag:yaml.org,2002:str', text,
                                                        style=None if PLAIN.fullmatch(text) else '"')
  vars(dumper).update(yaml_representers=dumper.yaml_representers | {str: quoted}, ignore_aliases=lambda _: True)
  dumper.open()
  for document in documents:
    dumper.represent(document)
  dumper.close()
  return out.getvalue()


def jobset(job: Job, number: int, image: str, queue: str | None, volume: str | None) -> dict[str, Any]:
  name = name_of(job, number)
  variables = simulated(job.env, job.devices)
  env: list[dict[str, Any]] = [{'name': key, 'value': literally(value)} for key, value in variables.items()]
  for key, secret in job.secrets.items():
    owner, _, entry = secret.partition(':')
    env.append({'name': key, 'valueFrom': {'secretKeyRef': {'name': owner, 'key': entry}}})
  env.append({'name': 'PRETRAIN_RESTARTS', 'valueFrom': {'fieldRef': {'fieldPath': RESTARTS}}})
  selector, limits, chip = {}, {}, ''
  if job.target:
    chip, _, shape = job.target.name.partition(':')
    if chip in TPUS:
      per_node = min(job.target.chip.host, math.prod(job.target.shape))
      selector = {'cloud.google.com/gke-tpu-accelerator': TPUS[chip], 'cloud.google.com/gke-tpu-topology': shape}
      limits = {'google.com/tpu': per_node}
    elif chip in GPUS:
      selector, limits = {'cloud.google.com/gke-accelerator': GPUS[chip]}, {'nvidia.com/gpu': job.target.shape[1]}
    else:
      raise ConfigError(f'--topology: GKE has no {chip}; all: {", ".join(TPUS | GPUS)}')
  if job.nodes > 1 and chip not in TPUS:  # on TPUs the platform says who the others are
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    env += [{'name': 'JAX_COORDINATOR_ADDRESS', 'value': f'{name}-slice-0-0.{name}:{PORT}'},
            {'name': 'JAX_NUM_PROCESSES', 'value': str(job.nodes)},
            {'name': 'JAX_PROCESS_ID', 'valueFrom': {'fieldRef': {'fieldPath': index}}}]
  command = [literally(word) for word in job.commands[number]]
  container: dict[str, Any] = {'name': 'train', 'image': image, 'command': command, 'env': env}
  container |= {'resources': {'limits': limits}} if limits else {}
  spec: dict[str, Any] = {'restartPolicy': 'Never', 'terminationGracePeriodSeconds': GRACE}
  spec |= {'nodeSelector': selector} if selector else {}
  if volume:
    claim, _, path = volume.partition(':')
    container['volumeMounts'] = [{'name': 'runs', 'mountPath': path}]
    spec['volumes'] = [{'name': 'runs', 'persistentVolumeClaim': {'claimName': claim}}]
  spec['containers'] = [container]
  metadata: dict[str, Any] = {'name': name}
  metadata |= {'labels': {'kueue.x-k8s.io/queue-name': queue}} if queue else {}
  if job.target and not job.target.gpu:  # a slice is a node pool: no two of its pods elsewhere, no other job in it
    metadata['annotations'] = {'alpha.jobset.sigs.k8s.io/exclusive-topology': 'cloud.google.com/gke-nodepool'}
  policy = [{'action': 'FailJob', 'onPodConditions': [{'type': 'DisruptionTarget', 'status': 'True'}]},
            {'action': 'FailJob', 'onExitCodes': {'containerName': 'train', 'operator': 'NotIn',
                                                  'values': [code for code in range(1, 256) if again(code)]}}]
  return {
      'apiVersion': 'jobset.x-k8s.io/v1alpha2', 'kind': 'JobSet', 'metadata': metadata, 'spec': {
          'failurePolicy': {'maxRestarts': job.restarts, 'rules': [
              {'name': 'disruption', 'action': 'RestartJobSetAndIgnoreMaxRestarts',
               'onJobFailureReasons': ['PodFailurePolicy'], 'onJobFailureMessagePatterns': ['.*DisruptionTarget.*']},
              {'name': 'mistake', 'action': 'FailJobSet', 'onJobFailureReasons': ['PodFailurePolicy']}]},
          'successPolicy': {'operator': 'All'},
          'replicatedJobs': [{'name': 'slice', 'replicas': job.slices, 'template': {'spec': {
              'parallelism': job.nodes, 'completions': job.nodes, 'completionMode': 'Indexed', 'backoffLimit': 0,
              'podFailurePolicy': {'rules': policy},
              'template': {'spec': spec}}}}]}}


def literally(text: str) -> str:
  """A word in which Kubernetes puts no variable's value in place of $(NAME), and leaves every $ as it is."""
  return text.replace('$', '$$') if re.search(r'\$\$|\$\([A-Z_][A-Z0-9_]*\)', text) else text


def name_of(job: Job, number: int) -> str:
  """A name that Kubernetes takes: at most 40 lower-case letters, digits and dashes (pods append to it).

  Of several commands each is named by its own directory, so that one that is submitted again is the same JobSet.
  """
  stem, _, own = job.name.rpartition('-')
  if len(job.commands) > 1:
    own = digest(job.progress[number]) if job.progress else f'{own}-{number}'
  stem = re.sub(r'[^a-z0-9]+', '-', stem.lower()).strip('-')
  stem = stem if stem[:1].isalpha() else f'run-{stem}'
  return f'{stem[:39 - len(own)].strip("-")}-{own}'


def submit(job: Job, **options) -> str:
  """Hands a job to the cluster that kubectl is set up for; returns the names of its JobSets.

  Raises:
    ConfigError: there is no kubectl here, or the cluster refuses the job.
  """
  text = render(job, **options)
  if not shutil.which('kubectl'):
    raise ConfigError('--engine=k8s: no kubectl on this machine; add --dry-run to see the manifest')
  done = subprocess.run(['kubectl', 'apply', '--filename=-'], input=text, capture_output=True, text=True)
  if done.returncode:
    raise ConfigError(f'kubectl refused the job: {done.stderr.strip()}')
  return ' '.join(name_of(job, number) for number in range(len(job.commands)))


def follow(identity: str, job: Job) -> str:
  """How to look after a submitted job."""
  del job
  first = identity.split()[0]
  return (f'state:  kubectl get jobsets {identity}\n'
          f'follow: kubectl logs --follow {shlex.quote(f"--selector=jobset.sigs.k8s.io/jobset-name={first}")}\n'
          f'cancel: kubectl delete jobsets {identity}')
