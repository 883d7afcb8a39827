"""VideoMAE, ViT-B/16 on Kinetics-400 for 800 epochs, 90 % masked: arXiv:2203.12602v3, 81.0 % fine-tuned (MODEL_ZOO.md).

Settings of the authors' script (MCG-NJU/VideoMAE,
scripts/kinetics/videomae_vit_base_patch16_224_tubemasking_ratio_0.9_epoch_800/pretrain.sh) and the defaults of
run_mae_pretraining.py. Deviations: 800 epochs of 240,000 videos (their number is from memory) are steps here, in which
all clips of a video come, not a random one; the warm-up starts at 0; those of `views.videomae` and of the objective.
Encoder in bfloat16. The folder holds train/ with a folder of frames for each video in that of its class; another place:
--config.source.path=DIR.

  python -m pretrain train --config=configs/videomae/vit_b16_kinetics400.py --workdir=runs/videomae_vit_b16_kinetics400
"""
from ml_collections import ConfigDict


def get_config():
  c = ConfigDict()
  c.seed = 0
  c.source = dict(name='clips', path='data_sets/kinetics400', split='train', size=256, frames=16, every=4)
  c.views = dict(name='videomae', size=224, scale=(0.44, 1.0))
  c.batch = 2048
  c.steps = 93750
  c.backbone = dict(name='vit', variant='B/16', image=224, channels=3, frames=16, tubelet=2, positions='sincos',
                    pool='mean', mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), dtype='bfloat16')
  c.objective = dict(name='videomae', mask_ratio=0.9, decoder_width=384, decoder_depth=4, decoder_heads=6,
                     standardize=True)
  c.schedule = dict(name='cosine', peak=1.2e-3, end=8e-5, warmup_steps=4688, linspace=True)  # 1.5e-4 * 2048 / 256
  c.optimizer = dict(name='adamw', b1=0.9, b2=0.95, weight_decay=0.05)
  c.checkpoint = dict(every_steps=2000)
  return c
