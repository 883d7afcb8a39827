"""Published numbers of self-distillation for further pretraining (arXiv:2210.02871): they could not be looked up."""

PUBLISHED = []
