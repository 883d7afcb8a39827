"""What a model learns from: images, clips, texts and tables on the host, and the loader that orders them.

A file of data/sources gives a `data.source.Source`: random access by a global index, and everything else that the
loader, the wrappers, the evaluation and the identity of a set ask for, written once. Nothing here uses JAX: batches are
NumPy arrays, and all that touches pixels beyond decoding runs on the device.
"""
