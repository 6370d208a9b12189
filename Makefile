# Every command of the project. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SOURCES := ray_fraud actors serve batch cluster
DEMO ?=
BENCH ?= --quick
QUALITY ?=
TESTS ?= tests

# A folder of our own for uv's environment variables: the project never wants the user's project settings.
export UV_NO_CONFIG := 1
# A stack is a dozen processes that import the same packages: compile them once, at installation.
export UV_COMPILE_BYTECODE := 1

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/uv.stamp: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "ray-fraud needs Python 3.11 or newer, this is %s; run: make PYTHON=python3.12 …" % sys.version.split()[0])'
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/runtime.stamp: $(VENV)/uv.stamp requirements/runtime.txt pyproject.toml
	@[ -e $(VENV)/dev.stamp ] || { echo "installing the locked packages (about 1.7 GB on disk)"; \
	  $(UV) pip install --python $(BIN)/python --require-hashes -r requirements/runtime.txt; }
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/uv.stamp requirements/dev.txt pyproject.toml
	@echo "installing the locked packages (about 1.9 GB on disk)"
	@$(UV) pip install --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: setup
setup: $(VENV)/dev.stamp ## Make the virtual environment with all that development needs

.PHONY: demo
demo: $(VENV)/runtime.stamp ## Run the whole platform for 60 s in a temporary folder and check its alerts (DEMO="--seconds 0 …")
	@$(BIN)/ray-fraud demo $(DEMO)

.PHONY: test
test: $(VENV)/dev.stamp ## Run the tests (TESTS="tests/domain" for a part)
	@$(BIN)/python -m pytest $(TESTS)

.PHONY: s3-server
s3-server: $(VENV)/dev.stamp ## Build the S3 server of the tests with Go, once (about 2 min; without it they are skipped)
	@$(BIN)/python -m tests.s3_program

.PHONY: bench
bench: $(VENV)/runtime.stamp ## Measure latency, throughput and memory on this machine (BENCH="" for the long run)
	@$(BIN)/ray-fraud bench $(BENCH)

.PHONY: quality
quality: $(VENV)/dev.stamp ## Measure the models on the Fraud Detection Handbook's data, beside its own figures (QUALITY="--weeks 1")
	@$(BIN)/python -m tests.quality.handbook $(QUALITY)

.PHONY: check
check: lint types imports sizes ## Lint, types, import rules, size report

.PHONY: lint
lint: $(VENV)/dev.stamp ## Lint and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/dev.stamp ## Strict types, tests included
	@$(BIN)/mypy $(SOURCES) tests

.PHONY: imports
imports: $(VENV)/dev.stamp ## The direction of imports
	@$(BIN)/lint-imports

.PHONY: sizes
sizes: $(VENV)/dev.stamp ## Sizes of files and functions against their limits
	@$(BIN)/python tests/quality/sizes.py $(SOURCES)

.PHONY: format
format: $(VENV)/dev.stamp ## Format and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: lock
lock: $(VENV)/dev.stamp ## Renew the lock files from pyproject.toml
	@for part in uv runtime dev; do \
	  case $$part in uv) from="requirements/uv.in" ;; runtime) from="pyproject.toml --group build" ;; dev) from="pyproject.toml --group build --group dev" ;; esac; \
	  $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header $$from -o requirements/$$part.txt; \
	done
	@$(BIN)/python -m cluster.local.jars lock

.PHONY: clean
clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
