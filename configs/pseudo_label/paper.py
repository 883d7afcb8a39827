"""Published numbers of Pseudo-Label (Lee, ICML 2013 workshop); its own table, for MNIST, could not be looked up."""
MIXMATCH = 'arXiv:1905.02249'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='49.98 ± 1.17',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='16.21 ± 0.11',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, USB', value='48.28±2.1',
         source=USB, seen='read'),
]
