"""Text: tokenisers, captions and packed sequences, the text encoder, what is hidden from BERT, matching by names."""
import io
import itertools
import json
import math
import pickle
import tarfile
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Regex, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library
from tokenizers import models as library_models

from data import text as words
from data.__main__ import main
from data.loader import loader
from data.sources.captions import captions
from data.sources.fashion_mnist import CLASSES, fashion_mnist
from data.sources.labeled_text import labeled_text
from data.sources.pairs import pairs
from data.sources.text import text as text_source
from data.text import BEGIN, END, MASK, PAD, SPECIAL, tokenizer
from pretrain import config
from pretrain.config import ConfigError
from pretrain.evaluate.zero_shot import zero_shot
from pretrain.method.masks import token_mask
from pretrain.models.functional import functional
from pretrain.models.text import text
from pretrain.train import prepare, train
from tests.checks import assert_close

ROOT = Path(__file__).parents[1]
KEY = jax.random.key(0)
TINY = dict(vocabulary=24, length=8, width=16, depth=2, heads=2, mlp=24)
TEMPLATES = ('a photo of a {}', 'a {}')


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> str:
  """A tokeniser of this project's licence."""
  out = tmp_path_factory.mktemp('words') / 'tok.json'
  assert main(['tokenizer', f'--text={ROOT / "LICENSE"}', '--vocabulary=400', f'--out={out}']) == 0
  return str(out)


# --- Tokenisers ------------------------------------------------------------------------------------------------------

def test_bytes_are_ids_behind_the_special_ones():
  made = tokenizer('bytes')
  assert made.vocabulary == 260
  assert made.encode(['Az', '', 'é'])[0].tolist() == [SPECIAL + 65, SPECIAL + 122]
  assert [len(ids) for ids in made.encode(['Az', '', 'é'])] == [2, 0, 2]


def test_a_trained_tokenizer_has_its_size_and_gives_back_every_text(trained):
  made, library = tokenizer(trained), Library.from_file(trained)
  assert made.vocabulary == 400 == library.get_vocab_size()
  texts = ['Licensed under the Apache License', 'naïve ☃ text', '  two  spaces\n']
  ids = made.encode(texts)
  assert [library.decode(x.tolist()) for x in ids] == texts  # specials come first in our files: the ids are the same
  assert len(ids[0]) < len(texts[0]) / 2 and all(x.min() >= SPECIAL for x in ids)
  assert pickle.loads(pickle.dumps(made)).encode(texts)[1].tolist() == ids[1].tolist()


def test_special_tokens_of_other_files_get_our_ids(tmp_path):
  library = Library(library_models.WordLevel({'cat': 0, '<|endoftext|>': 1, 'dog': 2, '<|startoftext|>': 3}, 'cat'))
  library.save(str(tmp_path / 'other.json'))
  made = tokenizer(str(tmp_path / 'other.json'))
  assert made.ids is not None and made.vocabulary == SPECIAL + 2
  assert made.ids.tolist() == [SPECIAL, END, SPECIAL + 1, BEGIN]
  assert made.encode(['dog'])[0].tolist() == [SPECIAL + 1]


def test_what_is_no_tokenizer_and_no_text_is_refused(tmp_path, capsys):
  with pytest.raises(FileNotFoundError, match=r"no tokeniser nowhere.json: wanted 'bytes'"):
    tokenizer('nowhere.json')
  (tmp_path / 'bad.json').write_text('{}')
  with pytest.raises(ValueError, match='bad.json is no tokeniser'):
    tokenizer(str(tmp_path / 'bad.json'))
  (tmp_path / 'empty.txt').write_text(' \n')
  (tmp_path / 'latin.txt').write_bytes(b'\xff\xfe\xff')
  for name, vocabulary, word in [('empty.txt', 400, 'nothing but whitespace'), ('latin.txt', 400, 'not UTF-8'),
                                 ('none.txt', 400, 'no file or folder'), ('empty.txt', 100, 'at least 260')]:
    flags = [f'--text={tmp_path / name}', f'--vocabulary={vocabulary}', f'--out={tmp_path / "out.json"}']
    assert main(['tokenizer', *flags]) == 1
    assert word in capsys.readouterr().err
  assert not (tmp_path / 'out.json').exists()


