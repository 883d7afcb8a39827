"""InfoNCE against DCL on ImageNet-1k, the paper's setting: needs the data set and a pod, and has not been run here.

  python -m launch.table launch/tables/dcl_imagenet.py plan --topology=v5e:4x4 --examples=1281167
  python -m launch.table launch/tables/dcl_imagenet.py run --engine=k8s --topology=v5e:4x4 --image=...
"""
SETS = {split: dict(name='array_record', path='data_sets/imagenet', split=split, size=256)
        for split in ('train', 'validation')}


def get_table():
  return dict(
      title='SimCLR and DCL, ResNet-50, ImageNet-1k, 200 epochs in batches of 256',
      differs='Crops out of 256 pixels, backbone in bfloat16, LARS as in the SimCLR row; a linear probe by L-BFGS on '
              'features that are kept, not by SGD on augmented images.',
      rows={
          'SimCLR': dict(config='configs/simclr.py:resnet50_imagenet'),
          'DCL': dict(config='configs/simclr.py:resnet50_imagenet', overrides={
              'objective': dict(name='dcl', hidden=(2048,), dim=128, temperature=0.1, sigma=None)}),
      },
      columns={'256': {'batch': 256, 'epochs': 200.0, 'schedule.peak': 0.3, 'schedule.warmup_steps': 50040,
                       'evaluate': dict(train=SETS['train'], test=SETS['validation'], size=224, baselines=False)}},
      seeds=(0,),
      metrics={'linear': 'evaluation/pretrained backbone/linear'},
      paper={'SimCLR': {'256': {'linear': 61.8}}, 'DCL': {'256': {'linear': 68.2}}},
      source='arXiv:2110.06848v3, abstract: 68.2 %, 6.4 points above the baseline, with batches of 256 in 200 epochs',
      tolerance=0.5)
