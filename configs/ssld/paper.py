"""Published numbers of SSLD (arXiv:2103.05959)."""

PUBLISHED = [
    dict(config=None, metric='MobileNetV3-large, four million unlabeled images and fine-tuning, top-1 %', value='78.9',
         source='PaddlePaddle/PaddleClas, docs/zh_CN/advanced_tutorials/ssld.md', seen='read'),
]
