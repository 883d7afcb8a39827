"""SupCon's loss."""

import math

from .vectors import unit


def sup_con(z, label, temperature):
  """L_out^sup, arXiv:2004.11362v5 eq. 2, as a mean over the anchors (the authors' code; eq. 2 is the sum).

  L_i = -1/|P(i)| sum_p log( exp(z_i.z_p / temperature) / sum_a exp(z_i.z_a / temperature) ), with a over all other
  views and p over P(i), those that have the anchor's label. An anchor with empty P(i) is 0, as in the authors' code.
  Without their factor temperature / base_temperature.

  Args:
    z: [b, v, d], not normalised; v views of each image.
    label: int [b].
    temperature: positive float.

  Returns:
    float.
  """
  rows, labels = [], []
  for i in range(len(z)):
    for row in unit(z[i]):
      rows.append(row)
      labels.append(int(label[i]))
  total = 0.0
  for i in range(len(rows)):
    denominator = 0.0
    for a in range(len(rows)):
      if a != i:
        denominator += math.exp(rows[i] @ rows[a] / temperature)
    terms = []
    for p in range(len(rows)):
      if p != i and labels[p] == labels[i]:
        terms.append(math.log(math.exp(rows[i] @ rows[p] / temperature) / denominator))
    if terms:
      total -= sum(terms) / len(terms)
  return total / len(rows)
