# What can be done here; `make` alone runs the server. Everything is set up in .venv from lists locked by hash
# (conf/requirements*.txt). Outside this folder nothing changes, except that `make test` and `make clients` install
# Debian packages of real clients where they may.

PYTHON ?= python3
VENV   ?= .venv
# Where `make run` keeps keys, certificates and orders, and what it hands to quickstart and serve.
STATE  ?= ./state
FLAGS  ?=
# How many kills `make crash` survives, how many certificates `make load` asks each door for, how long and with how many
# clients `make campaign` goes on, how long each run of `make latency` takes.
ROUNDS ?= 20
COUNT  ?= 3000
MINUTES ?= 10
LANES  ?= 64
SECONDS ?= 20

BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
STATIC := gateway protocols policy ca_core tests

.PHONY: run test check static clients crash mutations load campaign latency lock docs clean debian
.NOTPARALLEL:
.DEFAULT_GOAL := run

## run: set up, make a first state with certificates and credentials to try, and serve
run: $(VENV)/.runtime
	$(BIN)/certgate quickstart --state "$(STATE)" $(FLAGS)
	exec $(BIN)/certgate serve --state "$(STATE)" $(FLAGS)

## test: set up everything and pass the tests, with one real client per door
test: $(VENV)/.tests debian static
	$(BIN)/python -m pytest -m "not client or door"

## check: what a reviewer looks at first: formatting, lint, types, import contracts and the tests without real clients
check: $(VENV)/.tests static
	$(BIN)/python -m pytest -m "not client"

static: $(VENV)/.tests
	$(BIN)/ruff format --check $(STATIC)
	$(BIN)/ruff check $(STATIC)
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports

## clients: the whole matrix of real clients
clients: $(VENV)/.tests debian
	PYTHON=$(PYTHON) tests/clients/install.sh
	$(BIN)/python -m pytest tests/clients -m client

## crash: kill the server ROUNDS times under load and look whether anything acknowledged is lost
crash: $(VENV)/.tests
	CERTGATE_CRASH_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/clients/test_crash.py -s

## mutations: send 50,000 damaged CMP messages to the door
mutations: $(VENV)/.tests
	CERTGATE_MUTATIONS=50000 $(BIN)/python -m pytest tests/protocols/cmp/test_bodies.py -k mutated

## load: measure each door on a fresh state and print the figures of docs/operations/performance.md
load: $(VENV)/.tests
	$(BIN)/python -m tests.load.figures --count $(COUNT)

## campaign: LANES clients for MINUTES; fails on any error, hang or repeated serial number
campaign: $(VENV)/.tests
	$(BIN)/python -m tests.load.campaign --minutes $(MINUTES) --lanes $(LANES)

## latency: how much longer a whole flow takes at half load than for one client alone
latency: $(VENV)/.tests
	$(BIN)/python -m tests.load.latency --seconds $(SECONDS)

## docs: check that pages and code say the same, and that the README's commands run
docs: $(VENV)/.tests
	$(BIN)/python -m pytest tests/architecture/test_documentation.py tests/architecture/test_readme.py

## lock: renew the locked lists of packages from pyproject.toml
lock: $(VENV)/.tests
	$(PIP) install "uv>=0.13"
	printf 'hatchling>=1.27\n' | $(BIN)/uv pip compile $(LOCK) --group test --extra lint --extra postgres \
	  --output-file conf/requirements-test.txt
	printf 'hatchling>=1.27\n' | $(BIN)/uv pip compile $(LOCK) --constraints conf/requirements-test.txt \
	  --output-file conf/requirements.txt

# Runtime and tests agree on every version; neither list names an index or a path of the machine that made it.
LOCK := pyproject.toml - --extra speed --universal --python-version 3.11 --generate-hashes --upgrade --quiet \
  --no-annotate --custom-compile-command "make lock"

## clean: remove what was set up and built, never a state
clean:
	rm -rf $(VENV) .clients build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(STATIC) conf -name __pycache__ -type d -prune -exec rm -rf {} +

debian:
	@$(PYTHON) tests/clients/programs.py install
	@$(PYTHON) tests/clients/programs.py report

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "certgate needs Python 3.11 or newer")'
	@$(PYTHON) -m venv "$(VENV)" || { rm -rf "$(VENV)"; echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

# The project itself is installed in place; what builds it is in the locked list, so nothing else is downloaded.
$(VENV)/.runtime: conf/requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --requirement conf/requirements.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.tests: conf/requirements-test.txt pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes --requirement conf/requirements-test.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.runtime
