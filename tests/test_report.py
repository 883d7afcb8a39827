"""The page of a run: each section with its data and without, nothing from the network, nothing unescaped."""

import os
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from pretrain.files import write_json
from pretrain.machine.metrics import Recorder, event
from pretrain.report import report, save_report_data

SECTIONS = ('Evaluation', 'Curves', 'Augmented views', 'Nearest neighbours', 'Features in two dimensions', 'Timeline')
EVIL = '<script>alert("x")</script>'


def metrics_only(workdir, steps: int = 40):
  write_json(workdir / 'config.json', {'name': 'tiny', 'objective': {'name': 'simclr'}, 'steps': steps, 'batch': 8})
  with Recorder(workdir, steps=steps, start=0, batch=8, quiet=True) as recorder:
    for step in range(1, steps + 1):
      recorder.log(step, {'loss': float('nan') if step == 7 else 5 / step, 'lr': 0.1, 'grad_norm': 2.0})
    recorder.write(steps, {'eval/knn': 0.5})


def full(workdir, name: str = 'cat'):
  metrics_only(workdir)
  rng = np.random.default_rng(0)
  event(workdir, 'start', step=0)
  event(workdir, 'compile', seconds=12.5)
  for step in range(5):
    event(workdir, 'save', step=step)
  event(workdir, 'stop', step=40, reason=name)
  table = [('raw pixels', 0.3), ('random backbone', 0.4), ('pretrained backbone', 0.625)]
  shared = {'labels_10': 0.2, 'labels_10_std': 0.01, 'n': 60, 'protocol': 'kNN with k=20'}
  rows = [{'features': features, 'knn': knn, **shared} for features, knn in table]
  write_json(workdir / 'evaluation.json', {'rows': rows, 'test': 1000, 'note': name})
  labels = np.arange(60) % 3
  save_report_data(
    workdir,
    originals=rng.integers(0, 255, (3, 16, 16, 1), np.uint8),
    views=[rng.random((3, 2, 16, 16, 1), np.float32), rng.random((3, 4, 8, 8, 1), np.float32)],
    queries=rng.integers(0, 255, (2, 64, 64, 3), np.uint8),
    neighbors=rng.integers(0, 255, (2, 8, 64, 64, 3), np.uint8),
    query_labels=np.array([0, 1]),
    neighbor_labels=np.array([[0] * 8, [0] * 8]),
    features={'random backbone': rng.normal(size=(60, 8)), 'pretrained backbone': np.eye(3)[labels] + 0.1},
    labels=labels,
    classes=[name, 'dog', 'ship'],
  )


