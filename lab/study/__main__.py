"""``python -m lab.study [STUDY …]``: measure what the results lack."""

import argparse
import json
import math
import time
from collections import Counter

import numpy as np

from lab.command import say, stopping
from lab.files import lock, write_whole
from lab.images import find_images, list_images, load_image, load_mask
from lab.study import comparison, lime, rise
from lab.study.profile import Plan, hashed, read_profile
from lab.study.results import Results, results_folder
from lab.study.runner import network, run
from lab.study.settings import KINDS
from lab.study.store import image_digest, store, stored

TASKS = {
    "lime": lime.tasks,
    "rise": rise.tasks,
    "evaluation": comparison.evaluation_tasks,
    "montages": comparison.montages_tasks,
    "photographs": comparison.photographs_tasks,
}
"""The functions of a `Plan` that list what each study measures."""

USUAL = "lime", "rise"  # what the questions need, and what any images are measured for
HOURS = 1  # more are only taken where they are asked for
PROBE = 32  # images of noise that are predicted to know how long it takes


def images_of(number):
    """The lab's images by class: by default two of the first class, one of the others.

    Raises
    ------
    ValueError
        If an image or its mask cannot be read.
    """
    if not isinstance(number, dict):
        number = {kind: number or (1 if place else 2) for place, kind in enumerate(KINDS)}
    images = {kind: list_images(kind)[:most] for kind, most in number.items()}
    return _readable(images)


def _readable(images):
    for path in (path for paths in images.values() for path in paths):
        load_image(path)
        load_mask(path)
    return images


def photographs(folder):
    """The images of a folder of class folders, by class.

    Raises
    ------
    ValueError
        If there is no image in it, or one is not in a class folder.
    """
    images, left_out = find_images(folder)
    for each in left_out:
        say(f"{folder}: left out {each}")
    by_class = {}
    for name, path in images.items():
        if name.count("/") != 1:
            raise ValueError(
                f"{path} is not in a folder of its class: expected {folder}/CLASS/FILE"
            )
        by_class.setdefault(path.parent.name, []).append(path)
    return {kind: sorted(paths, key=hashed) for kind, paths in by_class.items()}


def study(names, profile, images=None, seeds=None, folder=None, hours=HOURS, scheduler=None):
    """Measure what the results of studies lack.

    Parameters
    ----------
    names : sequence of str
        Keys of `TASKS`.
    profile : lab.study.profile.Profile
    images, seeds : int, optional
        Images of each class, and seeds. By default as many as the results have if
        these are about the same images, else as `images_of` and 1.
    folder : path-like, optional
        Class folders with images: those of "photographs", or other ones than those of
        ``data/`` for "lime" and "rise". The results of these have a folder of their
        own, see `lab.study.results.results_folder`.
    hours : float, optional
        The most that may be started.
    scheduler : str, optional
        Address of a Dask cluster. By default this machine's cores do the work.

    Returns
    -------
    dict of str to int
        The number of tasks of each table that the results lacked.

    Raises
    ------
    ValueError
        If it would take longer, or an image cannot be read.
    RuntimeError
        If a task failed. What is finished is stored, and the results are as before.
    """
    given = None if folder is None else photographs(folder)
    others = given is not None and "photographs" not in names
    results = results_folder(profile, folder if others else None)
    results.mkdir(parents=True, exist_ok=True)
    with lock(results):
        facts, plans = Results(results).facts, {}
        for name in names:
            plan = _plan(name, facts.get(name), profile, images, seeds, given)
            plans[name] = plan, [(key_of(task), task) for task in TASKS[name](plan)]
        # Copies of an image are one task.
        planned = {key: task for _, tasks in plans.values() for key, task in tasks}
        missing = {
            key: task.only(lacking)
            for key, task in planned.items()
            if (lacking := task.parts.keys() - stored(results, key, task).keys())
        }
        if missing and scheduler is None:
            _announce(missing, hours)
        states = Counter(state for _, state, _ in run(planned, results, scheduler))
        if failed := len(planned) - states["finished"]:
            raise RuntimeError(
                f"{failed} of {len(planned)} tasks failed, and the results are as before: the "
                "same command tries them again"
            )
        for name, (plan, tasks) in plans.items():
            for key, task in tasks:
                store(results, key, task, stored(results, key, task))  # without other parts
            text = json.dumps(facts_of(plan, tasks), indent=1, ensure_ascii=False)
            write_whole(results / f"{name}.json", f"{text}\n".encode())
        _tidy(results)
    return Counter(task.table for task in missing.values())


