"""Published numbers of MAE pre-pretraining (arXiv:2303.13496): they could not be looked up."""

PUBLISHED = []
