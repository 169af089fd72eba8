# Every target makes what it needs; `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed
# What a run of the tests takes besides: make test PYTEST_ARGS="-k lifecycle"
PYTEST_ARGS ?=
# The programs of the control plane, built with Go into a cache outside of the work tree.
BUILD := PYTHONPATH=hack $(BIN)/python -m controlplane.build

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

.PHONY: venv
venv: $(STAMP) ## make the virtual environment with the locked versions

.PHONY: lock
lock: $(STAMP) ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --universal -p 3.11 --extra dev pyproject.toml -o requirements.lock

.PHONY: demo
demo: $(STAMP) ## play the built-in simulation, write report.html
	$(BIN)/autoctl simulate --report report.html
	@echo "The report is in report.html."

.PHONY: controlplane
controlplane: $(STAMP) ## build etcd, Kubernetes, KWOK, helm and promtool (once; needs Go)
	@if command -v go >/dev/null; then $(BUILD) >/dev/null; \
	else echo "LEFT OUT: without Go there is no real control plane and no helm" >&2; fi

.PHONY: lint
lint: controlplane ## ruff, mypy --strict, import-linter, hadolint, helm lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	@if command -v go >/dev/null; then \
	  helm="$$($(BUILD) helm)/helm"; \
	  "$$helm" lint --strict charts/autoctl --set settings.clusterName=lint; \
	  "$$helm" lint --strict charts/autoctl-crds; \
	fi

.PHONY: test
test: lint ## lint, then every test; those of the real control plane where Go is there
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup $(PYTEST_ARGS)

.PHONY: coverage
coverage: $(STAMP) ## the unit and simulated tests with a report of what they reach
	$(BIN)/pytest -n auto --maxprocesses 8 --dist loadgroup -m "not cluster" \
	  --cov=autoctl --cov-branch --cov-report=term --cov-report=xml $(PYTEST_ARGS)

.PHONY: cluster
cluster: controlplane ## a real control plane, a simulated cloud and the operator, to play with
	@PYTHONPATH=hack $(BIN)/python -m controlplane.cluster

.PHONY: crds
crds: $(STAMP) ## write crds/ anew from the models
	$(BIN)/autoctl crds --output crds

.PHONY: docs
docs: $(STAMP) ## write docs/reference/ and the chart's table of settings anew from the code
	$(BIN)/python hack/docs.py
	$(BIN)/python hack/charts.py

.PHONY: image
image: ## build the container image (needs Docker)
	docker build -t autoctl/autoctl:$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) .
