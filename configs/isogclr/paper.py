"""Published numbers of iSogCLR (arXiv:2305.11965v1): the authors' READMEs have no numbers, the tables could not be
looked up."""

PUBLISHED = []
