"""Image operations that view sets are made of, with parameters per example and static shapes.

They work on planes, float32 [n, c, h, w] in [0, 1] (RandAugment: whole numbers to 255): compilers vectorise along rows,
hardly along triples of channels.  `to_planes` and `channels_last` stand at the two ends of a view set.
"""
