"""Published numbers of VICReg (arXiv:2105.04906v3)."""

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='73.2',
         source='facebookresearch/vicreg, README.md, "Pre-trained Models"', seen='read'),
]
