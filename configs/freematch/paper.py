"""Published numbers of FreeMatch: USB's, by the authors; those of arXiv:2205.07246v3 are of TorchSSL, and unread."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 40 labels, WRN-28-2', value='4.97±0.09', source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='4.85±0.1', source=USB, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='4.14±0.19', source=USB, seen='read'),
]
