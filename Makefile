# make lab     executes the notebooks
# make study   measures what the report shows, writes report/results; goes on where it was interrupted
# make figures draws report/figures from report/results and data, without asking a network
# make report  builds report/report.pdf from report/figures and report/results
# make archive NAME=lastname_firstname   writes dist/<NAME>_LIME_RISE.zip
# make test    runs the tests, and the notebooks again at small counts
# make bench   compares explanations with those of other software, by the model calls that they take: a quarter of an hour
# make bench-long   the same for two networks, all objects and three seeds, and what rise.py costs around the model: many hours
#
# Each first makes .venv and installs LIME_requirements.txt, once; the benchmarks .venv-bench and benchmarks/requirements.txt.

PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin/python
NOTEBOOKS := LIME.ipynb RISE.ipynb EVALUATION.ipynb
HALF := tests/explain tests/networks tests/study
TESTS := tests-half tests-rest $(NOTEBOOKS:%=test-%)

.PHONY: lab study figures report archive test bench bench-long $(TESTS)

lab: .venv/installed
	$(BIN)/python -m lab.hand_in.notebooks $(NOTEBOOKS)

study: .venv/installed
	$(BIN)/python -m lab.study

figures: .venv/installed
	$(BIN)/python -m lab.show

report: .venv/installed
	$(BIN)/python -m lab.hand_in.report

archive: .venv/installed
	$(BIN)/python -m lab.hand_in.archive "$(NAME)"

# Two at a time, of one thread each: faster on two cores than one after the other on two threads. What one prints appears when it has ended.
test: .venv/installed
	@echo "Testing two things at a time; each is heard of when it has ended"
	@$(MAKE) --no-print-directory --keep-going --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(TESTS)

$(TESTS): export LAB_PROFILE := quick
$(TESTS): export LAB_BLACKBOX := offline
$(TESTS): export TF_NUM_INTRAOP_THREADS := 1

tests-half:
	$(BIN)/python -m pytest $(HALF)

tests-rest:
	$(BIN)/python -m pytest tests $(HALF:%=--ignore=%)

$(NOTEBOOKS:%=test-%):
	$(BIN)/python -m pytest -p no:cacheprovider --nbval-lax --nbval-current-env $(@:test-%=%)

bench: .venv-bench/installed
	$(BENCH) -m pytest -p no:cacheprovider tests/test_benchmarks.py
	$(BENCH) benchmarks/quality.py

bench-long: .venv-bench/installed
	$(BENCH) -m pytest -p no:cacheprovider tests/test_benchmarks.py
	$(BENCH) benchmarks/quality.py --long
	$(BENCH) benchmarks/rise_overhead.py
	$(BENCH) benchmarks/rise_calls.py
	$(BENCH) benchmarks/rise_calls.py --convergence

.venv-bench/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH) -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

.venv/installed: LIME_requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	    "Python %d.%d cannot run the lab, 3.10 to 3.13 can: name one with make PYTHON=python3.12" % v)'
	@echo "Installing LIME_requirements.txt into .venv, which takes some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r LIME_requirements.txt
	@touch $@