def test_captions_begin_end_and_are_padded_or_cut():
  made = words.captions(['ab', 'abcdef'], tokenizer('bytes'), 6)
  a = SPECIAL + ord('a')
  assert made.tokens.dtype == np.uint16
  assert made.tokens.tolist() == [[BEGIN, a, a + 1, END, PAD, PAD], [BEGIN, a, a + 1, a + 2, a + 3, END]]
  prompts = words.prompts(tokenizer('bytes'), 6, ('B', 'C_c'), ('a{}',))
  assert prompts.shape == (2, 1, 6) and prompts.dtype == np.int32
  assert prompts[0, 0].tolist() == [BEGIN, a, a + 1, END, PAD, PAD]
  assert prompts[1, 0].tolist() == [BEGIN, a, a + 2, SPECIAL + 32, a + 2, END]
  with pytest.raises(ValueError, match="wants {} where the class's name goes, got 'a photo'"):
    words.prompts(tokenizer('bytes'), 6, ('x',), ('a photo',))
  with pytest.raises(ValueError, match='length of at least 3'):
    words.captions(['a'], tokenizer('bytes'), 2)

LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789[]<>/|_'
BERT, ROBERTA = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'], ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
KINDS = ('trained', 'roberta', 'roberta, whole words', 'clip', 'wordpiece', 'wordpiece, plain',
         'wordpiece, whole words', 'words', 'unigram', 'merges')


def library_of(kind: str) -> Library:
  """A tokeniser such as others write; each has at least padding and begin."""
  count = lambda *tokens: {token: i for i, token in enumerate(dict.fromkeys(itertools.chain(*tokens)))}
  if kind.startswith('roberta'):
    made = Library(library_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(['a dog and a cat see <s> the cow [PAD] of <mask> the farm'] * 9, trainers.BpeTrainer(
      vocab_size=300, special_tokens=ROBERTA, show_progress=False,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if kind == 'roberta, whole words':
      made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False)])
      made.model.ignore_merges = True
  elif kind == 'clip':
    made = Library(library_models.BPE(
      count(sorted(pre_tokenizers.ByteLevel.alphabet()), (c + '</w>' for c in pre_tokenizers.ByteLevel.alphabet()),
            ['<|startoftext|>', '<|endoftext|>']), [], unk_token='<|endoftext|>', end_of_word_suffix='</w>'))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    parts = Regex(r'<\|startoftext\|>|<\|endoftext\|>|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+')
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(parts, 'removed', True),
                                                  pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.add_special_tokens(['<|startoftext|>', '<|endoftext|>'])
  elif kind.startswith('wordpiece'):
    made = Library(library_models.WordPiece(count(BERT, LETTERS, ('##' + c for c in LETTERS), ['the', 'pad', '##ask']),
                                            unk_token='[UNK]'))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if kind == 'wordpiece, whole words':
      made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (made.add_tokens if kind == 'wordpiece, plain' else made.add_special_tokens)(BERT)
  elif kind == 'words':
    made = Library(library_models.WordLevel(count(['x', *BERT, 'the', 'dog']), '[UNK]'))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  elif kind == 'unigram':
    made = Library(library_models.Unigram([('<pad>', 0.), ('</s>', 0.), ('<unk>', 0.), ('<s>', 0.), ('\u2581', -2.),
                                           *((c, -4.) for c in LETTERS)], 2, False))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(['<pad>', '</s>', '<unk>'])
  else:
    made = Library(library_models.BPE(count(ROBERTA, LETTERS, ['<s', '<s>a', 'ab']), [
      ('<', 's'), ('<s', '>'), ('<s>', 'a'), ('a', 'b')], unk_token='<unk>'))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
  made.enable_padding(length=50)
  return made


@pytest.fixture(scope='module')
def of_kinds(tmp_path_factory, trained) -> dict[str, str]:
  """Files of tokenisers of all kinds."""
  root = tmp_path_factory.mktemp('kinds')
  for kind in KINDS[1:]:
    library_of(kind).save(str(root / f'{kind}.json'))
  return {kind: str(root / f'{kind}.json') for kind in KINDS[1:]} | {'trained': trained}


