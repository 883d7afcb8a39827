"""Slow NumPy float64 twins, typed from the papers with explicit loops; they import nothing of the project."""
