# Three commands do everything on a bare machine with Python 3.11 or newer:
#   make enhance   develop the embedded sample RAW files with the embedded agent
#   make test      ruff, import-linter, pyright, the documentation and pytest
#   make docs      the documentation as a site, in build/site
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: enhance test docs clean

enhance: $(VENV)/.installed
	$(BIN)/python experiments/enhance.py

test: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/mkdocs build --quiet
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info