SPECIAL_WORDS = [*itertools.chain(*words.NAMES), '[UNK]', '<unk>']
PIECES = st.sampled_from([*SPECIAL_WORDS, *(word.upper() for word in SPECIAL_WORDS), '\uff3bPAD\uff3d', ' ', 'a', 'ab',
                          '\n', '\ufdd0', '\ufdd0[PAD]', '\ufdd0\u0301\ufdd0<s>', '##', '0'])
TEXTS = st.lists(PIECES | st.text(st.characters(exclude_categories=['Cs']), max_size=4), max_size=6).map(''.join)


@pytest.mark.parametrize('kind', KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, max_size=3))
@example(texts=SPECIAL_WORDS)
@example(texts=[f'a {word} b' for word in SPECIAL_WORDS])
@example(texts=[f'a{word}b' for word in SPECIAL_WORDS])
def test_no_text_has_a_special_id(of_kinds, kind, texts):
  made = tokenizer(of_kinds[kind])
  found = made.encode(texts)
  assert len(found) == len(texts) and all(SPECIAL <= i < made.vocabulary for ids in found for i in ids.tolist())


@pytest.mark.parametrize('kind', KINDS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from(LETTERS + '  \n\u00e9\u2603'), max_size=30))
def test_other_texts_have_the_ids_of_the_file(of_kinds, kind, text):
  made, library = tokenizer(of_kinds[kind]), Library.from_file(of_kinds[kind])
  library.no_padding()
  library.encode_special_tokens = True
  raw = library.encode(text, add_special_tokens=False)
  if not set(raw.tokens) & {*SPECIAL_WORDS, '<s>a'}:
    assert made.encode([text])[0].tolist() == made.ids[raw.ids].tolist()


@pytest.mark.parametrize('kind', ['trained', 'roberta'])
def test_special_words_are_given_back_as_they_were_written(of_kinds, kind):
  made, library = tokenizer(of_kinds[kind]), Library.from_file(of_kinds[kind])
  library.decoder = Library.from_file(of_kinds['trained']).decoder
  texts = [f'a {word}\ufdd0{word} b' for word in SPECIAL_WORDS]
  back = np.argsort(made.ids)  # where all four are there
  if kind == 'roberta':
    assert made.ids.tolist()[:3] == [BEGIN, PAD, END]
  assert [library.decode(back[ids].tolist(), skip_special_tokens=False) for ids in made.encode(texts)] == texts


def test_a_special_word_without_pieces_is_unknown(of_kinds):
  made, library = tokenizer(of_kinds['words']), Library.from_file(of_kinds['words'])
  unknown = made.ids[library.token_to_id('[UNK]')]
  assert [ids.tolist() for ids in made.encode(['the [PAD] dog', '[MASK]'])] == [
    [made.ids[library.token_to_id('the')], unknown, made.ids[library.token_to_id('dog')]], [unknown]]


def test_a_tokenizer_whose_unknown_token_is_no_text_is_refused(tmp_path):
  kinds = {'word': library_models.WordLevel({'[PAD]': 0, 'a': 1}, '[PAD]'),
           'pieces': library_models.Unigram([('<pad>', 0.), ('a', -1.)], 0, False),
           'pairs': library_models.BPE({'<s>': 0, 'a': 1}, [], unk_token='<s>')}
  for name, model in kinds.items():
    Library(model).save(str(tmp_path / f'{name}.json'))
    with pytest.raises(ValueError, match=f"{name}.json writes '.*' for what it does not know, which is no text"):
      tokenizer(str(tmp_path / f'{name}.json'))


def test_a_file_may_leave_out_ids_and_lack_the_unknown(tmp_path):
  Library(library_models.WordLevel({'cat': 0, '[PAD]': 3, 'dog': 7}, '[UNK]')).save(str(tmp_path / 'gaps.json'))
  made = tokenizer(str(tmp_path / 'gaps.json'))
  assert made.vocabulary == SPECIAL + 2
  assert [ids.tolist() for ids in made.encode(['dog', 'cat'])] == [[SPECIAL + 1], [SPECIAL]]
  with pytest.raises(ValueError, match=r'gaps.json cannot encode one of the 2 texts: .*\[UNK\]'):
    made.encode(['dog', 'cow'])


