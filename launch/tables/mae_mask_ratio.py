"""MAE's mask ratio: figure 5 of arXiv:2111.06377v3, at the size of two CPU cores.

  python -m launch.table launch/tables/mae_mask_ratio.py run --workers=2
"""


def get_table():
  return dict(
      title='Mask ratio of MAE',
      differs='10,000 images of 28 x 28 pixels in 49 patches, a ViT of three blocks, 300 steps of 128 (4 epochs); the '
              'paper: ImageNet, ViT-L/16, 196 patches, 800 epochs, where linear probes are best at 0.75.',
      rows={'MAE': dict(config='configs/mae.py:fashion_mnist')},
      columns={str(ratio): {'objective.mask_ratio': ratio} for ratio in (0.25, 0.5, 0.6, 0.75, 0.9)},
      shared={'steps': 300, 'batch': 128, 'schedule.warmup_steps': 30, 'evaluate.baselines': False,
              'evaluate.pictures': False, 'evaluate.every_steps': 0},
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
