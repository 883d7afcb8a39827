"""SimCLR and MAE by turns over one backbone: an objective made of objectives, no row of a paper.

  python -m pretrain train --config=configs/alternate.py:fashion_mnist --workdir=runs/alternate
"""
from configs.common import simclr_and_mae


def fashion_mnist():
  """SimCLR and MAE by turns over one backbone, on the embedded 10,000 images of Fashion-MNIST.

  No row of a paper. Two steps of SimCLR, then one of MAE; log_every_steps=10 shows both, as 3 does not divide it.

  Cost: 600 steps of 128 examples; not run to its end here.
  Result: kNN 72.9 ± 1.4 %, linear 77.3 ± 3.1 % (n=3; random backbone 46.1 ± 3.3 %, 62.8 ± 1.5 %) in the setting of
  docs/tables/learning_digits.md. Measured before a change that docs/recipes.md names.
  """
  c = simclr_and_mae()
  simclr = dict(name='simclr', hidden=(256,), dim=64, temperature=0.4)
  mae = dict(name='mae', mask_ratio=0.75, decoder_width=64, decoder_depth=1, decoder_heads=2, standardize=True)
  c.objective = dict(name='alternate', parts=(('simclr', simclr, 2), ('mae', mae, 1)))
  return c


PUBLISHED = []
