"""Published numbers of SimCLR (arXiv:2002.05709v3)."""
README = 'google-research/simclr, README.md'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='around 64.5', source=README, seen='read'),
    dict(config='resnet18_cifar10', metric='linear, %', value='around 91', source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, the published model', value='69.1',
         source=README, seen='read'),
]
