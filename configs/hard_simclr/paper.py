"""Numbers of the hard contrastive loss (arXiv:2012.09740v2, table 1) could not be looked up."""
PUBLISHED = []
