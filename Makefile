# `make demo` scores the sample thread, `make test` runs all tests; each sets up .venv by itself when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What an installation is made from; the Python files are used where they stand.
BUILD := pyproject.toml setup.py $(wildcard moderation/_c/*)

# Tests wait for browsers, servers and databases, so that one more of them than there are cores runs well.
JOBS := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

.PHONY: demo test lint types check clean

demo: $(VENV)/.installed
	$(BIN)/moderation score datasets/samples/thread.jsonl --to table

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(JOBS) --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.installed-dev
	$(BIN)/mypy

check: lint types test

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BUILD) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[pages]'
	touch $@

$(VENV)/.installed-dev: $(BUILD) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
