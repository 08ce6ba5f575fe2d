"""``python -m lab.study [STUDY]``: measure what the results lack."""

import argparse
import filecmp
import importlib
import os
from collections import Counter

from lab.command import say, stopping
from lab.files import lock, replacing, restore
from lab.images import list_images, load_image, load_mask
from lab.study.profile import PROFILES, read_profile
from lab.study.results import MissingResult, Results, results_folder, write_table
from lab.study.runner import Result, image_digest, network, run
from lab.study.settings import NETWORKS

STUDIES = "lime", "rise", "evaluation", "montages"
PHOTOGRAPHS = "photographs"  # the study of images that do not come with the lab


def images_of(profile):
    """The paths of the images that a profile measures, by kind.

    Raises
    ------
    ValueError
        If an image or its mask cannot be read.
    """
    numbers = {"African_elephant": profile.elephants, "black_bear": profile.bears}
    images = {kind: list_images(kind)[:number] for kind, number in numbers.items()}
    for path in (path for paths in images.values() for path in paths):
        load_image(path)
        load_mask(path)
    return images


def study(names, profile, scheduler=None, at_least=False, photographs=None):
    """Measure what the results of studies lack, and replace the results as a whole.

    Parameters
    ----------
    names : sequence of str
        Of `STUDIES`, or `PHOTOGRAPHS` alone.
    profile : lab.study.profile.Profile
    scheduler : str, optional
        Address of a Dask cluster. By default this machine's cores do the work.
    at_least : bool, optional
        Whether results of a larger profile are brought up to date at that profile. By
        default they are an error, as fewer would replace them.
    photographs : path-like, optional
        The folder of `PHOTOGRAPHS`.

    Returns
    -------
    written : list of str
        The files in the folder of results that are new or have changed.
    measured : dict of str to int
        The number of tasks of each table that the results lacked.

    Raises
    ------
    RuntimeError
        If a task failed; then no result is replaced.
    """
    modules = {name: importlib.import_module(f"lab.study.{name}") for name in names}
    folder = results_folder(profile)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock(folder):
        restore(folder)
        folder.mkdir(exist_ok=True)
        old = Results(folder)
        profile = _no_fewer(profile, old, names, at_least)
        images = images_of(profile) if photographs is None else photographs
        plans = {name: _keyed(module.tasks(images, profile)) for name, module in modules.items()}
        committed, missing = {}, {}
        for name, plan in plans.items():
            committed |= _committed(old, name, plan)
            missing |= {key: task for key, task in plan.items() if key not in committed}
        found = {key: result for key, _, result in run(missing, scheduler)}
        if failed := [*found.values()].count(None):
            raise RuntimeError(
                f"{failed} of {len(missing)} tasks failed, and {folder} is unchanged: the same "
                "command tries them again"
            )
        found = {key: _described(key, missing[key], result) for key, result in found.items()}
        with replacing(folder) as new:
            for name, plan in plans.items():
                _write(new, name, plan, committed, committed | found)
                write_table(new, f"{name}_provenance", _provenance(profile, plan))
                for table, frame in modules[name].derive(Results(new)).items():
                    frame.to_csv(new / f"{table}.csv", index=False, lineterminator="\n")
            names = os.listdir(new)
            same, *_ = filecmp.cmpfiles(folder, new, names, shallow=False)
    return sorted({*names} - {*same}), Counter(task.table for task in missing.values())


def _no_fewer(profile, results, names, at_least):
    """The profile to measure: results of the same networks must not become fewer."""
    for name in names if profile.name == "full" else ():
        try:
            facts = dict(results.text(f"{name}_provenance").itertuples(index=False))
        except MissingResult:
            continue
        weights = {fact for name, fact in facts.items() if name.endswith("_weights")}
        here = {network(model).fingerprint for model in NETWORKS}
        if facts.get("profile") == "study" and weights <= here:
            there = f"{results.folder} has {name} at LAB_PROFILE=study"
            if not at_least:
                raise ValueError(
                    f"{there}, with more images and seeds than full: set LAB_PROFILE=study, or "
                    f"delete {name}_provenance.csv there to have fewer"
                )
            say(f"{there}: it is brought up to date at this profile")
            return PROFILES["study"]
    return profile


def _keyed(tasks):
    return {
        task.key(
            task.network and network(task.network).fingerprint,
            task.image and image_digest(task.image),
        ): task
        for task in tasks
    }


