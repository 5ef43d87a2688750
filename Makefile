# Liquid Pilot: `make help` lists the targets. The first target that needs it sets up .venv; later ones start at once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint style mypy pyright imports check cortex-m7 clean

VENV := .venv
PY := $(VENV)/bin/python
SETUP_LOG := $(VENV)/setup.log
PACKAGES := $(wildcard liquid_pilot envs policies scripts tests)

# Where pip looks for the CPU build of PyTorch on Linux, whose default build is 3 GB of CUDA. Only used when pip has no
# index of its own configured. Empty = take the default build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# The stamp's name holds what the environment depends on (the dependencies and the place of this checkout), so that
# a `git checkout` that merely touches pyproject.toml costs nothing.
STAMP := $(VENV)/.ready-$(shell { cat pyproject.toml; pwd; } | cksum | cut -d ' ' -f 1)

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' \
		| while IFS=$$'\t' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## make .venv and install everything (other targets do it by themselves)

demo: $(STAMP) ## train a little, score, export and fly a policy; pictures and report in runs/demo
	$(PY) -m scripts.demo

# A file's tests stay on one core, with the fixtures they share; the first folders hold the longest files, so their order
# is kept. What flies on the clock of the wall flies alone.
test: $(STAMP) ## run the tests
	$(PY) -m pytest -W error -q -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder -m 'not real_time and not sitl and not ray'
	$(PY) -m pytest -W error -q -m 'real_time or sitl' tests/runtime/test_end_to_end.py tests/world/test_betaflight_sitl.py

lint: style mypy pyright imports ## style, types and import rules

style: $(STAMP)
	$(PY) -m ruff check $(PACKAGES)
	$(PY) -m ruff format --check $(PACKAGES)

mypy: $(STAMP)
	$(PY) -m mypy $(addprefix -p ,$(PACKAGES))

pyright: $(STAMP)
	$(PY) -m pyright

imports: $(STAMP)
	$(PY) -c 'from importlinter.cli import lint_imports_command as run; run()'

check: lint test ## lint and test

# POLICY: shipped name or path. M7: more arguments, such as --int8.
POLICY ?= hover
cortex-m7: $(STAMP) ## build POLICY=hover for a Cortex-M7, run it in QEMU: parity, instructions, flash, RAM
	@$(PY) -m scripts.cortex_m7 $(POLICY) $(M7)

clean: ## remove .venv, caches and builds; runs/ and trained policies stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyBullet is published ready-made for CPython 3.10 and 3.11. Other versions build it from source, which needs a C++
# compiler and some minutes. Each candidate is run, because a name on PATH may lead nowhere.
define FIND_PYTHON
usable() { \
	"$$1" -c 'import ensurepip, sys, venv; sys.exit(not int(sys.argv[1]) <= sys.version_info[1] <= int(sys.argv[2]))' \
		"$$2" "$$3" >/dev/null 2>&1; \
}; \
python=; \
if [ -n "$(PYTHON)" ]; then \
	usable "$(PYTHON)" 10 99 && python="$(PYTHON)" || { \
		echo "PYTHON=$(PYTHON) is not a working Python 3.10 or newer with its venv module; give the path of one." >&2; exit 1; }; \
fi; \
for name in python3.11 python3.10 python3; do \
	[ -n "$$python" ] || ! usable "$$name" 10 11 || python=$$name; \
done; \
for name in python3.12 python3.13 python3; do \
	[ -n "$$python" ] || ! command -v c++ >/dev/null || ! usable "$$name" 10 99 || python=$$name; \
done; \
[ -n "$$python" ] || { \
	echo "No fitting Python was found. Install Python 3.11 or 3.10 with its venv module (Debian and Ubuntu:" >&2; \
	echo "apt install python3.11 python3.11-venv), or a newer one and a C++ compiler to build PyBullet, or name" >&2; \
	echo "one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
endef

$(STAMP): export PIP_DISABLE_PIP_VERSION_CHECK = 1
$(STAMP):
	@$(FIND_PYTHON); \
	if ! usable $(PY) 10 99; then \
		echo "setting up $(VENV) with $$("$$python" --version) (once, some minutes; watch it in $(SETUP_LOG))"; \
		"$$python" -m venv --clear $(VENV); \
	fi; \
	rm -f $(VENV)/.ready-*; \
	index=; \
	case "$$(uname -s) $$($(PY) -m pip config list)" in \
		*index-url*|*find-links*|*no-index*) ;; \
		Linux*) $(PY) -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1] + "/torch/", timeout=10)' \
			"$(TORCH_INDEX)" 2>/dev/null && index="--extra-index-url $(TORCH_INDEX)" || true ;; \
	esac; \
	$(PY) -m pip install $$index -e '.[dev]' >$(SETUP_LOG) 2>&1 \
		|| { tail -n 25 $(SETUP_LOG) >&2; echo "set-up failed; the whole log is $(SETUP_LOG)" >&2; exit 1; }; \
	touch $@
