"""Published numbers of SimCLRv2's pretraining (arXiv:2006.10029v2), ResNet-50 of width 1, ImageNet-1k.

They are those of the authors' code, which has no memory; the table of what it adds could not be looked up.
"""
README = 'google-research/simclr, README.md, "Pre-trained models for SimCLRv2"'

PUBLISHED = [
    dict(config=None, metric='linear, top-1 %, without the memory', value='71.7', source=README, seen='read'),
]
