# The house's commands. `make demo` and `make test` need nothing but Python 3.11+ with venv, and make.

# The first Python that works, is 3.11 or newer and can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check
OUT ?= demo-output
SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help demo up test chaos check bench format clean

help: ## Show these commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Draw the bundled prompts on this machine: the whole farm, from nothing to pictures.
	@$(BIN)/python -m sigmafarm.demo --out $(OUT)

up: $(VENV)/.run ## Start the whole farm on this machine and keep it running (Ctrl-C stops it).
	@$(BIN)/sigmafarm up

test: $(VENV)/.dev ## Pass every test.
	@$(BIN)/python -m pytest -rs

chaos: $(VENV)/.dev ## Inject every fault of the table, then random ones for SECONDS (60) with SEED (a new one).
	@$(BIN)/python -m pytest -rs -m chaos tests/chaos
	@$(BIN)/python -m tests.chaos.random_chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

check: $(VENV)/.dev ## Lint, formatting, types and the direction of imports.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/basedpyright

format: $(VENV)/.dev ## Format and mend what the linter can mend.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## Run the benchmarks; results go to tests/bench/results/.
	@$(BIN)/python tests/bench/submit_bench.py
	@$(BIN)/python tests/bench/engine_bench.py --size tiny --device cpu

clean: ## Remove what the other commands made here.
	@rm -rf $(VENV) $(OUT)

# The stamps: a second run finds everything installed and skips it.
$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || \
	  { echo "sigmafarm needs Python 3.11 or newer with venv: install it (Debian: python3-venv) or set PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON), once: the wheels take a few minutes..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml constraints.txt
	@$(PIP) -e '.[worker]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@$(PIP) -e '.[worker,dev]'
	@touch $@ $(VENV)/.run
