"""Published numbers of supervised learning: what the semi-supervised methods are held against, WRN-28-2."""
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='error, best, %, CIFAR-10, all labels (the column of 250)', value='4.55±0.09',
         source=USB, seen='read'),
    dict(config='wrn28_2_cifar10', metric='accuracy, best, %, CIFAR-10, all labels (the column of 250)',
         value='95.39±0.04', source=TORCHSSL, seen='read'),
    dict(config=None, metric='error, %, CIFAR-10, 250 labels, no others', value='55.96±1.95', source=USB, seen='read'),
]
