"""Published numbers of SimMIM (arXiv:2111.09886v2)."""

PUBLISHED = [
    dict(config='vit_b16_imagenet', metric='fine-tuned, top-1 %', value='83.8',
         source='microsoft/SimMIM, README.md', seen='read'),
]
