"""Published numbers of NNCLR (arXiv:2104.14548v2)."""
SOLO = 'vturrisi/solo-learn, README.md, "ImageNet-100"'

PUBLISHED = [
    dict(config='resnet18_imagenet100', metric='linear on frozen features, top-1 %', value='80.16',
         source=SOLO, seen='read'),
    dict(config='resnet18_imagenet100', metric='linear during pretraining, top-1 %', value='79.80',
         source=SOLO, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, ImageNet-1k', value='75.6',
         source='arXiv:2104.14548, abstract', seen='read'),
]
