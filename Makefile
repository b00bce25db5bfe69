# make test        lint, types and all tests
# make demo        two networks compiled, emulated and compared with the float networks
# make benchmarks  speed, and search for calibration, next to named opponents
# make accuracy    accuracy of float, of nirhw and of the vendors' own routes
# make lint        ruff and mypy alone
# make clean       back to a fresh clone
#
# Needs Python 3.11 or later with venv, and for the tests a C++ compiler (the independent Xylo simulator is built from source).
# Each target sets up what it needs: .venv, and environments of the oracles for tests and benchmarks.

ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
endif
WORKERS ?= 2
PYTEST_ARGS ?=

XYLOSIM := 0.1.3
SINABS := 3.1.3
ROCKPOOL := 3.1.0
LAVA := 0.10.0
LAVA_DL := 0.6.0
TORCH := 2.13.0
# where a CPU build of torch is found; empty: the index that pip is set up for
TORCH_INDEX ?=
PACKAGES := nirhw passes targets hw_configs

VENV := .venv/bin
# stamps: older than pyproject.toml, or of another xylosim, means set up again
ENV := .venv/.installed
ORACLES := .venv-xylosim/.installed-$(XYLOSIM) .venv-sinabs/.installed-$(SINABS) .venv-lava/.installed-$(LAVA) .venv-rockpool/.installed-$(ROCKPOOL)
PIP_FLAGS := -qq --disable-pip-version-check

export NIRHW_XYLOSIM_PYTHON ?= $(CURDIR)/.venv-xylosim/bin/python
export NIRHW_ROCKPOOL_PYTHON ?= $(CURDIR)/.venv-rockpool/bin/python
export NIRHW_SINABS_PYTHON ?= $(CURDIR)/.venv-sinabs/bin/python
export NIRHW_LAVA_PYTHON ?= $(CURDIR)/.venv-lava/bin/python
# the oracles are built while lint and mypy run
MAKEFLAGS += --jobs=2

.PHONY: demo test test-exporters lint benchmarks accuracy clean
.DELETE_ON_ERROR:

demo: $(ENV)
	$(VENV)/python demo/run.py

test: lint $(ORACLES)
	$(VENV)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

# graphs from the real exporters, each in its own environment; not part of make test
EXPORTERS ?=
test-exporters: $(ENV)
	$(VENV)/python tests/exporters/run.py --venvs .venv-exporters --out .venv-exporters/out $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX)) $(EXPORTERS)
	NIRHW_EXPORTS=$(CURDIR)/.venv-exporters/out $(VENV)/python -m pytest tests/exporters

lint: $(ENV)
	@rm -rf build/typing
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	@# one package in four folders: mypy reads it where links put it together
	@mkdir -p build/typing/nirhw
	@ln -s $(addprefix ../../../,$(filter-out %/__pycache__,$(wildcard nirhw/*)) $(filter-out nirhw,$(PACKAGES))) build/typing/nirhw
	$(VENV)/mypy

benchmarks: $(ENV) $(ORACLES)
	@set -e; for script in $(filter-out tests/benchmarks/accuracy.py,$(wildcard tests/benchmarks/*.py)); do echo "== $$script"; $(VENV)/python $$script; done

ACCURACY_ARGS ?=
accuracy: $(ENV) $(ORACLES)
	$(VENV)/python tests/benchmarks/accuracy.py $(ACCURACY_ARGS)

clean:
	rm -rf .venv .venv-xylosim .venv-rockpool .venv-sinabs .venv-lava .venv-exporters .pytest_cache .hypothesis .ruff_cache .mypy_cache build dist out nirhw.egg-info
	find $(PACKAGES) demo tests -name __pycache__ -prune -exec rm -rf {} +

$(ENV): pyproject.toml
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install $(PIP_FLAGS) --editable '.[dev,report,events]'
	@touch $@

.venv-xylosim/.installed-%:
	$(PYTHON) -m venv .venv-xylosim
	.venv-xylosim/bin/python -m pip install $(PIP_FLAGS) numpy xylosim==$*
	@touch $@

# rockpool's extra "xylo" would pull samna, which public indexes hold as a downloader only; tests/oracles/stand_ins has a stand-in
.venv-rockpool/.installed-%:
	$(PYTHON) -m venv .venv-rockpool
	.venv-rockpool/bin/python -m pip install $(PIP_FLAGS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH)
	.venv-rockpool/bin/python -m pip install $(PIP_FLAGS) rockpool==$* xylosim==$(XYLOSIM) nir==1.0.8 nirtorch==2.6 bitstruct packaging
	@touch $@

.venv-sinabs/.installed-%:
	$(PYTHON) -m venv .venv-sinabs
	.venv-sinabs/bin/python -m pip install $(PIP_FLAGS) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH)
	.venv-sinabs/bin/python -m pip install $(PIP_FLAGS) sinabs==$*
	@touch $@

# lava's published pins are older than these Pythons; tests/oracles/lava_shim.py makes it importable.  Its virtual ports call
# numpy.reshape with a name that numpy 2.4 dropped.
.venv-lava/.installed-%:
	$(PYTHON) -m venv .venv-lava
	.venv-lava/bin/python -m pip install $(PIP_FLAGS) 'numpy<2.4' scipy networkx asteval scikit-learn h5py
	.venv-lava/bin/python -m pip install $(PIP_FLAGS) --no-deps --ignore-requires-python lava-nc==$* lava-dl==$(LAVA_DL)
	@touch $@
