"""Published numbers of Barlow Twins (arXiv:2103.03230)."""

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='73.5',
         source='facebookresearch/barlowtwins, README.md, "Pretrained Model"', seen='read'),
]
