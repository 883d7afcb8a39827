"""Published numbers of SimCLR v2 (arXiv:2006.10029v2), ResNet-50 of width 1 without selective kernels, ImageNet-1k."""
README = 'google-research/simclr, README.md, "Pre-trained models for SimCLRv2"'

PUBLISHED = [
    dict(config=None, metric='fine-tuned on 1 % of the labels, top-1 %', value='57.9', source=README, seen='read'),
    dict(config=None, metric='fine-tuned on 10 % of the labels, top-1 %', value='68.4', source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %', value='71.7', source=README, seen='read'),
    dict(config=None, metric='distilled, ResNet-50, 1 % of the labels, top-1 %', value='73.9',
         source='arXiv:2006.10029, abstract', seen='read'),
]
