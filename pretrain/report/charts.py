"""Curves, points and legends as inline SVG, in colours that follow the page's."""
import io
import itertools
import re

import numpy as np

from pretrain.report.words import escaped

BINS = 150  # of a curve of more than twice as many points
PALETTE = ('#4e79a7', '#f28e2b', '#e15759', '#4fa8a1', '#59a14f', '#c9a227', '#b07aa1', '#f583a0', '#9c755f', '#8c8c8c')


def chart(lines: list) -> tuple[str, bool]:
  """Inline SVG of curves (steps [n], values [n]) whose colours follow the page's; and whether points were binned."""
  import matplotlib
  from matplotlib.backends.backend_svg import FigureCanvasSVG
  from matplotlib.figure import Figure
  from matplotlib.ticker import EngFormatter, MaxNLocator

  # Colours that stand for the page's own, replaced in the SVG: a picture made once then suits light and dark.
  dim, rule, accent = '#010203', '#040506', '#070809'
  style = {
    'svg.fonttype': 'none',
    'svg.hashsalt': 'pretrain',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 8,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.spines.left': False,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'axes.formatter.limits': (-3, 5),
    'axes.formatter.use_mathtext': False,
    'grid.linewidth': 0.8,
    'ytick.major.size': 0,
    'path.simplify': True,
  }
  style |= dict.fromkeys(('text.color', 'xtick.color', 'ytick.color', 'axes.labelcolor'), dim)
  style |= dict.fromkeys(('grid.color', 'axes.edgecolor'), rule)
  binned = False
  with matplotlib.rc_context(style):
    figure = Figure(figsize=(4.6, 2.3), layout='constrained')
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for i, (steps, values) in enumerate(lines):
      color = accent if len(lines) == 1 else PALETTE[i % len(PALETTE)]
      good = np.isfinite(values)
      steps, values = steps[good], values[good]
      if len(steps) > 2 * BINS:
        binned = True
        parts = list(zip(np.array_split(steps, BINS), np.array_split(values, BINS), strict=True))
        steps = np.array([part.mean() for part, _ in parts])
        low, high = ([edge(part) for _, part in parts] for edge in (np.min, np.max))
        axes.fill_between(steps, low, high, color=color, alpha=0.18, lw=0)
        values = np.array([part.mean() for _, part in parts])
      mark = 'o' if len(steps) <= 30 else None
      axes.plot(steps, values, color=color, linewidth=1.5, marker=mark, markersize=3)
    seen = np.concatenate([values[np.isfinite(values)] for _, values in lines])
    if len(seen) and seen.min() > 0 and seen.max() / seen.min() > 1000:
      axes.set_yscale('log')
    else:
      axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    axes.margins(x=0.01)
    file = io.StringIO()
    metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    figure.savefig(file, format='svg', transparent=True, metadata=metadata)
  svg = file.getvalue()
  svg = svg[svg.index('<svg') :]
  # Its stylesheet would rule the whole page, its ids clash with the next chart's, its namespaces are HTML's already.
  svg = re.sub(r'<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->', '', svg, flags=re.DOTALL)
  svg = re.sub(r' xmlns(:xlink)?="[^"]*"| id="[a-z0-9.]+_\d+"', '', svg).replace('xlink:href', 'href')
  svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r'\1', re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1', svg))
  page = {dim: 'var(--dim)', rule: 'var(--line)', accent: 'var(--accent)', "'DejaVu Sans'": 'system-ui'}
  for mine, css in page.items():
    svg = svg.replace(mine, css)
  return svg.replace('<svg', '<svg role="img"', 1), binned


def legend_of(names, colors=None) -> str:
  colors = colors or itertools.cycle(PALETTE)
  pairs = zip(names, colors, strict=False)
  items = ''.join(f"<span><i style='background:{color}'></i>{escaped(name)}</span>" for name, color in pairs)
  return f'<div class="legend">{items}</div>'


def scatter(groups: list) -> str:
  """Inline SVG of [(colour, f32[n, 2] in [0, 1])]: one path a class, a dot a subpath of no length with round caps."""
  paths = ''
  for color, points in groups:
    dots = ''.join(f'M{x:.0f} {y:.0f}h0' for x, y in points * [1000, 760] + 20)
    paths += f'<path d="{dots}" stroke="{color}" stroke-width="11" stroke-linecap="round" fill="none" opacity=".75"/>'
  return f'<svg role="img" viewBox="0 0 1040 800">{paths}</svg>'


def colors_of(n: int) -> list[str]:
  if n <= len(PALETTE):
    return list(PALETTE[:n])
  return [f'hsl({360 * i / n:.0f} {(70, 45)[i % 2]}% {(45, 62)[i // 2 % 2]}%)' for i in range(n)]
