"""Pseudo-labels and consistency: few labeled examples, many unlabeled ones.

Everywhere: labeled [b, k] logits with label int[b]; weak, strong [u, k] logits of two views of the unlabeled examples,
of which the weak one makes targets and gets no gradient. A total is the labeled cross-entropy plus `unlabeled_weight`
times the consistency, a mean over all u examples, used or not. It comes with its terms as metrics.
"""
import jax
import jax.numpy as jnp

from pretrain.losses.basic import cross_entropy, f32, same_shape, soft_cross_entropy


def probabilities_of(logits):
  """softmax, float32, that no gradient flows back from."""
  return jax.nn.softmax(jax.lax.stop_gradient(logits).astype(f32))


def confident(weak, threshold):
  """Hard pseudo-labels of a weakly augmented view.

  arXiv:2001.07685v2, section 2.2.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold: in [0, 1]; a number, or f32[u].
  Returns:
    pseudo int[u], use bool[u]: True where the highest probability reaches the threshold.
  Raises:
    ValueError: neither one threshold nor one for each example.
  """
  if jnp.ndim(threshold):
    same_shape('confident', threshold=jnp.shape(threshold), examples=weak.shape[:1])
  probabilities = probabilities_of(weak)
  return probabilities.argmax(-1), probabilities.max(-1) >= threshold


def total(labeled, label, consistency, unlabeled_weight, **metrics):
  """The labeled cross-entropy plus the weighted consistency f32[], and both with the other metrics."""
  return combined(jnp.mean(cross_entropy(labeled, label)), consistency, unlabeled_weight, **metrics)


def combined(supervised, consistency, unlabeled_weight, **metrics):
  """`total` of the labeled loss f32[] itself."""
  return supervised + unlabeled_weight * consistency, {'supervised': supervised, 'consistency': consistency} | metrics


def weighted(labeled, label, strong, pseudo, weight, unlabeled_weight):
  """`total` of the strong view's cross-entropies with pseudo int[u], each times its weight (bool or float [u])."""
  weight = weight.astype(f32)
  consistency = jnp.mean(cross_entropy(strong, pseudo) * weight)
  return total(labeled, label, consistency, unlabeled_weight, use_ratio=jnp.mean(weight))


def softly_weighted(labeled, label, strong, target, weight, unlabeled_weight, **metrics):
  """`weighted` with probabilities [u, k] as targets, which no gradient flows back from."""
  weight = weight.astype(f32)
  consistency = jnp.mean(soft_cross_entropy(jax.lax.stop_gradient(target), strong) * weight)
  return total(labeled, label, consistency, unlabeled_weight, use_ratio=jnp.mean(weight), **metrics)


def divergence(target, logits):
  """KL(softmax(target) || softmax(logits)) f32[u] of logits [u, k]; no gradient to the target."""
  same_shape('divergence', target=target.shape, logits=logits.shape)
  target = jax.lax.stop_gradient(target).astype(f32)
  p = jax.nn.softmax(target)
  return soft_cross_entropy(p, logits) - soft_cross_entropy(p, target)


