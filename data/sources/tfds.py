"""Prepared TensorFlow Datasets, read without TensorFlow."""
from pathlib import Path

import numpy as np

from data.encoded import Encoded
from data.names import known


def tfds(*, dataset: str, split: str, data_dir: str, size: int | None) -> Encoded:
  """Images and labels of a data set that TFDS has prepared in the array_record format.

  TFDS gives the encoded bytes and Pillow decodes; neither TensorFlow nor the builder's code is needed.

  Args:
    dataset: 'name', 'name/config', with ':version' for another than the highest.
    split: such as 'train', or a slice of one, 'train[:10%]'.
    data_dir: folder of prepared sets, which holds name[/config]/version/dataset_info.json.
    size: height and width, shorter side resized and the centre kept; None: as stored, all alike.
  Raises:
    FileNotFoundError: no such folder, or the set is not prepared there.
    ValueError: unknown set, split or version, prepared in another format, no image feature, TFDS is not installed.
  """
  builder = prepared(dataset, data_dir)
  known(f'split of {dataset}', split.partition('[')[0], builder.info.splits)
  return from_builder(builder, split, size)


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


def from_builder(builder, split: str, size: int | None) -> Encoded:
  """The source of a split of a prepared TFDS builder; errors as `tfds`."""
  import tensorflow_datasets
  features = builder.info.features
  images = [k for k, f in features.items() if isinstance(f, tensorflow_datasets.features.Image)]
  labels = [k for k, f in features.items() if isinstance(f, tensorflow_datasets.features.ClassLabel)]
  if not images:
    raise ValueError(f'{builder.info.name} has no image feature, only {", ".join(features)}')
  image = 'image' if 'image' in images else images[0]
  label = 'label' if 'label' in labels else labels[0] if labels else None
  records = builder.as_data_source(split, decoders={k: tensorflow_datasets.decode.SkipDecoding() for k in images})
  classes = tuple(features[label].names or map(str, range(features[label].num_classes))) if label else None
  channels = 1 if features[image].shape[-1] == 1 else 3
  return Encoded(Examples(records, image, label, f'{builder.info.full_name} {split}'),
                 f'{split} of {builder.info.full_name}', classes, size, channels)


class Examples:
  """`data.encoded.Reader` over a TFDS data source of undecoded images."""

  def __init__(self, records, image: str, label: str | None, name: str):
    self.records, self.image, self.label, self.name = records, image, label, name

  def __len__(self):
    return len(self.records)

  def read(self, i):
    """Bytes of the image and its label."""
    record = self.records[i]
    return record[self.image], int(record[self.label]) if self.label else None

  def labels(self):
    """Labels i32[n], or None; reads every record, about 0.1 ms each."""
    if not self.label:
      return None
    return np.array([self.records[i][self.label] for i in range(len(self))], np.int32)

  def file(self, i):
    """Name of the set and number of the example."""
    return f'{self.name}#{i}'
