"""Published numbers of Self-training: the program is no row of a paper."""

PUBLISHED = []
