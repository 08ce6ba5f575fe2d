import pytest
from cheap import NETWORKS, data_folder, measured

from lab.study.profile import PROFILES


@pytest.fixture(scope="module")
def plan(request, tmp_path_factory):
    """The tasks of the module's `study` under the quick profile."""
    return request.module.study.tasks(
        data_folder(tmp_path_factory.mktemp("data")), PROFILES["quick"]
    )


@pytest.fixture(scope="module")
def results(plan, tmp_path_factory):
    """All that the plan measures, on two cheap networks, read from files."""
    return measured(plan, NETWORKS, tmp_path_factory.mktemp("results"))
