# make test   install into .venv and run the tests: all that a bare machine with Python 3.11+ needs
# make demo   the whole method on made-up images, in minutes
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
DEVELOPER := $(VENV)/installed-dev

.PHONY: demo test test-all test-oldest check format clean
.DEFAULT_GOAL := test

demo: $(INSTALLED)
	$(BIN)/kdlnet demo

# Two processes of one thread each: most tests are too small for two threads to help. Where a test
# asks for two, they wait asleep: one that waits busily takes the time of the other process.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/pytest -n 2 --dist loadfile -m "not slow and not gpu"

test-all: $(INSTALLED)
	$(BIN)/pytest

# With the oldest versions that setup.cfg allows; their own warnings are none of ours.
test-oldest:
	sed -n 's/^    \([a-z0-9-]*\)>=\(.*\)/\1==\2.*/p' setup.cfg > $(VENV)-oldest.txt
	PIP_CONSTRAINT=$(CURDIR)/$(VENV)-oldest.txt PYTEST_ADDOPTS='-o filterwarnings=default' \
	  $(MAKE) test VENV=$(VENV)-oldest

check: $(DEVELOPER)
	$(BIN)/pytest -q tests/test_layers.py
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(DEVELOPER)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The two files are stamps: the install is done once and again when what it reads has changed.
$(INSTALLED): setup.cfg pyproject.toml build_hook.py
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON) not found: install Python 3.11 or newer, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11: name a newer one, e.g. PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "no venv module: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@echo "Installing into $(VENV). The first time takes minutes: torch alone is some gigabytes."
	$(BIN)/python -m pip install -e '.[test]'
	@$(BIN)/python -c 'import cv2' || { echo "opencv cannot be imported (the reason is above):" \
	  "on Debian and Ubuntu, apt install libgl1 libglib2.0-0"; exit 1; }
	@touch $@

$(DEVELOPER): $(INSTALLED)
	$(BIN)/python -m pip install -e '.[test,dev]'
	@touch $@