def fixmatch(labeled, label, weak, strong, threshold, unlabeled_weight):
  """Supervised cross-entropy plus consistency of the strong view with the confident pseudo-labels of the weak view.

  arXiv:2001.07685v2, eq. 3 and 4; the consistency is averaged over all u examples, used or not.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: in [0, 1]; a number, or f32[u].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('fixmatch', weak=weak.shape, strong=strong.shape)
  pseudo, use = confident(weak, threshold)
  return weighted(labeled, label, strong, pseudo, use, unlabeled_weight)


def pseudo_label(labeled, label, unlabeled, unlabeled_weight):
  """Supervised cross-entropy plus that of unlabeled examples with the most probable class of the same prediction.

  Lee, "Pseudo-Label", Workshop on Challenges in Representation Learning, ICML 2013: the overall loss function.

  Args:
    labeled, label: [b, k] logits, int[b].
    unlabeled: [u, k] logits; the labels made of them are constants.
    unlabeled_weight: alpha(t) >= 0, of this step.
  Returns:
    f32[] nats, and {'supervised', 'consistency'}.
  """
  pseudo, _ = confident(unlabeled, 0.)
  return total(labeled, label, jnp.mean(cross_entropy(unlabeled, pseudo)), unlabeled_weight)


def mean_teacher(labeled, label, student, teacher, unlabeled_weight):
  """Supervised cross-entropy plus the squared difference of the student's and the teacher's probabilities.

  arXiv:1703.01780v6, section 2, the consistency cost J; divided by the number of classes, as in the authors' code.

  Args:
    labeled, label: [b, k] logits of the student, int[b].
    student, teacher: [u, k] logits of two views of the unlabeled examples; no gradient to the teacher's.
    unlabeled_weight: of this step, >= 0.
  Returns:
    f32[], and {'supervised', 'consistency'}.
  """
  same_shape('mean_teacher', student=student.shape, teacher=teacher.shape)
  difference = jax.nn.softmax(student.astype(f32)) - probabilities_of(teacher)
  return total(labeled, label, jnp.mean(jnp.square(difference)), unlabeled_weight)


def uda(labeled, label, weak, strong, threshold, temperature, unlabeled_weight):
  """Supervised cross-entropy plus the divergence of the strong view from the sharpened, confident weak one.

  arXiv:1904.12848v6, eq. 1 and section 2.4 (confidence mask, sharpening). KL, as in the authors' code,
  has the gradient of the paper's cross-entropy. Deviation: >= the threshold, where theirs is >.

  Args:
    labeled, label: [b, k] logits, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: beta in [0, 1], for the highest probability before sharpening.
    temperature: tau > 0; below 1 it sharpens.
    unlabeled_weight: lambda >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('uda', weak=weak.shape, strong=strong.shape)
  _, use = confident(weak, threshold)
  each = divergence(weak.astype(f32) / temperature, strong)
  return total(labeled, label, jnp.mean(each * use), unlabeled_weight, use_ratio=jnp.mean(use.astype(f32)))


def flexmatch_thresholds(selected, classes, threshold):
  """A lower threshold for classes that fewer examples were confidently labeled with.

  arXiv:2110.08263v3, section 3: the learning effect sigma, its share beta with the threshold warm-up, and the convex
  mapping x / (2 - x).

  Args:
    selected: int[n], for each unlabeled example the class it was last confidently labeled with, or -1.
    classes: k.
    threshold: tau in [0, 1], of a class learned as well as the best.
  Returns:
    f32[k]; 0 while nothing is selected.
  """
  sigma = jnp.bincount(selected + 1, length=classes + 1)[1:]  # [k]
  beta = sigma / jnp.maximum(jnp.max(sigma), len(selected) - jnp.sum(sigma))
  return threshold * beta / (2 - beta)


def flexmatch(labeled, label, weak, strong, thresholds, unlabeled_weight):
  """FixMatch with a threshold for each class, f32[k], that of the pseudo-label: arXiv:2110.08263v3, section 3.1.

  Args, returns and errors as `fixmatch`. Deviation: >= the threshold as in the authors' code, where the paper has >.
  """
  same_shape('flexmatch', weak=weak.shape, strong=strong.shape)
  same_shape('flexmatch', thresholds=jnp.shape(thresholds), classes=weak.shape[-1:])
  pseudo, _ = confident(weak, 0.)
  return fixmatch(labeled, label, weak, strong, thresholds[pseudo], unlabeled_weight)


def freematch_statistics(weak, threshold, probability, histogram, momentum):
  """The running means of FreeMatch with one more batch.

  arXiv:2205.07246v3, section 4: the global threshold tau_t, the local p~_t and the histogram h~_t of fairness.

  Args:
    weak: [u, k] logits; no gradient flows back.
    threshold, probability, histogram: f32[], f32[k], f32[k], so far.
    momentum: lambda, the share that they keep of themselves.
  Returns:
    {'threshold', 'probability', 'histogram'}: of the highest probability, of the probabilities and of the classes.
  """
  p = probabilities_of(weak)
  new = {'threshold': jnp.mean(p.max(-1)), 'probability': jnp.mean(p, 0),
         'histogram': jnp.mean(jax.nn.one_hot(p.argmax(-1), p.shape[-1]), 0)}
  old = {'threshold': threshold, 'probability': probability, 'histogram': histogram}
  return {name: momentum * old[name] + (1 - momentum) * new[name] for name in new}


