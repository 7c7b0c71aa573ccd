# Two commands for users: `make app` and `make test`. Each makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 8501
ifneq ($(wildcard ../shared/data),)
export CLEAR_HUG_DATA ?= $(abspath ../shared/data)
endif
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: app test test-long test-all lint bench fuzz screenshots clean

app: $(READY)
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not long and not alone" --numprocesses 2 --dist loadfile

test-long: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "long and not slow and not alone" --numprocesses 2 --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "alone and not slow"

test-all: $(READY) lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.qrs_ludb

screenshots: $(READY)
	$(BIN)/python -m docs.screenshots

MUTANTS ?= 20000
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.fuzz --mutants $(MUTANTS)

$(READY): requirements.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.txt
	touch $(READY)

clean:
	rm -rf $(VENV)
