"""Published numbers of iBOT (arXiv:2111.07832v3)."""
README = 'bytedance/ibot, README.md, "iBOT Pre-Training with ViTs"'

PUBLISHED = [
    dict(config='vit_s16_imagenet', metric='kNN, top-1 %', value='75.2', source=README, seen='read'),
    dict(config='vit_s16_imagenet', metric='linear, top-1 %', value='77.9', source=README, seen='read'),
    dict(config='vit_s16_imagenet', metric='fine-tuned, top-1 %', value='82.3', source=README, seen='read'),
]