@pytest.mark.parametrize('kind', ['bytes', 'trained', 'wordpiece', 'unigram'])
def test_half_a_character_is_refused_by_the_number_of_its_text(of_kinds, kind):
  made = tokenizer(of_kinds.get(kind, kind))
  for half in (json.loads('"a cat \\ud800 b"'), 'a cat \udfff'):
    with pytest.raises(ValueError, match='text 2 of 3: .* at character 7 is half of a character; mend it') as caught:
      made.encode(['fine \U0001f600', half, 'fine'])
    assert type(caught.value) is ValueError and str(caught.value).encode()


def test_documents_have_no_mark_and_name_the_line_that_is_no_utf8(tmp_path):
  file = tmp_path / 'a.txt'
  file.write_bytes('\ufeffone\r\ntwo\rthree\u2028\ufeff\n'.encode())
  assert words.documents([file]) == ['one\ntwo\nthree\u2028\ufeff\n']
  file.write_bytes('one\ntwo \u00e9\n'.encode('latin-1'))
  with pytest.raises(ValueError, match='a.txt, line 2, byte 5: not UTF-8 text, got 0xe9') as caught:
    words.documents([file])
  assert type(caught.value) is ValueError
  file.write_bytes('one\n'.encode('utf-16'))
  with pytest.raises(ValueError, match='a.txt is not UTF-8 but UTF-16'):
    words.documents([file])
  file.write_bytes(b'\xef\xbb\xbf \n')
  with pytest.raises(ValueError, match='nothing but whitespace'):
    words.documents([file])
  with pytest.raises(FileNotFoundError, match='no file .*b.txt'):
    words.documents([tmp_path / 'b.txt'])


def test_a_tokenizer_is_trained_on_text_with_special_words(tmp_path):
  (tmp_path / 'a.txt').write_text('\ufeff' + ' '.join(SPECIAL_WORDS) + '[PAD][PAD]the\n' * 50, encoding='utf-8')
  assert main(['tokenizer', f'--text={tmp_path}', '--vocabulary=300', f'--out={tmp_path / "t.json"}']) == 0
  made, library = tokenizer(str(tmp_path / 't.json')), Library.from_file(str(tmp_path / 't.json'))
  assert [library.token_to_id(names[0]) for names in words.NAMES] == [PAD, BEGIN, END, MASK]
  ids, = made.encode(['[PAD][PAD]the'])
  assert ids.min() >= SPECIAL and library.decode(ids.tolist()) == '[PAD][PAD]the'


# --- Sources ---------------------------------------------------------------------------------------------------------

def test_labeled_text_from_lines(tmp_path):
  path = tmp_path / 'set.jsonl'
  open_ = lambda **options: labeled_text(path=str(path), tokenizer='bytes', length=8, **options)
  path.write_text('{"text": "yes", "label": "good"}\n{"text": "no", "label": "bad"}\n{"text": "yes!", "label": "good"}')
  source = open_()
  assert source.classes == ('bad', 'good') and source.labels.tolist() == [1, 0, 1] and source.vocabulary == 260
  batch = source.take([2, 0]).batch(np.array([0, 1]))
  assert batch['label'].tolist() == [1, 1] and batch['index'].tolist() == [2, 0] and batch['tokens'].shape == (2, 8)
  assert bytes((batch['tokens'][0][1:5] - SPECIAL).tolist()) == b'yes!' and batch['tokens'][0, 5:].tolist() == [
      END, PAD, PAD]
  assert open_(classes=('good', 'bad')).labels.tolist() == [0, 1, 0]
  assert 'label' not in source.unlabeled().batch(np.arange(3)) and source.unlabeled().labels is None
  with pytest.raises(ValueError, match=r"label, line 1: 'good' is none of the classes \[bad\], and 1 more are none"):
    open_(classes=('bad',))
  for text_, words_ in [('{"text": "a", "label": 1}\n{"text": "b", "label": "x"}', 'line 2: wanted labels of one'),
                        ('{"text": " "}', 'line 1'), ('{"text": "a"}\nnonsense', 'line 2'), ('[1]', 'line 1'),
                        ('', 'got none')]:
    path.write_text(text_)
    with pytest.raises(ValueError, match=words_):
      open_()
  path.write_text('{"text": "a"}\n{"text": "b", "label": "x"}')
  assert open_().labels.tolist() == [-1, 0]
  path.write_text('{"text": "a"}\n{"text": "b"}')
  assert open_().labels is None and open_().classes is None
  with pytest.raises(FileNotFoundError):
    labeled_text(path='nowhere', tokenizer='bytes', length=8)


