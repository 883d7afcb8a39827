"""Published numbers of DINOv2's distilled models (arXiv:2304.07193v2), ImageNet-1k, pretrained on LVD-142M."""
MODELS = 'facebookresearch/dinov2, README.md, "Pretrained models", without registers'

PUBLISHED = [
    dict(config=None, metric='kNN, top-1 %, ViT-S/14', value='79.0', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-S/14', value='81.1', source=MODELS, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-B/14', value='82.1', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-B/14', value='84.5', source=MODELS, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-L/14', value='83.5', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-L/14', value='86.3', source=MODELS, seen='read'),
]
