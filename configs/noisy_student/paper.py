"""Published numbers of Noisy Student (arXiv:1911.04252v4)."""
README = 'google-research/noisystudent, README.md'

PUBLISHED = [
    dict(config=None, metric='accuracy, top-1 %, ImageNet-1k', value='88.4', source=README, seen='read'),
    dict(config=None, metric='accuracy, %, SVHN, of a teacher with 97.9', value='98.6 +- 0.1',
         source=README, seen='read'),
]
