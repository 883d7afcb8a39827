"""Masked and self-distilled objectives of Vision Transformers on Fashion-MNIST: do the features beat random ones?

  python -m launch.table launch/tables/learning_fashion_mnist.py run --workers=2
"""
VIT = {'backbone.width': 64, 'backbone.mlp': 128}
ROWS = {
    'MAE': ('mae', VIT), 'SimMIM': ('simmim', VIT), 'data2vec': ('data2vec', VIT), 'I-JEPA': ('i_jepa', VIT),
    'iBOT': ('ibot', VIT), 'DINOv2': ('dinov2', VIT), 'VideoMAE': ('videomae', VIT), 'SparK': ('spark', {}),
}


def get_table():
  return dict(
      title='From the random backbone to the pretrained one, on Fashion-MNIST',
      differs='',
      rows={title: dict(config=f'configs/{name}/fashion_mnist.py', overrides=more)
            for title, (name, more) in ROWS.items()},
      shared={'batch': 128, 'checkpoint.every_steps': 10_000, 'evaluate.pictures': False, 'evaluate.every_steps': 0},
      metrics={f'{title}, {start}': f'evaluation/{start} backbone/{key}'
               for title, key in (('kNN', 'knn'), ('linear', 'linear'), ('10 labels a class', 'linear_10_per_class'))
               for start in ('random', 'pretrained')})
