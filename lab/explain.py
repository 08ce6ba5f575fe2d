"""``python -m lab.explain IMAGE …``: explain images and draw the explanations."""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from lab.files import pack, write_whole
from lab.images import load_image
from lab.methods.names import BASELINES, METHOD_NAMES, REFERENCES
from lab.model_calls import predict
from lab.networks import loading
from lab.networks.classes import class_index, class_name, close_names
from lab.networks.registry import NETWORKS

ENDINGS = ".png", ".svg", ".pdf", ".html", ".npz"
GUESSES = 3
MOST_ROWS = 100  # of a figure, whose height in pixels is limited


class _Called(Exception):
    """The black box of a rehearsal was called."""


def explain_files(images, model, label, methods, budget, out):
    """Explain image files, and write what was found.

    Parameters
    ----------
    images : list of path-like
    model : str
        A key of `lab.networks.registry.NETWORKS`, or its stand-in is taken.
    label : int or None
        The class to explain. By default each image's most probable one; for a page,
        the three most probable ones.
    methods : list of str
        Keys of `lab.methods.names.METHOD_NAMES`.
    budget : int
        Model calls for each map.
    out : pathlib.Path
        With one of `ENDINGS`.

    Raises
    ------
    ValueError, OSError
        If an image cannot be read, the budget is too small for a method, or the file
        cannot be written; the first two before any model call.
    lab.networks.loading.WeightsUnavailable
    """
    from lab.show.explained import Explained, shrunk  # takes seconds

    photos = [shrunk(load_image(path)) for path in images]
    network = loading.load(model)
    inputs = [load_image(path, network.input_size) for path in images]
    for path, image in zip(images, inputs):
        _rehearse(path, image, methods, budget)
    explained, n_classes = [], GUESSES if out.suffix.lower() == ".html" and label is None else 1
    calls = [0 if method in (*BASELINES, *REFERENCES) else budget for method in methods]
    total = len(images) * n_classes * sum(calls)
    with tqdm(total=total, desc="Explaining", unit="call", unit_scale=True) as bar:

        def watched(images):
            bar.update(len(images))
            return network(images)

        watched.batch_size, done = network.batch_size, 0
        for path, photo, image in zip(images, photos, inputs):
            guesses = network.top(image, GUESSES)
            classes = guesses[:n_classes]
            if label is not None:
                probability = float(predict(network, image[None], [label])[0, 0])
                classes = [(label, class_name(label), probability)]
            maps = []
            for index, _, _ in classes:
                maps.append([])
                for method, most in zip(methods, calls):
                    bar.set_postfix_str(f"{path.name}, {METHOD_NAMES[method]}")
                    maps[-1].append(_map(method, network, watched, image, index, budget))
                    done += most
                    bar.update(done - bar.n)  # a method may make fewer calls
            explained.append(Explained(path.name, photo, guesses, classes, np.array(maps)))
        bar.set_postfix_str("")
    if out.exists():  # made in the meantime
        raise _taken(out)
    write_whole(out, _content(out, explained, network, methods, budget))


def _map(method, network, watched, image, label, budget):
    if method in REFERENCES:
        from lab.networks import gradients  # imports TensorFlow, which others do without

        return gradients.REFERENCES[method](network, image, label)
    from lab.methods.methods import explain  # takes seconds

    return explain(method, watched, image, label, budget)


