"""Published numbers of SimSiam (arXiv:2011.10566v1)."""
README = 'facebookresearch/simsiam, README.md, "Models and Logs"'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='67.7',
         source='arXiv:2011.10566, table 1', seen='read'),
    dict(config=None, metric='linear, top-1 %, the predictor at a constant rate', value='68.1',
         source=README, seen='read'),
    dict(config=None, metric='linear, top-1 %, batch 256', value='68.3', source=README, seen='read'),
]
