"""``python -m lab.study [lime|rise|evaluation|verdict]``

Measure what the results lack, on this machine's cores or on a Dask cluster, and write the results as a whole.
"""

import argparse
import contextlib
import datetime
import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from distributed import KilledWorker
from filelock import FileLock, Timeout
from tqdm import tqdm

from lab.files import ROOT, swap_in
from lab.images import list_images, load_image, load_mask
from lab.study import engine
from lab.study.task import Job, Task, picture_digest
from lab.study.results import MissingResult, Results, Store, lines, pack, results_folder, unpack
from lab.study.settings import counts, profile

STUDIES = "lime", "rise", "evaluation", "verdict"
PACKAGES = "numpy", "tensorflow", "keras", "lime", "shap", "scikit-image"
JOURNALS = ROOT / ".cache" / "study"


class Finished(NamedTuple):
    """What is there of a table: rows and arrays by the tasks' keys.

    Attributes
    ----------
    rows : dict of str to list of dict
        Of all tasks that are finished.
    arrays : dict of str to dict of str to array
    measured : dict of str to datetime.date
        When, for those that the results do not hold yet.
    committed : list of str
        The keys of the others, in the results' order.
    """

    rows: dict
    arrays: dict
    measured: dict
    committed: list


def pictures_of_profile():
    """The pictures that the profile measures.

    Returns
    -------
    dict of str to list of pathlib.Path
        By kind.

    Raises
    ------
    ValueError
        If one of them, or its mask, cannot be read.
    """
    found = {
        kind: list_images(kind)[:number]
        for kind, number in (
            ("African_elephant", counts().elephants),
            ("black_bear", counts().bears),
        )
    }
    for path in (path for paths in found.values() for path in paths):
        load_image(path)
        load_mask(path)
    return found


def provenance_of(study):
    """What the committed results of a study say that they were measured on.

    Parameters
    ----------
    study : str

    Returns
    -------
    dict of str to str
        Empty if there are none.
    """
    try:
        table = Results(results_folder()).table(f"{study}_provenance")
        return dict(zip(table["name"], table["value"]))
    except (MissingResult, KeyError):
        return {}


def finished(table, provenance):
    """The tasks of a table that need no measuring: the committed results', and those of an interrupted run.

    Parameters
    ----------
    table : str
    provenance : dict of str to str
        The study's.

    Returns
    -------
    Finished
    """
    found = Finished({}, {}, {}, [])
    committed = results_folder() / f"{table}.csv"
    archive = committed.with_suffix(".npz")
    expected = int(provenance.get(f"arrays {table}", -1))
    arrays = unpack(archive) if expected > 0 and archive.is_file() else {}
    # Rows without a key, or without the arrays that belong to them, are no results of this command.
    if len(arrays) == expected:
        try:
            found.rows.update(Store(committed, "key", "").read())
        except ValueError:
            pass
        found.committed.extend(found.rows)
        for member, array in arrays.items():
            key, _, name = member.partition("/")
            found.arrays.setdefault(key, {})[name] = array
    journal = _journal(table)
    pieces = journal.read(["rows"])
    whole = {
        key: rows
        for key, rows in pieces.items()
        if len(rows) == int(rows[0]["rows"]) and journal.arrays(key) is not None
    }
    if journal.path.exists():
        journal.write(whole)
    for key, rows in whole.items():
        if key not in found.rows:
            found.rows[key] = [
                {name: value for name, value in row.items() if name != "rows"} for row in rows
            ]
            found.arrays[key] = journal.arrays(key)
            found.measured[key] = datetime.date.fromtimestamp(
                journal.path.with_name(f"{key}.npz").stat().st_mtime
            )
    return found


def _journal(table):
    return Store(JOURNALS / profile() / table / "rows.csv", "key", "delete it")


