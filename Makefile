# The house's commands. `make demo` and `make test` need nothing but Python 3.11+ with venv, and make.

# The first Python that works, is 3.11 or newer and can make virtual environments.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# pip would compile all that it installs, a thousand files that nobody imports among them: Python compiles what it needs.
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
OUT ?= demo-output
SECONDS ?= 60
PARALLEL ?= -n auto --dist worksteal
# What test-quick leaves out: whole farms, browsers, what imports torch, and whatever is slow.
LEFT_OUT := -m 'not slow and not chaos' $(addprefix --ignore tests/,browser e2e chaos servers gpu worker demo_model)

# The wheel that holds CLIP's vocabulary, for a test: a file to read, not to install (it would bring torchvision).
CLIP := open_clip_torch==3.3.0

# Tests start hundreds of processes: what the first one compiles is kept for the others.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test test-quick chaos simulate check bench docs format wheel clean

help: ## Show these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Draw the bundled prompts on this machine: the whole farm, from nothing to pictures.
	@$(BIN)/python -m sigmafarm.demo --out $(OUT)

up: $(VENV)/.run ## Start the whole farm on this machine and keep it running (Ctrl-C stops it).
	@$(BIN)/sigmafarm up

test: $(VENV)/.dev $(VENV)/.system ## Pass every test, the whole fault table and a random run among them.
	@$(BIN)/python -m pytest -rs --durations 15 $(PARALLEL)

test-quick: $(VENV)/.dev ## Of these, the part of a minute: no farm of processes, no browser, no torch.
	@$(BIN)/python -m pytest --durations 5 $(PARALLEL) $(LEFT_OUT)

chaos: $(VENV)/.dev $(VENV)/.system ## Inject every fault of the table, then random ones for SECONDS (60) with SEED (a new one).
	@$(BIN)/python -m pytest -rs $(PARALLEL) tests/chaos --ignore tests/chaos/test_random.py
	@$(BIN)/python -m tests.chaos.random_chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

simulate: $(VENV)/.dev ## Simulate farms under a virtual clock for SECONDS (60), with new seeds, until a promise breaks.
	@$(BIN)/python -m tests.simulation --seconds $(SECONDS)

check: $(VENV)/.dev ## Lint, formatting, types and the direction of imports.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/basedpyright --project .

format: $(VENV)/.dev ## Format and mend what the linter can mend.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure the farm beside others that draw the same, and print the table of goals (some 20 minutes).
	@$(BIN)/python -m tests.bench

wheel: $(VENV)/.made ## Build what other machines install, with the versions that it was tested with: dist/*.whl, dist/constraints.txt.
	@rm -rf dist && mkdir dist && cp constraints.txt dist/
	@PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@cd dist && for wheel in *.whl; do echo "pip install 'dist/$$wheel[worker]' -c dist/constraints.txt   # without [worker]: no torch"; done

docs: $(VENV)/.docs ## Build the site of docs/ into site/; a link that leads nowhere fails it.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## Remove what the other commands made here.
	@rm -rf $(VENV) $(OUT) dist site

# The stamps: a second run finds everything installed and skips it.
$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || \
	  { echo "sigmafarm needs Python 3.11 or newer with venv: install it (Debian: python3-venv) or set PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON), once: the wheels take a few minutes..."
	@$(PYTHON) -m venv $(VENV)
	@# Python's own pip may be years old: a newer one takes a third of the time.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=26' || true
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml constraints.txt
	@$(PIP) -e '.[worker]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	@# pip asks for and unpacks one package after the other: the pinned versions in four lists at once, then what is left.
	@for n in 0 1 2 3; do awk "/^# Beyond/ { exit } /==/ && NR % 4 == $$n" constraints.txt >$(VENV)/pins.$$n; \
	  $(PIP) --no-deps -r $(VENV)/pins.$$n >/dev/null 2>&1 & done; wait
	@$(PIP) -e '.[worker,dev]'
	@$(BIN)/python -m pytest --collect-only -q >/dev/null || true  # one process compiles what several would compile at once
	@$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(VENV)/clip $(CLIP) || \
	  echo "  $(CLIP) could not be fetched: the test of CLIP's vocabulary is skipped (rm $@ to try again)"
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/.made pyproject.toml constraints.txt
	@$(PIP) -e '.[docs]'
	@touch $@

# What three kinds of tests need and apt offers: a clock that is an hour off, a browser, and Debian's Redis, whose package of
# tools brings the whole server without a daemon. Only root may; what cannot be had is skipped, and says so. The bound is on
# the network: an installation that began is not cut off.
APT := faketime chromium-headless-shell redis-tools
$(VENV)/.system: $(VENV)/.made
	@missing=$$(for p in $(APT); do command -v $$p >/dev/null || dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing with apt-get, once, for tests:" $$missing; export DEBIAN_FRONTEND=noninteractive; \
	  timeout 60 apt-get update -qq >/dev/null 2>&1; \
	  for p in $$missing; do \
	    timeout 180 apt-get install -qq -y --no-install-recommends --download-only $$p >/dev/null 2>&1 && \
	    apt-get install -qq -y --no-install-recommends --no-download $$p </dev/null >/dev/null 2>&1 || \
	    echo "  $$p could not be installed: tests that need it are skipped (rm $@ to try again)"; \
	  done; \
	fi; touch $@
