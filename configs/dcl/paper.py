"""Published numbers of Decoupled Contrastive Learning (arXiv:2110.06848v3)."""
ABSTRACT = 'arXiv:2110.06848v3, abstract'
LIGHTLY = 'lightly-ai/lightly, docs/source/getting_started/benchmarks.rst'

PUBLISHED = [
    dict(config='resnet50_imagenet', metric='linear, top-1 %', value='68.2', source=ABSTRACT, seen='read'),
    dict(config=None, metric='points above SimCLR in the same setting', value='6.4', source=ABSTRACT, seen='read'),
    dict(config=None, metric='linear, top-1 %, DCL with NNCLR, batch 512, 400 epochs', value='72.3',
         source=ABSTRACT, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, batch 256, 100 epochs, DCL', value='65.1',
         source=LIGHTLY, seen='read'),
    dict(config=None, metric='linear, top-1 %, ResNet-50, batch 256, 100 epochs, DCLW', value='64.5',
         source=LIGHTLY, seen='read'),
]