def study(names, scheduler=None):
    """Measure what the results of some studies lack, and write them.

    Parameters
    ----------
    names : sequence of str
        Of `STUDIES`.
    scheduler : str, optional
        Address of a Dask cluster; by default this machine's cores do the work.

    Returns
    -------
    written : list of str
        Files in the folder of results that are new, or others than before.
    measured : dict of str to int
        How many tasks of each table were measured anew.

    Raises
    ------
    RuntimeError
        If a task failed; then no result is replaced.
    """
    pictures = pictures_of_profile()
    folder = results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(
        dir=folder
    ).close()  # what cannot be written is better known before hours of measuring
    modules = {name: importlib.import_module(f"lab.study.{name}") for name in names}
    old = {name: provenance_of(name) for name in names}
    plan = [task for module in modules.values() for task in module.tasks(pictures)]
    for table in (table for module in modules.values() for table in getattr(module, "NEEDS", ())):
        if table not in {task.table for task in plan} and not (folder / f"{table}.csv").is_file():
            raise ValueError(
                f"{folder} has no {table}.csv, on which this study rests: python -m lab.study {table.split('_')[0]} measures it"
            )
    models = list(dict.fromkeys(task.network for task in plan if task.network is not None))
    with _alone():
        with engine.cluster(scheduler, len(plan)) as client:
            networks = engine.describe_on(client, models)
            _keep_the_larger(old, networks)
            plans = {name: module.tasks(pictures_of_profile()) for name, module in modules.items()}
            every = [task for tasks in plans.values() for task in tasks]
            digests = {
                path: picture_digest(path)
                for path in dict.fromkeys(task.picture for task in every)
                if path is not None
            }

            def keyed(tasks):
                return {
                    task.key(
                        task.network and networks[task.network]["weights"],
                        digests.get(task.picture),
                    ): task
                    for task in tasks
                }

            plans = {name: keyed(tasks) for name, tasks in plans.items()}
            have = _finished_of(plans, old)
            missing = {
                key: task
                for tasks in plans.values()
                for key, task in tasks.items()
                if key not in have[task.table].rows
            }
            if missing and (failed := _measure(client, missing, networks)):
                raise RuntimeError(
                    f"{failed} of {len(missing)} tasks failed, {folder} is as it was: the same command tries them again"
                )
        have = _finished_of(plans, old)
        files = {}
        for name, tasks in plans.items():
            files |= _files(name, modules[name], tasks, have, networks, digests, old[name], files)
        written = swap_in(folder, files)
        for table in have:
            shutil.rmtree(JOURNALS / profile() / table, ignore_errors=True)
    return written, Counter(task.table for task in missing.values())


@contextlib.contextmanager
def _alone():
    """Refuse a second command that would measure the same; one that is killed lets go."""
    JOURNALS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(JOURNALS / ".lock", blocking=False):
            yield
    except Timeout:
        raise RuntimeError(
            "another python -m lab.study is measuring: wait until it has ended"
        ) from None


def _keep_the_larger(old, networks):
    """Results of the largest profile are not replaced by fewer of the same networks, but brought up to date."""
    for name, facts in old.items():
        same = {network["weights"] for network in networks.values()} >= {
            value for fact, value in facts.items() if fact.endswith("_weights")
        }
        if facts.get("profile") == "study" and profile() == "full" and same:
            if "LAB_PROFILE" in os.environ:
                raise ValueError(
                    f"{results_folder()} has {name} at LAB_PROFILE=study, with more pictures and seeds than full: "
                    f"set LAB_PROFILE=study, or delete {name}_provenance.csv there to have fewer"
                )
            engine.say(
                f"{results_folder()} has {name} at LAB_PROFILE=study: so it is brought up to date at this profile"
            )
            os.environ["LAB_PROFILE"] = "study"


def _finished_of(plans, old):
    tables = {task.table: name for name, tasks in plans.items() for task in tasks.values()}
    return {table: finished(table, old[name]) for table, name in tables.items()}


def _measure(client, missing, networks):
    """Do tasks, and keep each in its table's journal as soon as it is finished."""
    journals = {task.table: _journal(task.table) for task in missing.values()}
    for journal in journals.values():
        journal.read()  # so that it knows its columns

    def jobs():
        # The longest first, so that no process is left alone with it at the end.
        for key, task in sorted(missing.items(), key=lambda item: -item[1].calls):
            weights, image, mask = None, None, None
            if task.network is not None:
                weights, size = (networks[task.network][name] for name in ("weights", "input_size"))
                image, mask = load_image(task.picture, size), load_mask(task.picture, size)
            yield Job(
                key,
                _named(task),
                task.work,
                task.network,
                weights,
                image,
                mask,
                task.arguments,
                task.calls,
            )

    def keep(key, rows, arrays):
        task = missing[key]
        about = {}
        if task.network is not None:
            about = {
                "network": networks[task.network]["network"],
                "class": task.picture.parent.name,
                "picture": task.picture.stem,
            }
        journals[task.table].add(
            key, [about | row | {"key": key, "rows": len(rows)} for row in rows], arrays
        )

    total = sum(task.calls for task in missing.values())
    with tqdm(
        total=total,
        unit="call",
        unit_scale=True,
        desc=f"{len(missing)} tasks",
        smoothing=0.05,
        file=sys.stderr,
    ) as bar:
        return engine.run(client, jobs(), keep, bar, in_calls=True)


def _named(task):
    simple = [
        f"{name} {value}"
        for name, value in task.arguments.items()
        if isinstance(value, (int, float, str))
    ]
    return ", ".join(
        [task.table, *([task.network, task.picture.name] if task.network else []), *simple]
    )


