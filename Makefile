# make demo | make test: each makes .venv on first use. PYTHON=/path/to/python3.12 chooses the interpreter.
PYTHON ?= $(shell for p in python3.12 python3.13 python3.14 python3 python; do \
            if $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then command -v $$p; break; fi; done)
VENV := .venv
RUN := $(VENV)/bin/python
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES ?= -1
WORKDIR ?= runs/demo
N ?= 200
SEED ?= 0

.PHONY: demo test test-all slow mutants lint types benchmark oldest requirements clean

demo: $(VENV)/.ready  ## train SimCLR on Fashion-MNIST, evaluate, write runs/demo/report.html
	$(RUN) -m pretrain train --config=configs/demo.py --workdir=$(WORKDIR)

test: $(VENV)/.ready  ## the fast tests
	$(RUN) -m pytest -n auto --dist loadgroup --no-loadscope-reorder --max-worker-restart 0

test-all: $(VENV)/.ready  ## every paper's whole suite, recorded in tests/proved.json, then the slow ones
	$(RUN) -m pytest --everything -n auto --dist loadgroup --no-loadscope-reorder --max-worker-restart 0
	$(RUN) -m pretrain list papers --markdown > docs/papers.md
	$(MAKE) slow

slow: $(VENV)/.ready  ## learning runs and kill tests
	$(RUN) -m pytest -m slow

mutants: $(VENV)/.ready  ## wrong lines, N at random: which does no test notice? more flags: python -m tests.mutants --help
	$(RUN) -m tests.mutants --n=$(N) --seed=$(SEED)

lint: $(VENV)/.ready
	$(VENV)/bin/ruff check .

types: $(VENV)/.ready
	$(VENV)/bin/pyrefly check

benchmark: $(VENV)/.ready
	$(RUN) benchmarks/step.py
	$(RUN) benchmarks/input.py

$(VENV)/.ready: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { \
	  echo "error: wanted Python 3.12 or newer; found $$(python3 --version 2>&1 || echo none)." >&2; \
	  echo "Install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(v < (3, 12) and f"error: wanted Python 3.12 or newer, got {v[0]}.{v[1]}: $(PYTHON)")'
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

oldest:  ## import and demo with the lowest versions that pyproject.toml allows
	rm -rf .cache/oldest runs/oldest
	"$(PYTHON)" -m venv .cache/oldest
	"$(PYTHON)" -m tests.oldest > .cache/oldest/requirements.txt
	.cache/oldest/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary promise \
	  -r .cache/oldest/requirements.txt
	.cache/oldest/bin/python -m pretrain train --config=configs/demo.py --workdir=runs/oldest --config.steps=20 \
	  --config.schedule.warmup_steps=2 --config.checkpoint.every_steps=10 --config.evaluate.every_steps=20

requirements:  ## pin pyproject.toml's dependencies again (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.12 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -o requirements.txt

clean:
	rm -rf $(VENV) .cache runs
