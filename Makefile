# Everything a new machine needs: GNU make and Python 3.11 or newer. `make help` lists the targets.
PYTHON ?= python3
ARGS ?=
JOBS ?= 3

VENV := .venv/bin
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
export PYTHONTZPATH :=

.DEFAULT_GOAL := help
.PHONY: help setup up demo test test-all lint bench chaos soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## create .venv, or bring it up to date (PYTHON=python3.12 chooses the Python)
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON); install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "setup: $$($(PYTHON) --version 2>&1) is too old; install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) dev/bootstrap.py

up: setup ## run everything until Ctrl-C: servers (data in .dev), demo org, worker, scheduler, Flower
	@exec $(VENV)/cmis dev up

demo: setup ## run the demo on throw-away servers to its end, and show what happened
	@$(VENV)/cmis demo $(ARGS)

test: setup ## run the tests on throw-away servers (ARGS="-k name" for some; JOBS=3 at once)
	@$(VENV)/pytest -n $(JOBS) --dist worksteal -m "not exhaustive" $(ARGS)

test-all: setup ## run all tests, also those that take long: faults in every form, a thousand runs under kills
	@CMIS_TEST_RUNS=$${CMIS_TEST_RUNS:-1000} CMIS_TEST_EFFORT=$${CMIS_TEST_EFFORT:-1} $(VENV)/pytest $(ARGS)

lint: setup ## ruff, formatting, types, and who may import whom
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy
	@$(VENV)/lint-imports

bench: setup ## measure beside other schedulers, on servers of its own, within ten minutes a part (ARGS="PART --json")
	@$(VENV)/python -m benchmarks $(ARGS)

chaos: setup ## faults under load, on servers of its own, within twenty minutes (ARGS="--only C4 --seconds 60 --seed 7")
	@$(VENV)/python -m chaos $(ARGS)

soak: setup ## twenty minutes at part of the load that can be carried: does what it uses stay as it is? (ARGS="--minutes 3")
	@$(VENV)/python -m chaos.soak $(ARGS)

clean: ## end what `make up` left running here; remove the venvs, .dev and caches
	@if [ -d .dev ]; then $(PYTHON) -m dev.clean .dev; fi
	@if [ -d .bench/data ]; then $(PYTHON) -m dev.clean .bench/data; fi
	@if [ -d .chaos/data ]; then $(PYTHON) -m dev.clean .chaos/data; fi
	@if [ -d .soak/data ]; then $(PYTHON) -m dev.clean .soak/data; fi
	@rm -rf .venv .venv-bench .dev .bench .chaos .soak .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
