"""Published numbers of SwAV (arXiv:2006.09882v5)."""
README = 'facebookresearch/swav, README.md, "Model Zoo"'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='75.3', source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, 200 epochs, batch 256', value='72.7', source=README, seen='read'),
]
