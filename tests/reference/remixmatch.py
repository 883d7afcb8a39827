"""ReMixMatch's loss."""

from .pseudo_label import supervised_mean
from .supervised import soft_cross_entropy


def remixmatch(labeled, target, unlabeled, mixed_guess, anchored, guess, turned, turns, unlabeled_weight,
               anchor_weight, rotation_weight):
  """The sum of four means of cross-entropies, arXiv:1911.09785v2 section 3.3 (the end of algorithm 1).

  Args:
    labeled, target, unlabeled, mixed_guess, anchored, guess: logits and probabilities [*, k], in pairs.
    turned, turns: [u, 4] logits, int [u].
    unlabeled_weight, anchor_weight, rotation_weight: floats.

  Returns:
    (loss, {'supervised', 'consistency', 'anchored', 'rotation'}), floats.
  """
  terms = {'supervised': soft_cross_entropy(target, labeled).mean(),
           'consistency': soft_cross_entropy(mixed_guess, unlabeled).mean(),
           'anchored': soft_cross_entropy(guess, anchored).mean(), 'rotation': supervised_mean(turned, turns)}
  weights = {'supervised': 1.0, 'consistency': unlabeled_weight, 'anchored': anchor_weight,
             'rotation': rotation_weight}
  return sum(weights[name] * value for name, value in terms.items()), terms
