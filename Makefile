# Each target does all its own set-up; it needs Python 3.11 or newer, make, and root only for Debian packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODELS := .venv-models
DEMO_SECONDS ?=
RUNS ?= 50000
READY := $(VENV)/.ready

BACKEND_VENVS := $(CURDIR)/.venv-backends

.PHONY: test-chaos test-backends setup demo test check test-models bench bench-check fuzz lock sbom clean system test-vm test-arm64

setup: $(READY)

$(READY): pyproject.toml constraints.txt tools/setup
	PYTHON="$(PYTHON)" sh tools/setup "$(VENV)"
	touch $@

demo: setup ## follow a face in a real video; DEMO_SECONDS=20 ends by itself
	$(BIN)/vedette demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: setup system ## every check and every test
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/check

test-backends: setup ## a real plug-in provider, MLServer and TVM, each in an environment of its own (1 GB)
	PYTHON="$(PYTHON)" sh tools/backend-venvs "$(BACKEND_VENVS)"
	VEDETTE_BACKEND_VENVS="$(BACKEND_VENVS)" $(BIN)/python -m pytest tests/backends
	$(BACKEND_VENVS)/tvm/bin/python -m pytest --timeout 600 tests/services/infer/test_tvm_*.py

check: setup ## the checks without the tests
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tools/check --no-tests

test-chaos: setup system ## whole nodes ill-treated: storms, power cuts, full disks, bad lines, clocks; some want root, 10 minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest -m "slow or not slow" tests/chaos

test-models: setup ## the whole model workshop with PyTorch (2 GB), in an environment of its own
	[ -x $(MODELS)/bin/python ] || $(PYTHON) -m venv $(MODELS)
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "setuptools>=77" wheel
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch pytest pytest-timeout
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[export]'
	$(MODELS)/bin/python -m pytest tests/tools/models

bench: setup system ## every benchmark, about 15 minutes; figures go to docs/benchmarks/
	$(BIN)/vedette bench every

bench-check: setup system ## the ratios of a new run beside the committed ones
	$(BIN)/vedette bench check

fuzz: setup ## 50,000 odd inputs for each decoder of foreign bytes, guided by coverage
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris || true
	$(BIN)/python -m tools.fuzz.run --runs $(RUNS)

lock: setup ## requirements.lock: every package of a node with its hashes, for all machines
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --extra models -c constraints.txt --generate-hashes --universal --python-version 3.11 \
	  --no-emit-index-url --no-header --no-annotate --quiet -o requirements.lock

sbom: setup ## build/sbom.json: what the environment holds, as CycloneDX
	$(BIN)/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom
	mkdir -p build
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.json $(BIN)/python

test-vm: setup ## HDMI and V4L2 against a real kernel in an emulated machine; Debian packages, some minutes
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends qemu-system-x86 busybox-static cpio kmod v4l-utils >/dev/null; fi
	PATH="$(CURDIR)/$(BIN):$$PATH" python -m pytest tests/vm

test-arm64: setup ## the wheel and the tests in an AArch64 root under emulation, as root; SUITE=trixie for Debian 13
	PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/arm64/run

system: ## Debian packages that the tests use, when root may install them
	sh tools/system

clean: ## remove what the targets made; models and clips in the cache stay
	rm -rf $(VENV) $(BACKEND_VENVS) $(MODELS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache run
