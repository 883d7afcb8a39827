"""Published numbers of DINOv2 (arXiv:2304.07193v2), ImageNet-1k."""
README = 'facebookresearch/dinov2, README.md, "Long setup"'

PUBLISHED = [
    dict(config='vit_l14_imagenet22k', metric='kNN, top-1 %', value='82.0', source=README, seen='read'),
    dict(config='vit_l14_imagenet22k', metric='linear, top-1 %', value='84.5', source=README, seen='read'),
]
