"""`pretrain list` and `describe`, and the gallery: what they say is what code, configs and tables have."""
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats

from pretrain import config
from pretrain.__main__ import main
from pretrain.catalog import claims, facts, pages
from pretrain.config import ConfigError

ROOT = Path(__file__).parents[1]
FACTS = dict(title='A title', arxiv='2006.07733v3', family='contrastive', modality='image')
TABLE = dict(table='made_up', row='ours', column='4', metric='accuracy', than=dict(row='theirs'), claim='Better.')


def said(*argv: str, capsys) -> str:
  assert main(list(argv)) == 0
  return capsys.readouterr().out


def refused(*argv: str, capsys) -> str:
  assert main(list(argv)) == 1
  return capsys.readouterr().err


def test_the_gallery_is_what_the_code_gives():
  assert (ROOT / pages.GALLERY).read_text() == pages.gallery(), \
      f'python -m pretrain list papers --markdown > {pages.GALLERY}'


def test_links_of_the_gallery_lead_to_files():
  links = re.findall(r'\]\((?!https:)([^)]*)\)', (ROOT / pages.GALLERY).read_text())
  assert len(links) > 100 and all((ROOT / 'docs' / link).is_file() for link in links)


def test_every_objective_states_its_paper():
  for path in (ROOT / 'pretrain/objectives').glob('*.py'):
    assert path.stem == '__init__' or re.search('^PAPER = ', path.read_text(), re.MULTILINE), path
  assert {'byol', 'self_training', 'efficienttrain', 'rs2'} <= facts.papers().keys()  # of four folders


def test_the_smallest_run_of_every_paper_is_a_config_that_needs_no_data_set():
  for paper in facts.papers().values():
    command, path = pages.smallest(facts.configs_of(paper))
    tree = config.load(str(ROOT / path), [])
    assert ('program' in tree) == (command == 'program'), path
    assert not [key for key, value in config.flatten(tree).items() if str(value).startswith('data_sets/')], path


@pytest.mark.parametrize('kind', facts.PLACES)
def test_lists_have_what_configs_can_name(kind):
  package = importlib.import_module(facts.PLACES[kind].removesuffix('.py').replace('/', '.'))
  assert sorted(facts.functions(kind)) == config.names(package)


def test_lists_are_filtered(capsys):
  names = lambda *argv: {line.split()[0] for line in said('list', *argv, capsys=capsys).splitlines()}
  assert names('papers') == facts.papers().keys()
  assert names('papers', '--modality=video') == {'videomae'}
  assert names('papers', '--family=redundancy reduction') == {'barlow_twins', 'vicreg'}
  assert names('papers', '--family=contrastive', '--modality=image-text') == {'clip', 'siglip'}
  assert names('--modality=table', 'objectives') == {'t_jepa'}
  assert names('configs', '--modality=video') == pages.commands(facts.configs()['videomae']).keys()
  assert names('backbones') == {'resnet', 'table', 'text', 'vit', 'wide_resnet'}
  everything = names('configs')
  assert 'configs/demo.py' in everything and 'configs/byol.py:fashion_mnist' in everything


def test_describe_has_all_of_a_paper(capsys):
  text = said('describe', 'dcl', capsys=capsys)
  rows = facts.configs()['dcl']
  for part in ('Decoupled Contrastive Learning', 'arXiv:2110.06848v3', 'https://arxiv.org/abs/2110.06848v3',
               'contrastive', 'image', 'pretrain/objectives/dcl.py', 'tests/papers/test_dcl.py',
               'SimCLR without the positive pair in the denominator', 'chunk = None', 'of at least 1 or None',
               'python -m pretrain train --config=configs/dcl.py:fashion_mnist', *rows.rows, *rows.rows.values(),
               *(each['value'] for each in rows.published), rows.table['claim'], 'n = 5',
               'docs/tables/dcl_batch_size.md', claims.verdict(rows.table, rows.file).word):
    assert part in text, part
  assert re.search(r'temperature +a number above 0\n', text)


def test_describe_has_both_files_of_a_paper_and_what_is_no_paper(capsys):
  text = said('describe', 'simclr_v2', capsys=capsys)
  assert 'pretrain/objectives/simclr_v2.py' in text and 'pretrain/programs/simclr2.py' in text and '\nsimclr2: ' in text
  text = said('describe', 'vit', capsys=capsys)
  assert 'pretrain/models/vit.py' in text and re.search('heads = None +', text)
  assert 'pretrain/objectives/weighted.py' in said('describe', 'weighted', capsys=capsys)


