"""Cuts the embedded subset of Fashion-MNIST out of the published IDX files.

  python -m data.embed_fashion_mnist DIR [OUT]

DIR holds {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz; Debian's package dataset-fashion-mnist puts them in
/usr/share/datasets/fashion-mnist. OUT is data/fashion_mnist of this checkout unless given.
"""
import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

# MD5 of the decompressed files: the gzip headers differ between publishers, the payload does not.
SPLITS = {
    'train': ('train', 1000, 'f4a8712d7a061bf5bd6d2ca38dc4d50a', '9018921c3c673c538a1fc5bad174d6f9'),
    'test': ('t10k', 200, '8181f5470baa50b63fa0f6fddb340f0a', '15d484375f8d13e6eb1aabb0c3f46965'),
}


def _payload(path: Path, md5: str, offset: int) -> np.ndarray:
  data = gzip.decompress(path.read_bytes())
  if hashlib.md5(data).hexdigest() != md5:
    raise ValueError(f'{path} is not the published file: wanted MD5 {md5} of the decompressed bytes')
  return np.frombuffer(data, np.uint8, offset=offset)


def main() -> None:
  """Writes train.npz and test.npz and prints the SHA-256 of each array."""
  if not 2 <= len(sys.argv) <= 3:
    raise SystemExit(__doc__)
  root = Path(sys.argv[1])
  out = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / 'fashion_mnist'
  out.mkdir(parents=True, exist_ok=True)
  for split, (prefix, per_class, images_md5, labels_md5) in SPLITS.items():
    image = _payload(root / f'{prefix}-images-idx3-ubyte.gz', images_md5, 16).reshape(-1, 28, 28)
    label = _payload(root / f'{prefix}-labels-idx1-ubyte.gz', labels_md5, 8)
    rows = np.sort(np.concatenate([np.flatnonzero(label == c)[:per_class] for c in range(10)]))
    np.savez_compressed(out / f'{split}.npz', image=image[rows], label=label[rows])
    for name, array in (('image', image[rows]), ('label', label[rows])):
      print(f'{split}.npz {name} {array.shape} sha256 {hashlib.sha256(array.tobytes()).hexdigest()}')


if __name__ == '__main__':
  main()
