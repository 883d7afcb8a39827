"""Published numbers of AdaMatch (arXiv:2106.04732v2); its tables, for DomainNet, could not be looked up."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, WRN-28-2, without interpolated logits', value='5.01±0.11',
         source=USB, seen='read'),
]