def test_packed_text_is_all_documents_in_order_without_padding(tmp_path):
  for name, content in (('b.txt', 'wörld'), ('a.md', 'hello\n'), ('c.rst', 'not read')):
    (tmp_path / name).write_text(content)
  source = text_source(path=str(tmp_path), tokenizer='bytes', length=5)
  stream = [*b'hello\n', END - SPECIAL, *'wörld'.encode(), END - SPECIAL]
  assert len(source) == len(stream) // 4 == 3 and source.shape == (5,) and source.vocabulary == 260
  batch = source.batch(np.array([2, 0]))
  assert {k: (v.dtype, v.shape) for k, v in batch.items()} == {'tokens': (np.int32, (2, 5)), 'index': (np.int32, (2,))}
  assert batch['tokens'][1].tolist() == [BEGIN, *(SPECIAL + np.array(stream[:4])).tolist()]
  assert batch['tokens'][0].tolist() == [BEGIN, *(SPECIAL + np.array(stream[8:12])).tolist()]
  part = source.take(np.array([2, 1]))
  assert (len(part), part[0]['index'], part[-1]['index']) == (2, 2, 1) and part.unlabeled().vocabulary == 260
  with loader(part, batch=4, seed=0) as batches:
    assert sorted(next(batches)['index'].tolist()) == [1, 1, 2, 2]
  with pytest.raises(IndexError, match='3 examples'):
    source[3]


def test_text_that_makes_no_sequence_is_refused(tmp_path, trained):
  (tmp_path / 'short.txt').write_text('short')
  with pytest.raises(ValueError, match='short.txt: 6 tokens make no sequence of 8; wanted at least 7'):
    text_source(path=str(tmp_path / 'short.txt'), tokenizer='bytes', length=8)
  (tmp_path / 'folder').mkdir()
  with pytest.raises(ValueError, match=r'no .txt or .md file'):
    text_source(path=str(tmp_path / 'folder'), tokenizer='bytes', length=8)
  with pytest.raises(FileNotFoundError, match='no file or folder'):
    text_source(path=str(tmp_path / 'nowhere'), tokenizer='bytes', length=8)
  whole = text_source(path=str(ROOT / 'LICENSE'), tokenizer=trained, length=16)
  library = Library.from_file(trained)
  tokens = whole.batch(np.arange(3, 9))['tokens'][:, 1:]
  assert library.decode(tokens.reshape(-1).tolist()) in (ROOT / 'LICENSE').read_text()


def test_captions_of_fashion_mnist_say_the_class():
  source = captions(source=dict(name='fashion_mnist', split='test'), templates=TEMPLATES, tokenizer='bytes', length=32)
  batch = source.batch(np.arange(50))
  plain = fashion_mnist(split='test').batch(np.arange(50))
  assert all(np.array_equal(batch[k], plain[k]) for k in plain)
  for row, label, index in zip(batch['tokens'], batch['label'], batch['index'], strict=True):
    said = spoken(row)
    assert said == TEMPLATES[index % 2].format(CLASSES[label].lower())
  part = source.take(np.array([7, 3]))
  assert np.array_equal(part.batch(np.array([0]))['tokens'], batch['tokens'][7:8])
  assert 'tokens' not in source.unlabeled().batch(np.arange(2)), 'captions tell the class'
  with pytest.raises(ValueError, match='templates'):
    captions(source=dict(name='fashion_mnist', split='test'), templates=(), tokenizer='bytes', length=32)


def spoken(row) -> str:
  """The text of bytes as tokens."""
  return (row[row >= SPECIAL] - SPECIAL).astype(np.uint8).tobytes().decode()


def png(shade: int) -> bytes:
  out = io.BytesIO()
  Image.fromarray(np.full((6, 6, 3), shade, np.uint8)).save(out, 'PNG')
  return out.getvalue()