class Page(HTMLParser):
  """Tags of a page, every attribute value, and whether each tag that opens is closed."""

  VOID = ('meta', 'img', 'br')

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.attributes, self.open = set(), [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.add(tag)
    self.attributes += attrs
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.add(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('run')
  full(workdir, EVIL)
  return report(workdir).read_text()


def test_every_section_is_there(page):
  for section in SECTIONS:
    assert f'<h2>{section}</h2>' in page
  assert 'class="dim missing"' not in page
  for text in ('simclr', '40 of 40', '62.5%', '20.0% ± 1.0', '10 labels', 'compile', 'save × 5', 't-SNE', 'Learning'):
    assert text in page
  assert page.count('kNN with k=20') == 1 and '<th>N</th>' not in page and 'n 60' in page
  assert 'Not finite at 1 logged step, first 7' in page
  assert '2 of 16 × 16 px and 4 of 8 × 8 px' in page
  assert page.count('"pic right"') == page.count('"pic wrong"') == 8
  assert page.count('<svg') == 4 + 1 + 2  # loss, lr, examples/s, grad_norm; eval; two projections


def test_the_best_of_each_column_is_marked(page):
  assert re.findall(r'<td class="best">([^<]*)</td>', page) == ['62.5%']  # equal values have no best


def test_nothing_is_unescaped(page):
  assert '<script' not in page
  assert '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;' in page
  assert 'script' not in Page(page).tags


def test_the_page_is_well_formed_and_small(page):
  parsed = Page(page)
  assert parsed.open == []
  assert len(page.encode()) < 3e6
  ids = [value for key, value in parsed.attributes if key == 'id']
  assert {value[1:] for key, value in parsed.attributes if key == 'href'} <= set(ids)


def test_the_page_loads_nothing(page):
  assert 'http://' not in page and 'https://' not in page
  assert '@import' not in page and 'src="//' not in page
  for key, value in Page(page).attributes:
    assert key != 'src' or value.startswith('data:image/')
    assert key != 'href' or value.startswith('#')
  assert "default-src 'none'" in page and 'prefers-color-scheme:dark' in page and 'width=device-width' in page


def test_a_run_with_metrics_alone_says_what_would_add_the_rest(tmp_path):
  workdir = tmp_path / 'my run'
  metrics_only(workdir)
  page = report(workdir).read_text()
  for section in SECTIONS:
    assert f'<h2>{section}</h2>' in page
  assert page.count('class="dim missing"') == 5  # all but the curves
  assert page.count(f'python -m pretrain evaluate --workdir=&#x27;{workdir}&#x27;') == 4
  assert '<svg' in page and Page(page).open == []


def test_a_run_that_has_logged_nothing_yet(tmp_path):
  write_json(tmp_path / 'config.json', {'name': 'young'})
  assert 'No metrics have been logged yet' in report(tmp_path).read_text()


def test_no_run_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='neither config.json nor a row in metrics.jsonl'):
    report(tmp_path)
  with pytest.raises(ValueError, match='does not exist'):
    report(tmp_path / 'nowhere')


def test_a_broken_file_is_named(tmp_path):
  metrics_only(tmp_path)
  (tmp_path / 'report_data.npz').write_bytes(b'PK\x03\x04 cut')
  (tmp_path / 'evaluation.json').write_text('{"rows": [')
  page = report(tmp_path).read_text()
  assert 'report_data.npz is damaged' in page and 'evaluation.json is damaged: wanted a JSON object' in page


def badge(workdir) -> str:
  return re.search(r'class="badge \w+">([^<]*)<', report(workdir).read_text())[1]


def test_status(tmp_path):
  metrics_only(tmp_path, steps=5)
  event(tmp_path, 'start', step=0)
  assert badge(tmp_path) == 'running'
  for name in ('metrics.jsonl', 'events.jsonl', 'config.json'):
    os.utime(tmp_path / name, (time.time() - 3600,) * 2)
  assert badge(tmp_path) == 'interrupted'
  event(tmp_path, 'stop', step=5, reason='SIGTERM')
  assert badge(tmp_path) == 'stopped'
  event(tmp_path, 'start', step=5)
  assert badge(tmp_path) == 'running'
  write_json(tmp_path / 'result.json', {'steps': 5})
  assert badge(tmp_path) == 'done'
  write_json(tmp_path / 'result.json', {'steps': 3})  # of an earlier, shorter run
  assert badge(tmp_path) == 'running'
  event(tmp_path, 'stop', step=5, reason='done')
  assert badge(tmp_path) == 'done'


def test_features_that_cannot_be_projected_are_explained(tmp_path):
  metrics_only(tmp_path, steps=2)
  bad = np.ones((20, 4), np.float32)
  bad[3, 1] = np.nan
  save_report_data(tmp_path, features={'flat': np.ones((20, 4)), 'bad': bad}, labels=np.zeros(20, int), classes=['a'])
  page = report(tmp_path).read_text()
  assert 'Collapsed: every example has the same features.' in page and 'Some features are not finite.' in page


def test_features_need_no_labels_and_are_thinned(tmp_path):
  metrics_only(tmp_path, steps=2)
  data = np.load(save_report_data(tmp_path, features={'one': np.arange(2500)[:, None]}))
  assert data['features_0'].shape == (2000, 1)
  assert (np.diff(data['features_0'][:, 0]) > 0).all()
  save_report_data(tmp_path, features={'one': np.arange(30)[:, None]})
  assert '<path d="M' in report(tmp_path).read_text()


def test_many_photographs_stay_small(tmp_path):
  metrics_only(tmp_path, steps=2)
  rng = np.random.default_rng(0)
  photo = lambda *shape: rng.integers(0, 255, (*shape, 8, 8, 3), np.uint8).repeat(28, -3).repeat(28, -2)  # noqa: E731
  save_report_data(
    tmp_path, originals=photo(20), views=photo(20, 12) / 255, queries=photo(20), neighbors=photo(20, 10)
  )
  assert report(tmp_path).stat().st_size < 3e6


def test_arrays_that_do_not_go_together_are_refused(tmp_path):
  images = np.zeros((3, 8, 8, 3), np.uint8)
  with pytest.raises(ValueError, match='got one of the two'):
    save_report_data(tmp_path, originals=images)
  with pytest.raises(ValueError, match='neighbors: 2 rows, but queries: 3'):
    save_report_data(tmp_path, queries=images, neighbors=np.zeros((2, 8, 8, 8, 3), np.uint8))
  with pytest.raises(ValueError, match='labels: 4 rows, but features: 5'):
    save_report_data(tmp_path, features={'a': np.zeros((5, 2))}, labels=np.zeros(4))
