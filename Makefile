# Builds its own environment in .venv from the locks. `make` alone lists what it can do.

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The first Python that is new enough and really runs: a version manager's shim may exist and fail.
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$python" -c "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))" 2>/dev/null \
	&& echo "$$python" && break; done)

.PHONY: help run test soak mutants lint bench capacity proto contract openapi client dashboard lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

run: .venv/.runtime  ## start the whole service; settings come from the environment
	$(BIN)/balance up

test: .venv/.dev  ## run the tests; ARGS="-k pots" goes to pytest
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

soak: .venv/.dev  ## run the long random loads; ARGS="-k kill" runs some, SOAK_SEED=1 the same ones again
	$(BIN)/python -m pytest -m soak -n auto --dist loadgroup $(ARGS)

mutants: .venv/.dev  ## plant bugs in a copy of the code, one at a time: the tests must catch each
	$(BIN)/python -m tests.mutants.run $(ARGS)

lint: .venv/.dev  ## check style, types, layers and the proto file
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto

bench: .venv/.runtime  ## measure latency and throughput
	$(BIN)/python -m ops.bench $(ARGS)

capacity: .venv/.runtime  ## measure what a command costs, and write ops/capacity.md
	$(BIN)/python -m ops.bench --only capacity $(ARGS)

proto: .venv/.dev  ## generate both copies of the stubs from proto/balance.proto
	$(BIN)/python proto/generate.py

client: .venv/.runtime  ## build the client's wheel into dist
	$(PIP) wheel --no-index --no-deps --no-build-isolation --wheel-dir dist app/client
	rm -rf app/client/build app/client/*.egg-info

# setuptools is locked too: the package itself is then installed without a download.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-annotate --custom-compile-command "make lock" pyproject.toml

contract: .venv/.dev  ## write proto/contract.json: what gRPC callers have compiled, and must not break
	$(BIN)/buf build proto --exclude-source-info -o proto/contract.json

openapi: .venv/.runtime  ## write ops/openapi.json, the published HTTP interface
	$(BIN)/python -m ops.openapi

dashboard: .venv/.runtime  ## write the dashboard and the table of metrics, from code
	$(BIN)/python -m ops.grafana
	$(BIN)/python -m ops.metrics

lock: .venv/.created  ## pin the newest allowed versions in all locks
	$(PIP) install "uv>=0.13"
	$(BIN)/python -c "import tomllib; \
	print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" > .venv/build.in
	$(LOCK) .venv/build.in --output-file requirements.lock
	$(LOCK) .venv/build.in --output-file requirements-dev.lock --extra test --extra otel --constraint requirements.lock
	$(LOCK) .venv/build.in --output-file requirements-otel.lock --extra otel --constraint requirements-dev.lock

clean:  ## remove .venv, caches and builds; never the data in var
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.created:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer (with venv) is needed; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.runtime: .venv/.created requirements.lock pyproject.toml setup.cfg
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