def fairness(strong, use, probability, histogram):
  """Self-adaptive fairness: minus the cross-entropy of two mean predictions, each divided by its histogram.

  arXiv:2205.07246v3, section 4, the fairness objective L_f. Classes that a histogram lacks count 0, as in the
  authors' code.

  Args:
    strong: [u, k] logits.
    use: bool[u], which of them enter the batch's mean and histogram.
    probability, histogram: f32[k], the running means p~_t and h~_t; no gradient.
  Returns:
    f32[] nats, <= 0; 0 where no example is used.
  """
  def share(x, counts):
    ratio = jnp.where(counts > 0, x / jnp.where(counts > 0, counts, 1), 0)
    return ratio / jnp.maximum(jnp.sum(ratio), 1e-12)

  p = jax.nn.softmax(strong.astype(f32))
  used = jnp.maximum(jnp.sum(use), 1)
  mean = jnp.sum(p * use[:, None], 0) / used  # [k]
  counts = jnp.sum(jax.nn.one_hot(p.argmax(-1), p.shape[-1]) * use[:, None], 0) / used
  target = jax.lax.stop_gradient(share(probability, histogram))
  return jnp.where(jnp.any(use), jnp.sum(target * jnp.log(share(mean, counts) + 1e-12)), 0.)


def freematch(labeled, label, weak, strong, threshold, probability, histogram, unlabeled_weight, fairness_weight):
  """FixMatch with self-adaptive thresholds, plus fairness of the predictions for the strong view.

  arXiv:2205.07246v3, section 4: thresholds MaxNorm(p~_t) tau_t, and the overall objective.

  Args:
    labeled, label, weak, strong: as `fixmatch`.
    threshold, probability, histogram: f32[], f32[k], f32[k]: what `freematch_statistics` gives, this batch included.
    unlabeled_weight, fairness_weight: w_u, w_f >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'fairness', 'use_ratio'}.
  """
  thresholds = threshold * probability / jnp.max(probability)  # [k]
  value, metrics = flexmatch(labeled, label, weak, strong, thresholds, unlabeled_weight)
  pseudo, _ = confident(weak, 0.)
  _, use = confident(weak, thresholds[pseudo])
  unfair = fairness(strong, use, probability, histogram)
  return value + fairness_weight * unfair, metrics | {'fairness': unfair}


def align(probabilities, target, average):
  """Distribution alignment: probabilities f32[u, k] times target / average f32[k], each row again with sum 1.

  arXiv:2106.04732v2, section 3; SoftMatch's uniform alignment (arXiv:2301.10921v2, section 3) has 1 / k as the target.
  1e-6 is added to both, as in both authors' code.
  """
  aligned = probabilities * (target + 1e-6) / (average + 1e-6)
  return aligned / jnp.sum(aligned, -1, keepdims=True)


def truncated_gaussian(confidence, mean, variance, sigmas):
  """SoftMatch's weight of an example: 1 from the mean confidence on, below it a Gaussian's share of its maximum.

  arXiv:2301.10921v2, section 3, with lambda_max = 1.

  Args:
    confidence: f32[u].
    mean, variance: f32[].
    sigmas: how many of its widths the standard deviation is; 1 in the paper's formula, 2 in the authors' code.
  """
  variance = jnp.maximum(variance, jnp.finfo(f32).tiny)  # 0 is a threshold, not 0 / 0
  return jnp.exp(-jnp.square(jnp.minimum(confidence - mean, 0) * sigmas) / (2 * variance))


def uniformly_aligned(p, probability):
  """The highest of each row's probabilities f32[u] after alignment from the running mean f32[k] to uniform."""
  return align(p, jnp.full_like(probability, 1 / len(probability)), probability).max(-1)


def softmatch_statistics(weak, mean, variance, probability, momentum):
  """The running means of SoftMatch with one more batch.

  arXiv:2301.10921v2, section 3; of the aligned confidences, as in the authors' code.

  Args:
    weak: [u, k] logits, u >= 2; no gradient flows back.
    mean, variance, probability: f32[], f32[], f32[k], so far; a probability of zeros is none yet, and becomes that of
      this batch.
    momentum: m, the share that they keep of themselves.
  Returns:
    {'mean', 'variance', 'probability'}; the variance of a batch is the unbiased one.
  """
  p = probabilities_of(weak)
  kept = jnp.where(jnp.any(probability > 0), momentum, 0.)
  probability = kept * probability + (1 - kept) * jnp.mean(p, 0)
  confidence = uniformly_aligned(p, probability)
  return {'mean': momentum * mean + (1 - momentum) * jnp.mean(confidence),
          'variance': momentum * variance + (1 - momentum) * jnp.var(confidence, ddof=1), 'probability': probability}


