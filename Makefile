# Two commands, each doing all its own set-up: make train, make test.
PYTHON ?= python3
VENV   ?= .venv
CONFIG ?= configs/ml-100k.yaml
CACHE  ?= $(HOME)/.cache/graphcl-build
BIN     = $(VENV)/bin
export OMP_WAIT_POLICY = PASSIVE

.PHONY: train test lint types contract scatter clean

train: $(VENV)/.installed
	$(BIN)/recsys train $(CONFIG)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# torch comes first and pinned: a plain `pip install torch` may bring several GB for GPUs that are not there.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e ".[recbole]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e ".[recbole,dev]"
	touch $@

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contract: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# torch-scatter has no wheel: it is compiled once for each torch (about six minutes) and kept in $(CACHE).
WHEELS = $(CACHE)/$(shell $(BIN)/python -c "import sys, torch; print(f'torch-{torch.__version__}-py{sys.version_info[0]}{sys.version_info[1]}')" 2>/dev/null)
scatter: $(VENV)/.installed-dev
	mkdir -p "$(WHEELS)"
	test -e "$(WHEELS)"/torch_scatter-*.whl || \
	  { $(BIN)/pip install -q wheel setuptools && \
	    MAX_JOBS=2 $(BIN)/pip wheel -q --no-build-isolation --no-deps -w "$(WHEELS)" torch-scatter; }
	$(BIN)/pip install -q --no-deps "$(WHEELS)"/torch_scatter-*.whl
	$(BIN)/python -m pytest tests/graphcl/test_ops.py

clean:
	rm -rf $(VENV)
