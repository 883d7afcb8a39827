"""BERT's masked language modelling."""

from .supervised import log_softmax


def masked_words(logits, words, hidden):
  """Mean negative log-likelihood of the words at the hidden places of all texts, and the share guessed.

  arXiv:1810.04805v2, section 3.1: the final vectors of the masked tokens are fed into a softmax over the vocabulary;
  only these are predicted.

  Args:
    logits: [b, k, v].
    words: int[b, k].
    hidden: bool[b, k], at least one.

  Returns:
    float, float.
  """
  total = right = count = 0
  for i in range(len(logits)):
    for j in range(len(logits[i])):
      if hidden[i][j]:
        total -= log_softmax([float(x) for x in logits[i][j]])[words[i][j]]
        right += max(range(len(logits[i][j])), key=lambda k, row=logits[i][j]: row[k]) == words[i][j]
        count += 1
  return total / count, right / count