def _plan(name, facts, profile, images, seeds, given):
    """What to measure; results of the same images and networks do not become fewer."""
    if name == "photographs":
        return Plan(given, profile)
    if given is not None:
        first = {kind: paths[:images] for kind, paths in given.items()}
        return Plan(_readable(first), profile, seeds or 2, many=True)
    if facts and facts["profile"] == profile.name and images is seeds is None:
        there = {f"{path.parent.name}/{path.name}" for kind in KINDS for path in list_images(kind)}
        if there >= facts["images"].keys() and _networks_of(facts) == _networks_here(facts):
            had = [name.split("/")[0] for name in facts["images"]]
            counts = {kind: had.count(kind) for kind in KINDS} if had else None
            images, seeds = counts or facts["images_of_each_class"], facts["seeds"]
    return Plan(images_of(images), profile, seeds or 1)


def _networks_of(facts):
    return [network["weights"] for network in facts["networks"]]


def _networks_here(facts):
    return [network(one["model"]).fingerprint for one in facts["networks"]]


def key_of(task):
    """The key of a task whose network is loaded, and whose image is read."""
    fingerprint = task.network and network(task.network).fingerprint
    return task.key(fingerprint, task.image and image_digest(task.image))


def _announce(missing, hours):
    """Say how long it takes, by the networks' speed here; refuse what is too long."""
    seconds, calls, speed = 0, 0, {None: 200}
    for task in missing.values():
        if task.network not in speed:
            speed[task.network] = max(_speed(network(task.network)) for _ in range(3))
        calls += task.calls
        seconds += task.calls / speed[task.network]
    say(f"{len(missing)} tasks, at most {calls:,} model calls, {seconds / 60:.0f} minutes here")
    if seconds > 3600 * hours:
        needed = math.ceil(seconds / 3600)
        raise ValueError(
            f"that is longer than --hours {hours:g} allows: give --hours {needed}, or fewer images "
            "and seeds"
        )


def _speed(model):
    """Images a second that a network predicts now; other work slows it."""
    shape = PROBE, model.input_size, model.input_size, 3
    noise = np.random.default_rng().integers(0, 256, shape, np.uint8)
    started = time.perf_counter()
    model(noise)
    return PROBE / (time.perf_counter() - started)


def facts_of(plan, tasks):
    """What holds for all of a study, as `Results.facts` has it."""
    models = dict.fromkeys(task.network for _, task in tasks if task.network)
    by_table, images = {}, {}
    for key, task in tasks:
        name = task.network and network(task.network).name
        by_table.setdefault(task.table, []).append([key, name, task.name])
        if task.image:
            images[task.name] = image_digest(task.image)
    return {
        "profile": plan.profile.name,
        "images_of_each_class": max(map(len, plan.images.values()), default=0),
        "seeds": plan.seeds,
        "networks": [
            {"model": model, "name": loaded.name, "source": loaded.source}
            | {"stands_in_for": loaded.stands_in_for, "weights": loaded.fingerprint}
            | {"input_size": loaded.input_size}
            for model in models
            for loaded in [network(model)]
        ],
        "images": images,
        "tasks": by_table,
    }


def _tidy(folder):
    """Remove files of tasks that no study lists any more."""
    listed = {
        folder / table / f"{key}.npz"
        for facts in Results(folder).facts.values()
        for table, keys in facts["tasks"].items()
        for key, *_ in keys
    }
    for path in set(folder.glob("*/*.npz")) - listed:
        path.unlink()


def main(arguments=None):
    """Run the command line: print what was measured and written, or why not."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.study",
        description="Measure what the results in report/results lack. The environment variable "
        "LAB_PROFILE (quick, full) sets how many samples are drawn. After an interruption, the "
        "same command goes on.",
    )
    add = parser.add_argument
    usual = " and ".join(USUAL)
    add("studies", nargs="*", metavar="STUDY", help=f"of {', '.join(TASKS)} (default: {usual})")
    add(
        "--images",
        type=_count,
        metavar="N",
        help="images of each class (default: what the results have, or two elephants and one bear)",
    )
    add("--seeds", type=_count, metavar="N", help="(default: what the results have, or 1)")
    add("--hours", type=float, default=HOURS, help="the most it may take (default: %(default)s)")
    add(
        "--folder",
        help="FOLDER/CLASS/FILE, any names of classes and files: images for the study photographs, "
        f"or for {usual} in place of those in data/, all of them and two seeds by default",
    )
    add("--scheduler", metavar="ADDRESS", help="of a Dask cluster: tcp://HOST:PORT")
    options = parser.parse_args(arguments)
    names = options.studies or list(USUAL)
    if unknown := set(names) - {*TASKS}:
        parser.error(f"there is no study {', '.join(unknown)}: expected {', '.join(TASKS)}")
    if "photographs" in names and (options.folder is None or len(set(names)) > 1):
        parser.error("photographs do not come with the lab: name --folder, and no other study")
    if options.folder is not None and not set(names) <= {*USUAL, "photographs"}:
        parser.error(f"only photographs, {usual} can be measured on the images of a folder")
    with stopping():
        profile = read_profile()
        del options.studies
        measured = study(names, profile, **vars(options))
    new = ", ".join(f"{number} of {table}" for table, number in measured.items())
    print(f"Tasks measured anew: {new or 'none, nothing has changed'}")


def _count(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    main()
