"""Published numbers of Improving Fractal Pre-training (arXiv:2110.03091)."""

PUBLISHED = [
    dict(config='resnet50', metric='fine-tuned, % of the accuracy of an ImageNet-trained network', value='92.7-98.1',
         source='arXiv:2110.03091, abstract', seen='read'),
]
