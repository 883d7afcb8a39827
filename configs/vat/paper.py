"""Published numbers of VAT (arXiv:1704.03976v2); its own tables could not be looked up."""
MIXMATCH = 'arXiv:1905.02249'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels', value='36.03 ± 2.82',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 4,000 labels, WRN-28-2', value='11.05 ± 0.31',
         source=MIXMATCH, seen='quoted in arXiv:1904.12848, table 9'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, USB', value='42.58±6.67',
         source=USB, seen='read'),
]