@pytest.mark.parametrize('name', facts.papers())
def test_every_paper_is_described(name):
  assert facts.papers()[name].title in pages.description(name)


@pytest.mark.parametrize(('argv', 'words'), [
    (['describe', 'bylo'], "no 'bylo'; nearest: 'byol'"), (['describe'], 'wanted a name'),
    (['list', 'paper'], "no 'paper'; nearest: 'papers'"), (['list'], 'wanted what to list'),
    (['list', 'papers', '--family=contrast'], "--family: no 'contrast'; nearest: 'contrastive'"),
    (['list', 'papers', '--modality=images'], "--modality: no 'images'; nearest: 'image'"),
    (['list', 'views', '--family=contrastive'], '--family: views have none'),
    (['list', 'views', '--markdown'], '--markdown: prints the page docs/papers.md'),
    (['list', 'papers', '--config=x'], '--config: list does not use it'),
    (['describe', 'byol', 'dino'], "no flag 'dino'"),
    (['train', '--family=contrastive'], '--family: train does not use it')])
def test_what_there_is_not_is_refused_in_words(argv, words, capsys):
  assert words in refused(*argv, capsys=capsys)


def test_an_installed_package_describes_without_docs_and_tests(tmp_path):
  for place in ('pretrain', 'data', 'configs'):
    shutil.copytree(ROOT / place, tmp_path / place, ignore=shutil.ignore_patterns('__pycache__', 'fashion_mnist'))
  done = subprocess.run([sys.executable, '-m', 'pretrain', 'describe', 'byol'], cwd=tmp_path, capture_output=True,
                        text=True)
  assert done.returncode == 0, done.stderr
  assert 'in docs/tables/learning_digits.md of the repository' in done.stdout and '\ntest ' not in done.stdout


def test_list_and_describe_import_no_jax():
  code = ("import sys; from pretrain.__main__ import main; main(['list', 'papers']); main(['list', 'sources']); "
          "main(['describe', 'dino']); sys.exit(sorted({'jax', 'flax', 'optax', 'grain'} & sys.modules.keys()) or 0)")
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(('paper', 'words'), [
    (FACTS | dict(arxiv='2006.7'), "['arxiv']: wanted a number such as"),
    (FACTS | dict(arxiv='arXiv:2006.07733'), "['arxiv']: wanted a number such as"),
    (FACTS | dict(family='contrast'), "['family']: no family 'contrast'; nearest: 'contrastive'"),
    (FACTS | dict(modality='images'), "['modality']: no modality 'images'; nearest: 'image'"),
    (FACTS | dict(year='2020'), "wanted title, arxiv (or venue)"), (FACTS | dict(venue='ICML'), 'wanted title, arxiv'),
    (FACTS | dict(title=''), "['title']: wanted a text, got ''"), (dict(title='A title'), 'wanted title, arxiv'),
    (7, 'wanted a dict, the name of a paper or None, got 7'), ('byol', "no paper of that name")])
def test_wrong_facts_are_refused_with_the_file(paper, words, tmp_path):
  write(tmp_path, 'wrong', paper)
  with pytest.raises(ConfigError, match=r'^pretrain/wrong\.py: PAPER') as error:
    facts.papers(tmp_path)
  assert words in str(error.value)


def test_facts_of_one_paper_twice_and_facts_that_are_no_literals_are_refused(tmp_path):
  write(tmp_path, 'first', FACTS | dict(name='second'))
  write(tmp_path, 'second', FACTS)
  with pytest.raises(ConfigError, match=r"pretrain/second\.py: PAPER of 'second' is also in pretrain/first\.py"):
    facts.papers(tmp_path)
  (tmp_path / 'pretrain/second.py').write_text('PAPER = dict(title=title())\n')
  with pytest.raises(ConfigError, match=r"pretrain/second\.py: .* wanted literals .* 'title' is not defined"):
    facts.papers(tmp_path)


def test_parts_of_a_paper_and_venues(tmp_path):
  write(tmp_path, 'whole', {'title': 'A title', 'venue': 'ICML 2013', 'family': 'data', 'modality': 'any'})
  write(tmp_path, 'part', 'whole')
  write(tmp_path, 'none', None)
  paper, = facts.papers(tmp_path).values()
  assert (paper.name, paper.source, paper.files) == ('whole', 'ICML 2013', ('pretrain/whole.py', 'pretrain/part.py'))


