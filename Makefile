# Everything runs in .venv, made here with Python's own venv and pip; `make help` lists the targets.
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST_ARGS ?=
CASES ?= 100000
CONFIG ?= study.yaml
HOURS ?= 2
# LOCKED=no installs what pyproject.toml allows instead of the locked versions
LOCKED ?= yes

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := workflow,formats,demo
TESTING := $(RUNTIME),slurm,cluster-generic,s3,s3-test,test
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_ARGS = $(UPGRADE) pyproject.toml requirements/build.in --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header --no-annotate --extra workflow --extra formats --extra demo
SNAKEMAKE_FILES := Snakefile $(wildcard rules/*.smk)
PYTHON_FILES := regcore scripts tests benchmarks requirements

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH :=

.PHONY: help install demo test validate lint audit sbom lock fuzz soak format estimate bench clean distclean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

$(VENV)/python-is-ready:
	@command -v $(PYTHON) >/dev/null || { echo "make: expected Python 3.11 or newer, found no $(PYTHON); try make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: expected Python 3.11 or newer, found " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: expected Python's venv module, found none; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# The locked versions, by their hashes; a file with another content than the locked one ends everything. Where a
# locked version does not exist for this Python or platform, the ranges of pyproject.toml decide instead.
define install_locked
	@test "$(LOCKED)" = no || $(PIP) install --require-hashes --requirement requirements/$(1).lock 2> $(VENV)/lock.log || { \
	  cat $(VENV)/lock.log >&2; \
	  ! grep -q "DO NOT MATCH THE HASHES" $(VENV)/lock.log || exit 1; \
	  echo "make: the locked versions cannot be installed here; taking what pyproject.toml allows"; }
	@$(PIP) install --requirement requirements/build.in
	$(PIP) install --no-build-isolation --editable ".[$(2)]"
endef

# one stamp a set of extras: a target installs what it needs and no more
$(VENV)/installed: pyproject.toml requirements/run.lock $(VENV)/python-is-ready
	@echo "Installing into $(VENV) (a minute or two, once)"
	$(call install_locked,run,$(RUNTIME))
	@touch $@

$(VENV)/installed-test: requirements/test.lock $(VENV)/installed
	$(call install_locked,test,$(TESTING))
	@touch $@

$(VENV)/installed-audit: $(VENV)/installed
	$(PIP) install --editable ".[$(RUNTIME),audit]"
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

demo: demo/config.yaml ## run the whole workflow on 8 synthetic subjects (5 minutes), compare with the truth
	$(BIN)/snakemake --profile profiles/default --configfile demo/config.yaml --cores $(CORES)
	$(BIN)/python -m regcore.demo compare demo
	@echo "Report: $(CURDIR)/demo/results/report.html"

test: $(VENV)/installed-test ## run the tests; PYTEST_ARGS=--runslow for the slow ones too, --runlong for all
	$(BIN)/python -m pytest $(PYTEST_ARGS)

validate: $(VENV)/installed-test ## check the demo's results with the BIDS validator
	$(BIN)/bids-validator-deno --config tests/bids_validator.json demo/results

lint: $(VENV)/installed-lint demo/config.yaml ## check style, types and the workflow
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/mypy
	$(BIN)/snakefmt --check $(SNAKEMAKE_FILES)
	$(BIN)/snakemake --lint --configfile demo/config.yaml

audit: $(VENV)/installed-audit ## look for insecure code and vulnerable packages (the latter needs a network)
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive regcore scripts requirements
	$(BIN)/python requirements/audit.py requirements/test.lock

sbom: $(VENV)/installed-audit ## write build/sbom.cdx.json, the software bill of materials of .venv
	@mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file build/sbom.cdx.json $(BIN)/python
	@echo "Bill of materials: $(CURDIR)/build/sbom.cdx.json"

lock: ## lock what pyproject.toml asks for, by its hashes; UPGRADE=--upgrade takes newer versions (needs uv)
	uv pip compile $(UV_ARGS) --extra slurm --extra cluster-generic --extra s3 --extra s3-test --extra test --output-file requirements/test.lock
	uv pip compile $(UV_ARGS) --constraint requirements/test.lock --output-file requirements/run.lock

fuzz: $(VENV)/installed-test ## let CASES damaged and hostile files loose on every reader; prints the counts
	$(BIN)/python -m tests.fuzz --cases $(CASES)

soak: $(VENV)/installed-test ## build with faults at random on a simulated cluster for HOURS; writes docs/soak.md
	$(BIN)/python -m tests.soak --hours $(HOURS)

format: $(VENV)/installed-lint ## bring every file into the style that lint checks
	$(BIN)/ruff check --fix $(PYTHON_FILES)
	$(BIN)/ruff format $(PYTHON_FILES)
	$(BIN)/snakefmt $(SNAKEMAKE_FILES)

estimate: $(VENV)/installed ## tell what the study CONFIG=study.yaml will take: jobs, core hours, memory, disk
	$(BIN)/python -m regcore.study.estimate config.yaml $(CONFIG)

bench: $(VENV)/installed-bench ## measure pairs of images against other tools; needs REGCORE_DATA
	$(BIN)/python -m benchmarks

clean: ## remove the demo, caches and built files; leaves .venv and your results
	rm -rf demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .regcore-cache *.egg-info
	find regcore scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
