"""Published numbers of Predictions For Pre-training Language Models (arXiv:2011.09031)."""
PAPER = 'arXiv:2011.09031, abstract'

PUBLISHED = [
    dict(config=None, metric='improvement with a small labeled set, points', value='3.6', source=PAPER, seen='read'),
    dict(config=None, metric='improvement with a large labeled set, points', value='0.2', source=PAPER, seen='read'),
]
