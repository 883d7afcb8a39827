"""Published numbers of S4L (arXiv:1905.03670v2), ImageNet-1k with 10 % of the labels."""
README = 'google-research/s4l, README.md'

PUBLISHED = [
    dict(config=None, metric='top-5 %, S4L-Rotation, the paper', value='83.82', source=README, seen='read'),
    dict(config=None, metric='top-5 %, S4L-Rotation, their code', value='83.85', source=README, seen='read'),
    dict(config=None, metric='top-1 %, S4L-Rotation, their code', value='61.37', source=README, seen='read'),
    dict(config=None, metric='top-5 %, labels alone, the paper', value='80.43', source=README, seen='read'),
]
