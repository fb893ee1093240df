# Everything runs in .venv, made here with Python's own venv and pip; `make help` lists the targets.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := workflow,formats,demo
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SNAKEMAKE_FILES := Snakefile $(wildcard rules/*.smk)
PYTHON_FILES := regcore scripts tests benchmarks

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH :=

.PHONY: help install demo test validate lint format bench clean distclean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(VENV)/python-is-ready:
	@command -v $(PYTHON) >/dev/null || { echo "make: expected Python 3.11 or newer, found no $(PYTHON); try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: expected Python 3.11 or newer, found " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: expected Python's venv module, found none; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# one stamp a set of extras: a target installs what it needs and no more
$(VENV)/installed: pyproject.toml $(VENV)/python-is-ready
	@echo "Installing into $(VENV) (a minute or two, once)"
	$(PIP) install --editable ".[$(RUNTIME)]"
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --editable ".[$(RUNTIME),test]"
	@touch $@

$(VENV)/installed-lint: $(VENV)/installed
	$(PIP) install --editable ".[$(RUNTIME),test,lint]"
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(PIP) install --editable ".[$(RUNTIME),bench]"
	@touch $@

install: $(VENV)/installed ## make .venv with regcore and the workflow in it

demo/config.yaml: | $(VENV)/installed
	$(BIN)/python -m regcore.demo make demo

demo: demo/config.yaml ## run the whole workflow on 8 made subjects (5 minutes), compare with the truth
	$(BIN)/snakemake --profile profiles/default --configfile demo/config.yaml --cores $(CORES)
	$(BIN)/python -m regcore.demo compare demo
	@echo "Report: $(CURDIR)/demo/results/report.html"

test: $(VENV)/installed-test ## run the tests; PYTEST_ARGS=--runslow for the slow ones too
	$(BIN)/python -m pytest $(PYTEST_ARGS)

validate: $(VENV)/installed-test ## check the demo's results with the BIDS validator
	$(BIN)/bids-validator-deno --config tests/bids_validator.json demo/results

lint: $(VENV)/installed-lint demo/config.yaml ## check style, types and the workflow
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/mypy
	$(BIN)/snakefmt --check $(SNAKEMAKE_FILES)
	$(BIN)/snakemake --lint --configfile demo/config.yaml

format: $(VENV)/installed-lint ## bring every file into the style that lint checks
	$(BIN)/ruff check --fix $(PYTHON_FILES)
	$(BIN)/ruff format $(PYTHON_FILES)
	$(BIN)/snakefmt $(SNAKEMAKE_FILES)

bench: $(VENV)/installed-bench ## measure against other tools; needs REGCORE_DATA
	$(BIN)/python -m benchmarks

clean: ## remove the demo, caches and built files; leaves .venv and your results
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .regcore-cache *.egg-info
	find regcore scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
