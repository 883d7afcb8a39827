"""Published numbers of I-JEPA (arXiv:2301.08243v3): the authors' README has no numbers, the tables could not be
looked up."""

PUBLISHED = []
