"""Published numbers of DINOv2 (arXiv:2304.07193v2), ImageNet-1k."""
README = 'facebookresearch/dinov2, README.md, "Long setup"'
MODELS = 'facebookresearch/dinov2, README.md, "Pretrained models"'

PUBLISHED = [
    dict(config='vit_l14_imagenet22k', metric='kNN, top-1 %', value='82.0', source=README, seen='read'),
    dict(config='vit_l14_imagenet22k', metric='linear, top-1 %', value='84.5', source=README, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-g/14, LVD-142M', value='83.5', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-g/14, LVD-142M', value='86.5', source=MODELS, seen='read'),
]
