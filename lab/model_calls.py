"""Model calls: a black box is any callable from images to scores."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from rise import model_outputs

BATCH = 32  # images per call of a black box that has no `batch_size`
CHUNK = 250  # images that are made at once, while the black box works on the ones before


def predict(black_box, images, classes=None):
    """Scores of images, checked, in memory that nobody else holds.

    Parameters
    ----------
    black_box : callable
        From images (N, H, W, 3) to scores (N, n_classes). It is called with copies of
        at most `batch_size` images: its attribute, or 32 if it has none.
        A batch that is smaller, and that it cannot predict, is filled with its images:
        some models need a full batch, and others drop the axis of a single image.
    images : (N, H, W, 3) array
    classes : sequence of int, optional
        The classes wanted, in this order; by default all.

    Returns
    -------
    (N, len(classes)) float64 array
        Of shape (0, 0) if there are neither images nor classes.

    Raises
    ------
    TypeError
        If a class is not an integer, before any call.
    ValueError
        If the scores are not finite numbers of that shape, or there is no such class.
    """
    size = getattr(black_box, "batch_size", BATCH)
    wanted = () if classes is None else classes
    for label in wanted:
        if not is_integer(label):
            raise TypeError(f"a class must be an integer, got {label!r}")
    scores = [np.empty((0, len(wanted)))] if len(images) == 0 else []
    for start in range(0, len(images), size):
        outputs = _call(black_box, images[start : start + size], size)
        for label in wanted:
            if not 0 <= label < outputs.shape[1]:
                raise ValueError(f"a class must be from 0 to {outputs.shape[1] - 1}, got {label}")
        scores.append(outputs if classes is None else outputs[:, list(classes)])
    return np.concatenate(scores)


def _call(black_box, images, size):
    try:
        # A copy, since a model may write into its input.
        return model_outputs(black_box, np.array(images))
    except Exception:
        if len(images) >= size:
            raise
        try:
            filled = np.resize(images, (size, *images.shape[1:]))
            return model_outputs(black_box, filled)[: len(images)]
        except Exception:
            pass  # it is not the size of the batch
        raise


def is_integer(value):
    """Whether a value is an integer, of Python or NumPy, and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def predict_in_chunks(black_box, make_images, rows, classes=None):
    """`predict` for images that are made in chunks, of which memory holds at most two.

    Parameters
    ----------
    black_box, classes
        As in `predict`.
    make_images : callable
        From n of the rows to images (n, H, W, 3). It runs in a second thread, one call
        at a time.
    rows : sequence or array

    Returns
    -------
    (len(rows), len(classes)) float64 array
    """
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)] or [rows]
    scores = []
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(make_images, chunks[0])
        for following in [*chunks[1:], None]:
            images = made.result()
            made = None if following is None else thread.submit(make_images, following)
            scores.append(predict(black_box, images, classes))
    return np.concatenate(scores)
