"""Published numbers of Mean Teacher (arXiv:1703.01780v6)."""
README = 'CuriousAI/mean-teacher, README.md'
MIXMATCH = 'arXiv:1905.02249'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='47.32 ± 4.71',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='10.36 ± 0.25',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, ResNet-26', value='6.28 ± 0.15',
         source=README, seen='read'),
    dict(config=None, metric='error, top-5 %, ImageNet-1k, 10 % of the labels, ResNet-152', value='9.11 ± 0.12',
         source=README, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, USB', value='56.06±2.03',
         source=USB, seen='read'),
]
