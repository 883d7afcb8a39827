"""Published numbers of T-JEPA (arXiv:2410.05016), accuracy on Jannis."""
README = 'jose-melo/t-jepa, README.md, "Results"'

PUBLISHED = [
    dict(config='jannis', metric='MLP on the features', value='0.728', source=README, seen='read'),
    dict(config=None, metric='MLP on the columns', value='0.672', source=README, seen='read'),
    dict(config='jannis', metric='ResNet on the features', value='0.718', source=README, seen='read'),
    dict(config=None, metric='XGBoost', value='0.720', source=README, seen='read'),
]