def _committed(results, name, plan):
    """The tasks that the results hold in full: by key the rows, as text, and arrays."""
    found = {}
    for table in _tables(plan):
        try:
            tasks = results.text(f"{name}_tasks").set_index("key", drop=False).to_dict("index")
            arrays = {}
            if any(task["table"] == table and task["arrays"] != "0" for task in tasks.values()):
                for member, array in results.arrays(table).items():
                    key, part = member.split("/")
                    arrays.setdefault(key, {})[part] = array
            for key, rows in results.text(table).groupby("key", sort=False):
                about, own = tasks.get(key), arrays.get(key, {})
                if about and (about["rows"], about["arrays"]) == (str(len(rows)), str(len(own))):
                    found[key] = Result(rows.to_dict("records"), own, about)
        except (MissingResult, KeyError, ValueError):  # missing, damaged, or of something else
            continue
    return found


def _tables(plan):
    return dict.fromkeys(task.table for task in plan.values())


def _write(folder, name, plan, committed, results):
    """Write a study's tables from results by key, those that are not `committed` so."""
    records = []
    for table in _tables(plan):
        some = {key: results[key] for key in plan if plan[key].table == table}
        records += [result.about for result in some.values()]
        before = [key for key, result in committed.items() if result.about["table"] == table]
        if [*some] != before:  # another zlib packs the same arrays into other bytes
            rows = [row for result in some.values() for row in result.rows]
            arrays = {
                f"{key}/{part}": array
                for key, result in some.items()
                for part, array in result.arrays.items()
            }
            write_table(folder, table, rows, arrays)
    write_table(folder, f"{name}_tasks", records)


def _described(key, task, result):
    """A new result with the columns that all tables have."""
    about = {}
    if task.network is not None:
        about["network"] = network(task.network).name
        about |= {"class": task.image.parent.name, "picture": task.image.stem}
    rows = [
        about | row | {"place": row.get("place", place), "key": key}
        for place, row in enumerate(result.rows)
    ]
    numbers = {"version": task.function.version, "rows": len(rows), "arrays": len(result.arrays)}
    return Result(rows, result.arrays, {"key": key, "table": task.table} | numbers | result.about)


def _provenance(profile, plan):
    """What holds for all of a study, as rows of a table."""
    facts = {"profile": profile.name}
    models = dict.fromkeys(task.network for task in plan.values() if task.network)
    for number, model in enumerate(models, 1):
        facts |= {
            f"network_{number}": network(model).name,
            f"network_{number}_source": network(model).source,
            f"network_{number}_stands_in_for": network(model).stands_in_for,
            f"network_{number}_weights": network(model).fingerprint,
        }
    for path in sorted({task.image for task in plan.values() if task.image}):
        facts[f"picture {path.parent.name}/{path.stem}"] = image_digest(path)
    return [{"name": name, "value": value} for name, value in facts.items()]


def main(arguments=None):
    """Run the command line: print what was measured and written, or why not."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.study",
        description="Measure what the results in report/results lack. The environment variable "
        "LAB_PROFILE (quick, full, study) sets how much is measured. After an interruption, the "
        "same command goes on.",
    )
    parser.add_argument(
        "study",
        nargs="?",
        choices=[*STUDIES, PHOTOGRAPHS],
        help=f"by default all, but for {PHOTOGRAPHS}",
    )
    parser.add_argument(
        "--folder",
        help=f"of {PHOTOGRAPHS}: FOLDER/verdict/CLASS/FILE, any names of classes and files",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster: tcp://HOST:PORT")
    options = parser.parse_args(arguments)
    names = [options.study] if options.study else STUDIES
    if (options.study == PHOTOGRAPHS) != (options.folder is not None):
        parser.error(
            f"{PHOTOGRAPHS} do not come with the lab: name their folder with --folder, and no "
            "folder for another study"
        )
    with stopping():
        profile, at_least = read_profile(), "LAB_PROFILE" not in os.environ
        written, measured = study(names, profile, options.scheduler, at_least, options.folder)
    new = ", ".join(f"{number} of {table}" for table, number in measured.items())
    print(f"Tasks measured anew: {new or 'none, nothing has changed'}")
    print(f"Written to {results_folder(profile)}: {', '.join(written) or 'nothing has changed'}")


if __name__ == "__main__":
    main()
