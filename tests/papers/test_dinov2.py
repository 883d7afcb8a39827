from pretrain.models.vit import vit
from pretrain.objectives.dinov2 import dinov2
from tests.twin import Case, check, louder
B=4
def batch(rng):
  return {'global': rng.uniform(size=(B, 2, 8, 8, 1)), 'local': rng.uniform(size=(B, 3, 4, 4, 1)), 'index': rng.permutation(100)[:B]}

CASE = Case(
    louder(dinov2(vit(image=8, channels=1, patch=2, width=8, depth=2, heads=2, mlp=16, positions='sincos'), prototypes=5, patch_prototypes=6, hidden=8, bottleneck=4, patch_bottleneck=5, koleo_weight=0.3, mask_ratio=(0.2,0.6),student_temperature=0.3, teacher_temperature=0.2, 
         teacher_temperature_start=0.1, teacher_warmup_steps=5, momentum=0.7, 
         freeze_prototypes_steps=2, steps=10, packed=True), 'head/mlp', 20.), batch, None, encode=None, images=None, moves={})
