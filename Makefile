# convnet-kafka. `make` lists what there is; `make demo` shows it working. Needs Python 3.11 to 3.13 and nothing else.

VENV ?= .venv
BIN := $(VENV)/bin
LOCAL := $(VENV)/.installed-local
DEV := $(VENV)/.installed-dev
CHARTS := $(VENV)/.installed-charts
SOURCES := model services helm tests benchmarks

# The chart asks for images of its own version unless it is told another tag. REVISION is what a label says they were built from.
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REGISTRY ?=
BUILD ?= docker build
BUILD_IMAGE = $(BUILD) --build-arg VERSION=$(TAG) --build-arg REVISION=$(shell git rev-parse HEAD 2> /dev/null || echo unknown)
NAMED = --tag $(REGISTRY)convnet-kafka-$(1):$(TAG)

export VENV
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo up down fashion-mnist bench bench-long faults test test-charts chart-schemas test-unit test-long cluster-test cluster-test-long lint format generate rules dashboard-pictures requirements images clean

help: ## list these targets
	@echo "make demo is the place to start. All targets:"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo "More words for a command: DEMO_ARGS, UP_ARGS, BENCH_ARGS, FAULTS_ARGS, PYTEST_ARGS; a Python of your choice: PYTHON=python3.12."

$(LOCAL): requirements/local.txt requirements/bootstrap.txt requirements/install.sh pyproject.toml
	@requirements/install.sh $(VENV) local

$(DEV): requirements/dev.txt requirements/bootstrap.txt requirements/install.sh pyproject.toml
	@requirements/install.sh $(VENV) dev

$(CHARTS): requirements/charts.txt requirements/chart-tools.sh | $(DEV)
	@requirements/chart-tools.sh $(VENV)

demo: $(LOCAL) ## train on real digits, start Kafka, server and classifiers here, classify, print accuracy and speed
	@$(BIN)/convnet-kafka demo $(DEMO_ARGS)

up: $(LOCAL) ## run Kafka, server and classifiers on this machine until Ctrl-C or make down
	@$(BIN)/convnet-kafka up $(UP_ARGS)

down: $(LOCAL) ## end what make up runs, from another terminal; the data stays
	@$(BIN)/convnet-kafka down

FASHION := data/fashion-mnist
$(FASHION)/.complete: $(LOCAL) benchmarks/fashion_mnist.py
	@$(BIN)/python benchmarks/fashion_mnist.py $(FASHION)
	@touch $@

fashion-mnist: $(LOCAL) $(FASHION)/.complete ## convert Debian's dataset-fashion-mnist into class folders under data/
	@echo "train on it:  $(BIN)/convnet-kafka train $(FASHION)/train --height 28 --width 28 --colors grey"

bench: $(DEV) ## measure the whole path against the in-process limit, intake and latency against bare Kafka, starts, and what observing costs; writes build/*.json
	@$(BIN)/python benchmarks/run.py $(BENCH_ARGS)
	@$(BIN)/python benchmarks/ingest.py
	@$(BIN)/python benchmarks/latency.py
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/observability.py

bench-long: $(DEV) ## measure a million images in one run, both lanes at once, and classifiers that come and go; takes half an hour, as root on Linux
	@missed=0; for run in million.py lanes.py "lanes.py --photos" scaling.py; do $(BIN)/python benchmarks/$$run || missed=1; done; exit $$missed

faults: $(DEV) ## stream images while parts are killed, paused, cut off and replaced; the books must balance (build/ledger.json)
	@PYTHONPATH=tests $(BIN)/python -m storm $(FAULTS_ARGS)

images: ## build the container images: server, client, broker, classifier, trainer (REGISTRY=registry.example.org/vision/ TAG=1.2 BUILD="podman build")
	@for target in server client broker; do $(BUILD_IMAGE) --file Dockerfile.server --target $$target $(call NAMED,$$target) . || exit 1; done
	@for target in classifier trainer; do $(BUILD_IMAGE) --file Dockerfile.classifier --target $$target $(call NAMED,$$target) . || exit 1; done

# On all cores goes first what starts no Kafka, or asks only what a stack's metrics and rights are. The other tests measure times, end
# processes, and have a Kafka for each of the two that run at once.
SIDE_BY_SIDE := tests/unit tests/chart tests/acl $(filter-out %/test_kill.py,$(wildcard tests/monitoring/test_*.py))
test: $(DEV) $(CHARTS) ## all tests but the long ones, on a real Kafka that the tests start themselves
ifdef PYTEST_ARGS
	@$(BIN)/pytest -m "not long" $(PYTEST_ARGS)
else
	@$(BIN)/pytest -m "not long" --numprocesses auto --dist loadfile $(SIDE_BY_SIDE)
	@$(BIN)/pytest -m "not long" --numprocesses 2 --dist loadfile $(SIDE_BY_SIDE:%=--ignore=%)
endif

test-charts: $(DEV) $(CHARTS) ## only the tests of the Helm charts
	@$(BIN)/pytest -m "not long" tests/chart $(PYTEST_ARGS)

chart-schemas: $(DEV) ## fetch what Kubernetes, Strimzi, KEDA and others define, and write tests/chart/schemas anew; needs Go
	@$(BIN)/python tests/chart/make_schemas.py

test-unit: $(DEV) ## only the tests that start nothing
	@$(BIN)/pytest -m "not long" tests/unit $(PYTEST_ARGS)

test-long: $(DEV) $(CHARTS) ## the tests that take many minutes
	@$(BIN)/pytest -m long $(PYTEST_ARGS)

CLUSTER_TEST = CONVNET_CLUSTER_TESTS=1 $(BIN)/pytest tests/cluster

cluster-test: $(DEV) ## the charts on the Kubernetes of KUBECONFIG, in namespaces of their own; docs/kubernetes.md says what it needs
	@$(CLUSTER_TEST) -m "not long" $(PYTEST_ARGS)

cluster-test-long: $(DEV) ## what takes longer there: kills, drains, keys changed, two releases
	@$(CLUSTER_TEST) -m long $(PYTEST_ARGS)

lint: $(DEV) ## ruff, mypy --strict, and the import arrows
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/pytest -q --durations=0 tests/unit/test_architecture.py

format: $(DEV) ## put every file into the project's format
	@$(BIN)/ruff check --select I --fix --quiet $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

generate: $(DEV) $(CHARTS) ## write the charts' generated files again: values, schema, README, dashboards, rules, what they render (k8s/), and docs/metrics.md
	@PYTHONPATH=helm/sources $(BIN)/python -m convnet_charts.generate
	@PYTHONPATH=helm/sources $(BIN)/python -m convnet_charts.rendered

rules: $(DEV) ## write recording rules and alerts for a Prometheus on this machine into the folder RULES
	@PYTHONPATH=helm/sources $(BIN)/python -m convnet_charts.rules.files "$(RULES)"

dashboard-pictures: $(DEV) ## draw the dashboards with the data of a stack under load and faults, into docs/dashboards (needs Prometheus)
	@PYTHONPATH=tests:helm/sources $(BIN)/python -m monitoring.pictures docs/dashboards

requirements: $(VENV)/bin/uv ## pin and hash all requirements again (UPGRADE=1 takes the newest versions)
	@requirements/compile.sh $(VENV)

$(VENV)/bin/uv: | $(LOCAL)
	@test -x $@

clean: ## remove the environment and everything built; keeps models, Kafka's data and downloads
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	@find model services tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
