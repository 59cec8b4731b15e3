# Every target works on a fresh clone: it creates .venv and installs what it needs.
# A second call finds the stamp files in .venv newer than pyproject.toml and starts
# at once.
#
#   make speed ARGS='--variants 18 --image-size 96'    other options for a command
#   make test PYTHON=python3.12                        another interpreter

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
export PIP_PROGRESS_BAR ?= $(if $(CI),off,on)

.DEFAULT_GOAL := help
.PHONY: help venv speed test check bench report clean
# Two targets of one call would run pip twice at the same time.
.NOTPARALLEL:

help:
	@echo 'make speed    time ResNet-18, 34 and 50 on this machine'
	@echo 'make test     run the tests'
	@echo 'make check    lint and check types'
	@echo 'make bench    run the micro-benchmarks'
	@echo 'make report   render results/ again: its tables, figures and report.html, README.md, docs'
	@echo 'make venv     create an empty .venv, to install another PyTorch build first'
	@echo 'make clean    remove .venv and caches; results/ stays'

venv: $(VENV)/created

speed: $(VENV)/installed
	$(BIN)/resnet-bench speed --variants 18,34,50 $(ARGS)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/installed-test-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-test
	$(BIN)/python -m pytest benchmarks $(or $(ARGS),--benchmark-only)

report: $(VENV)/installed
	$(BIN)/resnet-bench report --refresh --readme README.md,docs/tutorial.md,docs/tutorial.zh.md,docs/finetuning.md,docs/claims.md,docs/degradation.md $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage htmlcov
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/installed: $(VENV)/created pyproject.toml
	@echo 'Installing. PyTorch with CUDA is about 6 GB and takes some minutes;'
	@echo 'README.md says how to get the small CPU build.'
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/installed-test-dev: $(VENV)/installed-test
	$(PIP) install --editable '.[test,dev]'
	@touch $@

# A file of its own: an interrupted creation leaves $(BIN)/python without pip.
$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo '$(PYTHON) is no Python 3.11 or newer; try make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@
