"""A source inside of a source."""
from pretrain import config as configs


def opened(spec: dict, where: str):
  """The source that a config's `dict(name=..., ...)` describes; errors name `where` it stands."""
  import data.sources  # which this file's callers are part of
  return configs.build(data.sources, spec, f'config.{where}')
