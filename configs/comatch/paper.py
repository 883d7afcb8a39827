"""Published numbers of CoMatch (arXiv:2011.11183v2)."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 40 labels, mean of five seeds', value='93.09',
         source='salesforce/CoMatch, README.md', seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 40 labels, WRN-28-2, USB', value='5.44±0.05',
         source=USB, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, USB', value='5.33±0.12',
         source=USB, seen='read'),
]