def _files(name, module, tasks, have, networks, digests, old, before):
    """All files of a study, by name; `before` are those of the studies before it."""
    files, arrays = {}, {}
    for table in dict.fromkeys(task.table for task in tasks.values()):
        keys = [key for key, task in tasks.items() if task.table == table]
        found = have[table]
        paths = [results_folder() / f"{table}.{ending}" for ending in ("csv", "npz")]
        arrays[table] = {
            f"{key}/{part}": array
            for key in keys
            for part, array in found.arrays.get(key, {}).items()
        }
        if keys == found.committed:  # not packed anew: another version of zlib packs otherwise
            files |= {
                path.name: path.read_bytes()
                for path in paths
                if path.suffix == ".csv" or arrays[table]
            }
        else:
            files[paths[0].name] = lines(_alike({key: found.rows[key] for key in keys}))
            files |= {paths[1].name: pack(arrays[table])} if arrays[table] else {}
    with tempfile.TemporaryDirectory() as folder:
        # What is derived may rest on another study, too.
        others = {path.name: path.read_bytes() for path in results_folder().glob("*.csv")}
        for file, content in (others | before | files).items():
            Path(folder, file).write_bytes(content)
        derived = module.derive(Results(folder))
    files |= {
        f"{table}.csv": frame.to_csv(index=False, lineterminator="\n").encode()
        for table, frame in derived.items()
    }
    dates = [
        have[task.table].measured[key]
        for key, task in tasks.items()
        if key in have[task.table].measured
    ]
    facts = _provenance(tasks.values(), networks, digests, dates, old) | {
        f"arrays {table}": len(found) for table, found in arrays.items()
    }
    provenance = pd.DataFrame(facts.items(), columns=["name", "value"])
    return files | {
        f"{name}_provenance.csv": provenance.to_csv(index=False, lineterminator="\n").encode()
    }


def _alike(groups):
    """Give all rows the columns of all: committed ones have what was derived, new ones do not yet."""
    columns = dict.fromkeys(
        column for rows in groups.values() for row in rows for column in row if column != "key"
    )
    return {
        key: [{column: row.get(column) for column in (*columns, "key")} for row in rows]
        for key, rows in groups.items()
    }


def _provenance(tasks, networks, digests, dates, old):
    facts = {"profile": profile()}
    measured = {
        "date": max(dates, default=datetime.date.today()).isoformat(),
        "python": platform.python_version(),
    }
    measured |= {package: importlib.metadata.version(package) for package in PACKAGES}
    for number, model in enumerate(
        dict.fromkeys(task.network for task in tasks if task.network is not None), 1
    ):
        network = networks[model]
        measured[f"network_{number}"] = network["network"]
        measured[f"network_{number}_source"] = network["source"]
        measured[f"network_{number}_stands_in_for"] = network["stands_in_for"] or ""
        measured[f"network_{number}_weights"] = network["weights"]
    if not dates:  # nothing is new, so the old facts hold
        measured = {fact: old.get(fact, value) for fact, value in measured.items()}
    paths = sorted({task.picture for task in tasks if task.picture is not None})
    return (
        facts
        | measured
        | {f"picture {path.parent.name}/{path.stem}": digests[path] for path in paths}
    )


def main(arguments=None):
    """Do what the command line says, end with what was measured and written.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the process.

    Raises
    ------
    SystemExit
        With a line that says why, if the results are not complete.
    """
    parser = argparse.ArgumentParser(
        prog="python -m lab.study",
        description="Measure what the results in report/results lack, and write them. LAB_PROFILE (quick, full, study) says how much there is "
        "to measure. Interrupted, the same command goes on.",
    )
    parser.add_argument(
        "study", nargs="?", choices=STUDIES, help="one of the studies (default: all)"
    )
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask cluster to work on, tcp://HOST:PORT (default: this machine's cores)",
    )
    options = parser.parse_args(arguments)
    try:
        written, measured = study(
            STUDIES if options.study is None else [options.study], options.scheduler
        )
        folder = results_folder()
    except KeyboardInterrupt:
        sys.exit(
            "Stopped. What is finished is kept: the same command goes on where this one stopped."
        )
    except (OSError, ValueError, RuntimeError, ImportError, KilledWorker) as error:
        sys.exit(f"Stopped: {error}")
    anew = ", ".join(f"{number} of {table}" for table, number in measured.items())
    print(f"Tasks measured anew: {anew or 'none, for nothing has changed'}")
    print(f"Written to {folder}: {', '.join(written) or 'nothing, for the files hold it already'}")


if __name__ == "__main__":
    main()
