"""Published numbers of ReMixMatch (arXiv:1911.09785v2); its own tables could not be looked up."""
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='accuracy, %, CIFAR-10, 250 labels, best, WRN-28-2, TorchSSL', value='93.7±0.05',
         source=TORCHSSL, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, best, WRN-28-2, USB', value='9.21±0.55',
         source=USB, seen='read'),
]
