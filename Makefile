# make lab     executes the notebooks
# make study   measures what the report shows, into report/results; continues after an interruption
# make figures draws report/figures from report/results and data, without any model call
# make report  draws the figures and builds report/report.pdf and report/evaluation.pdf
# make archive NAME=lastname_firstname   builds figures and report, writes dist/<NAME>_LIME_RISE.zip; with ANYWAY=1 also
#   if notebooks and report are about different images
# make html    writes the executed notebooks as pages that need nothing else, into dist/html
# make exercise   writes LIME and RISE with the solutions cut out, for a course, into dist/course
# make test    runs linters and tests, and the notebooks with small counts
# make bench   compares explanations with those of other software, by model calls: a quarter of an hour
# make bench-long   the same for two networks, all objects and three seeds, RISE's calls, and speed: many hours
#
# Each first makes .venv and installs LIME_requirements.txt, once; the benchmarks .venv-bench and benchmarks/requirements.txt,
# the exercise .venv-exercise and exercise/requirements.txt.

PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench/bin/python
NOTEBOOKS := LIME.ipynb RISE.ipynb EVALUATION.ipynb
ANIMALS := lime_parameters lime_colors lime_hidden lime_recommended lime_agreement rise_agreement
HALF := tests/methods tests/networks tests/study
TESTS := lint tests-half tests-rest $(NOTEBOOKS:%=test-%)

# A notebook does not store the version of Python, which would differ between machines. The kernel does not warn
# about its local sockets.
EXECUTE := --to notebook --execute --ExecutePreprocessor.record_timing=False \
    --ExecutePreprocessor.extra_arguments=--log-level=40 --ClearMetadataPreprocessor.enabled=True \
    --ClearMetadataPreprocessor.clear_cell_metadata=False \
    --ClearMetadataPreprocessor.preserve_nb_metadata_mask="{'kernelspec', 'widgets', ('language_info', 'name')}"

.PHONY: lab study figures report archive html exercise test bench bench-long $(NOTEBOOKS:%=lab-%) $(TESTS)

lab: $(NOTEBOOKS:%=lab-%)

# The new notebook takes the place of the old one only when it is whole.
$(NOTEBOOKS:%=lab-%): .venv/installed
	@echo "Executing $(@:lab-%=%)"
	@$(BIN)/jupyter nbconvert $(EXECUTE) --log-level=WARN --output-dir=dist $(@:lab-%=%)
	@mv dist/$(@:lab-%=%) $(@:lab-%=%)

study: .venv/installed
	$(BIN)/python -m lab.study

# Those of the sixty animals are of the full profile: they come with the lab, their photographs do not.
figures: .venv/installed
	$(BIN)/python -m lab.show
	@LAB_PROFILE=full $(BIN)/python -m lab.show --folder animals $(ANIMALS)

report: figures
	$(BIN)/python -m lab.hand_in.report

archive: .venv/installed
	$(BIN)/python -m lab.hand_in.archive "$(NAME)" $(if $(ANYWAY),--anyway)

html: .venv/installed
	$(BIN)/python -m lab.hand_in.html

# Submissions and the gradebook, which are beside the source, stay.
exercise: .venv-exercise/installed
	@.venv-exercise/bin/python exercise/build.py
	@cd dist/course && PATH="$(CURDIR)/.venv-exercise/bin:$$PATH" nbgrader generate_assignment exercise --force --log-level=WARN
	@echo "Wrote dist/course/release/exercise for students; docs/marking.md is for who marks it"

# Two at a time, of one thread each: on two cores faster than one after the other. Output appears at the end of each.
test: .venv/installed
	@echo "Testing two things at a time; the output of each appears when it has ended"
	@$(MAKE) --no-print-directory --keep-going --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) $(TESTS)

$(TESTS): export LAB_PROFILE := quick
$(TESTS): export LAB_BLACKBOX := offline
$(TESTS): export TF_NUM_INTRAOP_THREADS := 1

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

tests-half:
	$(BIN)/python -m pytest $(HALF)

tests-rest:
	$(BIN)/python -m pytest --doctest-modules rise.py tests $(HALF:%=--ignore=%)

$(NOTEBOOKS:%=test-%):
	$(BIN)/python -m pytest -p no:cacheprovider --nbval-lax --nbval-current-env $(@:test-%=%)

bench: .venv-bench/installed
	$(BENCH) -m pytest -p no:cacheprovider tests/test_benchmarks.py
	$(BENCH) benchmarks/quality.py

bench-long: .venv-bench/installed
	$(BENCH) -m pytest -p no:cacheprovider tests/test_benchmarks.py
	$(BENCH) benchmarks/quality.py --long
	$(BENCH) benchmarks/rise_calls.py
	$(BENCH) benchmarks/speed.py lime rise networks

.venv-bench/installed: benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BENCH) -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

# nbgrader brings a server and a database, but no NumPy: it runs submissions in the lab's environment.
.venv-exercise/installed: exercise/requirements.txt .venv/installed
	$(PYTHON) -m venv .venv-exercise
	.venv-exercise/bin/python -m pip install --quiet --disable-pip-version-check -r exercise/requirements.txt
	$(BIN)/python -m ipykernel install --prefix .venv-exercise --name lab
	@touch $@

.venv/installed: LIME_requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 13) else \
	    "Python %d.%d cannot run the lab, 3.10 to 3.13 can: name one with make PYTHON=python3.12" % v)'
	@echo "Installing LIME_requirements.txt into .venv, which takes some minutes the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r LIME_requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --config-settings editable_mode=compat --editable .
	@touch $@
