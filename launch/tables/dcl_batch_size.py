"""InfoNCE against DCL over the batch size: what arXiv:2110.06848 claims, at the size of two CPU cores.

  python -m launch.table launch/tables/dcl_batch_size.py run --workers=2
"""
SMALL = dict(name='resnet', depth=18, blocks=(1, 1, 1), width=16, stem='imagenet', channels=1, mean=(0.286,),
             std=(0.353,))
INFO_NCE = dict(name='simclr', hidden=(256,), dim=64, temperature=0.2)
IMAGES = 25600  # that each run sees


def get_table():
  return dict(
      title='Contrastive loss and batch size',
      differs='10,000 images of Fashion-MNIST, a residual network of three blocks, 25,600 images seen whatever the '
              'batch (2.56 epochs), AdamW with a rate that grows as the square root of the batch; the paper: ImageNet '
              'and CIFAR, ResNet-18 and 50, 200 epochs, SGD with a rate proportional to the batch.',
      rows={
          'InfoNCE (SimCLR)': dict(config='configs/dcl.py:fashion_mnist', overrides={'objective': INFO_NCE}),
          'DCL': dict(config='configs/dcl.py:fashion_mnist'),
      },
      columns={str(batch): {'batch': batch, 'steps': IMAGES // batch, 'schedule.peak': 4e-3 * (batch / 256) ** 0.5,
                            'schedule.warmup_steps': IMAGES // batch // 10} for batch in (32, 64, 128, 256, 512)},
      shared={'backbone': SMALL, 'evaluate.baselines': False, 'evaluate.pictures': False,
              'evaluate.every_steps': 0, 'checkpoint.every_steps': 600,
              'log_every_steps': 5},
      seeds=(0, 1, 2, 3, 4),
      metrics={'kNN': 'evaluation/pretrained backbone/knn', 'linear': 'evaluation/pretrained backbone/linear'})
