"""Every config of the project, by what follows `--config=configs/`: 'demo.py:get_config', 'byol.py:fashion_mnist'."""
from pathlib import Path

from pretrain import config

FOLDER = Path(__file__).parents[1] / 'configs'
FILES = [path for path in sorted(FOLDER.glob('*.py')) if path.stem != 'common']
ROWS = {f'{path.name}:{name}': row for path in FILES for name, row in config.rows(config.from_file(str(path))).items()}
PROGRAMS = [name for name, row in ROWS.items() if 'program' in row()]
RUNS = [name for name in ROWS if name not in PROGRAMS]


def shallow(backbone: dict, objective: dict, **rest) -> dict:
  """A config of few blocks, as they are alike: one of each stage, or those whose outputs the method wants."""
  few = max(2, objective.get('layers', 2))

  def cut(model: dict) -> dict:
    by_name = {'resnet': {'blocks': (1, 1, 1, 1)} | model, 'wide_resnet': {'depth': 10}}
    return model | by_name.get(model['name'], {'depth': min(model.get('depth', 99), few)})

  objective = {key: cut(value) if isinstance(value, dict) and 'name' in value else
               min(value, few) if key.endswith('_depth') else value for key, value in objective.items()}
  return rest | {'backbone': cut(backbone), 'objective': objective}