def test_configs_are_read_as_they_run():
  for found in facts.configs().values():
    namespace = config.from_file(str(ROOT / found.file))
    assert found.rows.keys() == config.rows(namespace).keys(), found.file
    assert (found.published, found.table) == (namespace.get('PUBLISHED', []), namespace.get('TABLE')), found.file


def test_rows_are_public_functions_without_arguments(tmp_path, monkeypatch):
  monkeypatch.setattr(facts, 'ROOT', tmp_path)
  (tmp_path / 'x.py').write_text("""'''Of a paper.'''
from configs.common import shared
README = 'the README'
PUBLISHED = [dict(config='large', metric='accuracy', value='1', source=README, seen='read')]
OTHER = shared()


def large():
  "A row."
  return shared()


def several():
  c = shared()
  c.program = dict(name='ssld')
  return c


def _private(): ...


def of_size(size): ...
""")
  found = facts.rows(tmp_path / 'x.py')
  assert found.rows == {'large': 'A row.', 'several': 'Of a paper.'} and found.programs == {'several'}
  assert found.published[0]['source'] == 'the README' and found.table is None


def write(root: Path, name: str, paper) -> None:
  (root / 'pretrain').mkdir(exist_ok=True)
  (root / f'pretrain/{name}.py').write_text(f'"""A file."""\nimport math\n\nPAPER = {paper!r}\n\nPI = math.pi\n')


def verdict_of(ours: dict, theirs: dict, tmp_path, monkeypatch, **more) -> claims.Verdict:
  (tmp_path / 'docs/tables').mkdir(parents=True)
  lines = [f'{row},4,{seed},accuracy,{value}' for row, values in (('ours', ours), ('theirs', theirs))
           for seed, value in values.items()]
  (tmp_path / 'docs/tables/made_up.csv').write_text('\n'.join(['row,column,seed,metric,value', *lines]) + '\n')
  monkeypatch.setattr(claims, 'ROOT', tmp_path)
  claims.read.cache_clear()
  try:
    return claims.verdict(TABLE | more, 'configs/x.py')
  finally:
    claims.read.cache_clear()


@pytest.mark.parametrize(('ours', 'lower', 'word'), [
    ((82, 84, 83), False, 'held'), ((82, 84, 83), True, 'did not hold'), ((70, 71, 70), False, 'did not hold'),
    ((70, 71, 70), True, 'held'), ((82, 79, 81), False, 'not shown'), ((82, 79, 81), True, 'not shown')])
def test_verdicts(ours, lower, word, tmp_path, monkeypatch):
  theirs = dict(enumerate((80, 81.5, 81)))
  found = verdict_of(dict(enumerate(ours)), theirs, tmp_path, monkeypatch, **({'lower': True} if lower else {}))
  assert found.word == word
  known = scipy.stats.ttest_rel(ours, list(theirs.values())).confidence_interval(0.95)
  assert (found.low, found.high) == pytest.approx((known.low, known.high))


def test_seeds_that_do_not_pair_and_a_single_one(tmp_path, monkeypatch):
  ours, theirs = {0: 82.0, 1: 84.0, 2: 83.0}, {5: 80.0, 6: 83.0, 7: 79.0, 8: 81.0}
  found = verdict_of(ours, theirs, tmp_path, monkeypatch)
  known = scipy.stats.ttest_ind(list(ours.values()), list(theirs.values()), equal_var=False).confidence_interval(0.95)
  assert (found.low, found.high) == pytest.approx((known.low, known.high))
  assert claims.interval({0: 99.0}, {0: 1.0}) == (-float('inf'), float('inf'))  # not shown
  assert claims.interval({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0}) == (2.0, 2.0)  # the same difference twice
  assert claims.interval({0: 3.0, 1: 3.0}, {2: 1.0, 3: 1.0}) == (2.0, 2.0)


@pytest.mark.parametrize(('more', 'words'), [
    (dict(table='made'), "no table 'made'; nearest: 'made_up'"), (dict(row='our'), "('our', '4', 'accuracy')"),
    (dict(column='5'), "nearest: 'ours | 4 | accuracy'"), (dict(than={}), "['than']: wanted what of"),
    (dict(than=dict(seed='1')), "['than']: wanted what of"), (dict(better=True), 'TABLE: wanted a dict of')])
def test_claims_of_what_no_table_has_are_refused(more, words, tmp_path, monkeypatch):
  with pytest.raises(ConfigError, match=r'^configs/x\.py: TABLE') as error:
    verdict_of({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}, tmp_path, monkeypatch, **more)
  assert words in str(error.value)
