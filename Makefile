# make lab     executes the notebooks, writes report/figures and report/results
# make test    runs the tests and executes the notebooks again at small counts
#
# Both first make .venv and install LIME_requirements.txt, once.

PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := LIME.ipynb RISE.ipynb

.PHONY: lab test

lab: .venv/installed
	$(BIN)/python -m lab.execute $(NOTEBOOKS)

test: .venv/installed
	LAB_PROFILE=quick LAB_BLACKBOX=offline $(BIN)/python -m pytest tests
	LAB_PROFILE=quick LAB_BLACKBOX=offline $(BIN)/python -m pytest --nbval-lax --nbval-current-env $(NOTEBOOKS)

.venv/installed: LIME_requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	    "Python %d.%d cannot run the lab, 3.10 to 3.13 can: name one with make PYTHON=python3.12" % v)'
	@echo "Installing LIME_requirements.txt into .venv, which takes some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r LIME_requirements.txt
	@touch $@
