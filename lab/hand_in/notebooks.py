"""``python -m lab.hand_in.notebooks NOTEBOOK...``: execute notebooks in place, saying how far they are."""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lab.files import write_whole
from lab.study.settings import profile


class _TalkingClient(NotebookClient):
    """Shows what a cell prints while it runs: its progress bars would be seen by nobody else."""

    def output(self, outs, msg, display_id, cell_index):
        if msg["header"]["msg_type"] == "stream":
            print(msg["content"]["text"], end="", file=sys.stderr, flush=True)
            if msg["content"]["name"] == "stderr":
                return None  # said to whoever runs the notebook, of no use to its readers
        return super().output(outs, msg, display_id, cell_index)


def execute(path):
    """Execute a notebook from top to bottom, in its folder; replace the file only when every cell has run.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    path = Path(path)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:  # nbclient leaves the outputs of empty cells alone
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    started = time.monotonic()

    def announce(cell, cell_index):
        first = cell.source.split("\n")[0]
        print(
            f"{path.name}: cell {cell_index + 1} of {len(notebook.cells)}: {first[:70]}", flush=True
        )

    _TalkingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=[
            "--log-level=40"
        ],  # its warning about unencrypted local sockets helps nobody here
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_execute=announce,
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    # The kernel's description holds the version of the Python that happened to run it.
    notebook.metadata.get("language_info", {}).pop("version", None)
    write_whole(path, (nbformat.writes(notebook) + "\n").encode())
    print(f"{path.name}: done in {time.monotonic() - started:.0f} s", flush=True)


def main(arguments=None):
    """Execute every notebook named, one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.hand_in.notebooks", description="Execute notebooks in place."
    )
    parser.add_argument("notebooks", nargs="+")
    paths = parser.parse_args(arguments).notebooks
    for path in paths:
        if not Path(path).is_file():
            sys.exit(f"there is no notebook {path}")
    try:
        print(f"Executing {', '.join(paths)} at LAB_PROFILE={profile()}", flush=True)
    except ValueError as error:
        sys.exit(str(error))
    for path in paths:
        try:
            execute(path)
        except CellExecutionError as error:
            sys.exit(
                f"{path} is left as it was, for a cell of it failed: {error.ename}: {error.evalue}\n{error.traceback}"
            )


if __name__ == "__main__":
    main()
