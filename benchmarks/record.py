"""Where the benchmarks' results go, and what they were measured with."""

import os
import platform
from datetime import date
from pathlib import Path

import pandas as pd

from lab.networks.runtime import version

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = "numpy", "tensorflow", "openvino", "xplique"


def record(tables, replacing=None):
    """Write tables as CSV, each row with the date, the machine and the versions.

    With `replacing`, a column, rows of the file with other values there are kept.
    """
    machine = f"{os.cpu_count()} CPUs {platform.machine()}, Python {platform.python_version()}"
    packages = [f"{name} {version(name)}" for name in PACKAGES if version(name)]
    RESULTS.mkdir(exist_ok=True)
    for name, table in tables.items():
        table = table.assign(made_with=", ".join([str(date.today()), machine, *packages]))
        if replacing and (RESULTS / name).exists():
            old = pd.read_csv(RESULTS / name, dtype=str, keep_default_na=False)
            table = pd.concat([old[~old[replacing].isin(table[replacing])], table])
        table.to_csv(RESULTS / name, index=False)
        print(f"wrote benchmarks/results/{name}")