def test_pairs_from_lines_and_from_parquet_are_the_same(tmp_path):
  texts = [f'a square of shade {i}' for i in range(5)]
  (tmp_path / 'images').mkdir()
  for i in range(5):
    (tmp_path / 'images' / f'{i}.png').write_bytes(png(40 * i) if i != 1 else b'broken')
  lines = [json.dumps({'image': f'images/{i}.png', 'text': t}) for i, t in enumerate(texts)]
  (tmp_path / 'pairs.jsonl').write_text('\n'.join(lines))
  (tmp_path / 'parquet').mkdir()
  cells = [{'bytes': png(40 * i) if i != 1 else b'broken', 'path': None} for i in range(5)]
  pq.write_table(pa.table({'image': cells, 'caption': texts, 'label': [0] * 5}), tmp_path / 'parquet/train.parquet')
  with tarfile.open(tmp_path / 'shard.tar', 'w') as file:
    for i, text in enumerate(texts):
      for suffix, content in (('png', png(40 * i) if i != 1 else b'broken'), ('txt', text.encode()), ('cls', b'0')):
        about = tarfile.TarInfo(f'{i}.{suffix}')
        about.size = len(content)
        file.addfile(about, io.BytesIO(content))
  how = dict(size=4, tokenizer='bytes', length=40)
  for source in (pairs(path=str(tmp_path / 'shard.tar'), **how), pairs(path=str(tmp_path / 'pairs.jsonl'), **how),
                 pairs(path=str(tmp_path / 'parquet'), split='train', text_column='caption', **how)):
    batch = source.batch(np.array([4, 1, 0]))
    assert set(batch) == {'image', 'tokens', 'index'} and batch['index'].tolist() == [4, 2, 0], 'a neighbour for 1'
    for image, row, index in zip(batch['image'], batch['tokens'], batch['index'], strict=True):
      assert image[0, 0, 0] == 40 * index
      assert spoken(row) == texts[index], 'the text of the image that stands in'
    with loader(source, batch=2, seed=0, max_bad_share=1.0) as batches:
      assert next(batches)['tokens'].shape == (2, 40)


def test_pairs_without_text_or_image_are_counted_and_named(tmp_path):
  how = dict(size=4, tokenizer='bytes', length=40)
  for lines, message in [
      ([{'image': 'a.png', 'text': 'a'}, {'image': 'b.png', 'text': ' '}, {'image': 'c.png'}],
       "2 of 3 pairs have no 'text', the first is number 2"),
      ([{'text': 'a'}], "1 of 1 pairs have no 'image', the first is number 1"), ([3], 'line 1: wanted {"image"'),
      ([], 'got none')]:
    (tmp_path / 'pairs.jsonl').write_text('\n'.join(map(json.dumps, lines)))
    with pytest.raises(ValueError, match=message):
      pairs(path=str(tmp_path / 'pairs.jsonl'), **how)
  with pytest.raises(ValueError, match='no splits'):
    pairs(path=str(tmp_path / 'pairs.jsonl'), split='train', **how)
  with pytest.raises(ValueError, match='tar files have no splits'):
    pairs(path=str(tmp_path / 'a.tar'), split='train', **how)
  with pytest.raises(ValueError, match='needs a split'):
    pairs(path=str(tmp_path), **how)
  pq.write_table(pa.table({'image': [{'bytes': png(0), 'path': None}] * 2, 'text': ['a', None]}),
                 tmp_path / 'train.parquet')
  with pytest.raises(ValueError, match="1 of 2 pairs have no 'text', the first is number 2"):
    pairs(path=str(tmp_path), split='train', **how)
  with pytest.raises(ValueError, match="nearest: 'text'"):
    pairs(path=str(tmp_path), split='train', text_column='texts', **how)
  with pytest.raises(FileNotFoundError):
    pairs(path=str(tmp_path / 'none.jsonl'), **how)


