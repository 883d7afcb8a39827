"""Published numbers of Future self-training (arXiv:2209.06993v2): segmentation, which is not here."""
README = 'usr922/FST, README.md, "SSL"'

PUBLISHED = [
    dict(config=None, metric='mIoU, %, VOC 2012, DeepLabV3+, 1/16 of the labels', value='73.88',
         source=README, seen='read'),
    dict(config=None, metric='mIoU, %, Cityscapes, DeepLabV3+, 1/16 of the labels', value='71.03',
         source=README, seen='read'),
]
