"""Published numbers of Dash: USB's, which is not by the authors; the tables of arXiv:2109.00650v1 are unread."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 40 labels, WRN-28-2', value='15.01±3.7', source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='5.13±0.26', source=USB, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='4.35±0.09', source=USB, seen='read'),
]
