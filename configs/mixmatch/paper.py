"""Published numbers of MixMatch (arXiv:1905.02249v2), WRN-28-2."""
PAPER = 'arXiv:1905.02249, section 4.2.2'
MIXMATCH = 'arXiv:1905.02249'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='11.08', source=PAPER, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels', value='6.24', source=PAPER, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels, with its deviation', value='11.08 ± 0.87',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, USB', value='37.28±0.61', source=USB, seen='read'),
]
