"""MAE, ViT-H/14 on ImageNet-1k for 800 epochs: the command of the authors' PRETRAIN.md with their largest model.

"To train ViT-Base or ViT-Huge, set --model ... mae_vit_huge_patch14": all else as configs/mae/vit_l16_imagenet.py,
deviations too. Another place of the set:
--config.source.path=DIR.

  python -m pretrain train --config=configs/mae/vit_h14_imagenet.py --workdir=runs/mae_vit_h14_imagenet
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='array_record', path='data_sets/imagenet', split='train', size=256)
  c.views = dict(name='mae', size=224, scale=(0.2, 1.0), flip=0.5)
  c.batch = 4096
  c.epochs = 800.0
  c.backbone = dict(name='vit', variant='H/14', image=224, channels=3, positions='sincos', pool='mean',
                    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='mae', mask_ratio=0.75, decoder_width=512, decoder_depth=8, decoder_heads=16,
                     standardize=True)
  c.schedule = dict(name='cosine', peak=2.4e-3, warmup_steps=12511)  # 1.5e-4 * 4096 / 256; 40 epochs
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.95, weight_decay=0.05)
  c.checkpoint = dict(every_steps=2000)
  return c
