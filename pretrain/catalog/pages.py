"""What `pretrain list` and `pretrain describe` print, and the gallery `docs/papers.md`."""
import statistics
from collections.abc import Iterable

from pretrain.catalog import claims, facts
from pretrain.catalog.facts import FAMILIES, MODALITIES, PLACES, Function, Paper, Rows
from pretrain.config import ConfigError, nearest

KINDS = ('papers', *PLACES, 'configs')
OF_PAPERS = ('papers', 'objectives', 'configs')  # kinds with a family and a modality
GALLERY = 'docs/papers.md'
HEAD = f"""\
# Papers

Made from the code, `configs/` and `docs/tables/` by `python -m pretrain list papers --markdown > {GALLERY}`; a test
says that this page is what they give. `python -m pretrain describe NAME` has more of each paper: arguments, all rows,
all published numbers.

| column | what it has |
|---|---|
| files | the code, then the smallest run: `python -m pretrain train --config=configs/x.py:row --workdir=DIR` |
| published | the first number that the paper's file in `configs/` lists, with its source; settings differ from ours |
| ours | mean ± standard deviation of n seeds in a table of `docs/tables/`, and what it is compared with |
| claim | what the paper claims that this tests, and the mean difference with its 95 % t interval, paired by seed |

A claim **held** if the interval lies on the claimed side, **did not hold** if it lies on the other side, and is **not
shown** otherwise; nothing is corrected for the number of claims. Sizes are those of the tables: small images, small
networks, short runs; a verdict says nothing about the paper's own setting. Where no table was made to compare a method
with a rival, the claim is the least one: its features are better than those of the same network with random parameters.
`docs/recipes.md` says which rows of the tables a later change of the code has overtaken.
"""
COLUMNS = ('| paper | files, smallest run | published | ours | claim |', '|---|---|---|---|---|')


def listing(kind: str | None, family: str | None = None, modality: str | None = None, *, markdown: bool = False) -> str:
  """What `pretrain list KIND` prints.

  Args:
    kind: of KINDS.
    family, modality: those of these alone; None: of any.
    markdown: the gallery instead of the list of papers.
  Raises:
    ConfigError: another kind, family or modality, or a kind that has none.
  """
  if kind not in KINDS:
    raise ConfigError(f'list: wanted what to list, one of {list(KINDS)}' if kind is None else
                      f'list: no {kind!r}{nearest(kind, KINDS)}')
  for flag, value, allowed in (('--family', family, FAMILIES), ('--modality', modality, MODALITIES)):
    if value is not None and kind not in OF_PAPERS:
      raise ConfigError(f'{flag}: {kind} have none; wanted it for one of {list(OF_PAPERS)}')
    if value is not None and value not in allowed:
      raise ConfigError(f'{flag}: no {value!r}{nearest(value, allowed)}')
  if markdown:
    if kind != 'papers' or family or modality:
      raise ConfigError(f'--markdown: prints the page {GALLERY}; wanted `list papers --markdown`')
    return gallery()
  papers = chosen(family, modality)
  everything = family is None and modality is None
  if kind == 'papers':
    return columns((p.name, p.family, p.modality, p.source, p.title) for p in papers.values())
  if kind == 'configs':
    return columns((path, about) for name, rows in facts.configs().items() if everything or name in papers
                   for path, about in commands(rows).items())
  files = {file for paper in papers.values() for file in paper.files}
  return columns((each.name, each.about) for each in facts.functions(kind).values() if everything or each.file in files)


def chosen(family: str | None, modality: str | None) -> dict[str, Paper]:
  """The papers of a family and a modality (None: of any), by family, then by name."""
  found = [paper for paper in facts.papers().values()
           if family in (None, paper.family) and modality in (None, paper.modality)]
  return {paper.name: paper for paper in sorted(found, key=lambda paper: (FAMILIES.index(paper.family), paper.name))}


def commands(rows: Rows) -> dict[str, str]:
  """{what goes behind --config=: first line of its docstring}."""
  return {rows.file if name == 'get_config' else f'{rows.file}:{name}': about for name, about in rows.rows.items()}


def smallest(rows: Rows) -> tuple[str, str]:
  """The command, 'train' or 'program', and the config of the smallest row."""
  return 'program' if next(iter(rows.rows)) in rows.programs else 'train', next(iter(commands(rows)))


def description(name: str | None) -> str:
  """What `pretrain describe NAME` prints of a paper, or of a function that configs name."""
  papers = facts.papers()
  kinds = {kind: facts.functions(kind) for kind in PLACES}
  if name in papers:
    return ''.join(f'{line}\n' for line in paper_lines(papers[name]))
  found = [each[name] for each in kinds.values() if name in each]
  if not found:
    words = {*papers, *(word for each in kinds.values() for word in each)}
    raise ConfigError(f'describe: no {name!r}{nearest(name, words)}' if name else
                      'describe: wanted a name, such as one of `pretrain list papers`')
  return '\n'.join(f'file      {each.file}\n' + ''.join(f'{line}\n' for line in function_lines(each)) for each in found)


