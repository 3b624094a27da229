# Needs only make and Python 3.10 or newer with its venv module. `make` alone lists the targets.
PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
DEMO_VENV := .venv-demo
DEMO_OUT := demo-out
BENCH_OUT := bench-out

# The demo is not an editable install, so whatever goes into the wheel makes it stale.
SOURCES := $(shell find cli clinic training compression runtime benchmarks targets -type f \
	-not -path '*/__pycache__/*')

PIP_INSTALL := -m pip install --disable-pip-version-check

BENCH_STORE := .benchmarks
BENCH_STAGES = $(VENV)/bin/python -m pytest benchmarks/bench_runtime.py -o addopts= \
	-o python_functions='bench_*' --benchmark-only --benchmark-warmup=on \
	--benchmark-warmup-iterations=20 --benchmark-storage=$(BENCH_STORE) \
	--benchmark-columns=min,median,iqr,rounds --benchmark-group-by=func

NATIVE := .native
NATIVE_SOURCES := $(shell find native -type f -not -path '*/__pycache__/*' -not -path 'native/build/*')
NATIVE_PROOF = $(VENV)/bin/python -m pytest -m slow tests/robustness/native $(PYTEST_ARGS)

RUNTIME_EXTRAS := x86 portable dicom clinic report cluster jetson trust
LOCK_ARGS ?=
KIT_ARGS ?=
SBOM_VENV := .venv-sbom

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lowest robustness coverage-jetson aarch64 native native-proof native-sanitize native-aarch64 lint format bench bench-baseline bench-compare \
	bench-claims bench-ratios bench-training licences lock sbom offline-kit clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(DEMO_VENV)/.installed  ## install the lean runtime alone and predict four real radiographs
	$(DEMO_VENV)/bin/orthoedge predict runtime/assets/samples/radiographs/*.jpg --overlay $(DEMO_OUT)
	@echo
	@echo "Overlays: $(CURDIR)/$(DEMO_OUT)"
	@ls $(DEMO_OUT)

test: $(VENV)/.installed  ## all tests but the slow ones, in two processes
	@$(MAKE) --silent native >/dev/null 2>&1 || \
		echo "orthoedge-native cannot be built here (make native says why): its tests are skipped"
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-slow: $(VENV)/.installed  ## the slow tests, without those of robustness
	$(VENV)/bin/python -m pytest -m slow --ignore=tests/robustness $(PYTEST_ARGS)

lowest: $(VENV)/.installed  ## the runtime with the lowest versions that pyproject.toml allows
	UV=$(VENV)/bin/uv PYTHON=$(VENV)/bin/python .ci/lowest.sh

robustness: $(VENV)/.installed  ## the promises of docs/embed/reliability.md at full count, each count printed
	$(VENV)/bin/python -m pytest -m slow tests/robustness $(PYTEST_ARGS)

coverage-jetson: $(VENV)/.installed  ## lines of targets/jetson that its tests run, and those that they miss
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

bench: $(VENV)/.installed  ## latency of the default bundle, and of each stage of the runtime
	$(VENV)/bin/orthoedge benchmark run --out $(BENCH_OUT) $(BENCH_ARGS)
	$(BENCH_STAGES) --benchmark-autosave

bench-baseline: $(VENV)/.installed  ## time the stages alone and save them for bench-compare
	$(BENCH_STAGES) --benchmark-save=baseline

bench-compare: $(VENV)/.installed  ## time the stages again and compare; exit 1 if one is more than 10 % slower
	@ls $(BENCH_STORE)/*/*_baseline.json >/dev/null 2>&1 || \
		{ echo "no baseline: run make bench-baseline first" >&2; exit 2; }
	$(BENCH_STAGES) --benchmark-autosave \
		--benchmark-compare=$$(ls -t $(BENCH_STORE)/*/*_baseline.json | head -1 | xargs basename | cut -d_ -f1) \
		--benchmark-compare-fail median:10% min:10%

bench-claims: $(VENV)/.installed  ## measure the published claims about speed and memory
	$(VENV)/bin/orthoedge benchmark claims --out $(BENCH_OUT) $(BENCH_ARGS)

bench-ratios: bench-claims

bench-training: $(VENV)/.installed  ## throughput of the training loop and of the step alone
	$(VENV)/bin/orthoedge benchmark training orthovision $(BENCH_ARGS)

aarch64: $(VENV)/.installed  ## the portable target on an emulated aarch64 processor: for function alone
	.ci/aarch64.sh

native: $(NATIVE)/.installed  ## build orthoedge-native from native/ into .native, for the tests and benchmarks

native-proof: $(NATIVE)/.installed  ## compare it with Python on hundreds of thousands of radiographs; prints the counts
	$(NATIVE_PROOF)

native-sanitize: $(NATIVE)/.installed  ## the same under the address and undefined-behaviour sanitizers
	.ci/native-program.sh sanitized
	ORTHOEDGE_NATIVE_PROGRAM=$(NATIVE)/sanitized/orthoedge-corpus $(NATIVE_PROOF) -k program

native-aarch64: $(NATIVE)/.installed  ## the same on an emulated aarch64 processor
	.ci/native-program.sh aarch64
	ORTHOEDGE_NATIVE_PROGRAM="qemu-aarch64-static $(NATIVE)/aarch64/orthoedge-corpus" $(NATIVE_PROOF) -k program

licences: $(VENV)/.installed  ## every installed package's licence; fails at one that is not allowed or unknown
	$(VENV)/bin/python .ci/licences.py

lock: $(VENV)/.installed  ## pin and hash what each extra of the runtime needs; LOCK_ARGS=--upgrade takes newer ones
	@for extra in $(RUNTIME_EXTRAS); do \
		$(VENV)/bin/uv pip compile pyproject.toml --extra $$extra --output-file requirements/$$extra.txt \
			--universal --python-version 3.10 --generate-hashes --no-annotate --no-config --quiet \
			--custom-compile-command 'make lock' $(LOCK_ARGS) || exit 1; \
	done

# A folder of its own, so that the list is what a device has and nothing of the tools.
sbom: $(VENV)/.installed  ## sbom.cdx.json: what a device installs from requirements/, as CycloneDX
	rm -rf $(SBOM_VENV) build
	$(PYTHON) -m venv --without-pip $(SBOM_VENV)
	$(VENV)/bin/python -m pip --python $(SBOM_VENV)/bin/python install --disable-pip-version-check \
		--require-hashes $(RUNTIME_EXTRAS:%=-r requirements/%.txt)
	$(VENV)/bin/python -m pip --python $(SBOM_VENV)/bin/python install --disable-pip-version-check \
		--no-deps .
	$(VENV)/bin/cyclonedx-py environment $(SBOM_VENV)/bin/python --pyproject pyproject.toml \
		--mc-type library --output-reproducible --output-file sbom.cdx.json
	rm -rf $(SBOM_VENV) build

offline-kit: $(VENV)/.installed  ## a folder that installs all without a network; KIT_ARGS="--machines x86_64 --pythons 3.11"
	$(VENV)/bin/python .ci/offline-kit/build.py $(KIT_ARGS)

clean:  ## remove everything that make or the tests wrote
	rm -rf $(VENV) $(DEMO_VENV) $(SBOM_VENV) $(NATIVE) native/build .aarch64 $(DEMO_OUT) $(BENCH_OUT) offline-kit build dist sbom.cdx.json *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis $(BENCH_STORE) .coverage*
	find cli clinic training compression runtime benchmarks targets tests -name __pycache__ \
		-prune -exec rm -rf {} +

# The stamps are written last: an install that broke off is begun again.
# build/ is removed first: setuptools would pack what an older build left there.
$(DEMO_VENV)/.installed: pyproject.toml $(SOURCES)
	$(call make_venv,$(DEMO_VENV))
	rm -rf build
	$(DEMO_VENV)/bin/python $(PIP_INSTALL) '.[x86]'
	rm -rf build
	@touch $@

$(NATIVE)/.installed: $(NATIVE_SOURCES) | $(VENV)/.installed
	rm -rf $(NATIVE) native/build
	$(VENV)/bin/python $(PIP_INSTALL) --no-deps --target $(NATIVE) ./native
	rm -rf native/build
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
