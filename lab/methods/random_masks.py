"""Means over random masks: RISE, and RISE with superpixels of soft edges.

References
----------
.. [1] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018.
.. [2] Pihlgren, Främling, "Smooth-edged Perturbations Improve Perturbation-based Image
       Explanations", arXiv 2409.04116, 2024.
"""

import functools

import numpy as np
from skimage.filters import gaussian
from skimage.segmentation import slic

import rise
from lab.model_calls import BATCH, predict

SEGMENTS = 49  # soft superpixels, as many as RISE has cells
SOFTNESS = 1 / 4  # width of an edge (a Gaussian's sigma) as a share of a segment's side


def rise_map(black_box, image, label, budget, seed, estimator="regression"):
    """RISE [1]_ with 7 x 7 cells, each black with probability 1/2: see `rise.Rise`.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`.
    estimator : {"regression", "average"}, optional
        The lab's, or the paper's.

    Returns
    -------
    (H, W) float32 array
        The mean score of masked images that show a pixel: 0 is not "no effect".
    """
    model = functools.partial(predict, black_box, classes=[label])
    batch_size = getattr(black_box, "batch_size", BATCH)
    explainer = rise.Rise(model, batch_size, nb_samples=budget, seed=seed, estimator=estimator)
    return explainer.explain_classes(image, [0])[0].astype(np.float32)


def soft_superpixels(black_box, image, label, budget, seed):
    """RISE's average [1]_ with superpixels of soft edges [2]_ in place of cells.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`.

    Returns
    -------
    (H, W) float32 array
        Mean score of the masked images, weighted by how much of a pixel they show. A
        pixel that none of them shows has the mean score of all.
    """
    segments = slic(image, n_segments=SEGMENTS, compactness=10, start_label=0)
    n = segments.max() + 1
    sigma = SOFTNESS * np.sqrt(segments.size / n)
    soft = np.stack([gaussian((segments == one).astype(np.float32), sigma) for one in range(n)])
    rng = np.random.default_rng(seed)
    total, weight = np.zeros(segments.shape), np.zeros(segments.shape)
    score = 0.0
    for start in range(0, budget, BATCH):
        kept = rng.integers(0, 2, (min(BATCH, budget - start), n))
        masks = np.clip(np.tensordot(kept, soft, 1), 0, 1)  # sums round to above 1
        images = np.round(rise.perturb(image, masks)).astype(np.uint8)
        scores = predict(black_box, images, [label])[:, 0]
        total += np.tensordot(scores, masks, 1)
        weight += masks.sum(axis=0)
        score += scores.sum()
    mean = np.full(segments.shape, score / budget)
    return np.divide(total, weight, out=mean, where=weight > 0).astype(np.float32)
