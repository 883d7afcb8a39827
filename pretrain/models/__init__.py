"""Flax NNX modules. No method's name occurs in them; the function of a model file's name returns `build(rngs)`."""
