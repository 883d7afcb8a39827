"""Images a second of the input side beside PyTorch's DataLoader and tf.data, on the same files and cores.

  python benchmarks/input_peers.py --peers=PEERS/bin/python [--only=memory,folder,tar,array_record] [--rounds=5]
                                   [--images=1024] [--threads=N] [--out=input_peers.json]

The peers' environment is that of `peers.py`, with `tensorflow-cpu`, `webdataset` and `array_record`. All deliver
shuffled batches of u8[b, h, w, c] without end:
  memory        60,000 images of 28 x 28 x 1, 256 a batch
  folder        JPEGs of 500 x 375, shorter side to 224 (bicubic, antialiased), the centre kept, 32 a batch; DataLoader
                reads them through torchvision's ImageFolder, tf.data decodes them itself
  tar           the same in four tar files; DataLoader through `webdataset`
  array_record  the same in one ArrayRecord file; DataLoader over its data source

DataLoader is tried with as many workers as cores, and with none, tf.data with AUTOTUNE. Each is a process; they work in
turns, and the one whose turn it is not is stopped, with its workers. What was read ahead in an earlier turn is little
beside a round. A ratio is that of rounds beside each other, above 1 ours is faster, and there is none where a batch has
another shape, or the images' mean differs by more than 5 of 255.
"""
import argparse
import functools
import io
import itertools
import json
import os
import statistics
import sys
import tarfile
import tempfile
from pathlib import Path

from peers import Child, ChildError, differences, serve  # the benchmark beside this one

BATCH = {'memory': 256, 'folder': 32, 'tar': 32, 'array_record': 32}
SIDE = 224


def write(root: Path, count: int) -> None:
  """The images of all cases."""
  import numpy as np
  from input import write_photos  # the benchmark beside this one

  from data.__main__ import main as prepare
  images = np.random.default_rng(0).integers(0, 256, (60_000, 28, 28, 1), np.uint8)
  (root / 'memory').mkdir()
  np.savez(root / 'memory/train.npz', image=images)
  write_photos(root / 'folder', count)
  prepare(['prepare', f'--folder={root}/folder', f'--out={root}/array_record'])
  files = sorted((root / 'folder').glob('*/*.jpg'))
  for shard in range(4):
    with tarfile.open(root / f'{shard}.tar', 'w') as tar:
      for file in files[shard::4]:
        tar.add(file, file.name)


def ours(case: str, root: str, threads: int):
  """Our loader."""
  from data.loader import loader
  from data.sources.array_record import array_record
  from data.sources.arrays import arrays
  from data.sources.folder import folder
  from data.sources.webdataset import webdataset
  source = {'memory': lambda: arrays(path=f'{root}/memory', split='train'),
            'folder': lambda: folder(path=f'{root}/folder', size=SIDE),
            'tar': lambda: webdataset(path=f'{root}/{{0..3}}.tar', size=SIDE),
            'array_record': lambda: array_record(path=f'{root}/array_record', split='train', size=SIDE)}[case]()
  batches = loader(source, batch=BATCH[case], seed=0, threads=None if case == 'memory' else threads)
  return (batch['image'] for batch in batches)


def dataloader(case: str, root: str, threads: int, workers: bool):
  """PyTorch's."""
  import numpy as np
  import torch
  import webdataset
  from array_record.python.array_record_data_source import ArrayRecordDataSource
  from PIL import Image
  from torch.utils import data
  from torchvision import datasets
  from torchvision import transforms as T
  torch.set_num_threads(1)
  transform = T.Compose([T.Resize(SIDE, T.InterpolationMode.BICUBIC), T.CenterCrop(SIDE), np.asarray])
  decode = lambda data: transform(Image.open(io.BytesIO(data)).convert('RGB'))

  class Records(data.Dataset):
    def __init__(self):
      self.files = [str(file) for file in Path(root, 'array_record').glob('*.array_record')]
      self.count = len(ArrayRecordDataSource(self.files))

    def __len__(self):
      return self.count

    @functools.cached_property
    def records(self):  # in each worker, as its threads do not outlive a fork
      return ArrayRecordDataSource(self.files)

    def __getitem__(self, i):
      return decode(self.records[i])

  options = dict(batch_size=BATCH[case], num_workers=threads if workers else 0, drop_last=True)
  if case == 'tar':
    dataset = webdataset.WebDataset([f'{root}/{i}.tar' for i in range(4)], resampled=True, shardshuffle=False,
                                    nodesplitter=None).shuffle(256).map(lambda sample: decode(sample['jpg']))
    return iter(data.DataLoader(dataset, **options))
  dataset = {'memory': lambda: data.TensorDataset(torch.from_numpy(np.load(f'{root}/memory/train.npz')['image'])),
             'folder': lambda: datasets.ImageFolder(f'{root}/folder', transform), 'array_record': Records}[case]()
  sampler = data.RandomSampler(dataset, replacement=True, num_samples=10 ** 8)
  batches = data.DataLoader(dataset, sampler=sampler, **options)
  return (batch if case == 'array_record' else batch[0] for batch in batches)


