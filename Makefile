# Two commands do everything on a fresh machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test pytest architectures tutorials lint bench docs site clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("hasten needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/hasten demo $(ARGS)

# Bytecode is kept also where the environment says not to: tests start dozens of processes.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(MAKE) --no-print-directory -j2 lint pytest

pytest: setup
	$(BIN)/pytest $(ARGS)

# Networks of other people's packages, exported one by one: some minutes, which the tests of every day leave out.
architectures: setup
	$(BIN)/pytest -m architectures --dist=worksteal --timeout=600 $(ARGS)

# Everything that the quickstart and the tutorials show, as they show it.
tutorials: setup
	$(BIN)/pytest -m docs --dist=worksteal --timeout=600 $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Prints every number that README and docs quote, peers side by side. Best on an otherwise idle machine.
bench: setup
	$(BIN)/python benchmarks/all.py $(ARGS)

# Rewrites the reference pages from the code and runs every example in the docs.
docs: setup
	$(BIN)/python docs/make.py

# The pages of docs/ as a static site in out/site, which needs no server.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf .venv out build dist .mypy_cache .ruff_cache .pytest_cache
