"""Published numbers of VideoMAE (arXiv:2203.12602v3), Kinetics-400."""
ZOO = 'MCG-NJU/VideoMAE, MODEL_ZOO.md, "Kinetics-400"'

PUBLISHED = [
    dict(config='vit_b16_kinetics400', metric='fine-tuned, top-1 %', value='81.0', source=ZOO, seen='read'),
    dict(config='vit_b16_kinetics400', metric='fine-tuned without repeated augmentation, top-1 %', value='80.0',
         source=ZOO, seen='read'),
    dict(config=None, metric='fine-tuned, top-1 %, 1,600 epochs', value='81.5', source=ZOO, seen='read'),
]
