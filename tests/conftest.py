import os

import pytest

# Before any module of the lab is imported: tests take no download and small counts.
os.environ.setdefault("LAB_PROFILE", "quick")
os.environ.setdefault("LAB_BLACKBOX", "offline")


@pytest.fixture(scope="session")
def scheduler():
    """Address of a cluster of two threads of this process, which see its patches."""
    from dask.distributed import LocalCluster

    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as local:
        yield local.scheduler_address
