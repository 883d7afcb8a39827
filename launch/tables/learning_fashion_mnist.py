"""Masked and self-distilled objectives on Fashion-MNIST: do their features beat those of the random backbone?

  python -m launch.table launch/tables/learning_fashion_mnist.py run --workers=2
"""
VIT = {'backbone.width': 64, 'backbone.mlp': 128}
LONG = {'steps': 1600, 'schedule.warmup_steps': 160}
ROWS = {
    'MAE': ('mae', VIT), 'SimMIM': ('simmim', VIT | LONG | {'schedule.peak': 3e-3}),
    'data2vec': ('data2vec', VIT | {
        'backbone.positions': 'learned', 'objective.momentum_start': 0.996, 'objective.momentum': 0.9998,
        'objective.momentum_steps': 400}),
    'I-JEPA': ('i_jepa', VIT | LONG | {'schedule.peak': 2e-3, 'objective.momentum': 0.996}),
    'iBOT': ('ibot', VIT | {
        'objective.center_momentum': 0.5, 'objective.teacher_temperature': 0.02,
        'objective.teacher_temperature_start': 0.02, 'objective.teacher_patch_temperature': 0.02}),
    'DINOv2': ('dinov2', VIT | {'objective.teacher_temperature': 0.04}),
    'VideoMAE': ('videomae', VIT | {'steps': 800, 'schedule.warmup_steps': 80}),
    'SparK': ('spark', {'steps': 200, 'schedule.warmup_steps': 20, 'objective.decoder_width': 32}),
}


def get_table():
  return dict(
      title='From the random backbone to the pretrained one, on Fashion-MNIST',
      differs='10,000 images (2,000 for the test), 128 a step; ViTs of three blocks of width 64 on patches of 4 for '
              '800 steps (SimMIM and I-JEPA 1,600, at three and two times the rate; iBOT and DINOv2 600; VideoMAE '
              'on clips of four frames made of an image), a residual network of three blocks, 16 to 64 wide, for 200 '
              '(SparK). The papers: ImageNet and videos, networks a hundred times as large.',
      rows={title: dict(config=f'configs/{name}.py:fashion_mnist', overrides=more)
            for title, (name, more) in ROWS.items()},
      shared={'batch': 128, 'checkpoint.every_steps': 10_000, 'evaluate.pictures': False, 'evaluate.every_steps': 0},
      metrics={f'{title}, {start}': f'evaluation/{start} backbone/{key}'
               for title, key in (('kNN', 'knn'), ('linear', 'linear'), ('10 labels a class', 'linear_10_per_class'))
               for start in ('random', 'pretrained')})
