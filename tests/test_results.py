"""Are the committed results what the code still measures?

Parts of tasks are measured again. A changed comment, name or colour passes; a changed
image, setting, count, weights file or library does not. Tasks with a network that this
machine cannot load, such as a student's Xception here, are left out.
"""

import numpy as np
import pytest

from lab.files import ROOT
from lab.study import __main__ as command
from lab.study.profile import PROFILES, Plan
from lab.study.results import Results
from lab.study.runner import inputs, measure, network
from lab.study.settings import NETWORKS
from lab.study.store import stored

# Other processors round differently, and superpixels of equal weight swap places.
NEAR = {"rtol": 0.02, "atol": 0.02}


def few_samples(task):
    parts = task.parts
    return task.only({min(parts, key=lambda name: parts[name]["setting"]["num_samples"])})


def changed(task, **arguments):
    return task._replace(arguments=task.arguments | arguments)


PARTS = {
    "predictions": lambda task: task,
    "lime_superpixels": lambda task: task,
    "lime_hidden": lambda task: task,
    "lime_parameters": few_samples,
    "lime_grid": few_samples,
    "lime_stability": few_samples,
    "lime_no_effect": lambda task: changed(task, base=task.arguments["base"] | {"num_samples": 99}),
    # The first 200 samples do not depend on the number.
    "lime_perturbed": lambda task: changed(
        task, base=task.arguments["base"] | {"num_samples": 200}
    ),
    "rise_runs": lambda task: task,
    "rise_networks": None,
    "rise_steps": lambda task: task,
    "evaluation_runs": lambda task: task.only({"occlusion", "edges"}),
    "evaluation_differ": None,
    "evaluation_sanity": lambda task: changed(task.only({"occlusion"}), layers=[1]),
    "evaluation_shapley": lambda task: task,
    "evaluation_roar": lambda task: task,
    "montages_runs": lambda task: task.only({"occlusion", "edges", "object"}),
    # Thousands of masks.
    "rise_estimators": None,
    "rise_stopping": None,
}
"""For each table a cheap part of a task, which gives some of the same rows first."""


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
def plans(results):
    """The tasks of each study, at the counts of the results."""
    plans = {}
    for study, facts in results.facts.items():
        if study != "photographs":  # they do not come with the lab
            images = command.images_of(facts["images_of_each_class"] or 1)
            images = images if facts["images_of_each_class"] else {}
            plan = Plan(images, PROFILES[facts["profile"]], facts["seeds"])
            plans[study] = command.TASKS[study](plan)
    return plans


@pytest.fixture(scope="module")
def here(results):
    """The models that are here what they were when the results were measured."""
    weights = {one["weights"] for facts in results.facts.values() for one in facts["networks"]}
    return {None} | {name for name in NETWORKS if network(name).fingerprint in weights}


def test_every_task_of_the_plan_is_in_the_results_and_no_other(results, plans, here):
    for study, tasks in plans.items():
        listed = results.facts[study]["tasks"]
        assert sum(map(len, listed.values())) == len(tasks)
        for task in tasks:
            if task.network in here:
                key = command.key_of(task)
                assert key in [key for key, *_ in listed[task.table]], f"make study: {task}"
                assert stored(results.folder, key, task).keys() == task.parts.keys(), task


def test_all_tables_can_be_derived(results):
    names = results.tables()
    assert len(names) == len(set(names)) > 30
    assert set(PARTS) == {
        table
        for study, facts in results.facts.items()
        for table in facts["tasks"]
        if study != "photographs"
    }
    for name in names:
        assert len(results.table(name)), name


def assert_near(got, expected, name):
    if isinstance(expected, str):
        assert str(got) == expected, name
    else:
        got, expected = np.asarray(got, float), np.asarray(expected, float)
        np.testing.assert_allclose(got, expected, **NEAR, err_msg=name)


@pytest.mark.parametrize("table", [table for table, part in PARTS.items() if part])
def test_a_part_of_a_task_measured_again(results, plans, here, table):
    tasks = [task for tasks in plans.values() for task in tasks if task.table == table]
    tasks = [task for task in tasks if task.network in here]
    if not tasks:
        pytest.skip("this machine cannot load the networks of the results")
    slow = [task.arguments.get("method") != "centre" for task in tasks]  # of ROAR
    _, _, place = min(zip([task.calls for task in tasks], slow, range(len(tasks))))
    task = tasks[place]
    _, image, mask = inputs(task)
    before = stored(results.folder, command.key_of(task), task)
    part = PARTS[table](task)
    measured = measure(part, task.network and network(task.network), image, mask)
    for name, (rows, arrays) in measured.items():
        expected = before[name]
        assert 0 < len(rows) <= len(expected.rows)
        for row, old in zip(rows, expected.rows):
            for column in row.keys() & old.keys():
                assert_near(row[column], old[column], f"{column} of {task}")
        for array in arrays.keys() & expected.arrays.keys():
            old = expected.arrays[array]
            different = np.abs(arrays[array].astype(float) - old) > 0.02 + 0.02 * np.abs(old)
            assert different.mean() < 0.01, f"{array} of {task}"
