"""Published numbers of Unsupervised Pre-Training of Image Features on Non-Curated Data (arXiv:1905.01278)."""
PAPER = 'arXiv:1905.01278, abstract'

PUBLISHED = [
    dict(config=None, metric='ImageNet top-1 %, VGG-16 pretrained so, then with all labels', value='74.9',
         source=PAPER, seen='read'),
    dict(config=None, metric='the same, above training from scratch, points', value='0.8', source=PAPER, seen='read'),
]
