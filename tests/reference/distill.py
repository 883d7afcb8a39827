"""Distillation: cross-entropy of two softmaxes at one temperature, from arXiv:2006.10029v2, eq. 2."""
import math


def at(logits, temperature):
  """P(y|x; tau) = exp(f[y] / tau) / sum over y' of exp(f[y'] / tau), of one example."""
  exponentials = [math.exp(float(f) / temperature) for f in logits]
  return [e / sum(exponentials) for e in exponentials]


def distill(teacher_logits, student_logits, temperature):
  """- sum over y of P_teacher(y|x) log P_student(y|x), the mean over examples: [b, k], [b, k] -> float."""
  total = 0.0
  for teacher, student in zip(teacher_logits, student_logits, strict=True):
    for p, q in zip(at(teacher, temperature), at(student, temperature), strict=True):
      total -= p * math.log(q)
  return total / len(student_logits)
