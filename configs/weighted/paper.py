"""Objectives made of objectives: no row of a paper."""
PUBLISHED = []
