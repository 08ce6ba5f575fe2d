"""``python -m lab.explain IMAGE …``: explain images and draw the explanations."""

import argparse
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lab.command import say, stopping
from lab.files import check_writable, pack, write_whole
from lab.images import check_is_file, escaped, find_images, load_image
from lab.methods.checks import MOST_CALLS, check_integer
from lab.methods.registry import METHODS, check_explainable, explain, methods_of
from lab.model_calls import predict
from lab.networks.loading import add_arguments, load_from

ENDINGS = ".png", ".svg", ".pdf", ".html", ".npz"
GUESSES = 3  # classes that are listed, and the default of a page
MOST_ROWS = 100  # of a figure, whose height in pixels is limited


def explain_files(images, network, labels, top, methods, budget, seed, quiet):
    """Explain image files.

    Parameters
    ----------
    images : dict of str to path-like
        By name.
    network : lab.networks.blackbox.BlackBox
    labels : list of int
        The classes to explain; if it is empty, each image's `top` most probable ones.
    top : int
    methods : list of str
        Keys of `lab.methods.registry.METHODS`.
    budget, seed : int
        As in `lab.methods.registry.explain`.
    quiet : bool
        Whether to show no progress.

    Returns
    -------
    list of lab.show.explained.Explained

    Raises
    ------
    ValueError, OSError
        If an image cannot be read, or the budget is too small for a method: before any
        model call.
    """
    from lab.show.explained import Explained, shrunk  # takes seconds

    inputs = {name: load_image(path, network.input_size) for name, path in images.items()}
    for name, image in inputs.items():
        for method in methods:
            try:
                check_explainable(method, network, image, budget)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    explained, calls = [], [budget * METHODS[method].calls_model for method in methods]
    total = len(images) * (len(labels) or top) * sum(calls)
    bar = {"desc": "Explaining", "unit": "call", "unit_scale": True, "disable": quiet}
    with tqdm(total=total, **bar) as bar:

        def watched(images):
            if bar.n == 0:
                bar.reset()  # libraries are loaded
            bar.update(len(images))
            try:
                return network(images)
            except Exception as error:  # a function raises what it likes
                reason = f"{type(error).__name__}: {error}"
                raise RuntimeError(f"{network.name} cannot predict: {reason}") from error

        watched.batch_size, done = network.batch_size, 0
        for name, image in inputs.items():
            classes = network.top(image, max(top, GUESSES))
            guesses, classes = classes[:GUESSES], classes[:top]
            if labels:
                probabilities = predict(network, image[None], labels)[0].tolist()
                classes = [*zip(labels, map(network.class_name, labels), probabilities)]
            maps = []
            for label, class_, _ in classes:
                maps.append([])
                for method, most in zip(methods, calls):
                    title = METHODS[method].title
                    bar.set_postfix_str(f"{name}, {title}")
                    model = network if METHODS[method].gradients else watched
                    maps[-1].append(explain(method, model, image, label, budget, seed))
                    done += most
                    bar.update(done - bar.n)  # a method may make fewer calls
                    if problem := _problem(maps[-1][-1], METHODS[method], image):
                        say(f"{name}: the map of {title} for {class_} {problem}: it says nothing")
            photograph = shrunk(load_image(images[name]))
            explained.append(Explained(name, photograph, guesses, classes, np.array(maps)))
    return explained


def _problem(saliency, method, image):
    """Why a map says nothing; empty if it says something."""
    from lab.measure.agreement import constant  # takes a second

    if not np.isfinite(saliency).all():
        return "is not finite"
    if not constant(saliency):
        return ""
    if method.least_per_superpixel:
        from lab.methods.masked_model import superpixels  # takes seconds

        if not superpixels(image).any():
            return "is constant, since the image is a single superpixel"
    return "is constant"


def _content(kind, explained, network, methods, budget, seed):
    """The bytes of a file of one of `ENDINGS`."""
    from lab.show import explained as show
    from lab.show.style import encode

    title, calls = f"Explanations of {network.name}", f"up to {budget:,} model calls for each map"
    if network.stands_in_for:
        title += f", in place of {network.stands_in_for}"
    if kind == ".html":
        about = f"Colour marks what a method finds important for the class, with {calls}."
        return show.page(explained, methods, title, about)
    rows = [
        one._replace(classes=[of_class], maps=maps[np.newaxis])
        for one in explained
        for of_class, maps in zip(one.classes, one.maps)
    ]
    if kind != ".npz":
        return encode(show.figure(rows, methods, title, calls), kind[1:])[1]
    labels, class_names, probabilities = zip(*(row.classes[0] for row in rows))
    return pack(
        {
            "images": [row.name for row in rows],
            "methods": methods,
            "maps": np.stack([row.maps[0] for row in rows]),
            "class_index": labels,
            "class": class_names,
            "probability": probabilities,
            "network": network.name,
            "stands_in_for": network.stands_in_for or "",
            "budget": budget,
            "seed": seed,
        }
    )


