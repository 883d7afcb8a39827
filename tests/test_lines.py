"""JSON lines: what is a line, what is refused, and in which words."""
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.lines import json_lines, utf8

WANTED = '{"text": …, "label": …}'


@pytest.fixture
def file(tmp_path):
  """A function that writes bytes or text, and gives the path."""
  def write(content: str | bytes):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
  return write


@pytest.mark.parametrize('inside', ['\u2028', '\u2029', '\x85', '\x0b', '\x0c', '\x1c', '\r', '\t'], ids=ascii)
def test_lines_end_at_newlines_alone(file, inside):
  path = file(f'{{"text": "a{inside}b"}}\n{{"text": "c"}}\n')
  assert json_lines(path) == [(1, {'text': f'a{inside}b'}), (2, {'text': 'c'})]


@pytest.mark.parametrize('content', ['\ufeff{"text": "a"}\n{"text": "b"}', '{"text": "a"}\r\n{"text": "b"}\r\n',
                                     '{"text": "a"}\n{"text": "b"}\n\n', ' {"text": "a"} \n\t{"text": "b"}\n \t\r\n\n'],
                         ids=ascii)
def test_marks_carriage_returns_and_blanks_at_the_end_are_no_lines(file, content):
  assert json_lines(file(content)) == [(1, {'text': 'a'}), (2, {'text': 'b'})]


@pytest.mark.parametrize('line, why', [
    ('', "'': leave empty lines out"), (' \t', "' .t': leave empty lines out"), ('[1]', 'a JSON list'),
    ('null', 'a JSON NoneType'), ('{"text": "b"', 'delimiter at character 13'), ('nonsense', 'Expecting value'),
    ('{"text": "b"} {"text": "c"}', 'Extra data at character 15'), ('{"text": "b}', 'starting at character 10'),
    ('{"text": "b", "text": "c"}', "the key 'text' twice"), ('{"text": {"x": 1, "x": 1}}', "the key 'x' twice"),
    ('{"text": NaN}', 'NaN is not finite'), ('{"text": -Infinity}', '-Infinity is not finite'),
    ('{"text": 1e999}', '1e999 is not finite'), ('{"text": ' + '1' * 5000 + '}', 'limit'),
    ('[' * 100_000, 'nested too deep'), ('{"a":' * 100_000, 'nested too deep'),
    ('\ufeff{"text": "b"}', 'Expecting value')], ids=lambda x: ascii(x)[:24])
def test_what_is_no_object_is_named_by_its_line(file, line, why):
  path = file(f'{{"text": "a"}}\n{line}\n{{"text": "d"}}\n')
  with pytest.raises(ValueError, match=rf'a.jsonl, line 2: wanted {WANTED}, got .*{why}') as caught:
    json_lines(path, WANTED)
  assert type(caught.value) is ValueError and len(str(caught.value)) < 600


def test_a_line_is_quoted_up_to_its_80th_character(file):
  with pytest.raises(ValueError, match=f"got '{'x' * 80}': Expecting value"):
    json_lines(file('x' * 500))


@pytest.mark.parametrize('content', ['', '\n\n', ' \n', '\ufeff'], ids=ascii)
def test_a_file_without_lines_is_refused(file, content):
  with pytest.raises(ValueError, match=rf'a.jsonl: wanted lines such as {WANTED}, got none'):
    json_lines(file(content), WANTED)


def test_what_is_no_utf8_is_named_by_its_line(file):
  with pytest.raises(ValueError, match='a.jsonl, line 2, byte 11: not UTF-8 text, got 0xe9 .*iconv') as caught:
    json_lines(file('{"text": "a"}\n{"text": "é"}\n'.encode('latin-1')))
  assert type(caught.value) is ValueError
  with pytest.raises(ValueError, match='line 1, byte 1: not UTF-8 text, got 0xff'):
    utf8(file(b'\xef\xbb\xbf\xff'))
  for codec, first in (('utf-16-le', b'\xff\xfe'), ('utf-16-be', b'\xfe\xff')):
    with pytest.raises(ValueError, match=f'not UTF-8 but UTF-16, as its first bytes {first.hex(" ")} say; convert it'):
      json_lines(file(first + '{"text": "a"}\n'.encode(codec)))


def test_what_is_no_file_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='no file .*nowhere$'):
    json_lines(tmp_path / 'nowhere')
  os.mkfifo(tmp_path / 'pipe')
  for path in (tmp_path, tmp_path / 'pipe'):
    with pytest.raises(FileNotFoundError, match='no file .* but a folder or pipe'):
      json_lines(path)
  with pytest.raises(ValueError, match='cannot be read: File name too long'):
    json_lines(tmp_path / ('x' * 300))


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                      | st.text(st.characters(exclude_categories=['Cs'])),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner,
                                                                                   max_size=3), max_leaves=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), min_size=1, max_size=4), st.booleans(),
       st.sampled_from(['\n', '\r\n']), st.sampled_from(['', '\ufeff']))
def test_what_json_writes_is_read(tmp_path_factory, rows, escaped, end, mark):
  path = tmp_path_factory.mktemp('lines') / 'a.jsonl'
  text = mark + ''.join(json.dumps(row, ensure_ascii=escaped) + end for row in rows)
  try:
    path.write_bytes(text.encode())
  except UnicodeEncodeError:  # half of a character, not escaped
    return
  assert json_lines(path) == list(enumerate(rows, 1))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]":,a1e9N\n\r\t \\u\ufeff\u2028'), max_size=40))
def test_any_file_is_read_or_refused_in_words(tmp_path_factory, content):
  path = tmp_path_factory.mktemp('lines') / 'a.jsonl'
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  try:
    assert all(isinstance(row, dict) and number >= 1 for number, row in json_lines(path))
  except ValueError as error:
    assert type(error) is ValueError and str(path) in str(error)
