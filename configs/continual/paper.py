"""Published numbers of infinite schedules in continual pretraining (arXiv:2503.02844v2): could not be looked up."""
PUBLISHED = []
