"""Published numbers of FixMatch with RandAugment (arXiv:2001.07685v2), WRN-28-2."""
PAPER = 'arXiv:2001.07685'
TORCHSSL = 'TorchSSL/TorchSSL, README.md, "CIFAR-10 and CIFAR-100"'
USB = 'microsoft/Semi-supervised-learning, results/classic_cv.csv'

PUBLISHED = [
    dict(config=None, metric='accuracy, %, CIFAR-10, 40 labels', value='86.19 ± 3.37',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels', value='94.93 ± 0.65',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config=None, metric='accuracy, %, CIFAR-10, 4,000 labels', value='95.74 ± 0.05',
         source=PAPER, seen='quoted in kekmodel/FixMatch-pytorch, README.md'),
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 250 labels, best, TorchSSL', value='95.14±0.05',
         source=TORCHSSL, seen='read'),
    dict(config='wrn28_2_cifar10', metric='error, %, CIFAR-10, 250 labels, best, USB', value='4.97±0.05',
         source=USB, seen='read'),
]
