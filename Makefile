# Two commands: `make run` starts the desk, `make test` tests it. Both set up what they need.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready
LOCKED := requirements/base.txt requirements/fyers.txt requirements/test.txt requirements/dev.txt
WORKERS ?= 2
PIP = $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet --quiet

.PHONY: setup kernels setup-test setup-dev setup-research run test prove bench check lock clean help

help:
	@echo "make run     start the desk (PORT=8000)      make test   run the tests"
	@echo "make check   lint, types, import contracts   make bench  measure"
	@echo "make prove   kill it, lie to it, race it: counts in var/prove.json"
	@echo "make setup   install only                    make lock   recompile requirements/*.txt"

setup: kernels

# Bare Debian has no ensurepip and refuses to install into the system: an environment without pip, filled from outside.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || \
		{ echo "error: Python 3.11 to 3.13 is needed: apt-get install python3, or make setup PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || \
		{ echo "error: pip is missing: apt-get install python3-pip"; exit 2; }
	@$(PYTHON) -m venv --without-pip .venv

$(STAMP): requirements/base.txt requirements/fyers.txt | .venv/bin/python
	@echo "Installing what the desk needs into .venv (about 550 MB)"
	@$(PIP) -r requirements/base.txt
	@$(PIP) --no-deps -r requirements/fyers.txt
	@touch $@

# Kernels are compiled anew when their source has changed.
kernels: $(STAMP)
	@$(BIN)/python -m trading.desk.warm

.venv/.ready-test: requirements/test.txt $(STAMP)
	@echo "Installing what the tests need"
	@$(PIP) -r requirements/test.txt
	@touch $@

.venv/.ready-dev: requirements/dev.txt $(STAMP)
	@$(PIP) -r requirements/dev.txt
	@touch $@

# Search by Optuna, which the desk does without.
.venv/.ready-research: requirements/research.txt $(STAMP)
	@$(PIP) -r requirements/research.txt
	@touch $@

setup-research: .venv/.ready-research
setup-test: .venv/.ready-test kernels
setup-dev: .venv/.ready-dev .venv/.ready-test

run: setup
	@exec $(BIN)/python manage.py desk

test: setup-test
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q $(ARGS)

# Hours of it, if you like: it goes on where it was cut. ARGS="crash --minutes 10"
prove: setup-test
	@$(BIN)/python -m tests.prove $(ARGS)

bench: setup-test
	@$(BIN)/python -m tests.bench

check: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# uv, because pip-compile on a newer 3.11 drops async-timeout, which 3.11.2 needs.
COMPILE = uv pip compile --no-emit-index-url --python-version 3.11 --generate-hashes --no-header --quiet
lock:
	$(COMPILE) requirements/base.in -o requirements/base.txt
	$(COMPILE) requirements/fyers.in --override requirements/fyers-overrides.txt -o requirements/fyers.txt
	$(COMPILE) requirements/prod.in -c requirements/base.txt -o requirements/prod.txt
	$(COMPILE) requirements/research.in -c requirements/base.txt -o requirements/research.txt
	$(COMPILE) requirements/test.in -c requirements/base.txt -o requirements/test.txt
	$(COMPILE) requirements/dev.in -c requirements/base.txt -o requirements/dev.txt

# var/ holds the desk's data and is left alone.
clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
