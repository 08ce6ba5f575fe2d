"""The store: a finished task is one small file, and nothing else remembers it.

A file holds what was measured, part by part, with the day and the versions. It is
written as a whole, so a command that is killed loses no finished task. A task's file is
named by a digest of what the task measures: network, image, arguments and the declared
version of its function. A part, such as a method or a setting, has arguments of its
own: one more part is measured alone.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.files import pack, write_whole
from lab.images import escaped, find_mask

WHOLE = {"": {}}  # the parts of a task that has no parts


def version(number):
    """Decorate a task's function with its version: raise it when its numbers change."""

    def declare(function):
        function.version = number
        return function

    return declare


class Task(NamedTuple):
    """One piece of work, which gives some rows of a table.

    Attributes
    ----------
    table : str
    function : callable
        Of a module, with a `version`. ``function(network, image, mask, **arguments)``
        returns rows (list of dict) and arrays (dict of str to array; the first axis has
        an entry for each row). With parts it is also called with ``parts``, those that
        are to be measured, and returns such a pair for each, by name. `image` is a
        uint8 array in the network's input size, `mask` a bool array or None.
    network : str or None
        As `lab.networks.load` takes it; None where no network is called, and then there
        is no image.
    image : pathlib.Path or None
    arguments : dict
        Values that JSON can hold.
    calls : int
        About how many model calls it takes.
    parts : dict of str to dict
        The arguments of each part, by name.
    """

    table: str
    function: Callable
    network: str | None
    image: Path | None
    arguments: dict
    calls: int
    parts: dict = WHOLE

    @property
    def name(self):
        """The image's path below the folder of class folders."""
        return self.image and f"{self.image.parent.name}/{self.image.name}"

    def key(self, fingerprint, digest):
        """Digest of what is measured, from the network's and `image_digest`."""
        about = [self.table, self.function.version, fingerprint, digest, self.arguments]
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]

    def only(self, names):
        """The same task with some of its parts."""
        parts = {name: arguments for name, arguments in self.parts.items() if name in names}
        return self._replace(parts=parts, calls=self.calls * len(parts) // len(self.parts))

    def __str__(self):
        values = [self.table, self.network, self.image, *self.arguments.values(), *self.parts]
        kinds = str, int, float, Path
        described = (str(value) for value in values if isinstance(value, kinds) and value != "")
        return escaped(", ".join(described))


class Result(NamedTuple):
    """Rows and arrays of a part; the day, the runtime and the versions of packages."""

    rows: list
    arrays: dict
    about: dict


def image_digest(path):
    """Digest of the files of an image and its mask.

    Raises
    ------
    OSError, ValueError
        If a file is not a regular one, or cannot be read, or the image has two masks.
    """
    digest = hashlib.sha256()
    for file in filter(None, (path, find_mask(path))):
        if not file.is_file():  # a named pipe, for one, has no end
            raise OSError(f"{escaped(file)} is not a regular file")
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def stored(folder, key, task):
    """What a folder holds of a task: the `Result` of each part, in the task's order."""
    parts = read(folder / task.table / f"{key}.npz")
    wanted = json.loads(json.dumps(task.parts))
    return {name: parts[name][1] for name in wanted if parts.get(name, [0])[0] == wanted[name]}


def store(folder, key, task, results):
    """Write what is finished of a task, in the task's order of parts."""
    parts = {name: (task.parts[name], results[name]) for name in task.parts if name in results}
    path = folder / task.table / f"{key}.npz"
    if list(read(path)) != list(parts) or stored(folder, key, task).keys() != parts.keys():
        write(path, parts)


def read(path):
    """The arguments and the `Result` of each part by name; none of a damaged file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        parts = {}
        for number, part in enumerate(json.loads(arrays.pop("parts").item())):
            start = f"{number}/"
            own = {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}
            parts[part["part"]] = part["arguments"], Result(part["rows"], own, part["about"])
        return parts
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def write(path, parts):
    """Write a file that `read` reads; an OSError names it if that fails."""
    listed = [
        {"part": name, "arguments": arguments, "rows": result.rows, "about": result.about}
        for name, (arguments, result) in parts.items()
    ]
    arrays = {
        f"{number}/{name}": array
        for number, (_, result) in enumerate(parts.values())
        for name, array in result.arrays.items()
    }
    write_whole(path, pack({"parts": np.array(json.dumps(listed)), **arrays}))
