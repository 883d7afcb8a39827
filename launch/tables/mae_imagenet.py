"""MAE's mask ratio on ImageNet-1k, the paper's setting: needs the data set and a pod, and has not been run here.

  python -m launch.table launch/tables/mae_imagenet.py plan --topology=v5e:16x16 --examples=1281167
"""
SETS = {split: dict(name='array_record', path='data_sets/imagenet', split=split, size=256)
        for split in ('train', 'validation')}


def get_table():
  return dict(
      title='Mask ratio of MAE, ViT-L/16, ImageNet-1k, 800 epochs',
      differs='Crops out of 256 pixels, bilinear; a linear probe by L-BFGS on features that are kept. Pixels are not '
              'normalised patch by patch, as there.',
      rows={'MAE': dict(config='configs/mae.py:vit_l16_imagenet')},
      columns={str(ratio): {'objective.mask_ratio': ratio} for ratio in (0.25, 0.5, 0.6, 0.75, 0.9)},
      shared={'objective.standardize': False,
              'evaluate': dict(train=SETS['train'], test=SETS['validation'], size=224, baselines=False)},
      seeds=(0,),
      metrics={'linear': 'evaluation/pretrained backbone/linear'},
      paper={'MAE': {'0.75': {'linear': 73.5}}},
      source='arXiv:2111.06377v3, table 1, default settings',
      tolerance=0.5)
