# What a developer types; `make` alone tells. Everything is set up in .venv on first use, from the package index alone.

PYTHON  ?= python3
PYTHONS ?= 3.11 3.12 3.13
VENV    ?= .venv
BIN     := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo check test test-all torture peers bench docs proto lock audit clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.tests  ## pack a folder, export it, import it elsewhere, verify it: a minute's tour
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/demo.sh

check: $(VENV)/.tests  ## format, lint, types and layers, in seconds
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py

test: $(VENV)/.tests  ## all tests; those of peers that `make peers` has not fetched are skipped (ARGS="-k name" picks some)
	@$(BIN)/python -m compileall -q src/tranship  # else each of a thousand commands may compile anew (PYTHONDONTWRITEBYTECODE)
	$(BIN)/pytest -n auto $(ARGS)

test-all:  ## the tests on each interpreter of PYTHONS that is here
	@for version in $(PYTHONS); do \
	  if path=$$(tools/interpreter $$version); \
	  then $(MAKE) test PYTHON=$$path VENV=.venv-$$version || failed="$$failed $$version"; \
	  else absent="$$absent $$version"; fi; \
	done; \
	echo "tested on: $(PYTHONS); failed:$${failed:- none}; not here:$${absent:- none}"; test -z "$$failed"

torture: $(VENV)/.tests  ## harm done on purpose for a while: PART=name|all SEED=1 SECONDS=60 (tools/torture.py --list names the parts)
	$(BIN)/python tools/torture.py $(or $(PART),--list) --seed $(or $(SEED),1) --seconds $(or $(SECONDS),60) $(if $(REPORT),--report $(REPORT))

peers:  ## fetch the real containerd, docker, podman, skopeo and others into .peers (from Debian; changes nothing else)
	$(PYTHON) tools/peers.py

bench: $(VENV)/.tests peers  ## build the large images, measure tranship and its peers, write bench/RESULTS.md (an hour)
	$(BIN)/python bench/images.py
	for figure in $(FIGURES); do $(BIN)/python bench/$$figure.py || exit; done
	$(BIN)/python bench/report.py
FIGURES ?= export import reflink registry mirror daemon again ranges growth registry_growth memory startup store_list

docs: $(VENV)/.docs  ## the documentation, in site/
	$(BIN)/python tools/docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

proto: $(VENV)/.tests  ## make containerd's message modules again from its .proto files
	$(BIN)/python tools/proto.py

lock: $(VENV)/.lock  ## resolve the dependencies anew, into requirements/*.lock
	@compile() { out=$$1; shift; $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-annotate --custom-compile-command 'make lock' --output-file requirements/$$out.lock "$$@"; }; \
	compile tranship pyproject.toml && compile daemon pyproject.toml --extra daemon && \
	compile development pyproject.toml --extra daemon --group test --group check --group proto && \
	compile docs pyproject.toml --extra daemon --group docs

audit: $(VENV)/.lock  ## ask an advisory database, PyPI's or OSV's, about every locked dependency
	@$(BIN)/python tools/audit.py requirements/*.lock

clean:  ## remove what was built (downloads stay, in .peers and .cache)
	rm -rf .venv .venv-* site dist .mypy_cache .ruff_cache .hypothesis .pytest_cache .coverage*

# An environment is made when it is not there, and brought up to date when pyproject.toml has changed since.
$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # knows dependency groups
	@touch $@

$(VENV)/.tests: $(VENV)/.python pyproject.toml Makefile
	$(BIN)/python -m pip install --quiet --editable '.[daemon]' --group test --group check --group proto
	@touch $@

$(VENV)/.docs: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(VENV)/.lock: $(VENV)/.python
	$(BIN)/python -m pip install --quiet uv pip-audit
	@touch $@
