"""Published numbers of Self Meta Pseudo Labels (arXiv:2212.13420v1)."""
PAPER = 'arXiv:2212.13420'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels', value='4.09',
         source=PAPER, seen='quoted in paperswithcode2.com, page of the paper'),
    dict(config=None, metric='error, %, CIFAR-100, 10,000 labels, WRN-28-8', value='21.68',
         source=PAPER, seen='quoted in paperswithcode2.com, page of the paper'),
]
