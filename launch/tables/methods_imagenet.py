"""Twelve methods on ImageNet-1k, each in its paper's own setting: needs the data set and pods, and has not been run.

  python -m launch.table launch/tables/methods_imagenet.py plan --topology=v5e:16x16 --examples=1281167
  python -m launch.table launch/tables/methods_imagenet.py run --engine=k8s --topology=v5e:16x16 --image=...
"""
SETS = {split: dict(name='array_record', path='data_sets/imagenet', split=split, size=256)
        for split in ('train', 'validation')}
LINEAR = {  # top-1 % of a linear probe, as PUBLISHED in configs/NAME.py says
    'SimCLR': ('simclr.py:resnet50', 64.5), 'DCL': ('dcl.py:resnet50', 68.2), 'MoCo v3': ('moco_v3.py:vit_b16', 76.7),
    'BYOL': ('byol.py:resnet50', 74.3), 'SimSiam': ('simsiam.py:resnet50', 67.7),
    'Barlow Twins': ('barlow_twins.py:resnet50', 73.5), 'VICReg': ('vicreg.py:resnet50', 73.2),
    'SwAV': ('swav.py:resnet50', 75.3), 'DINO': ('dino.py:vit_s16', 76.0), 'MAE': ('mae.py:vit_l16', 73.9),
    'I-JEPA': ('i_jepa.py:vit_h14', None)}
OWN = {'DINO': {'views.local_crops': 8}}
WITHOUT = {'phases': ()}  # DeiT-S without EfficientTrain's curriculum


def get_table():
  row = lambda path, overrides: dict(config=f'configs/{path}_imagenet', overrides=overrides)
  return dict(
      title='Twelve methods, ImageNet-1k, each with the backbone and the schedule of its paper',
      differs='Crops out of 256 pixels, bilinear; a linear probe by L-BFGS on features that are kept, not by SGD on '
              'augmented images; what else differs stands in each config. Supervised: its own classifier.',
      rows={**{name: row(path, OWN.get(name, {})) for name, (path, _) in LINEAR.items()},
            'supervised': row('efficienttrain.py:vit_s16', WITHOUT) | dict(
                metrics={'top-1': 'evaluation/pretrained backbone/accuracy',
                         'kNN': 'evaluation/pretrained backbone/knn'})},
      shared={'evaluate': dict(train=SETS['train'], test=SETS['validation'], size=224, baselines=False)},
      seeds=(0,),
      metrics={'top-1': 'evaluation/pretrained backbone/linear', 'kNN': 'evaluation/pretrained backbone/knn'},
      paper={**{name: {'': {'top-1': value}} for name, (_, value) in LINEAR.items() if value},
             'DINO': {'': {'top-1': 76.0, 'kNN': 73.3}}, 'supervised': {'': {'top-1': 80.3}}},
      source='PUBLISHED in configs/NAME.py of each row; supervised: DeiT-S without the curriculum, in '
             'configs/efficienttrain.py',
      tolerance=0.5)
