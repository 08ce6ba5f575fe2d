"""``python -m lab.execute [--figures] NOTEBOOK...``: execute notebooks, saying how far they are.

They are executed in place. With ``--figures`` they stay as they are, and only what they write is
made again, from finished explanations: a model call that is still missing is an error.
"""

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from lab.profile import ROOT, output_folder, profile, write_whole


class _TalkingClient(NotebookClient):
    """Shows what a cell prints while it runs: its progress bars would be seen by nobody else."""

    def output(self, outs, msg, display_id, cell_index):
        if msg["header"]["msg_type"] == "stream":
            print(msg["content"]["text"], end="", file=sys.stderr, flush=True)
        return super().output(outs, msg, display_id, cell_index)


NO_CALLS = """
from lab import blackbox
def refuse(self, images):
    raise RuntimeError(f"{self.name} would have to be asked: run make lab first")
blackbox.BlackBox.__call__ = refuse
"""


def execute(path, figures_only=False):
    """Execute a notebook from top to bottom; replace the file only when every cell has run.

    Parameters
    ----------
    path : path-like
    figures_only : bool, optional
        Leave the file alone and let no black box be called.

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
    if figures_only:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(NO_CALLS))
    started = time.monotonic()

    def announce(cell, cell_index):
        first = cell.source.split("\n")[0]
        print(f"{path.name}: cell {cell_index + 1} of {len(notebook.cells)}: {first[:70]}", flush=True)

    _TalkingClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],  # its warning about unencrypted local sockets helps nobody here
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_execute=announce,
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    print(f"{path.name}: done in {time.monotonic() - started:.0f} s", flush=True)
    if figures_only:
        return
    # The kernel's description holds the version of the Python that happened to run it.
    notebook.metadata.get("language_info", {}).pop("version", None)
    write_whole(path, (nbformat.writes(notebook) + "\n").encode())


def main(arguments=None):
    """Execute every notebook named, then name the files that were written."""
    parser = argparse.ArgumentParser(prog="python -m lab.execute")
    parser.add_argument("notebooks", nargs="+")
    parser.add_argument("--figures", action="store_true", help="leave the notebooks alone, make no model call")
    arguments = parser.parse_args(arguments)
    print(f"Executing {', '.join(arguments.notebooks)} at LAB_PROFILE={profile()}", flush=True)
    # A few seconds' grace: some file systems keep coarse times.
    started = time.time() - 2
    for path in arguments.notebooks:
        try:
            execute(path, arguments.figures)
        except CellExecutionError as error:
            sys.exit(f"{path} is left as it was, for a cell of it failed: {error.ename}: {error.evalue}\n{error.traceback}")
    written = [
        file
        for kind in ("figures", "results")
        for file in sorted(output_folder(kind).iterdir())
        if file.stat().st_mtime >= started
    ]
    print("Wrote" if arguments.figures else f"Wrote {', '.join(arguments.notebooks)} and")
    for file in written:
        print(f"  {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
