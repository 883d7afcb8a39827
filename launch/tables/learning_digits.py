"""Every objective on images from its small config, on digits: do the features beat those of the random backbone?

  python -m launch.table launch/tables/learning_digits.py run --workers=2
"""
CROPS = {'views.size': 8, 'views.scale': (0.5, 1.0), 'views.flip': 0.0}
PAIR = CROPS | {'views.blur': 0.0}
MULTI = {'views.size': 8, 'views.local_size': 8, 'views.global_scale': (0.5, 1.0), 'views.local_scale': (0.25, 0.5),
         'views.flip': 0.0, 'views.blur': (0.0, 0.0, 0.0)}
RESNET = {'backbone.stem': 'cifar'}
VIT = {'backbone.image': 8, 'backbone.patch': 2, 'backbone.width': 64, 'backbone.mlp': 128, 'steps': 400,
       'schedule.warmup_steps': 40}
TOGETHER = {f'views.parts.two.{key.removeprefix("views.")}': value for key, value in PAIR.items()} | {
    f'views.parts.one.{key.removeprefix("views.")}': value for key, value in CROPS.items()}
CAPTIONS = CROPS | RESNET | {'source.source': dict(name='digits', split='train'), 'evaluate.templates': ('a {}',)}
DIGITS = {'source': dict(name='digits', split='train')}
ROWS = {
    'SimCLR': ('demo', DIGITS | PAIR | RESNET), 'DCL': ('dcl', DIGITS | PAIR | RESNET),
    'SimCLR v2 with memory': ('simclr_v2', DIGITS | PAIR | RESNET | {'objective.queue': 1024}),
    'SimCLR, hardest negatives': ('hard_simclr', DIGITS | PAIR | RESNET),
    'MoCo v2': ('moco_v2', DIGITS | PAIR | RESNET | {'objective.queue': 1024}),
    'MoCo v3': ('moco_v3', DIGITS | PAIR | VIT),
    'NNCLR': ('nnclr', DIGITS | PAIR | RESNET | {'objective.queue': 1024}),
    'SupCon': ('sup_con', DIGITS | PAIR | RESNET), 'iSogCLR': ('isogclr', DIGITS | PAIR | RESNET),
    # at the paper's epsilon of 0.05 the assignments are nearly uniform, and the loss goes to the logarithm of 128
    'SwAV': ('swav', DIGITS | MULTI | RESNET | {'objective.freeze_prototypes_steps': 11, 'objective.epsilon': 0.02}),
    'Barlow Twins': ('barlow_twins', DIGITS | PAIR | RESNET), 'VICReg': ('vicreg', DIGITS | PAIR | RESNET),
    'CLIP': ('clip', CAPTIONS), 'SigLIP': ('siglip', CAPTIONS),
    'BYOL': ('byol', DIGITS | CROPS | RESNET | {'views.blur': (0.0, 0.0)}),
    'SimSiam': ('simsiam', DIGITS | PAIR | RESNET),
    'DINO': ('dino', DIGITS | MULTI | RESNET | {'objective.freeze_prototypes_steps': 11, 'steps': 900,
                                                'schedule.peak': 1e-3}),
    'iBOT': ('ibot', DIGITS | MULTI | VIT | {
        'objective.freeze_prototypes_steps': 11, 'objective.center_momentum': 0.5, 'objective.teacher_temperature':
        0.02, 'objective.teacher_temperature_start': 0.02, 'objective.teacher_patch_temperature': 0.02}),
    'DINOv2': ('dinov2', DIGITS | MULTI | VIT | {'objective.freeze_prototypes_steps': 11,
                                                 'objective.teacher_warmup_steps': 120}),
    # fixed positions are most of a target here, and the teacher collapses on them
    'data2vec': ('data2vec', DIGITS | CROPS | VIT | {
        'backbone.positions': 'learned', 'objective.smallest_block': 2, 'objective.momentum_start': 0.996,
        'objective.momentum': 0.9998, 'objective.momentum_steps': 400, 'steps': 1200, 'schedule.peak': 2e-3}),
    'I-JEPA': ('i_jepa', DIGITS | CROPS | VIT | {'objective.context_patches': 7, 'objective.targets': 2}),
    'MAE': ('mae', DIGITS | CROPS | VIT), 'SimMIM': ('simmim', DIGITS | CROPS | VIT | {'objective.mask_size': 2}),
    'SparK': ('spark', DIGITS | CROPS | {'backbone.blocks': (1, 1)}),
    'VideoMAE': ('videomae', DIGITS | VIT | {'views.size': 8, 'views.scale': (0.5, 1.0)}),
    'SimCLR + MAE, weighted': ('weighted', DIGITS | TOGETHER | VIT),
    'SimCLR and MAE by turns': ('alternate', DIGITS | TOGETHER | VIT),
}


