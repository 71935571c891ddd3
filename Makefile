# Watchkeeper. `make up` runs it, `make test` tests it; everything lives in .venv.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
DATA ?= data
PORT ?= 8080
# Tests run in two processes, a file in one of them; JOBS=0 for one, to debug.
JOBS ?= 2
PYTEST := $(PY) -m pytest -q -n $(JOBS) --dist loadfile

.PHONY: help install up test test-quick check bench bench-quick torture format lock clean

help:            ## list the targets
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | sort

install: $(VENV)/.installed  ## make the environment in .venv

$(VENV)/.installed: requirements.lock pyproject.toml
	@bash scripts/venv.sh $(VENV)
	@touch $@

up: install      ## run the whole system on this machine
	$(BIN)/watchkeeper up --data $(DATA) --port $(PORT) $(ARGS)

test: install    ## run all tests
	$(PYTEST) -m "not alone" $(ARGS)
	$(PY) -m pytest -q -m alone tests/e2e

test-quick: install  ## run the tests that need no server
	$(PYTEST) -m "not e2e and not slow" $(ARGS)

check: install   ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: install   ## measure everything; NAB_DIR and CAPTURES_DIR name the public data
	$(PY) -m tests.bench.detectors --json
	$(PY) -m tests.bench.profiles --json
	$(PY) -m tests.bench.logs --json
	$(PY) -m tests.bench.nab --json
	$(PY) -m tests.bench.false_firings --json
	$(PY) -m tests.bench.profile_firings --json
	$(PY) -m tests.bench.captures --json --pictures docs/pictures --table docs/pictures/captures.md
	$(PY) -m tests.bench.quiet_day --json
	$(PY) -m tests.bench.enrichment --json
	$(PY) -m tests.bench.correlation --json
	$(PY) -m tests.bench.throughput --json
	$(PY) -m tests.bench.state --json
	$(PY) -m tests.bench.latency --json
	$(PY) -m tests.bench.archive --json
	$(PY) -m tests.bench.processes --json
	$(PY) -m tests.bench.idle --json

bench-quick: install  ## the same, short (a minute)
	$(PY) -m tests.bench.detectors --json --quick
	$(PY) -m tests.bench.profiles --json --quick
	$(PY) -m tests.bench.logs --json --quick
	$(PY) -m tests.bench.captures --json --quick
	$(PY) -m tests.bench.quiet_day --json --quick
	$(PY) -m tests.bench.enrichment --json --quick
	$(PY) -m tests.bench.correlation --json --quick
	$(PY) -m tests.bench.throughput --json --quick
	$(PY) -m tests.bench.state --json --quick
	$(PY) -m tests.bench.latency --json --quick
	$(PY) -m tests.bench.archive --json --quick
	$(PY) -m tests.bench.processes --json --quick
	$(PY) -m tests.bench.idle --json --quick

torture: install ## kill the parts at random moments under load, 130 times: nothing may be lost, doubled or wrong
	$(PY) -m tests.torture --json

format: install  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install    ## resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --generate-hashes \
	  --no-header --no-annotate -o requirements.lock

clean:           ## remove the environment and caches, not the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
