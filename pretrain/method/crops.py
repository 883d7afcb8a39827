"""What methods with global and local crops share: the student's pass through both, and outputs by view."""


def encode_crops(vit, crops, examples: int, keys, packed: bool):
  """The tokens of global and local crops, [b * v, n, width] each, after the trunk: one after the other, or together."""
  if packed:
    return vit.together(crops, examples, train=True, key=keys[0])
  return [vit.encode(x, train=True, key=key) for x, key in zip(crops, keys, strict=True)]


def views_first(x, b: int):
  """What `flat` views gave, [b * v, k], by view: [v, b, k]."""
  return x.reshape(b, -1, x.shape[-1]).swapaxes(0, 1)
