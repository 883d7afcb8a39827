"""Weights from other runs and other programs."""
