"""The two-step objective of Self Meta Pseudo Labels for a network of one hidden layer, with its gradient by hand."""

import math

import numpy as np

from .pseudo_label import supervised_mean
from .supervised import log_softmax

NAMES = ('kernel', 'bias', 'head_kernel', 'head_bias')


def hidden(net, x):
  return np.tanh(x @ net['kernel'] + net['bias'])


def logits(net, x):
  """tanh(x kernel + bias) head_kernel + head_bias: float64 [n, d] -> [n, k]."""
  return hidden(net, x) @ net['head_kernel'] + net['head_bias']


def softmax(rows):
  return np.array([[math.exp(log) for log in log_softmax(row)] for row in rows])


def labeled_loss(net, x, label):
  return supervised_mean(logits(net, x), label)


def stepped(net, pseudo, strong, rate):
  """theta' = theta - rate * gradient of the mean cross-entropy of the strong images with the constant pseudo [u, k].

  Line 6 of algorithm 1 of arXiv:2212.13420v1; the chain rule written out.
  """
  h = hidden(net, strong)
  error = (softmax(logits(net, strong)) - pseudo) / len(strong)  # by the logits
  back = error @ net['head_kernel'].T * (1 - h**2)  # by the hidden layer's input
  gradient = {'kernel': strong.T @ back, 'bias': back.sum(0), 'head_kernel': h.T @ error, 'head_bias': error.sum(0)}
  return {name: net[name] - rate * gradient[name] for name in NAMES}


def two_steps(net, weak, strong, x, label, rate):
  """The labeled loss at theta', of soft pseudo-labels that theta itself gives to the weak images."""
  return labeled_loss(stepped(net, softmax(logits(net, weak)), strong, rate), x, label)


def approximation(net, weak, strong, x, label, rate):
  """What the published second step descends, as a function of theta', and theta': hard pseudo-labels.

  The labeled loss plus the cross-entropy of the weak images with the pseudo-labels, times how much the labeled loss
  fell, which is a number.
  """
  pseudo = np.eye(len(net['head_bias']))[logits(net, weak).argmax(1)]
  after = stepped(net, pseudo, strong, rate)
  fell = labeled_loss(net, x, label) - labeled_loss(after, x, label)
  return lambda net: labeled_loss(net, x, label) + fell * supervised_mean(logits(net, weak), pseudo.argmax(1)), after
