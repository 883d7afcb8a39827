"""Image operations that view sets are made of: float32 in [0, 1], per-example parameters, static shapes."""
