# Needs only make and Python 3.10 or newer with its venv module. `make` alone lists the targets.
PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
DEMO_VENV := .venv-demo
DEMO_OUT := demo-out
BENCH_OUT := bench-out

# The demo is not an editable install, so whatever goes into the wheel makes it stale.
SOURCES := $(shell find cli training compression runtime benchmarks targets -type f \
	-not -path '*/__pycache__/*')

PIP_INSTALL := -m pip install --disable-pip-version-check

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow torture coverage-jetson lint format bench bench-ratios bench-training clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(DEMO_VENV)/.installed  ## install the lean runtime alone and predict on the samples
	$(DEMO_VENV)/bin/orthoedge predict runtime/samples --overlay $(DEMO_OUT)
	@echo
	@echo "Overlays: $(CURDIR)/$(DEMO_OUT)"
	@ls $(DEMO_OUT)

test: $(VENV)/.installed  ## all tests but the slow ones
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.installed  ## the slow tests, without those of torture
	$(VENV)/bin/python -m pytest -m slow --ignore=tests/torture $(PYTEST_ARGS)

torture: $(VENV)/.installed  ## the promises of docs/reliability.md at full count, each count printed
	$(VENV)/bin/python -m pytest -m slow tests/torture $(PYTEST_ARGS)

coverage-jetson: $(VENV)/.installed  ## lines of targets/jetson that its tests run; docs/jetson.md names the others
	$(VENV)/bin/python -m coverage erase
	$(VENV)/bin/python -m coverage run -m pytest tests/targets/jetson $(PYTEST_ARGS)
	$(VENV)/bin/python -m coverage combine -q
	$(VENV)/bin/python -m coverage report

lint: $(VENV)/.installed  ## ruff check, ruff format, mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed  ## let ruff rewrite what it can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.installed  ## latency of the embedded bundle and of the stages
	$(VENV)/bin/orthoedge benchmark --out $(BENCH_OUT) $(BENCH_ARGS)
	$(VENV)/bin/python -m pytest benchmarks/bench_*.py -o addopts= -o python_functions='bench_*' \
		--benchmark-only --benchmark-columns=min,median,iqr,rounds --benchmark-group-by=func

bench-ratios: $(VENV)/.installed  ## the promises about speed, each beside what it is compared with
	$(VENV)/bin/orthoedge benchmark --ratios --out $(BENCH_OUT) $(BENCH_ARGS)

bench-training: $(VENV)/.installed  ## training throughput against the bare step
	$(VENV)/bin/orthoedge benchmark --training orthovision $(BENCH_ARGS)

clean:  ## remove everything that make or the tests wrote
	rm -rf $(VENV) $(DEMO_VENV) $(DEMO_OUT) $(BENCH_OUT) build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage*
	find cli training compression runtime benchmarks targets tests -name __pycache__ \
		-prune -exec rm -rf {} +

# The stamps are written last: an install that broke off is begun again.
# build/ is removed first: setuptools would pack what an older build left there.
$(DEMO_VENV)/.installed: pyproject.toml $(SOURCES)
	$(call make_venv,$(DEMO_VENV))
	rm -rf build
	$(DEMO_VENV)/bin/python $(PIP_INSTALL) '.[x86]'
	rm -rf build
	@touch $@

$(VENV)/.installed: pyproject.toml
	$(call make_venv,$(VENV))
	$(VENV)/bin/python $(PIP_INSTALL) -e '.[dev]'
	@touch $@

define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	{ echo "$(PYTHON) is missing or older than 3.10; try make PYTHON=python3.11" >&2; exit 1; }
@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef
