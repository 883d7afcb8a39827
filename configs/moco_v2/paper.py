"""Published numbers of MoCo v2 (arXiv:2003.04297v1)."""
README = 'facebookresearch/moco, README.md'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %, mean of five runs', value='67.5±0.1',
         source=README, seen='read'),
    dict(config='resnet50_imagenet', metric='linear, top-1 %, the published model', value='67.7',
         source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, 800 epochs', value='71.1', source=README, seen='read'),
]
