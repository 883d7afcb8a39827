"""One self-contained HTML page about a run, from the files in its directory: no network, no scripts, light and dark."""
import os
import shlex
from pathlib import Path

import numpy as np

from pretrain.files import Broken, read_json, write_bytes
from pretrain.machine.metrics import read_events, read_metrics
from pretrain.report.header import header
from pretrain.report.pictures import neighbors_section, projection_section, views_section
from pretrain.report.sections import config_section, curves_section, evaluation_section, timeline_section
from pretrain.report.words import escaped

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--text:#1c2430;--dim:#5d6875;--line:#e1e5ea;--accent:#2563c9;
--good:#1a7f4b;--bad:#c2352b;--warn:#a15c00;--soft:#eaf1fc}
@media(prefers-color-scheme:dark){:root{--bg:#0f1319;--card:#181e27;--text:#e4e8ee;--dim:#99a4b2;--line:#2b3340;
--accent:#6ea8ff;--good:#4cc38a;--bad:#ff8177;--warn:#f0b357;--soft:#1d2a3f}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:28px;line-height:1.2;margin:0;overflow-wrap:anywhere}h2{font-size:18px;margin:0 0 4px}
h3{font-size:14px;font-weight:600;margin:0}p{margin:0 0 10px}
.dim,figcaption,.note{color:var(--dim);font-size:13px}.note{max-width:80ch}
.head{display:flex;flex-wrap:wrap;gap:8px 14px;align-items:center}
.badge{font-size:13px;font-weight:600;padding:2px 11px;border-radius:99px;border:1px solid currentColor}
.done{color:var(--good)}.running{color:var(--accent)}.stopped,.interrupted{color:var(--warn)}.failed{color:var(--bad)}
section{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin-top:16px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:14px 20px;margin:0}
dt{color:var(--dim);font-size:12px}dd{margin:0;font-weight:600;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-size:12px;color:var(--dim);font-weight:600}th:first-child,td:first-child{text-align:left;padding-left:0}
tr:last-child td{border-bottom:0}.best{font-weight:700;color:var(--good);background:var(--soft);border-radius:6px}
.events td{text-align:left;white-space:normal;vertical-align:top}.events th{text-align:left}
.events td:first-child{white-space:nowrap}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:22px 28px;margin-top:10px}
figure{margin:0;min-width:0}
figure svg{display:block;width:100%;height:auto;overflow:visible}
.last{float:right;font-weight:400;color:var(--dim);font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;font-size:13px;margin-top:8px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
.rows{display:grid;gap:14px 28px;margin-top:10px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--min)),1fr))}
.strip{display:flex;gap:6px;align-items:flex-start;min-width:0}
.strip>div{display:flex;flex-wrap:wrap;gap:6px;min-width:0}
.pic{width:80px;font-size:11px;line-height:1.25;text-align:center;overflow-wrap:anywhere;flex:none}
.pic img{display:block;width:100%;border-radius:6px;margin-bottom:2px;background:var(--line)}
img.px{image-rendering:pixelated}
.first{padding-right:10px;margin-right:4px;border-right:2px solid var(--line);flex:none;align-self:stretch}
.right img{outline:2px solid var(--good)}.wrong img{outline:2px solid var(--bad)}
.right{color:var(--good)}.wrong{color:var(--bad)}
code,pre{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{background:var(--soft);padding:1px 6px;border-radius:5px;overflow-wrap:anywhere}
pre{overflow-x:auto;margin:12px 0 0}summary{cursor:pointer;font-weight:600;font-size:18px}
.warn{color:var(--warn)}
@media(max-width:560px){main{padding:18px 10px 40px}section{padding:14px 13px}h1{font-size:23px}
.pic{width:64px;font-size:9.5px}
th,td{padding:7px 6px}td:first-child,th{white-space:normal}
dl{grid-template-columns:1fr 1fr}.events th:nth-child(2),.events td:nth-child(2){display:none}}
@media print{section{break-inside:avoid}}
"""


def report(workdir: str | os.PathLike) -> Path:
  """Writes workdir/report.html from what the run directory holds; a section without data says what would add it.

  Read are config.json, metrics.jsonl, events.jsonl, result.json, evaluation.json and report_data.npz.
  evaluation.json is {"rows": [{"features": "raw pixels", "knn": 0.41, "linear": 0.52, ...}, ...], ...}: the first text
  of a row names it, numbers are columns (accuracies in [0, 1]; a "<column>_std" beside one is shown as ±); a row's
  "protocol", counts that all rows share and other scalars of the file stand above the table.

  Returns:
    The path of the page, written by rename.

  A file that is damaged is left out, and the page says so.

  Raises:
    ValueError: where the directory holds neither config.json nor a row in metrics.jsonl.
  """
  workdir, damaged = Path(workdir), []
  config, result = (_json(workdir / f'{name}.json', damaged) for name in ('config', 'result'))
  evaluation = _json(workdir / 'evaluation.json', damaged, rows=list)
  rows, events = read_metrics(workdir), read_events(workdir)
  if config is None and not rows:
    what = 'holds neither config.json nor a row in metrics.jsonl' if workdir.is_dir() else 'does not exist'
    raise ValueError('; '.join([f'no run to report on: {workdir} {what}; give the --workdir of a training run',
                                *damaged]))
  config = config or {}
  data = _arrays(workdir / 'report_data.npz', damaged)
  again = f'python -m pretrain evaluate --workdir={shlex.quote(str(workdir))}'
  sections = (
    evaluation_section(evaluation, again),
    curves_section(rows),
    views_section(data, again),
    neighbors_section(data, again),
    projection_section(data, again),
    timeline_section(events),
    config_section(config),
  )
  name = config.get('name')
  name = name if isinstance(name, str) and name else workdir.resolve().name
  body = header(name, workdir, config, rows, events, result)
  body += ''.join(f'<p class="warn">{escaped(text)}</p>' for text in damaged) + ''.join(sections)
  page = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    # The page asks for nothing from outside, and this has the browser refuse what would.
    f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    f'<title>{escaped(name)} · pretraining report</title><style>{CSS}</style></head>'
    f'<body><main>{body}</main></body></html>\n'
  )
  path = workdir / 'report.html'
  write_bytes(path, page.encode('utf-8', 'replace'))
  return path


def _json(path: Path, damaged: list[str], **keys) -> dict | None:
  try:
    return read_json(path, **keys) if path.exists() else None
  except Broken as error:
    damaged.append(str(error))


def _arrays(path: Path, damaged: list[str]) -> dict[str, np.ndarray]:
  try:
    with np.load(path, allow_pickle=False) as file:
      return dict(file)
  except FileNotFoundError:
    return {}
  except Exception as error:  # NumPy and zipfile raise about ten kinds for damaged files
    damaged.append(f'{path} is damaged ({error}); `python -m pretrain evaluate` writes it again')
    return {}