def softmatch(labeled, label, weak, strong, mean, variance, probability, sigmas, unlabeled_weight):
  """FixMatch with a weight between 0 and 1 where FixMatch has a threshold.

  arXiv:2301.10921v2, section 3: weights of the aligned probabilities, pseudo-labels of those before alignment.

  Args:
    labeled, label, weak, strong: as `fixmatch`.
    mean, variance, probability: f32[], f32[], f32[k]: what `softmatch_statistics` gives, this batch included.
    sigmas: as in `truncated_gaussian`.
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}, the last the mean weight.
  """
  same_shape('softmatch', weak=weak.shape, strong=strong.shape)
  p = probabilities_of(weak)
  weight = truncated_gaussian(uniformly_aligned(p, probability), mean, variance, sigmas)
  return weighted(labeled, label, strong, p.argmax(-1), weight, unlabeled_weight)


def adamatch(labeled, labeled_strong, label, weak, strong, threshold, labeled_average, unlabeled_average,
             unlabeled_weight):
  """Both views of the labeled, and FixMatch with aligned pseudo-labels and a threshold relative to the labeled ones.

  arXiv:2106.04732v2, section 3. As in the authors' code, the labeled losses of the two views are averaged (the paper:
  summed) and the pseudo-labels are hard.

  Args:
    labeled, labeled_strong, label: [b, k], [b, k] logits after the random interpolation, int[b].
    weak, strong: [u, k] logits of the two views of the unlabeled examples.
    threshold: tau in [0, 1], a share of the mean confidence in the weakly augmented labeled examples.
    labeled_average, unlabeled_average: f32[k], running means of the probabilities of both weak views.
    unlabeled_weight: mu(t) >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio', 'relative_threshold'}.
  """
  same_shape('adamatch', weak=weak.shape, strong=strong.shape)
  same_shape('adamatch', labeled=labeled.shape, labeled_strong=labeled_strong.shape)
  relative = threshold * jnp.mean(probabilities_of(labeled).max(-1))
  aligned = align(probabilities_of(weak), labeled_average, unlabeled_average)
  both, twice = jnp.concatenate([labeled, labeled_strong]), jnp.concatenate([label, label])
  value, metrics = weighted(both, twice, strong, aligned.argmax(-1), aligned.max(-1) >= relative, unlabeled_weight)
  return value, metrics | {'relative_threshold': relative}


def dash_threshold(start, step, constant, base, lowest, every_steps):
  """Dash's threshold of the losses: constant base^-i start, and not below `lowest`, where i counts `every_steps`.

  arXiv:2109.00650v1, algorithm 1 (C gamma^-(t-1) rho^); steps and the lowest value as in the authors' code.

  Args:
    start: rho^, f32[] nats, the labeled loss after warming up.
    step: since then, i32[]; before it the first threshold stays.
    constant, base: C > 1 and gamma > 1.
    lowest: nats.
    every_steps: after how many steps the threshold falls again.
  Returns:
    f32[] nats.
  """
  times = jnp.maximum(step, 0) // every_steps
  return jnp.maximum(constant * jnp.power(f32(base), -times.astype(f32)) * start, lowest)


