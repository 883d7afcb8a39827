"""Published numbers of SupCon (arXiv:2004.11362v5)."""
README = 'HobbitLong/SupContrast, README.md'

PUBLISHED = [
    dict(config='resnet50_cifar10', metric='linear, %', value='96.0', source=README, seen='read'),
    dict(config=None, metric='linear, %, CIFAR-100', value='76.5', source=README, seen='read'),
    dict(config=None, metric='accuracy, %, CIFAR-10, cross-entropy', value='95.0', source=README, seen='read'),
]
