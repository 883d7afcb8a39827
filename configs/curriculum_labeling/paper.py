"""Published numbers of Curriculum Labeling (arXiv:2001.06001v2)."""
README = 'uvavision/Curriculum-Labeling, README.md'

PUBLISHED = [
    dict(config=None, metric='accuracy, %, CIFAR-10, 4,000 labels', value='94.91', source=README, seen='read'),
    dict(config=None, metric='accuracy, top-1 %, ImageNet-1k, 10 % of the labels', value='68.87',
         source=README, seen='read'),
]
