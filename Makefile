# Each target creates what it needs; a fresh machine needs only Python >= 3.11, make and a C compiler.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(wildcard broker/core/*.pyx broker/core/*.pxd broker/jetstream/snapshot/*.pyx)
STAMP := $(VENV)/.installed
SCANNER := $(VENV)/scanner/.installed
CLIENT := tests/browser/build/nats.js

.PHONY: run test lint bench fuzz scanner client clean
# A virtual environment that was not finished is begun again, not used.
.DELETE_ON_ERROR:

run: $(STAMP)
	@exec $(BIN)/natskeep quickstart

test: $(STAMP) $(SCANNER)
	@if command -v npm >/dev/null; then $(MAKE) -s client || echo "npm got no client for browsers" >&2; fi
	$(BIN)/python -m tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m tools.bench

fuzz: $(STAMP)
	NATSKEEP_FUZZ=long $(BIN)/python -m pytest tests/fuzz tests/property/test_prove.py tests/property/test_streams.py \
	  tests/property/test_explain_broker.py tests/integration/test_proofs.py tests/integration/test_floods.py \
	  tests/integration/test_jetstream_values.py

scanner: $(SCANNER)

client: $(CLIENT)

clean:
	rm -rf tests/browser/node_modules tests/browser/build
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis natskeep-demo
	rm -f broker/core/*.c broker/core/*.so broker/jetstream/snapshot/*.c broker/jetstream/snapshot/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("natskeep needs Python 3.11 or newer; this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(STAMP): $(VENV)/bin/python pyproject.toml setup.py $(CORE)
	@command -v $${CC:-cc} >/dev/null || command -v gcc >/dev/null || { echo "natskeep needs a C compiler and found none: \
	install one (on Debian or Ubuntu: apt-get install build-essential) and run the command again." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q accounts auth broker tls tools
	@touch $@

# A program of its own, with its own releases of libraries (tests/scan).
$(SCANNER): tests/scan/requirements.txt $(VENV)/bin/python
	$(BIN)/python -m venv --clear $(VENV)/scanner
	$(VENV)/scanner/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# The official client for browsers (tests/browser), where npm is there to get it.
$(CLIENT): tests/browser/package.json tests/browser/package-lock.json
	npm --prefix tests/browser ci --silent
	npm --prefix tests/browser run --silent build
