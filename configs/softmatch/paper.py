"""Published numbers of SoftMatch: USB's, best of each of three runs, by the authors of arXiv:2301.10921v2."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 40 labels, WRN-28-2', value='5.06±0.02', source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='4.84±0.1', source=USB, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='4.27±0.12', source=USB, seen='read'),
]
