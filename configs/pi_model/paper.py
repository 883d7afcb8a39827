"""Published numbers of Pi-model (arXiv:1610.02242v3); its own tables could not be looked up."""
MIXMATCH = 'arXiv:1905.02249'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='53.02 ± 2.05',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='17.41 ± 0.37',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, USB', value='47.69±2.02',
         source=USB, seen='read'),
]