def tf_data(case: str, root: str, threads: int):
  """TensorFlow's; only from memory and files."""
  import numpy as np
  import tensorflow as tf
  tf.config.threading.set_intra_op_parallelism_threads(threads)
  tf.config.threading.set_inter_op_parallelism_threads(threads)

  def decode(path):
    image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width)
    image = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    image = tf.image.resize(image, (SIDE, SIDE), 'bicubic', antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

  if case == 'memory':
    dataset = tf.data.Dataset.from_tensor_slices(np.load(f'{root}/memory/train.npz')['image']).shuffle(60_000)
  else:
    files = [str(file) for file in sorted(Path(root, 'folder').glob('*/*.jpg'))]
    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).map(decode, tf.data.AUTOTUNE)
  return dataset.repeat().batch(BATCH[case], drop_remainder=True).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


WAYS = {'ours': ours, 'tf.data': tf_data,
        **{name: lambda *given, workers=workers: dataloader(*given, workers=workers)
           for name, workers in (('DataLoader', True), ('DataLoader, no workers', False))}}


def start(spec: dict):
  """A child: the shape of a batch and the mean of many, and a round, which reads as many images as the spec says."""
  import numpy as np
  batches = WAYS[spec['way']](spec['case'], spec['root'], spec['threads'])
  some = [np.asarray(batch) for batch in itertools.islice(batches, 40)]
  facts = {'shape': list(some[0].shape), 'dtype': str(some[0].dtype), 'mean': float(np.mean([x.mean() for x in some]))}
  return facts, lambda: [np.asarray(next(batches)) for _ in range(spec['batches'])]


def main() -> None:
  """Prints the figures as a table and writes them as JSON."""
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  cores = sorted(os.sched_getaffinity(0))
  parser.add_argument('--peers', help='the Python of an environment with torch, torchvision and tensorflow')
  parser.add_argument('--child', action='store_true', help=argparse.SUPPRESS)
  parser.add_argument('--only', default=','.join(BATCH))
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--images', type=int, default=1024)
  parser.add_argument('--threads', type=int, default=len(cores))
  parser.add_argument('--out', default='input_peers.json')
  args = parser.parse_args()
  sys.path.insert(0, str(Path(__file__).parents[1]))
  if args.child:
    return serve(start)
  if not args.peers:
    parser.error('--peers: wanted the Python of an environment with torch')
  os.sched_setaffinity(0, cores[:args.threads])  # the children's too
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    write(Path(folder), args.images)
    print('| source | ours, images/s | beside | images/s | ratio |\n|---|---|---|---|---|')
    for case, peer in itertools.product(args.only.split(','), [way for way in WAYS if way != 'ours']):
      if peer == 'tf.data' and case in ('tar', 'array_record'):
        continue
      batches = 400 if case == 'memory' else args.images // BATCH[case]
      spec = dict(case=case, root=folder, threads=args.threads, batches=batches)
      try:
        with Child([sys.executable, __file__, '--child'], spec | {'way': 'ours'}) as a, \
            Child([args.peers, __file__, '--child'], spec | {'way': peer}) as b:
          means = [child.facts.pop('mean') for child in (a, b)]
          refused = list(differences(a.facts, b.facts)) + (
              [f"mean of an image: ours {means[0]:.2f}, the peers' {means[1]:.2f}"] if abs(means[0] - means[1]) > 5
              else [])
          rounds = [] if refused else [[child.ask()['seconds'] for child in (a, b)]
                                       for _ in range(1 + args.rounds)][1:]
      except ChildError as error:
        refused, rounds = [str(error)], []
      rows.append({'case': case, 'peer': peer, 'images': batches * BATCH[case], 'seconds': rounds, 'refused': refused})
      if refused:
        print(f'| {case} | | {peer} | | no ratio: {"; ".join(refused)} |', flush=True)
        continue
      ratios = [theirs / mine for mine, theirs in rounds]
      speed = [batches * BATCH[case] / statistics.median(column) for column in zip(*rounds, strict=True)]
      print(f'| {case} | {speed[0]:,.0f} | {peer} | {speed[1]:,.0f} | {statistics.median(ratios):.2f} '
            f'({min(ratios):.2f} to {max(ratios):.2f}) |', flush=True)
      Path(args.out).write_text(json.dumps({'threads': args.threads, 'rows': rows}, indent=2) + '\n')
  return None


if __name__ == '__main__':
  main()
