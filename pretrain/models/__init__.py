"""Flax NNX modules. No method's name occurs in them; each file's function of the file's name returns `build(rngs) -> module`."""
