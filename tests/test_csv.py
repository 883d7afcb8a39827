"""Cells of a CSV file: numbers, categories, and what is refused by line and column."""
import csv
import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.csv_table import read_csv

ROWS = 'x,y,l\n1,2,a\n-3.5,1e2,b\n 0.25 ,+7,a\n'


@pytest.fixture
def file(tmp_path):
  """A function that writes bytes or text, and gives the path."""
  def write(content: str | bytes):
    path = tmp_path / 't.csv'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
  return write


def refused(path, words: str, **options) -> None:
  with pytest.raises(ValueError, match=words) as caught:
    read_csv(path, **options)
  assert type(caught.value) is ValueError and '\n' not in str(caught.value)


def test_columns_are_numbers_categories_and_labels(file):
  made = read_csv(file('colour,x,y,bought\nred,1,2,no\nblue,-3.5,1e2,yes\nred, 0.25 ,+7,no\n'), 'bought')
  numbers, codes, sizes, labels, number_names, code_names, values = made
  assert numbers.dtype == np.float64 and numbers.tolist() == [[1, 2], [-3.5, 100], [.25, 7]]
  assert codes.dtype == np.int64 and codes.tolist() == [[1], [0], [1]] and sizes == (2,)
  assert labels == ['no', 'yes', 'no'] and (number_names, code_names) == (('x', 'y'), ('colour',))
  assert values == (('blue', 'red'),)


def test_the_columns_of_categories_are_these_whatever_they_hold(file):
  path = file('zip,x,y\n10,1,nan\n9,2,b\n10,3,7\n')
  made = read_csv(path, categories=('y', 'zip'))
  assert made.numbers.tolist() == [[1], [2], [3]] and made.labels is None
  assert made.codes.tolist() == [[0, 2], [1, 1], [0, 0]] and made.sizes == (2, 3)  # '10' < '9', '7' < 'b' < 'nan'
  assert (made.number_names, made.code_names) == (('x',), ('zip', 'y'))
  assert read_csv(path, 'y').labels == ['nan', 'b', '7']


def test_a_table_of_one_kind_has_no_column_of_the_other(file):
  made = read_csv(file('x\n1\n2\n'))
  assert (made.numbers.shape, made.codes.shape, made.sizes) == ((2, 1), (2, 0), ())
  made = read_csv(file('c\na\nb\n'))
  assert (made.numbers.shape, made.codes.shape, made.sizes) == ((2, 0), (2, 1), (2,))


@pytest.mark.parametrize('content', [
    '\ufeff' + ROWS, ROWS.replace('\n', '\r\n'), ROWS.replace('\n', '\r'), ROWS.rstrip('\n'), ROWS + '\n\n',
    ROWS + ',,\n', ROWS + '\n , ,\n\n', ROWS.replace('1,2,a', '"1","2","a"')],
    ids=['mark', 'crlf', 'cr', 'no end', 'blank lines', 'empty row', 'both', 'quotes'])
def test_marks_ends_of_lines_and_empty_rows_at_the_end_change_nothing(file, content):
  made = read_csv(file(content), 'l')
  assert made.numbers.tolist() == [[1, 2], [-3.5, 100], [.25, 7]] and made.labels == ['a', 'b', 'a']
  assert made.number_names == ('x', 'y')


@pytest.mark.parametrize('cell', ['nan', 'NaN', '-nan', 'inf', '-Infinity', '1e999'])
def test_numbers_that_are_not_finite_are_refused(file, cell):
  path = file(f'{ROWS}{cell},1,a\n')
  refused(path, rf"t.csv, line 5, column 'x': .*3 of 4 are\), got '{cell[:80]}'; .*categories=\('x',\)")
  assert read_csv(path, 'l', categories=('x',)).sizes == (4,)


def test_a_column_of_numbers_and_words_is_refused(file):
  numbers = ''.join(f'{i},a\n' for i in range(9))
  for cell in ('1_000', 'N/A', '1,5', '0x10', '$3', '--'):
    words = rf"line 11, column 'x': wanted a finite number in every cell or in none \(10 of 11 are\), got '{cell}'"
    refused(file(f'x,y\n{numbers}"{cell}",b\n1,b\n'), words.replace('$', '.'))
  words = ''.join(f'a,{i}\n' for i in range(9))
  refused(file(f'x,y\n{words}7,1\n'), r"line 11, column 'x': .*\(1 of 10 are\), got '7'")
  refused(file(f'x,y\n{words}nan,1\n'), r"line 11, column 'x': .*\(0 of 10 are\), got 'nan'")


def test_rows_of_another_length_are_named_by_their_line(file):
  refused(file('x,y\n1,2\n3\n4,5\n'), 't.csv, line 3: wanted 2 cells as in the header, got 1$')
  refused(file('x,y\n"two\nlines",2\n1,2,3\n'), 'line 4: wanted 2 cells as in the header, got 3$')
  refused(file('x,y\n1,2\n\n4,5\n'), 'line 3: wanted 2 cells as in the header, got 0$')
  refused(file('x,y\n1,"2\n3"\n4\n'), 'line 4: ')
  assert read_csv(file('x,y\n"two\nlines",2\n"a\r\nb",2\n')).sizes == (2,)