def _by_name(paths):
    """Images and those in folders, by their path below what they have in common."""
    files, folders = [], []
    for path in paths:
        if path.is_dir():
            found, left_out = find_images(path)
            for each in left_out:
                say(f"{path}: left out {each}")
            files, folders = [*files, *found.values()], [*folders, path]
        else:
            check_is_file(path)  # before a network is loaded
            files, folders = [*files, path], [*folders, path.parent]
    common = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    inside = [Path(os.path.abspath(file)).relative_to(common) for file in files]
    return {escaped(name.as_posix()): file for name, file in zip(inside, files)}


def _label(network, name):
    label = network.class_index(name)
    if label is None:
        close = network.close_names(name)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        last = len(network.class_names) - 1
        expected = f"--class must be a class of {network.name}, by name or number from 0 to {last}"
        raise ValueError(f"{expected}, got {name!r}{hint}")
    return label


def _free():
    """The first of explanation.png, explanation_2.png … that is not there."""
    numbers = iter(range(2, 10**6))
    path = Path("explanation.png")
    while os.path.lexists(path):
        path = Path(f"explanation_{next(numbers)}.png")
    return path


def _check_out(out, n_maps, methods):
    """Refuse a file that cannot be written, or a figure with too many rows."""
    from lab.show.explained import rows_per_image

    kind = out.suffix.lower()
    if out.is_dir():
        raise ValueError(f"--out must name a file, and {out} is a folder")
    if kind not in ENDINGS:
        raise ValueError(f"--out must end in {', '.join(ENDINGS)}, got {str(out)!r}")
    if os.path.lexists(out):
        raise _taken(out)
    check_writable("--out", out)
    rows = n_maps * rows_per_image(methods)
    if kind not in (".html", ".npz") and rows > MOST_ROWS:
        raise ValueError(
            f"these images take {rows} rows of a figure, which has at most {MOST_ROWS}: "
            "name fewer, or a file that ends in .html or .npz with --out"
        )


def _taken(out):
    return ValueError(f"{out} exists and is left as it is: name another file with --out")


def main(arguments=None):
    """Run the command line: print the name of the file, or why there is none."""
    options = _options(arguments)
    with stopping("Finished model calls are kept, those of a function with its `cache_key`"):
        out, methods = options.out or _free(), methods_of(options.methods)
        kind, names = out.suffix.lower(), list(dict.fromkeys(options.classes))
        default = GUESSES if kind == ".html" else 1
        top = default if options.top is None else options.top
        check_integer("--top", top, 1)
        check_integer("--budget", options.budget, 1, MOST_CALLS)
        check_integer("--seed", options.seed, 0, 2**32 - 1)
        images = _by_name(options.images)
        _check_out(out, len(images) * (len(names) or top), methods)
        network, drawn = load_from(options), (options.budget, options.seed)
        if (options.top or 1) > len(network.class_names):
            n_classes = len(network.class_names)
            raise ValueError(f"--top must be at most the network's {n_classes} classes, got {top}")
        labels = list(dict.fromkeys(_label(network, name) for name in names))
        explained = explain_files(images, network, labels, top, methods, *drawn, options.quiet)
        content = _content(kind, explained, network, methods, *drawn)
        if out.exists():  # made in the meantime
            raise _taken(out)
        write_whole(out, content)
    if not options.quiet:
        print(f"Wrote {out}".encode(errors="backslashreplace").decode())


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="lab-explain", description="Explain what a network sees in images, and draw it."
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="an image, or a folder of them")
    add_arguments(parser)
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="a class to explain, by name or number; may be repeated",
    )
    classes.add_argument(
        "--top",
        type=int,
        metavar="K",
        help=f"explain the K most probable classes of each image (1; {GUESSES} for a page)",
    )
    add(
        "--methods", default="lime,rise", help=f"with commas, of {', '.join(METHODS)} (%(default)s)"
    )
    add("--budget", type=int, default=1000, help="model calls for each map (%(default)s)")
    add("--seed", type=int, default=0, help="of what the methods draw (%(default)s)")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="a figure (.png, .svg, .pdf), a page whose maps are switched (.html) or the maps "
        "themselves (.npz); by default explanation.png, or the next free number",
    )
    add("--quiet", action="store_true", help="show no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
