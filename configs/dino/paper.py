"""Published numbers of DINO (arXiv:2104.14294v2)."""
BOOSTED = 'facebookresearch/dino, README.md, "Boosting DINO performance"'
MODELS = 'facebookresearch/dino, README.md, "Pretrained models"'

PUBLISHED = [
    dict(config=None, metric='kNN, top-1 %, ViT-S/16, 300 epochs, 8 local crops', value='73.3',
         source=BOOSTED, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-S/16, 300 epochs, 8 local crops', value='76.0',
         source=BOOSTED, seen='read'),
    dict(config=None, metric='kNN, top-1 %, ViT-S/16, the published model', value='74.5', source=MODELS, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-S/16, the published model', value='77.0',
         source=MODELS, seen='read'),
]
