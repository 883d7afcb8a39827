"""Published numbers of data2vec (arXiv:2202.03555v3): the authors' README has no numbers for images, the tables
could not be looked up."""

PUBLISHED = []
