"""Published numbers of BYOL (arXiv:2006.07733)."""

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='74.3',
         source='arXiv:2006.07733, abstract', seen='read'),
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='~74.4',
         source='google-deepmind/deepmind-research, byol/README.md, "Pretraining"', seen='read'),
]
