"""Are the committed results what the code still measures?

Parts of tasks are measured again. A changed comment, name or colour passes; a changed
image, setting, count, weights file or library does not. Tasks with a network that this
machine cannot load, such as a student's Xception here, are left out.
"""

import importlib

import numpy as np
import pandas as pd
import pytest

from lab.files import ROOT
from lab.study import __main__ as command
from lab.study.profile import PROFILES
from lab.study.results import Results
from lab.study.runner import inputs, network

# Other processors round differently, and superpixels of equal weight swap places.
NEAR = {"rtol": 0.02, "atol": 0.02}
NAMES = "setting parameter value sampling num_samples seed method region calls layers estimator"
NAMES = f"{NAMES} tolerance share rank mask nb_samples fill label".split()  # of a task's row
FEW = "occlusion", "edges"


def whole(arguments):
    return {}


def one_setting(arguments):
    return {"settings": [min(arguments["settings"], key=lambda named: named[1]["num_samples"])]}


def few_methods(arguments):
    return {"methods": [method for method in arguments["methods"] if method in FEW]}


def base_of(n):
    return lambda arguments: {"base": arguments["base"] | {"num_samples": n}}


PARTS = {
    "predictions": whole,
    "lime_parameters": one_setting,
    "lime_stability": one_setting,
    "lime_no_effect": base_of(100),
    "lime_perturbed": base_of(200),  # the first 200 samples do not depend on the number
    "rise_runs": whole,
    "rise_steps": whole,
    "rise_estimators": lambda arguments: {"calls": arguments["calls"][:1], "reference": 16},
    "rise_stopping": lambda arguments: {"tolerances": [0.2], "reference": 16},
    "evaluation_runs": few_methods,
    "evaluation_sanity": lambda arguments: {"methods": ["occlusion"], "layers": [1]},
    "evaluation_shapley": whole,
    "evaluation_roar": whole,
    "evaluation_axioms": whole,
    "montages_runs": few_methods,
}
"""For each table the changed arguments with which a task is a cheap part of itself."""

OTHER_REFERENCE = {"rise_estimators": ["rank_correlation", "reference_masks", "reference"]}
OTHER_REFERENCE["rise_stopping"] = ["rank_correlation"]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        file = tmp_path_factory.mktemp("cache") / "predictions.sqlite"
        patch.setattr("lab.networks.prediction_cache.FILE", file)
        yield


@pytest.fixture(scope="module")
def results():
    return Results(ROOT / "report" / "results")


@pytest.fixture(scope="module")
def facts(results):
    return dict(results.text("lime_provenance").itertuples(index=False))


@pytest.fixture(scope="module")
def plans(facts):
    """The tasks of each study by key, at the profile of the results."""
    profile = PROFILES[facts["profile"]]
    images = command.images_of(profile)
    modules = {name: importlib.import_module(f"lab.study.{name}") for name in command.STUDIES}
    tasks = {name: module.tasks(images, profile) for name, module in modules.items()}
    return {name: command._keyed(some) for name, some in tasks.items()}


def same_networks(facts):
    """The models that are here what they were when the results were measured."""
    weights = {fact for name, fact in facts.items() if name.endswith("_weights")}
    return {name for name in command.NETWORKS if network(name).fingerprint in weights}


def test_every_task_of_the_plan_is_in_the_results_and_no_other(results, facts, plans):
    there = same_networks(facts)
    for name, plan in plans.items():
        records = results.text(f"{name}_tasks")
        assert len(records) == len(plan)
        committed = command._committed(results, name, plan)
        for key, task in plan.items():
            if task.network is None or task.network in there:
                assert key in committed, f"make study measures {task}"
        for table, own in records.groupby("table"):
            assert set(results.table(table)["key"]) == set(own["key"])


@pytest.mark.parametrize("study", [*command.STUDIES, command.PHOTOGRAPHS])
def test_derived_tables_follow_from_the_measured_ones(results, study):
    for name, table in importlib.import_module(f"lab.study.{study}").derive(results).items():
        expected = pd.DataFrame(table).reset_index(drop=True).rename(columns=str)
        words = expected.select_dtypes(exclude="number").columns
        expected[words] = expected[words].fillna("").astype(str)
        written = results.table(name)
        written[words] = written[words].fillna("").astype(str)
        if name == "lime_variance":  # its column "network" is a number
            written = written.astype({"network": float})
        pd.testing.assert_frame_equal(written, expected, rtol=1e-9, check_dtype=False)


def assert_near(got, expected, name):
    if isinstance(expected, str):
        assert str(got) == expected, name
    else:
        got, expected = np.asarray(got, float), np.asarray(expected, float)
        np.testing.assert_allclose(got, expected, **NEAR, err_msg=name)


@pytest.mark.parametrize("table", PARTS)
def test_a_part_of_a_task_measured_again(results, facts, plans, table):
    there = {None} | same_networks(facts)
    tasks = {key: task for plan in plans.values() for key, task in plan.items()}
    some = [key for key, task in tasks.items() if task.table == table and task.network in there]
    if not some:
        pytest.skip("this machine cannot load the networks of the results")
    slow = [tasks[key].arguments.get("method") != "centre" for key in some]  # of ROAR
    _, _, key = min(zip([tasks[key].calls for key in some], slow, some))
    task = tasks[key]
    called, (_, image, mask) = task.network and network(task.network), inputs(task)
    arguments = task.arguments | PARTS[table](task.arguments)
    rows, arrays = task.function(called, image, mask, **arguments)
    committed, places = results.table(table), []
    committed = committed[committed["key"] == key].reset_index(drop=True)
    for row in rows:
        names = [name for name in NAMES if name in row and name in committed]
        same = [committed[name].astype(str) == str(row[name]) for name in names]
        if len(rows) == len(committed):
            same = [committed.index == len(places)]
        [place] = committed.index[np.all(same, axis=0)]
        places.append(place)
        for name in (set(row) & set(committed)) - {*OTHER_REFERENCE.get(table, ())}:
            assert_near(row[name], committed[name][place], f"{name} of {task}")
    for name in arrays.keys() - {*OTHER_REFERENCE.get(table, ())}:
        expected = results.array(table, key, name)
        of_rows = len(expected) == len(committed)
        expected = expected[places] if of_rows else expected
        different = np.abs(arrays[name].astype(float) - expected) > 0.02 + 0.02 * np.abs(expected)
        assert different.mean() < 0.01, f"{name} of {task}"