def dash(labeled, label, weak, strong, threshold, temperature, hard, unlabeled_weight):
  """FixMatch that selects by the loss of the pseudo-label in the weak view, with soft targets at first.

  arXiv:2109.00650v1, section 3 and its implementation details. Deviation: the mean over all u examples; the authors'
  code averages over those used and multiplies by 0.9.

  Args:
    labeled, label, weak, strong: as `fixmatch`.
    threshold: rho_t, nats: used are losses up to it.
    temperature: of the soft targets.
    hard: bool[], whether pseudo-labels are targets instead.
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('dash', weak=weak.shape, strong=strong.shape)
  pseudo, _ = confident(weak, 0.)
  weak = jax.lax.stop_gradient(weak).astype(f32)
  use = cross_entropy(weak, pseudo) <= threshold
  target = jnp.where(hard, jax.nn.one_hot(pseudo, weak.shape[-1]), jax.nn.softmax(weak / temperature))
  return softly_weighted(labeled, label, strong, target, use, unlabeled_weight)


def shrunk_space(probabilities, threshold):
  """The classes that stay when the most probable ones after the first go, as few as make the first one confident.

  arXiv:2308.06777v1, section 3.2; at least one class goes and one other stays, as in the authors' code.

  Args:
    probabilities: f32[u, k].
    threshold: tau in [0, 1], for p_first / (p_first + those that stay).
  Returns:
    kept bool[u, k], and reached bool[u]: whether that makes it confident.
  """
  order = jnp.argsort(-probabilities, axis=-1)
  ranked = jnp.take_along_axis(probabilities, order, -1)
  stay = jnp.cumsum(ranked[:, ::-1], -1)[:, ::-1]  # [u, k]: the sum from a rank on
  enough = (ranked[:, :1] / (ranked[:, :1] + stay) >= threshold).at[:, :2].set(False)
  rank = jnp.argsort(order, axis=-1)
  return (rank == 0) | (rank >= jnp.argmax(enough, -1)[:, None]), jnp.any(enough, -1)


def shrinkmatch(labeled, label, probabilities, strong, auxiliary, threshold, certain, unlabeled_weight):
  """FixMatch, and for uncertain examples the first class against those that stay in a shrunk space of classes.

  arXiv:2308.06777v1, section 3: eq. 1 to 7. Targets of certain examples are soft, as in the authors' code.

  Args:
    labeled, label: [b, k] logits, int[b].
    probabilities: f32[u, k] of the weak view, aligned or not; no gradient flows back.
    strong, auxiliary: [u, k] logits of the strong view by the two heads.
    threshold: tau in [0, 1].
    certain: f32[], the running share of certain examples, a weight of the shrunk loss.
    unlabeled_weight: of both, >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'shrunk', 'use_ratio', 'shrunk_ratio'}.
  """
  same_shape('shrinkmatch', probabilities=probabilities.shape, strong=strong.shape, auxiliary=auxiliary.shape)
  p = jax.lax.stop_gradient(probabilities)
  use = p.max(-1) >= threshold
  kept, reached = shrunk_space(p, threshold)
  reached &= ~use
  each = cross_entropy(jnp.where(kept, auxiliary.astype(f32), -jnp.inf), p.argmax(-1))
  shrunk = certain * jnp.mean(jnp.where(reached, p.max(-1) * each, 0.))
  value, metrics = softly_weighted(labeled, label, strong, p, use, unlabeled_weight)
  return value + unlabeled_weight * shrunk, metrics | {'shrunk': shrunk, 'shrunk_ratio': jnp.mean(reached.astype(f32))}


def fst(labeled, label, teacher, strong, threshold, unlabeled_weight):
  """Cross-entropy of all strong views with the teacher's classes, times the share that the teacher is confident of.

  The loss of the student in arXiv:2209.06993v2, section 3, with the weight of the authors' code, of images instead of
  pixels.

  Args:
    labeled, label: [b, k] logits of the student, int[b].
    teacher, strong: [u, k] logits of the weak view by the teacher, of the strong one by the student.
    threshold: in [0, 1].
    unlabeled_weight: >= 0.
  Returns:
    f32[] nats, and {'supervised', 'consistency', 'use_ratio'}.
  """
  same_shape('fst', teacher=teacher.shape, strong=strong.shape)
  pseudo, use = confident(teacher, threshold)
  share = jnp.mean(use.astype(f32))
  return total(labeled, label, share * jnp.mean(cross_entropy(strong, pseudo)), unlabeled_weight, use_ratio=share)


def deepercluster(super_logits, logits, super_class, cluster):
  """Cross-entropy of the super-class plus that of the cluster within it.

  arXiv:1905.01278, section 4.2 (the number from memory); the sum of the two means is unweighted, as in the authors'
  code. With one super-class it is DeepCluster's cross-entropy.

  Args:
    super_logits: [b, s].
    logits: [b, s, k] of the clusters in every super-class; of an image those in its own count.
    super_class, cluster: int[b], in [0, s) and in [0, k).
  Returns:
    f32[] nats, and {'super', 'cluster', 'accuracy'}; accuracy is the share of images right in both.
  Raises:
    ValueError: numbers of images or super-classes that differ.
  """
  same_shape('deepercluster', super_logits=super_logits.shape, logits=logits.shape[:2])
  own = jnp.take_along_axis(logits, super_class[:, None, None], 1)[:, 0]  # [b, k]
  first, second = jnp.mean(cross_entropy(super_logits, super_class)), jnp.mean(cross_entropy(own, cluster))
  right = (super_logits.argmax(-1) == super_class) & (own.argmax(-1) == cluster)
  return first + second, {'super': first, 'cluster': second, 'accuracy': jnp.mean(right)}
