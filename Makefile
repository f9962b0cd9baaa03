# Alluvium's recipes. Needs Python 3.11 or newer, and for the embedded Kafka Java 17 and Maven. `make` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
ARGS ?=
BIN := $(VENV)/bin
RUN := $(VENV)/.alluvium-run
DEV := $(VENV)/.alluvium-dev

# Idle OpenMP threads sleep: learning and serving share the cores.
export OMP_WAIT_POLICY := PASSIVE

.PHONY: help demo broker bench install test soak lint types format audit fuzz clean
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s  %s\n", $$1, $$2}' Makefile

demo: $(RUN) ## Kafka, worker, trainer and a simulated shop in one live view; ARGS="--until-artifacts 3"
	$(BIN)/alluvium demo $(ARGS)

broker: $(RUN) ## A real Apache Kafka on port 9092 until Ctrl-C; ARGS="--fresh" forgets its records
	$(BIN)/alluvium broker $(ARGS)

bench: $(RUN) ## The worker beside Quix Streams, Bytewax, Faust and plain aiokafka; ARGS="events.csv --columns …"
	$(BIN)/alluvium bench $(ARGS)

install: $(RUN) ## The `alluvium` command in .venv/bin, for `. .venv/bin/activate`

test: $(DEV) ## Every test, those on real Kafka and real Prometheus too; ARGS="tests/unit" for some
	deploy/prometheus/fetch.sh
	$(BIN)/python -m pytest $(ARGS)

soak: $(DEV) ## An hour of faults under load, and a report; ARGS="--faults 200 --pause 2" for ten minutes
	$(BIN)/python -m tests.soak --trainer --spare $(ARGS)

lint: $(DEV) ## Ruff's rules and its formatting, checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV) ## Mypy, strict
	$(BIN)/mypy

format: $(DEV) ## Ruff's formatting and safe fixes, applied
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: ## Known vulnerabilities of every pinned dependency; fails where one could not be looked up; ARGS="-s osv"
	$(PYTHON) -m venv .cache/audit
	.cache/audit/bin/python -m pip install --quiet pip-audit
	rm -f .cache/audit/report.json
	.cache/audit/bin/pip-audit --no-deps --disable-pip --requirement constraints.txt --format json --output .cache/audit/report.json $(ARGS) || true
	$(PYTHON) -m tests.audit .cache/audit/report.json

fuzz: $(DEV) ## Every decoder under atheris, a minute each; ARGS="--seconds 600 event" for one and longer
	$(BIN)/python -m pip install --quiet --target .cache/atheris atheris
	PYTHONPATH=.cache/atheris $(BIN)/python -m tests.fuzz $(ARGS)

clean: ## Remove what was built and cached; artifacts and Kafka's records stay
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist alluvium.egg-info
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (Debian: apt install python3 python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)" || { echo "python -m venv failed (Debian: apt install python3-venv)" >&2; exit 1; }

$(RUN): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	touch $@ $(RUN)
