"""Published numbers of MAE (arXiv:2111.06377v3), ImageNet-1k."""
FINETUNE = 'facebookresearch/mae, FINETUNE.md'
PRETRAIN = 'facebookresearch/mae, PRETRAIN.md'

PUBLISHED = [
    dict(config='vit_l16_imagenet', metric='fine-tuned, top-1 %, 800 epochs, their PyTorch', value='85.5',
         source=PRETRAIN, seen='read'),
    dict(config='vit_l16_imagenet', metric='fine-tuned, top-1 %, 800 epochs', value='85.4',
         source='arXiv:2111.06377, table 1d', seen='read'),
    dict(config='vit_l16_imagenet', metric='linear, top-1 %, 800 epochs', value='73.9',
         source='arXiv:2111.06377, table 1d', seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-L/16, 800 epochs, pixels not normalised', value='73.5',
         source='arXiv:2111.06377, table 1d', seen='read'),
    dict(config=None, metric='fine-tuned, top-1 %, ViT-H/14, 800 epochs, pixels not normalised', value='85.8',
         source='arXiv:2111.06377, table 2', seen='read'),
    dict(config=None, metric='fine-tuned, top-1 %, ViT-H/14, 1,600 epochs', value='86.9',
         source='arXiv:2111.06377, table 3', seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-B/16, 1,600 epochs, the paper', value='68.0',
         source=FINETUNE, seen='read'),
    dict(config=None, metric='linear, top-1 %, ViT-L/16, 1,600 epochs, the paper', value='75.8',
         source=FINETUNE, seen='read'),
    dict(config=None, metric='fine-tuned, top-1 %, ViT-B/16, the published model', value='83.664',
         source=FINETUNE, seen='read'),
    dict(config=None, metric='fine-tuned, top-1 %, ViT-L/16, the published model', value='85.952',
         source=FINETUNE, seen='read'),
]
