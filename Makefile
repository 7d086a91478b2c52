# Every target sets up what it needs: a first `make demo` on a bare machine works.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test check bench docs serve up

setup: $(READY)

# The stamp is newer than what it was made from, or it is made again; a second run does nothing.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "NAS needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	-$(BIN)/python -m compileall -q -j 0 .venv/lib  # pip does that on one core, and waits for it
	touch $(READY)

demo: setup
	NAS_HOME="$(CURDIR)/demo/$$(date +%Y%m%d-%H%M%S)" sh -c '$(BIN)/nas search digits --name demo --final-epochs 16 --out "$$NAS_HOME/model"'

test: setup
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --num-workers 2

bench: setup
	$(BIN)/python bench/small_maps.py
	$(BIN)/python bench/train_throughput.py

# The pages are in site/ then, and need no server. Their pictures: python docs/pictures.py
docs: setup
	$(BIN)/python -m mkdocs build --strict

serve: setup
	$(BIN)/nas serve

# In containers; the passwords are in .env.
up:
	@test -f .env || { echo 'cp .env.example .env, and fill in the passwords'; exit 2; }
	docker compose up --detach --wait --scale worker=$(or $(WORKERS),4)
