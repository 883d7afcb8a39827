"""Published numbers of SigLIP (arXiv:2303.15343v4); no number of this model could be looked up."""

PUBLISHED = [
    dict(config=None, metric='zero-shot, top-1 %, SigLiT (a frozen image encoder)', value='84.5',
         source='arXiv:2303.15343, abstract', seen='read'),
]
