"""A network with batch statistics, and moving averages of its parameters and statistics as sums over their history."""
import numpy as np


def moving(history, momentum):
  """m^n v_0 + (1 - m) (m^(n - 1) v_1 + ... + v_n): what n updates v <- m v + (1 - m) v_i make of v_0.

  Args:
    history: n + 1 arrays of one shape.
    momentum: m.

  Returns:
    float64.
  """
  n = len(history) - 1
  shares = [momentum ** n] + [(1 - momentum) * momentum ** (n - i) for i in range(1, n + 1)]
  return sum(share * np.asarray(value, np.float64) for share, value in zip(shares, history, strict=True))


def first_layer(images, net):
  """[b, d] of a linear layer of all pixels."""
  return np.asarray(images, np.float64).reshape(len(images), -1) @ net['kernel'] + net['bias']


def statistics(images, net):
  """Mean and biased variance over a batch of what the first layer makes of it (arXiv:1502.03167v3 algorithm 1)."""
  z = first_layer(images, net)
  mean = sum(z) / len(z)
  return mean, sum((row - mean) ** 2 for row in z) / len(z)


def features(images, net, mean, variance):
  """[b, d]: the first layer, normalised with statistics that were kept (arXiv:1502.03167v3 algorithm 2)."""
  return (first_layer(images, net) - mean) / np.sqrt(variance + 1e-5) * net['scale'] + net['offset']


def probabilities(images, net, mean, variance):
  """[b, k]: the softmax of a linear layer of the features."""
  logits = features(images, net, mean, variance) @ net['head_kernel'] + net['head_bias']
  return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
