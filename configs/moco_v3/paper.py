"""Published numbers of MoCo v3 (arXiv:2104.02057v4)."""
README = 'facebookresearch/moco-v3, README.md'

PUBLISHED = [
    dict(config='vit_b16_imagenet', metric='linear, top-1 %', value='76.7', source=README, seen='read'),
    dict(config='vit_b16_imagenet', metric='fine-tuned, top-1 %', value='83.2', source=README, seen='read'),
]
