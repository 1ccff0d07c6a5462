# make demo: set up and run the drawn world. make check: set up and pass every check.
PYTHON ?= python3
BIN = .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo check clean

demo: .venv/ready
	snakemake --cores all
	snakemake --cores all --report results/drawn/report.html
	@echo "open results/drawn/report/index.html; how each file came about: results/drawn/report.html"

check: .venv/ready-to-check
	.ci/checks

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	    f"error: Python {sys.version.split()[0]} is too old, expected 3.11 or later; make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/ready-to-check: .venv/ready
	pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .snakemake .mypy_cache .ruff_cache .pytest_cache