def test_empty_cells_are_named_and_counted(file):
  refused(file('a,b\n1,2\n1,\n , 2\n'), "line 3, column 'b': 2 of 6 cells are empty, this is the first; fill them")
  refused(file('a,b,l\n1,2,\n'), "line 2, column 'l': 1 of 3 cells", label='l')
  refused(file('a,b\n"x\ny",2\n1,\n'), "line 4, column 'b': 1 of 4")


def test_headers_name_each_column_once(file):
  refused(file('x,y,x\n1,2,3\n'), "t.csv, line 1: wanted another name for each column, got 'x' for column 3$")
  refused(file(',x,y\n0,1,2\n'), "got '' for column 1; name it, or leave out the column")
  refused(file('"a\nb",x, \n0,1,2\n'), "line 1: .* got ' ' for column 3")
  for content in ('', '\n', '\ufeff', ',,\n', '\nx,y\n1,2\n'):
    refused(file(content), 't.csv: wanted a header on the first line, got nothing')
  for content in ('x,y\n', 'x,y', 'x,y\n\n,\n'):
    refused(file(content), 't.csv: wanted rows below the header, got 0 rows')


def test_columns_that_are_not_there_are_refused(file):
  path = file('colour,x\nred,1\n')
  refused(path, "unknown column of .*t.csv 'color'; nearest: 'colour'; all: colour, x", label='color')
  refused(path, "unknown column of .*t.csv 'color'; nearest: 'colour'", categories=('x', 'color'))
  refused(path, "'x' is the label, leave it out of categories=", label='x', categories=('x',))
  refused(path, r"wanted several names, got 'x'; write \('x',\)", categories='x')
  refused(file('l\na\n'), "wanted a column beside that of the labels, 'l'", label='l')


def test_what_is_no_csv_is_named_by_its_line(file):
  refused(file('x,y\n1,2\n3,"never closed\n4,5\n6,7\n'), 't.csv, line 3: no row of CSV: .*a quote may be missing')
  refused(file('x,y\n1,"2"3\n'), "line 2: no row of CSV: .*expected after")
  refused(file(f'x,y\n1,2\n3,{"a" * 200_000}\n'), 'line 3: no row of CSV: field larger than field limit')
  refused(file('x,y\n1,2\n3,a\0b\n'), 'line 3: a NUL is no text')
  refused(file('x,y\n1,2\n'.encode('utf-16-le')), 'line 1: a NUL is no text; if the file is UTF-16, convert it')


def test_what_is_no_utf8_is_named_by_its_line(file):
  refused(file((ROWS + '1,1,é\n').encode('latin-1')), 't.csv, line 5, byte 5: not UTF-8 text, got 0xe9 .*iconv')
  refused(file(ROWS.encode('utf-16')), 't.csv is not UTF-8 but UTF-16')


def test_what_is_no_file_is_refused(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  for name, words in (('nowhere', 'nowhere$'), ('pipe', 'pipe but a folder or pipe$'), ('.', 'a folder or pipe$')):
    with pytest.raises(FileNotFoundError, match=f'^no file .*{words}'):
      read_csv(tmp_path / name)


CELLS = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), min_size=1, max_size=6).filter(
    str.strip)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELLS, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=5),
       st.sampled_from(['\n', '\r\n']))
def test_what_csv_writes_is_read(tmp_path_factory, rows, end):
  text = io.StringIO(newline='')
  csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator=end).writerows([('c', 'x'), *rows])
  path = tmp_path_factory.mktemp('csv') / 't.csv'
  path.write_bytes(text.getvalue().encode())
  made = read_csv(path, categories=('c',))
  values = sorted({c for c, _ in rows})
  assert [values[i] for i in made.codes[:, 0]] == [c for c, _ in rows]
  assert made.numbers[:, 0].tolist() == [x for _, x in rows]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40) | st.text(st.sampled_from('ab",;\n\r 1.e9-_nifu\0\ufeff'), max_size=30))
def test_any_file_is_read_or_refused_in_words(tmp_path_factory, content):
  path = tmp_path_factory.mktemp('csv') / 't.csv'
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  try:
    made = read_csv(path)
  except ValueError as error:
    assert type(error) is ValueError and str(path) in str(error)
  else:
    assert np.isfinite(made.numbers).all() and len(made.numbers) == len(made.codes) > 0
    assert (made.codes < made.sizes).all() and made.numbers.shape[1] + made.codes.shape[1] > 0


@pytest.mark.parametrize('cell', ['9007199254740993', '-1700000000000000000', '1' * 400])
def test_whole_numbers_that_float64_cannot_tell_apart_are_refused(file, cell):
  path = file(f'{ROWS}{cell},1,a\n')
  refused(path, rf"t.csv, line 5, column 'x': '{cell[:80]}' is above 2\*\*53.*categories=\('x',\)")
  assert read_csv(file(f'{ROWS}9007199254740992,1,a\n'), 'l').numbers[3, 0] == 2 ** 53