def paper_lines(paper: Paper) -> Iterable[str]:
  yield paper.title
  yield f'source    {paper.source}' + (f'  https://arxiv.org/abs/{paper.arxiv}' if paper.arxiv else '')
  yield f'family    {paper.family}'
  yield f'modality  {paper.modality}'
  yield f'file      {", ".join(paper.files)}'
  if (facts.ROOT / 'tests').is_dir():
    yield f'test      {", ".join(paper.tests) or "none of its own"}'
  if (record := facts.proved()) and paper.name in record['suites']:
    yield f'proved    {record["date"]} UTC, its whole suite (`make test-all`)'
  for file in paper.files:
    path = facts.ROOT / file
    for each in facts.functions_of(path, path.stem):
      yield ''
      yield from function_lines(each)
  rows = facts.configs_of(paper)
  yield from ('', 'rows')
  yield from indented((path, about) for path, about in commands(rows).items())
  command, path = smallest(rows)
  yield f'  python -m pretrain {command} --config={path} --workdir=runs/{paper.name}'
  yield from ('', 'published' if rows.published else 'published: none')
  yield from indented((each['value'], said(each)) for each in rows.published)
  yield ''
  if rows.table and not (facts.ROOT / 'docs/tables').is_dir():  # an installed package has no docs
    yield f'claim     {rows.table["claim"]}'
    yield f'ours      in docs/tables/{rows.table["table"]}.md of the repository, which is not here'
  elif rows.table is None:
    yield f'verdict   {claims.NOT_SHOWN}: no table tests it'
  else:
    yield f'claim     {rows.table["claim"]}'
    ours, word = compared(rows.table, rows.file)
    yield f'ours      {ours}, docs/tables/{rows.table["table"]}.md'
    yield f'verdict   {word}'


def function_lines(each: Function) -> Iterable[str]:
  yield f'{each.name}: {each.about}'
  yield from indented((f'{name} = {default}' if default else name, kind) for name, kind, default in each.arguments)


def said(published: dict) -> str:
  """'linear, top-1 % (arXiv:2006.07733, abstract)' of an entry of PUBLISHED; also where it was seen, if not there."""
  seen = '' if published['seen'] == 'read' else f', {published["seen"]}'
  return f'{published["metric"]} ({published["source"]}{seen})'


def compared(table: dict, file: str) -> tuple[str, str]:
  """('96.0 ± 0.9 (SimCLR: linear, pretrained; n = 3), 83.8 ± 2.4 (linear, random)', 'held (+12.2 [8.9, 15.5])')."""
  verdict = claims.verdict(table, file)
  difference = statistics.fmean(verdict.ours.values()) - statistics.fmean(verdict.other.values())
  cell = ', '.join(table[key] for key in ('column', 'metric') if table.get(key))
  return (f'{spread(verdict.ours)} ({table["row"]}: {cell}; n = {len(verdict.ours)}), {spread(verdict.other)} '
          f'({", ".join(table["than"].values())})',
          f'{verdict.word} ({round(difference, 1) + 0.0:+.1f} [{verdict.low:.1f}, {verdict.high:.1f}])')


def spread(values: dict[str, float]) -> str:
  """'96.0 ± 0.9': mean and sample standard deviation."""
  mean = f'{statistics.fmean(values.values()):.1f}'
  return f'{mean} ± {statistics.stdev(values.values()):.1f}' if len(values) > 1 else mean


def columns(lines: Iterable[tuple[str, ...]]) -> str:
  """Lines with their cells below each other."""
  lines = list(lines)
  widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
  return ''.join('  '.join(map(str.ljust, line, widths)).rstrip() + '\n' for line in lines)


def indented(lines: Iterable[tuple[str, ...]]) -> list[str]:
  return [f'  {line}' for line in columns(lines).splitlines()]


def gallery() -> str:
  """The page `docs/papers.md`."""
  pages = [HEAD]
  papers = chosen(None, None)
  tables = [(rows.table, rows.file) for rows in map(facts.configs_of, papers.values())]
  verdicts = [claims.verdict(table, file).word if table else claims.NOT_SHOWN for table, file in tables]
  pages.append(f'{len(papers)} papers: ' + ', '.join(
      f'{verdicts.count(word)} {word}' for word in (claims.HELD, claims.NOT_SHOWN, claims.DID_NOT_HOLD)) + '.\n')
  if record := facts.proved():
    when = f'{record["date"]} UTC, jax {record["versions"]["jax"]}'
    pages.append(f'All tests but the slow ones were last run on {when}: '
                 f'{record["passed"]} passed, {record["failed"]} failed, {record["skipped"]} were skipped; the whole '
                 f'suite of {len(record["suites"].keys() & papers)} papers passed (`make test-all`).\n')
  for family in FAMILIES:
    if found := [paper for paper in papers.values() if paper.family == family]:
      pages.append('\n'.join([f'## {family.capitalize()}', '', *COLUMNS, *map(gallery_row, found)]) + '\n')
  return '\n'.join(pages)


def gallery_row(paper: Paper) -> str:
  rows = facts.configs_of(paper)
  title = f'[{paper.title}](https://arxiv.org/abs/{paper.arxiv})' if paper.arxiv else f'{paper.title} ({paper.venue})'
  command, config = smallest(rows)
  files = '<br>'.join([*(f'[`{file}`](../{file})' for file in paper.files), f'{command} [`{config}`](../{rows.file})'])
  published = f'{rows.published[0]["value"]}: {said(rows.published[0])}' if rows.published else ''
  ours, claim = '', f'**{claims.NOT_SHOWN}**: no table tests it'
  if rows.table is not None:
    ours, word = compared(rows.table, rows.file)
    ours += f', [`{rows.table["table"]}`](tables/{rows.table["table"]}.md)'
    claim = f'{rows.table["claim"]} **{word}**'
  cells = f'**{paper.name}**: {title}; {paper.modality}', files, published, ours, claim
  return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'
