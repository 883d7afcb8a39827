"""Published numbers of SparK (arXiv:2301.03580)."""

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='fine-tuned, top-1 %', value='80.6', source='keyu-tian/SparK, README.md',
         seen='read'),
]
