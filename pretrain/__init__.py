"""Self-supervised and semi-supervised pretraining in JAX: HOW a model learns (data/: WHAT from, configs/: WHICH)."""