def _rehearse(path, image, methods, budget):
    """Raise the error of a method that refuses this image or budget, without a call."""

    def black_box(images):
        raise _Called

    for method in methods:
        try:
            if method not in REFERENCES:
                _map(method, None, black_box, image, 0, budget)
        except _Called:
            pass
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _content(out, explained, network, methods, budget):
    """The bytes of the file."""
    from lab.show import explained as show
    from lab.show.style import encode

    kind, names = out.suffix.lower()[1:], [METHOD_NAMES[method] for method in methods]
    if kind == "npz":
        labels, class_names, probabilities = zip(*(one.classes[0] for one in explained))
        return pack(
            {
                "images": [one.name for one in explained],
                "methods": methods,
                "maps": np.stack([one.maps[0] for one in explained]),
                "class_index": labels,
                "class": class_names,
                "probability": probabilities,
                "network": network.name,
                "stands_in_for": network.stands_in_for or "",
                "budget": budget,
            }
        )
    title, calls = f"Explanations of {network.name}", f"up to {budget:,} model calls for each map"
    if network.stands_in_for:
        title += f", in place of {network.stands_in_for}"
    if kind == "html":
        about = f"Colour marks what a method finds important for the class, with {calls}."
        return show.page(explained, names, title, about)
    figure = show.figure(explained, names, title, f"saliency with {calls}")
    return encode(figure, kind)[1]


def _taken(out):
    return ValueError(f"{out} exists and is left as it is: name another file with --out")


def _label(name):
    label = class_index(name)
    if label is None:
        close = close_names(name)
        hint = f"; close names are {', '.join(close)}" if close else ""
        expected = "--class must be a name of ImageNet's or a number from 0 to 999"
        raise ValueError(f"{expected}, got {name!r}{hint}")
    return label


def _free():
    """The first of explanation.png, explanation_2.png … that is not there."""
    numbers = iter(range(2, 10**6))
    path = Path("explanation.png")
    while os.path.lexists(path):
        path = Path(f"explanation_{next(numbers)}.png")
    return path


def _check(images, methods, budget, out):
    """Refuse what cannot work."""
    from lab.show.explained import rows_per_image

    for method in methods:
        if method not in METHOD_NAMES:
            raise ValueError(f"--methods must be of {', '.join(METHOD_NAMES)}, got {method!r}")
    if budget < 1:
        raise ValueError(f"--budget must be at least 1, got {budget}")
    kind = out.suffix.lower()
    if kind not in ENDINGS:
        raise ValueError(f"--out must end in {', '.join(ENDINGS)}, got {str(out)!r}")
    if os.path.lexists(out):
        raise _taken(out)
    folder = next(path for path in Path(os.path.abspath(out)).parents if path.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ValueError(f"--out must be in a folder that can be written, got {str(out)!r}")
    rows = len(images) * rows_per_image(methods)
    if kind not in (".html", ".npz") and rows > MOST_ROWS:
        raise ValueError(
            f"{len(images)} images take {rows} rows of a figure, which has at most {MOST_ROWS}: "
            "name fewer, or a file that ends in .html or .npz with --out"
        )


def main(arguments=None):
    """Run the command line: print the name of the file, or why there is none."""
    options = _options(arguments)
    try:
        out = options.out or _free()
        label = None if options.label is None else _label(options.label)
        _check(options.images, options.methods, options.budget, out)
        explain_files(**vars(options) | {"out": out, "label": label})
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command goes on: finished model calls are kept.")
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        sys.exit(f"Stopped: {error}")
    print(f"Wrote {out}".encode(errors="backslashreplace").decode())


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m lab.explain",
        description="Explain what a network sees in images, and draw it.",
    )
    add = parser.add_argument
    add("images", nargs="+", type=Path, metavar="IMAGE", help="an image file")
    add("--model", default="xception", choices=NETWORKS, help="(%(default)s)")
    add(
        "--class",
        dest="label",
        metavar="NAME",
        help="of ImageNet, or its number (each image's most probable class)",
    )
    add(
        "--methods",
        default="lime,rise",
        help=f"with commas, of {', '.join(METHOD_NAMES)} (%(default)s)",
    )
    add("--budget", type=int, default=1000, help="model calls for each map (%(default)s)")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="a figure (.png, .svg, .pdf), a page whose maps are switched (.html) or the maps "
        "themselves (.npz); by default explanation.png, or the next free number",
    )
    options = parser.parse_args(arguments)
    options.methods = list(dict.fromkeys(name.strip() for name in options.methods.split(",")))
    return options


if __name__ == "__main__":
    main()
