"""Prepared TensorFlow Datasets, read without TensorFlow."""
import functools
from pathlib import Path

import numpy as np

from data.classes import read_labels
from data.encoded import Encoded, digest
from data.names import known
from data.source import Source
from data.sources.folder import options
from pretrain.config import Count


def tfds(*, dataset: str, split: str, data_dir: str, size: Count | None, decoding: dict | None = None) -> Source:
  """Images and labels of a data set that TFDS has prepared in the array_record format.

  TFDS gives the encoded bytes and Pillow decodes; neither TensorFlow nor the builder's code is needed.

  Args:
    dataset: 'name', 'name/config', with ':version' for another than the highest.
    split: such as 'train', or a slice of one, 'train[:10%]'.
    data_dir: folder of prepared sets, which holds name[/config]/version/dataset_info.json.
    size: height and width, shorter side resized and the centre kept; None: as stored, all alike.
    decoding: `data.encoded.Decoding`.
  Raises:
    FileNotFoundError: no such folder, or the set is not prepared there.
    ValueError: unknown set, split or version, prepared in another format, no image feature, a shard without the
      examples that dataset_info.json says, TFDS is not installed.
  """
  builder = prepared(dataset, data_dir)
  known(f'split of {dataset}', split.partition('[')[0], builder.info.splits)
  return from_builder(builder, split, size, decoding)


def prepared(dataset: str, data_dir: str):
  """The TFDS builder of a prepared set; arguments and errors as `tfds`."""
  try:
    import tensorflow_datasets
  except ImportError as error:
    raise ValueError('reading TFDS needs its package: pip install tensorflow-datasets') from error
  root = Path(data_dir)
  if not root.is_dir():
    raise FileNotFoundError(f'no folder {data_dir}')
  name, _, version = dataset.partition(':')
  versions = {p.parent.name: p.parent for p in (root / name).glob('*/dataset_info.json')}
  if not versions:
    sets = {p.parent.parent.relative_to(root).as_posix() for p in root.glob('*/*/dataset_info.json')}
    sets |= {p.parent.parent.relative_to(root).as_posix() for p in root.glob('*/*/*/dataset_info.json')}
    known(f'prepared set in {data_dir}', name, sorted(sets - {'.'}))
  version = version or max(versions, key=lambda v: [int(x) if x.isdigit() else -1 for x in v.split('.')])
  builder = tensorflow_datasets.builder_from_directory(versions[known(f'version of {name}', version, sorted(versions))])
  form = builder.info.file_format.value
  if form != 'array_record':
    raise ValueError(f"{dataset} is prepared as {form}: prepare it with file_format='array_record' for random access")
  return builder


def from_builder(builder, split: str, size: int | None, decoding: dict | None = None) -> Source:
  """The source of a split of a prepared TFDS builder; errors as `tfds`."""
  import tensorflow_datasets
  features, name = builder.info.features, builder.info.full_name
  images = [k for k, f in features.items() if isinstance(f, tensorflow_datasets.features.Image)]
  labels = [k for k, f in features.items() if isinstance(f, tensorflow_datasets.features.ClassLabel)]
  if not images:
    raise ValueError(f'{builder.info.name} has no image feature, only {", ".join(features)}')
  image = 'image' if 'image' in images else images[0]
  label = 'label' if 'label' in labels else labels[0] if labels else None
  whole = builder.info.splits[split.partition('[')[0]]
  for path, wanted in zip(whole.filepaths, whole.shard_lengths, strict=True):
    if (found := records_in(path)) != wanted:
      raise ValueError(f'{path}: dataset_info.json says {wanted} examples, it holds '
                       f'{"none that can be read" if found is None else found}; copy the set again')
  records = builder.as_data_source(split, decoders={k: tensorflow_datasets.decode.SkipDecoding() for k in images})
  channels = 1 if features[image].shape[-1] == 1 else 3
  origin = f'{split} of {name}'
  reader = Examples(records, image, label, f'{name} {split}')
  examples = Encoded(reader, size, channels, options(decoding))
  if not label:
    return Source(examples, origin)
  classes = tuple(features[label].names or map(str, range(features[label].num_classes)))
  return Source(examples, origin, {'label': functools.partial(reader.labels, classes)}, classes)


def records_in(path) -> int | None:
  """How many records an ArrayRecord file holds; None where it is missing or cut."""
  from array_record.python import array_record_module
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    return reader.num_records() if reader.ok() else None
  except Exception:  # ArrayRecord raises several kinds
    return None


class Examples:
  """`data.encoded.Reader` over a TFDS data source of undecoded images."""

  def __init__(self, records, image: str, label: str | None, name: str):
    self.records, self.image, self.label, self.name = records, image, label, name
    self._labels: np.ndarray | None = None

  def __len__(self):
    return len(self.records)

  def read(self, i):
    """Bytes of the image."""
    return self.records[i][self.image]

  def labels(self, classes):
    """Labels i32[n]; the first time they are asked for every record is read, about 0.1 ms each."""
    if self._labels is None:
      found = [int(self.records[i][self.label]) for i in range(len(self))]
      self._labels, _ = read_labels(np.array(found, np.int64), f'{self.name}: {self.label}', classes)
    return self._labels

  def file(self, i):
    """Name of the set and number of the example."""
    return f'{self.name}#{i}'

  def names(self):
    return None

  def digest(self, i):
    return digest(self.read(i))

  def whole(self):
    return b''
