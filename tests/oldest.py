"""Prints the lowest versions that pyproject.toml allows, as requirements: see `make oldest`."""
import tomllib
from pathlib import Path


def lowest() -> list[str]:
  """['jax==0.11.1', ...] of the dependencies, with their markers."""
  needed = tomllib.loads((Path(__file__).parents[1] / 'pyproject.toml').read_text())['project']['dependencies']
  return [each.replace('>=', '==', 1) for each in needed]


if __name__ == '__main__':
  print('\n'.join(lowest()))
