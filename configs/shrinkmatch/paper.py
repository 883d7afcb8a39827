"""Published numbers of ShrinkMatch (arXiv:2308.06777v1)."""
README = 'LiheYoung/ShrinkMatch, README.md, "Results"'

PUBLISHED = [
    dict(config='wrn28_2_cifar10', metric='accuracy, %, CIFAR-10, 40 labels, mean of five seeds', value='94.92',
         source=README, seen='read'),
    dict(config=None, metric='accuracy, %, CIFAR-100, 400 labels, mean of five seeds', value='64.64',
         source=README, seen='read'),
]
