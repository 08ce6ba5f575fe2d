# make lab     executes the notebooks, writes report/figures and report/results
# make test    runs the tests and executes the notebooks again at small counts
# make figures draws all figures again from finished explanations, without a model call
# make report  builds report/report.pdf from report/figures and report/results
# make archive NAME=lastname_firstname   writes dist/<NAME>_LIME_RISE.zip
# make bench   compares rise.py with other software, in an environment of its own: hours
#
# Each first makes .venv and installs LIME_requirements.txt, once; make bench .venv-bench and benchmarks/requirements.txt.

PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := LIME.ipynb RISE.ipynb EVALUATION.ipynb

.PHONY: lab test figures report archive bench

lab: .venv/installed
	$(BIN)/python -m lab.execute $(NOTEBOOKS)

test: .venv/installed
	LAB_PROFILE=quick LAB_BLACKBOX=offline $(BIN)/python -m pytest tests
	LAB_PROFILE=quick LAB_BLACKBOX=offline $(BIN)/python -m pytest --nbval-lax --nbval-current-env $(NOTEBOOKS)

figures: .venv/installed
	$(BIN)/python -m lab.execute --figures $(NOTEBOOKS)

report: .venv/installed
	$(BIN)/python -m lab.report

archive: .venv/installed
	$(BIN)/python -m lab.archive "$(NAME)"

bench: .venv-bench/installed
	.venv-bench/bin/python benchmarks/rise_overhead.py
	.venv-bench/bin/python benchmarks/rise_calls.py
	.venv-bench/bin/python benchmarks/rise_calls.py --convergence

.venv-bench/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

.venv/installed: LIME_requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	    "Python %d.%d cannot run the lab, 3.10 to 3.13 can: name one with make PYTHON=python3.12" % v)'
	@echo "Installing LIME_requirements.txt into .venv, which takes some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r LIME_requirements.txt
	@touch $@