@pytest.mark.parametrize(('file', 'change', 'message'), [
    ('clip.py:fashion_mnist', ['objective.text.vocabulary=256'], 'config.objective.text.vocabulary: 256.*has 260 ids'),
    ('clip.py:fashion_mnist', ['objective.text.vocabulary=512'], 'wanted 260'),
    ('bert.py:docs', ['backbone.vocabulary=200'], 'config.backbone.vocabulary: 200'),
    ('clip.py:fashion_mnist', ['objective.text.length=39'], 'l at most 39.*40'),
    ('clip.py:fashion_mnist', ["objective.text.name='txt'"], "config.objective.text.name: no 'txt'"),
    ('clip.py:fashion_mnist', ["source=dict(name='fashion_mnist', split='train')"], 'no images with texts|with texts'),
    ('bert.py:docs', ['backbone.causal=True', "backbone.pool='mean'"], 'causal=True'),
])
def test_models_that_do_not_fit_the_text_are_refused(file, change, message):
  with pytest.raises((ConfigError, ValueError), match=message):
    run = config.call(prepare, config.load(str(ROOT / f'configs/{file}'), change), 'config')
    jax.eval_shape(run.training.step, run.training.abstract, run.abstract_batch)


# --- The encoder -----------------------------------------------------------------------------------------------------

def parameters(build) -> int:
  params, _ = jax.eval_shape(functional(build).init, KEY)
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


def test_text_encoders_have_the_published_numbers_of_parameters():
  sizes = dict(depth=12, pool='last')
  # OpenAI's ViT-B/32 has 151,277,313 parameters: 87,849,216 of images with their projection, a scale, and the text's
  clip_text = parameters(text(vocabulary=49408, length=77, width=512, heads=8, mlp=2048, causal=True, **sizes))
  assert clip_text + 512 * 512 == 151_277_313 - 87_849_216 - 1
  # BERT-base of Hugging Face has 109,482,240, with 2 x 768 of segments and a pooler; its first norm is our last
  bert_base = parameters(text(vocabulary=30522, length=512, width=768, heads=12, mlp=3072, depth=12))
  assert bert_base + 2 * 768 + 768 * 768 + 768 == 109_482_240
  # SigLIP's B/16: its text tower without head, by the formula of a pre-norm Transformer
  siglip_text = parameters(text(vocabulary=32000, length=64, width=768, heads=12, mlp=3072, **sizes))
  assert siglip_text == 32000 * 768 + 64 * 768 + 12 * (12 * 768 * 768 + 13 * 768) + 2 * 768


def made(**changes):
  net = functional(text(**TINY | changes))
  return net, *net.init(KEY)


def encode(net, params, mutable, tokens, call='encode'):
  return np.asarray(net.apply(params, mutable, lambda m: getattr(m, call)(jnp.asarray(tokens)))[0])


TOKENS = np.array([[BEGIN, 7, 8, 9, END, PAD, PAD, PAD], [BEGIN, 7, 8, 9, 10, 11, 12, END]], np.int32)


def test_padding_is_not_seen_and_causal_tokens_do_not_see_the_future():
  for causal in (False, True):
    net, params, mutable = made(causal=causal, pool='last')
    whole = encode(net, params, mutable, TOKENS)
    assert_close(encode(net, params, mutable, TOKENS[:1, :5]), whole[:1, :5], rtol=1e-4, atol=1e-5)
    changed = TOKENS.copy()
    changed[1, 4] = 20
    same = np.isclose(encode(net, params, mutable, changed)[1], whole[1], atol=1e-6).all(-1)
    assert same.tolist() == ([True] * 4 + [False] * 4 if causal else [False] * 8)


def test_pooling_takes_the_places_that_it_says():
  for pool, places in (('cls', [[0], [0]]), ('last', [[4], [7]]), ('mean', [list(range(5)), list(range(8))])):
    net, params, mutable = made(pool=pool)
    tokens = encode(net, params, mutable, TOKENS)
    wanted = np.stack([tokens[row, at].mean(0) for row, at in enumerate(places)])
    assert_close(encode(net, params, mutable, TOKENS, '__call__'), wanted, rtol=1e-4, atol=1e-5)
  for options in (dict(pool='max'), dict(pool='cls', causal=True)):
    with pytest.raises(ValueError, match='wanted pool'):
      text(**TINY, **options)


def test_remat_and_scan_change_nothing():
  net, params, mutable = made()
  wanted = encode(net, params, mutable, TOKENS)
  for lever in (dict(scan=True), dict(remat='dots'), dict(remat='everything', scan=True)):
    assert_close(encode(functional(text(**TINY, **lever)), params, mutable, TOKENS), wanted, rtol=1e-4, atol=1e-5)


# --- Masked language modelling ---------------------------------------------------------------------------------------


