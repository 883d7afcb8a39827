"""FST as a whole against its twin: arXiv:2209.06993v2, section 3, FST-D and FST-W; the loss as in fst_d.py."""
import numpy as np
import pytest

from pretrain.objectives.fst import fst
from pretrain.views.fixmatch import fixmatch as fixmatch_views
from tests import cases
from tests.reference.networks import Tiny, averaged, classifier, combined, gradient, log_softmax, softmax
from tests.twin import Twin, check, copied, tiny

B, U, CLASSES, VIRTUAL, RATE, THRESHOLD, WEIGHT, MOMENTUM = 4, 6, 3, 2, 0.5, 0.6, 0.7, 0.6


def batch(rng):
  return {'image': rng.uniform(size=(B, 2, 2, 1)), 'label': rng.permutation([0, 1, 1, 2]),
          'weak': rng.uniform(size=(U, 2, 2, 1)), 'strong': rng.uniform(size=(U, 2, 2, 1))}


def learn(params, statistics, teacher, teacher_statistics, batch, noise):
  """The loss of the student, who is shown no weak view, with the teacher's labels, and its three parts."""
  weak = softmax(classifier(teacher, teacher_statistics, batch['weak'], True))
  logits = classifier(params, statistics, np.concatenate([batch['image'], batch['strong']]), True, noise)
  b, u = len(batch['image']), len(batch['weak'])
  sure = np.mean([row.max() >= THRESHOLD for row in weak])
  supervised = -sum(log_softmax(logits[i])[batch['label'][i]] for i in range(b)) / b
  consistency = -sum(sure * log_softmax(logits[b + i])[weak[i].argmax()] for i in range(u)) / u
  return supervised + WEIGHT * consistency, {'supervised': supervised, 'consistency': consistency, 'use_ratio': sure}


def twins(variant):
  def twin(params, stopped, memory, batch, draws, step):
    del step
    *virtual_noises, noise = [noise for _, noise in draws]

    def stepped(student, teacher, batch, noise):
      slopes = gradient(lambda p: learn(p, copied(memory['statistics']), teacher, copied(memory['teacher_statistics']),
                                        batch, noise)[0], student)
      return combined(lambda p, g: p - RATE * g, student, slopes)

    student, teacher = stopped, memory['teacher']
    if variant == 'deep':
      for virtual_noise in virtual_noises:
        student = stepped(student, teacher, batch, virtual_noise)
        teacher = averaged(teacher, student, MOMENTUM)
    else:
      students = [stepped(student, teacher, {k: x[n::VIRTUAL] for k, x in batch.items()}, virtual_noise)
                  for n, virtual_noise in enumerate(virtual_noises)]
      teacher = averaged(teacher, combined(lambda one, other: (one + other) / 2, *students), MOMENTUM)
    statistics, own = copied(memory['statistics']), copied(memory['teacher_statistics'])
    loss, metrics = learn(params, statistics, teacher, own, batch, noise)
    assert 0 < metrics['use_ratio'] < 1

    def after(params):
      return params, {'statistics': statistics, 'teacher_statistics': own, 'teacher': teacher}

    return loss, metrics, after

  return twin


ALL = {'loss', 'supervised', 'consistency', 'use_ratio'}
CASES = {variant: Twin(
    fst(tiny(pixels=4, width=4, hidden=5), classes=CLASSES, variant=variant, virtual=VIRTUAL, rate=RATE,
        threshold=THRESHOLD, unlabeled_weight=WEIGHT, momentum=MOMENTUM), batch, twins(variant),
    encode=lambda _, memory, x: Tiny(memory['teacher']['backbone'], memory['teacher_statistics']['backbone'])(x),
    predict=lambda _, memory, x: softmax(classifier(memory['teacher'], memory['teacher_statistics'], x)),
    images=lambda rng: rng.uniform(size=(3, 2, 2, 1)), grown={'head/linear/kernel': 60.}, steps=(0, 1),
    moves={'label': ALL, 'weak': ALL - {'supervised'}, 'strong': ALL, 'image': ALL}) for variant in ('deep', 'wide')}
CASE = cases.Case(dict(classes=cases.CLASSES, variant='wide', virtual=2, rate=0.1, threshold=0.32, unlabeled_weight=1.,
                       momentum=0.9), cases.either(fixmatch_views(operations=0)), cases.streams)
TWIN = CASES['wide']


@pytest.mark.parametrize('variant', CASES)
def test_its_twin(variant):
  check(CASES[variant])
