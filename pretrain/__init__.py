"""Self-supervised and semi-supervised pretraining in JAX: HOW a model learns (data/ is WHAT from, configs/ WHICH run)."""
