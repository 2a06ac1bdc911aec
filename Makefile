# Two commands matter: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: help install demo test test-slow test-thorough lint docs bench mutants wheel clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(VENV)/.installed   ## create .venv with the toolkit and everything the tests need

# constraints.txt names the torch build; a range would take the newest one, with gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install    ## run the recipe glyphs from raw symbols to search, about a minute
	@$(BIN)/sensorium demo

# Three workers on two cores: tests wait for servers, browsers and files about a third of their time.
MARKS  ?= not slow and not thorough
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadgroup

test: install    ## all tests but the slow ones; MARKS="not thorough" runs them too
	@$(PYTEST) -m "$(MARKS)"

test-slow: install ## the slow tests: kills, damaged files, other people's inputs
	@$(PYTEST) -m "slow and not thorough"

test-thorough: install ## what no other target runs, and each property with all the examples it names; an hour
	SENSORIUM_EXAMPLES=300 $(PYTEST)

lint: install    ## style
	$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .

docs: install    ## regenerate the help pages in docs/
	$(BIN)/python docs/help.py

bench: install   ## every claim of bench/RESULTS.md, at reduced size
	for claim in bench/[a-z]*.py; do $(BIN)/python -m bench.$$(basename $$claim .py) --quick || exit 1; done

mutants: install ## what the tests notice of random changes of the code; half an hour
	test -x $(VENV)-mutants/bin/cosmic-ray || { $(PYTHON) -m venv $(VENV)-mutants && $(VENV)-mutants/bin/python -m pip install --quiet cosmic-ray; }
	$(BIN)/python tests/mutants.py

wheel: install   ## install the built wheel with each extra alone, and use it; half an hour
	$(BIN)/python tests/packaging/wheel.py

clean:           ## remove the environments
	rm -rf $(VENV) $(VENV)-mutants
