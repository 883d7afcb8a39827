"""Every config of the project, by what follows `--config=configs/`: 'demo.py:get_config', 'byol.py:fashion_mnist'."""
from pathlib import Path

from pretrain import config

FOLDER = Path(__file__).parents[1] / 'configs'
FILES = [path for path in sorted(FOLDER.glob('*.py')) if path.stem != 'common']
ROWS = {f'{path.name}:{name}': row for path in FILES for name, row in config.rows(config.from_file(str(path))).items()}
PROGRAMS = [name for name, row in ROWS.items() if 'program' in row()]
RUNS = [name for name in ROWS if name not in PROGRAMS]
LAST = list({name.partition(':')[0]: name for name in RUNS}.values())  # one of each file: mostly the row of a paper
