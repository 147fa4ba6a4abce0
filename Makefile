# Everything a person does with a checkout. Needs Python 3.11 or newer and git; installs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCUMENTED := $(VENV)/.documented
COMPILED := $(VENV)/.compiled
# Modules are compiled when they are imported first: most of them never are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
# cpu or registry; found out if not given.
LOCK ?=

# Percent of lines that the tests execute; raise it when they execute more.
COVERED := 95

# Test processes; one more than a small machine has cores, as many tests wait for other processes.
WORKERS ?= 3

# Seconds that a test of `make test-unit` may have taken when it ran last; one that never ran is run.
UNDER ?= 0.1

# Images for containers often forbid bytecode: each process of the tests would then compile torch.
export PYTHONDONTWRITEBYTECODE :=

# One thread a process: on few cores, several torch threads spin against each other.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test checks lint-and-docs test-unit test-one test-attack test-integration test-e2e test-slow test-lowest test-flower coverage lint \
	format docs docs-serve bench bench-quick verifier packages locks changelog clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install securefl and its tools into .venv, every package by its digest

# torch's CPU wheel where pip finds it, which saves 2.4 GB of CUDA; else what the registry has.
$(INSTALLED): pyproject.toml locks/cpu.txt locks/registry.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "securefl needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	lock=$(LOCK); test -n "$$lock" || { $(PIP) --dry-run --no-deps 'torch==$(TORCH)+cpu' \
		>/dev/null 2>&1 && lock=cpu || lock=registry; }; \
	$(PIP) --require-hashes -r locks/$$lock.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## Run the main jobs on real data and show what the federation gained
	$(BIN)/securefl demo

test: $(INSTALLED) ## Run every check: lint and the documentation's build beside the tests
	$(MAKE) --no-print-directory -j 2 lint-and-docs checks

# Collected once by one process: each worker would compile torch and rewrite every test otherwise.
# What cannot be collected is named by the tests themselves.
$(COMPILED): $(INSTALLED)
	-@$(BIN)/python -m pytest -qq -n 0 --collect-only >/dev/null 2>&1
	@touch $@

checks: $(COMPILED) # The tests of `make test`, without lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-unit: $(COMPILED) ## Run the checks of single parts that were quick here when they ran last
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" --under $(UNDER) tests/unit

test-one: $(INSTALLED) ## Run the checks of one file or folder: make test-one T=tests/unit/config
	$(BIN)/python -m pytest -q -x -n 0 $(T)

test-attack: $(INSTALLED) ## Play one attack of docs/explanation/attacks.md: make test-attack A=swapped_key
	$(BIN)/python -m pytest -q -n 0 -k '$(A)' tests/protocols/attacks tests/unit tests/integration

test-integration: $(COMPILED) ## Run the checks of parts together: runs, broker, command line
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" tests/protocols tests/integration

test-e2e: $(COMPILED) ## Run the documents' walkthroughs
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" tests/e2e

coverage: $(COMPILED) ## Run every check under coverage; fails below what was reached
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" --cov --cov-fail-under=$(COVERED)

test-slow: $(COMPILED) ## Run the checks that take minutes
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

test-lowest: ## Run the fast checks with the lowest versions allowed, in build/lowest
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check -r locks/lowest.txt hatchling editables
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	build/lowest/bin/python -m pytest -n 2 --dist worksteal -m "not slow"

test-flower: ## Run the checks of the carrier over Flower, in build/flower
	$(PYTHON) -m venv build/flower
	build/flower/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/flower.txt
	build/flower/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	build/flower/bin/python -m pytest -n 0 -m slow tests/integration/flower

lint: $(INSTALLED) ## Check formatting, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# One after the other, beside the tests.
lint-and-docs: lint
	$(MAKE) --no-print-directory docs

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(DOCUMENTED) ## Build the documentation into build/site, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-serve: $(DOCUMENTED) ## Show the documentation on http://127.0.0.1:8000 while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

$(DOCUMENTED): $(INSTALLED) locks/docs.txt
	$(PIP) --require-hashes --no-deps -r locks/docs.txt
	@touch $@

bench: $(INSTALLED) ## Run all benchmarks; writes benchmarks/results and docs/results/benchmarks
	$(BIN)/python -m benchmarks

bench-quick: $(INSTALLED) ## Run each benchmark for at most a minute and write nothing
	$(BIN)/python -m benchmarks --quick

verifier: $(INSTALLED) ## Build the wheel that an auditor installs, into dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist packaging/verifier

packages: verifier ## Build wheels and sdist into dist, and try them in empty environments
	$(BIN)/python -m hatchling build -d dist
	$(BIN)/python -m pytest -q -n 0 -m slow tests/integration/test_packages.py

locks: $(INSTALLED) ## Resolve anew within constraints.txt: digests, lowest versions, SBOM
	$(PIP) uv
	$(BIN)/python packaging/lock.py

changelog: $(INSTALLED) ## Put the fragments of changes/ into CHANGELOG.md
	$(BIN)/python packaging/changelog.py

clean: ## Remove what was installed and built, and keep the runs
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
