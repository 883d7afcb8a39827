"""Published numbers of EfficientTrain (arXiv:2211.09703), ImageNet-1k; the README is that of EfficientTrain++."""
README = 'LeapLabTHU/EfficientTrain, README.md, "Highlights of our work"'

PUBLISHED = [
    dict(config='vit_s16_imagenet', metric='DeiT-S, top-1 %, with EfficientTrain++', value='81.3', source=README,
         seen='read'),
    dict(config=None, metric='DeiT-S, top-1 %, without', value='80.3', source=README, seen='read'),
    dict(config=None, metric='DeiT-T, top-1 %, with EfficientTrain++', value='74.4', source=README, seen='read'),
    dict(config=None, metric='DeiT-T, top-1 %, without', value='72.5', source=README, seen='read'),
]
