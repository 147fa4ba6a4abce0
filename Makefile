# Everything a person does with a checkout. Needs Python 3.11 or newer and git; installs into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUNS := runs

# Percent of lines that the tests execute; raise it when they execute more.
COVERED := 95

# One thread a process: on few cores, several torch threads spin against each other.
export OMP_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-unit test-integration test-e2e test-slow coverage lint format bench bench-quick verifier clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install securefl and its tools into .venv

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "securefl needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--no-build-isolation -e '.[demo,network,broker,metrics,excel,postgres,signing,export,serve,mlflow,dev]'
	@touch $@

demo: $(INSTALLED) ## Run the main job on real data and show what the federation gained
	@out=$(RUNS)/demo-$$(date -u +%Y%m%dT%H%M%S) && \
	$(BIN)/securefl run --task recommendation --out $$out/recommendation && \
	$(BIN)/securefl run --task demand --out $$out/demand && \
	$(BIN)/securefl compare --task recommendation --model mf --rounds 3 --out $$out/compare && \
	$(BIN)/securefl run --task recommendation --dp local --epsilon 4 --out $$out/private && \
	$(BIN)/securefl report $$out/private --beside $$out/recommendation && \
	$(BIN)/securefl dossier $$out/private

test: lint ## Run every check
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-unit: $(INSTALLED) ## Run the fast checks of single parts, without lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/unit

test-integration: $(INSTALLED) ## Run the checks of parts together: runs, broker, command line
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/protocols tests/integration

test-e2e: $(INSTALLED) ## Run the documents' walkthroughs
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" tests/e2e

coverage: $(INSTALLED) ## Run every check under coverage; fails below what was reached
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --cov --cov-fail-under=$(COVERED)

test-slow: $(INSTALLED) ## Run the checks that take minutes
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(INSTALLED) ## Check formatting, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(INSTALLED) ## Run all benchmarks; writes benchmarks/results and docs/benchmarks.md
	$(BIN)/python -m benchmarks

bench-quick: $(INSTALLED) ## Run each benchmark for at most a minute and write nothing
	$(BIN)/python -m benchmarks --quick

verifier: $(INSTALLED) ## Build the wheel that an auditor installs, into dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist packaging/verifier

clean: ## Remove what was installed and built, and keep the runs
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
