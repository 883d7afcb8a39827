"""Published numbers of UDA (arXiv:1904.12848v6), WRN-28-2."""
README = 'google-research/uda, README.md'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels', value='94.57 +- 0.96',
         source=README, seen='read'),
    dict(config=None, metric='accuracy, %, CIFAR-10, 4,000 labels', value='95.68 +- 0.08', source=README, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='5.43 ± 0.96',
         source='arXiv:1904.12848, table 9', seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, USB', value='5.12±0.15', source=USB, seen='read'),
]
