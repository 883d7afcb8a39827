"""Image sets, tokenisers, splits and label stores from the command line.

  python -m data prepare --folder=DIR --out=DIR [--size=256] [--shards=8] [--split-fraction=0.1]
  python -m data prepare --tfds=NAME --data-dir=DIR --out=DIR
  python -m data prepare --huggingface=DIR --out=DIR
  python -m data describe --path=DIR
  python -m data tokenizer --text=FILE_OR_DIR --vocabulary=8192 --out=tokenizer.json
  python -m data split --source="dict(name='fashion_mnist', split='train')" --per-class=25 --seed=0 --out=FILE.json
  python -m data labels describe STORE [STORE] [--truth="dict(name='fashion_mnist', split='train')"] [--out=FILE.png]
"""
import argparse
import ast
import sys
from pathlib import Path

import numpy as np

from data import prepare as preparation
from data import splits
from data.describe_labels import describe, plot, words
from data.encoded import Decoding
from data.sources.array_record import array_record, read_metadata
from data.sources.text import text_files
from data.text import train as train_tokenizer
from data.wrap import few_labels


def main(argv: list[str] | None = None) -> int:
  """Runs a command; returns the exit status, 1 with one line on stderr for what the user can mend."""
  parser = argparse.ArgumentParser('python -m data', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  commands = parser.add_subparsers(dest='command', required=True)
  make = commands.add_parser('prepare', help='convert images to ArrayRecord')
  source = make.add_mutually_exclusive_group(required=True)
  source.add_argument('--folder', help='images in one folder per class, maybe below train/, val/, …')
  source.add_argument('--tfds', help='name of a set that TFDS has prepared as array_record')
  source.add_argument('--huggingface', help='folder of Parquet files in the Hugging Face image layout')
  make.add_argument('--data-dir', '--data_dir', help='where TFDS has prepared its sets')
  make.add_argument('--out', required=True, help='folder to make')
  make.add_argument('--size', type=int, help='resize a longer shorter side to this; default: keep the bytes')
  make.add_argument('--bits', type=int, help='of 16-bit images, how many hold the picture, such as 12')
  make.add_argument('--megapixels', type=int, default=Decoding().megapixels, help='of the largest image')
  make.add_argument('--shards', type=int, help='files per split; default: one per 10,000 images')
  make.add_argument('--split-fraction', '--split_fraction', type=float, default=0.0,
                    help="share of each class of a folder without splits that becomes 'test'")
  show = commands.add_parser('describe', help='count the images of a prepared set')
  show.add_argument('--path', required=True, help='folder that prepare made')
  texts = commands.add_parser('tokenizer', help='train byte-pair encoding on text')
  texts.add_argument('--text', required=True, help='UTF-8 file, or a folder of .txt and .md files')
  texts.add_argument('--vocabulary', type=int, required=True, help='ids, four special ones included')
  texts.add_argument('--out', required=True, help='file to write')
  fixed = commands.add_parser('split', help='draw which examples keep their labels, once and for all')
  fixed.add_argument('--source', required=True, help='labeled source, as a config has it')
  fixed.add_argument('--per-class', '--per_class', type=int, help='examples of every class')
  fixed.add_argument('--count', type=int, help='or so many of all, whatever their classes')
  fixed.add_argument('--seed', type=int, required=True, help='of the draw')
  fixed.add_argument('--out', required=True, help='file to write')
  stores = commands.add_parser('labels', help='what is in a label store')
  stores.add_argument('what', choices=['describe'])
  stores.add_argument('store', nargs='+', help='folder that `python -m pretrain label` made; a second one is compared')
  stores.add_argument('--truth', help='labeled source, as a config has it')
  stores.add_argument('--out', help='a picture to write')
  args = parser.parse_args(argv)
  try:
    if args.command == 'describe':
      _describe(args.path)
    elif args.command == 'tokenizer':
      print(f'{args.out}: {train_tokenizer(text_files(args.text)[0], args.vocabulary, args.out)} ids')
    elif args.command == 'split':
      _split(args)
    elif args.command == 'labels':
      _labels(args)
    else:
      _prepare(args)
  except (ValueError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print('stopped: nothing was written', file=sys.stderr)
    return 130
  return 0


def _split(args) -> None:
  source = _source(args.source, '--source')
  made = {name: value for name, value in dict(per_class=args.per_class, count=args.count).items() if value is not None}
  made['seed'] = args.seed
  few = few_labels(source, **made)
  found = splits.write(args.out, few.index, source=source, made=made)
  print(f'{args.out}: {len(few)} of the {len(source)} examples, of each class {np.bincount(few.truth()[0]).tolist()}; '
        f'hash {found}')


def _labels(args) -> None:
  if len(args.store) > 2:
    raise ValueError(f'labels describe: wanted one store or two, got {len(args.store)}')
  found = describe(*args.store, truth=_source(args.truth, '--truth') if args.truth else None)
  print(words(found))
  if args.out:
    plot(found, args.out)
    print(f'\n{args.out}')


def _source(text: str, flag: str):
  """The source that a flag describes as a config does."""
  from data.opened import opened
  from pretrain.config import literal
  try:
    spec = literal(ast.parse(text, mode='eval').body)
  except (ValueError, SyntaxError) as error:
    raise ValueError(f"{flag}: wanted dict(name='...', ...), got {text}") from error
  return opened(spec, flag.removeprefix('--'))


def _prepare(args) -> None:
  if args.split_fraction and not args.folder:
    raise ValueError('--split-fraction is for --folder; other sets have their splits')
  if args.folder:
    splits = preparation.folder_splits(args.folder, args.split_fraction)
  elif args.tfds:
    from data.sources.tfds import from_builder, prepared
    if not args.data_dir:
      raise ValueError('--tfds needs --data-dir, the folder where TFDS has prepared it')
    builder = prepared(args.tfds, args.data_dir)
    splits = {s: from_builder(builder, s, None) for s in builder.info.splits}
  else:
    from data.sources import huggingface
    splits = {s: huggingface.huggingface(path=args.huggingface, split=s, size=None)
              for s in huggingface.splits(args.huggingface)}
  metadata = preparation.prepare(splits, args.out, size=args.size, shards=args.shards,
                                 decoding=Decoding(args.bits, args.megapixels))
  for note in dict.fromkeys(note for source in splits.values() for note in source.notes):
    print(note)
  for split, entry in metadata['splits'].items():
    left_out = f', {entry["broken"]} broken left out (see {args.out}/bad_records.jsonl)' if entry['broken'] else ''
    print(f'{args.out}: {split}: {entry["count"]} images in {len(entry["shards"])} shards{left_out}')


def _describe(path: str) -> None:
  metadata = read_metadata(Path(path))
  size = '' if metadata['size'] is None else f', shorter side at most {metadata["size"]}'
  for split in metadata['splits']:
    source = array_record(path=path, split=split)
    print(f'{split}: {len(source)} images, {len(source.classes or ())} classes{size}')


if __name__ == '__main__':
  sys.exit(main())