def program(name: str, stage: str, *runs: str, sources: dict, of: dict, overrides: dict | None = None) -> dict:
  """The row of a program's stage: `of` goes to the configs of these runs."""
  return dict(config=f'configs/{name}.py:fashion_mnist', command='program', prefix=tuple(f'{run}.' for run in runs),
              overrides={f'{run}.{key}': value for run in runs for key, value in of.items()}
              | {f'{run}.source': dict(name=source, split='train') for run, source in sources.items()}
              | (overrides or {}),
              metrics={metric: f'{stage}:{path}' for metric, path in METRICS.items()})


METRICS = {f'{title}, {start}': f'evaluation/{start} backbone/{key}'
           for title, key in (('kNN', 'knn'), ('linear', 'linear'), ('10 labels a class', 'linear_10_per_class'))
           for start in ('random', 'pretrained')}
SMALLER = {f'backbone.{key}': VIT[f'backbone.{key}'] for key in ('image', 'patch')} | {
    key: VIT[key] for key in ('steps', 'schedule.warmup_steps')}
PROGRAMS = {
    'DeeperCluster': program('deepercluster', 'cycle4', 'train', sources={'train': 'digits'}, of=CROPS | RESNET),
    'SSLD': program('ssld', 'student', 'teacher', 'student', sources={'teacher': 'digits'}, of=CROPS | RESNET,
                    overrides={'program.test': dict(name='digits', split='test')}),
    'self-distillation (FPT)': program(
        'self_distillation_fpt', 'student', 'pretrain', 'further', 'finetune',
        sources={'pretrain': 'fashion_mnist', 'further': 'digits', 'finetune': 'digits'}, of=SMALLER,
        overrides={'program.test': dict(name='digits', split='test'), 'pretrain.views.size': 8,
                   'further.views.size': 8, 'finetune.views.size': 8, 'finetune.views.pad': 1,
                   'finetune.views.flip': 0.0}),
    'DINOv2, distilled': program(
        'dinov2_distill', 'student', 'teacher', 'student', sources={'teacher': 'digits', 'student': 'digits'},
        of=SMALLER | MULTI | {'objective.freeze_prototypes_steps': 11, 'objective.teacher_warmup_steps': 120},
        overrides={'student.objective.teacher.image': 8, 'student.objective.teacher.patch': 2,
                   'student.objective.teacher.mean': (0.305,), 'student.objective.teacher.std': (0.375,)}),
}


def get_table():
  return dict(
      title='From the random backbone to the pretrained one, on digits',
      differs='1,437 images of 8 x 8 pixels (360, mostly of other writers, for the test), 128 a step; residual '
              'networks (three blocks of width 32, two of 16 for SparK) and steps (300, 400) of the small configs, or '
              'ViTs of three blocks of width 64 on patches of 2 for 400 steps (DINO 900, data2vec 1,200); local crops '
              'are as large as global ones; no mirrored images. CLIP, SigLIP and SupCon know the classes. The papers: '
              'ImageNet and the like, networks a hundred times as large.',
      columns={'': {}},
      rows={title: dict(config=f'configs/{name}.py' if name == 'demo' else f'configs/{name}.py:fashion_mnist',
                        overrides=more) for title, (name, more) in ROWS.items()} | PROGRAMS,
      shared={'batch': 128, 'backbone.mean': (0.305,), 'backbone.std': (0.375,), 'checkpoint.every_steps': 10_000,
              'evaluate.train': dict(name='digits', split='train'), 'evaluate.test': dict(name='digits', split='test'),
              'evaluate.pictures': False, 'evaluate.every_steps': 0},
      metrics=METRICS)
