"""Published numbers of FlexMatch (arXiv:2110.08263v3), best of each of three runs, by the authors."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='4.98 ± 0.09',
         source='arXiv:2110.08263, table 1', seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 40 labels, WRN-28-2', value='5.21±0.36', source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='5.0±0.05', source=USB, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='4.28±0.05', source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels, best, the first code', value='95.02±0.09',
         source=TORCHSSL, seen='read'),
]
