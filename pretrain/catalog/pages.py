"""What `pretrain list` and `pretrain describe` print, and the gallery `docs/papers.md`."""
import re
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

Made by `python -m pretrain list papers --markdown > {GALLERY}` from the code, `configs/` and `docs/tables/`; a test says
that this page is what they give. `python -m pretrain describe NAME` has more of each: arguments, all rows, all published
numbers.

| column | what it has |
|---|---|
| run | the smallest row of the paper's configs, on data that the project brings: `python -m pretrain` and this, with `--workdir=DIR` |
| published | the first number that the paper's file in `configs/` lists, and its source; settings differ from ours |
| here | mean ± standard deviation of n seeds in a table of `docs/tables/`, and what it is compared with |
| claim | what the paper claims that this tests: **held** if the 95 % t interval of the mean difference, in brackets, lies on the claimed side, **did not hold** if it lies on the other, else **not shown**; paired by seed |

Sizes are those of the tables: small images, small networks, short runs. Such a verdict says nothing about the paper's
own setting. Where no table compares a method with a rival in one setting, the claim is the least one: its features are
better for a linear probe than those of the same network with random parameters.
"""


def listing(kind: str | None, family: str | None = None, modality: str | None = None, *, markdown: bool = False) -> str:
  """What `pretrain list KIND` prints; markdown: the gallery. Raises ConfigError for another kind, family or modality."""
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


def smoke(rows: Rows) -> str:
  """The command of the smallest row, without `python -m pretrain` and --workdir."""
  first = next(iter(rows.rows))
  return f'{"program" if first in rows.programs else "train"} --config={rows.file}:{first}'


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
  yield f'test      {", ".join(paper.tests) or "none of its own"}'
  for file in paper.files:
    path = facts.ROOT / file
    for each in facts.functions_of(path, path.stem):
      yield ''
      yield from function_lines(each)
  if (rows := facts.configs().get(paper.name)) is None:
    return
  yield from ('', 'rows')
  yield from indented((path, about) for path, about in commands(rows).items())
  yield f'  smallest: python -m pretrain {smoke(rows)} --workdir=runs/{paper.name}'
  yield from ('', 'published' if rows.published else 'published: none')
  yield from indented((each['value'], f'{each["metric"]} ({each["source"]}, {each["seen"]})')
                      for each in rows.published)
  yield ''
  if rows.table is None:
    yield f'verdict   {claims.NOT_SHOWN}: no table tests it'
  else:
    yield f'claim     {rows.table["claim"]}'
    yield f'ours      {compared(rows)} (docs/tables/{rows.table["table"]}.md)'
    yield f'verdict   {decided(rows)}'


def function_lines(each: Function) -> Iterable[str]:
  yield f'{each.name}: {each.about}'
  yield from indented((f'{name} = {default}' if default else name, kind) for name, kind, default in each.arguments)


def compared(rows: Rows) -> str:
  """'96.0 ± 0.9 (n = 3; linear, pretrained), against 83.8 ± 2.4 (linear, random)'."""
  table = rows.table
  verdict = claims.verdict(table, rows.file)
  cell = ', '.join(table[key] for key in ('row', 'column', 'metric') if table.get(key))
  return f'{spread(verdict.ours)} (n = {len(verdict.ours)}; {cell}), against {spread(verdict.other)} ' \
         f'({", ".join(table["than"].values())})'


def decided(rows: Rows) -> str:
  """'held (+12.2 [8.9, 15.5])'."""
  verdict = claims.verdict(rows.table, rows.file)
  return f'{verdict.word} ({(verdict.low + verdict.high) / 2:+.1f} [{verdict.low:.1f}, {verdict.high:.1f}])'


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
  verdicts = [word_of(name) for name in papers]
  pages.append(f'{len(papers)} papers: ' + ', '.join(
      f'{verdicts.count(word)} {word}' for word in (claims.HELD, claims.NOT_SHOWN, claims.DID_NOT_HOLD)) + '.\n')
  for family in FAMILIES:
    if found := [paper for paper in papers.values() if paper.family == family]:
      pages.append('\n'.join([f'## {family[0].upper()}{family[1:]}', '', '| paper | run | published | here | claim |',
                              '|---|---|---|---|---|', *map(gallery_row, found)]) + '\n')
  return '\n'.join(pages)


def word_of(name: str) -> str:
  rows = facts.configs().get(name)
  return claims.verdict(rows.table, rows.file).word if rows and rows.table else claims.NOT_SHOWN


def gallery_row(paper: Paper) -> str:
  title = f'[{paper.title}](https://arxiv.org/abs/{paper.arxiv})' if paper.arxiv else f'{paper.title} ({paper.venue})'
  files = ', '.join(f'[`{file}`](../{file})' for file in paper.files)
  cells = [f'**{paper.name}**: {title}; {paper.modality}; {files}']
  if (rows := facts.configs().get(paper.name)) is None:
    cells += ['', '', '', claims.NOT_SHOWN]
  else:
    published = rows.published[0] if rows.published else None
    cells += [f'`{smoke(rows)}`', f'{published["value"]}: {published["metric"]} ({published["source"]})' if published else '']
    if rows.table is None:
      cells += ['', f'**{claims.NOT_SHOWN}**: no table tests it']
    else:
      table = rows.table['table']
      cells += [f'{compared(rows)}, [`{table}`](tables/{table}.md)', f'{rows.table["claim"]} **{decided(rows)}**']
  return '| ' + ' | '.join(re.sub(r'\s+', ' ', cell).replace('|', r'\|') for cell in cells) + ' |'
