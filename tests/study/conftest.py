import pytest
from cheap import NETWORKS, data_folder, measured

from lab.study.profile import PROFILES, Plan


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Three cheap images under the quick profile."""
    return Plan(data_folder(tmp_path_factory.mktemp("data")), PROFILES["quick"])


@pytest.fixture(scope="module")
def results(request, plan, tmp_path_factory):
    """All that the module's STUDY measures, on two cheap networks, read from files."""
    name, tasks = request.module.STUDY
    folder = tmp_path_factory.mktemp("results")
    return measured(name, tasks(plan), plan, NETWORKS, folder)
