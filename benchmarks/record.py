"""Where the benchmarks' results go, and what they were measured with."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def record(tables):
    """Write tables as CSV, each row with the day, the machine and the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "tensorflow", "xplique"))
    made_with = f"{date.today()}, {os.cpu_count()} CPUs {platform.machine()}, Python {platform.python_version()}, {packages}"
    RESULTS.mkdir(exist_ok=True)
    for name, table in tables.items():
        table.assign(made_with=made_with).to_csv(RESULTS / name, index=False)
        print(f"wrote benchmarks/results/{name}")