def test_the_mask_has_the_share_and_the_kinds_of_the_paper():
  b, n, vocabulary = 2000, 40, 1000
  rng = np.random.default_rng(0)
  tokens = rng.integers(SPECIAL, vocabulary, (b, n)).astype(np.int32)
  tokens[:, 0], tokens[:, 20] = BEGIN, END
  hide = jax.jit(partial(token_mask, mask_ratio=0.15, vocabulary=vocabulary))
  shown, places, hidden = map(np.asarray, hide(KEY, jnp.arange(b), tokens))
  assert places.shape == (b, 6) and hidden.all() and not np.isin(places, (0, 20)).any()
  assert all(len(set(row)) == 6 for row in places)
  rows = np.arange(b)[:, None]
  rest = np.ones((b, n), bool)
  rest[rows, places] = False
  assert np.array_equal(shown[rest], tokens[rest]), 'what is not chosen stays'
  before, after = tokens[rows, places], shown[rows, places]
  shares = (after == MASK).mean(), (after == before).mean(), ((after != MASK) & (after != before)).mean()
  np.testing.assert_allclose(shares, (0.8, 0.1, 0.1), atol=0.015)  # 12,000 words: a deviation of 0.004
  random = after[(after != MASK) & (after != before)]
  assert random.min() >= SPECIAL and random.max() > 950 and len(set(random.tolist())) > 500
  counts = np.bincount(places.reshape(-1), minlength=n)[np.r_[1:20, 21:40]]
  assert abs(counts / counts.mean() - 1).max() < 0.25, 'every place as often'
  again = hide(KEY, jnp.arange(b)[::-1], tokens[::-1])
  assert np.array_equal(np.asarray(again[0])[::-1], shown), 'a function of key and index'
  assert (np.asarray(hide(jax.random.key(1), jnp.arange(b), tokens)[1]) != places).any()


def test_a_text_with_fewer_words_than_places_has_all_of_them_hidden():
  tokens = np.array([[BEGIN, 9, END, PAD, PAD, PAD, PAD, PAD]], np.int32)
  shown, places, hidden = map(np.asarray, token_mask(KEY, jnp.arange(1), jnp.asarray(tokens), 0.5, 20))
  assert hidden.sum() == 1 and places[hidden].tolist() == [1] and np.array_equal(shown[0, 2:], tokens[0, 2:])
  for ratio in (0.0, 1.0):
    with pytest.raises(ValueError, match='mask_ratio'):
      token_mask(KEY, jnp.arange(1), tokens, ratio, 20)


# --- Matching images and texts ---------------------------------------------------------------------------------------


def test_zero_shot_takes_the_nearest_mean_of_templates():
  vectors = np.array([[1, 0, 0], [0.6, 0.8, 0], [0, 0, 1], [0, 0, 1]], np.float32)  # 2 classes x 2 templates
  prompts = np.arange(4, dtype=np.int32).reshape(2, 2, 1)
  embed = jax.tree_util.Partial(lambda table, tokens: table[tokens[:, 0]], jnp.asarray(vectors))
  features = np.array([[5, 1, 0], [0, 1, 0.3], [0.1, 0, 9], [0, 0, 1]], np.float32)
  assert zero_shot(features, np.array([0, 0, 1, 0]), embed, prompts) == 0.75


@pytest.mark.slow
@pytest.mark.parametrize('name', ['clip', 'siglip'])
def test_digits_are_classified_by_their_names(name, tmp_path):
  digits = lambda split: dict(name='digits', split=split)
  spec = config.load(str(ROOT / f'configs/{name}.py:fashion_mnist'), ['steps=200', 'objective.text.length=16'])
  spec['source'] = dict(name='captions', source=digits('train'), templates=('the digit {}', 'a {}'), tokenizer='bytes',
                        length=16)
  spec['views'] = dict(name='supervised', size=8, scale=(0.8, 1.0), flip=0.0)
  spec['backbone'] |= dict(blocks=(1, 1), stem='cifar')
  spec['evaluate'] = dict(train=digits('train'), test=digits('test'), templates=('the digit {}', 'a {}'))
  assert train(spec, tmp_path, quiet=True) == 0
  found = json.loads((tmp_path / 'evaluation.json').read_text())
  assert (found | found['rows'][-1])['zero_shot'] > 0.9
