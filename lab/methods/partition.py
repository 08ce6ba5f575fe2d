"""Two methods from elsewhere: Owen values over halvings, and soft superpixels.

References
----------
.. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS
       2017. The method is `shap.PartitionExplainer`.
.. [2] Owen, "Values of Games with a Priori Unions", Mathematical Economics and Game
       Theory, 1977.
.. [3] Pihlgren, Främling, "Smooth-edged Perturbations Improve Perturbation-based Image
       Explanations", arXiv 2409.04116, 2024.
.. [4] Petsiuk, Das, Saenko, "RISE: Randomized Input Sampling for Explanation of
       Black-box Models", BMVC 2018.
"""

import copy
import functools

import numpy as np
from scipy.ndimage import uniform_filter
from skimage.filters import gaussian
from skimage.segmentation import slic

import rise
from lab.methods.checks import check_budget, check_image, check_label, check_seed
from lab.model_calls import BATCH, predict

BLUR = 64  # pixels: side of the blurring window in shap's tutorials, ``blur(64,64)``
SEGMENTS = 49  # soft superpixels, as many as RISE has cells
SOFTNESS = 1 / 4  # width of an edge (a Gaussian's sigma) as a share of a segment's side


def owen(black_box, image, label, budget, seed=0):
    """Owen values [2]_ of the package `shap` [1]_: halves where the score changes most.

    The image is halved again and again. Of each half the package measures what it adds
    to the score with the rest of the image hidden and with it shown.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.methods.explain`, which has the errors, too; at least 4 model
        calls. The seed is without effect.

    Returns
    -------
    (H, W) float32 array
        In units of the score; a hidden pixel shows the image blurred over 64 pixels.
    """
    image, label = check_image(image), check_label(label)
    budget = check_budget(budget, "owen", 4, "the image, the blurred image and two halves")
    import shap  # takes seconds, and the other methods do not need it

    def score(images):
        return predict(black_box, np.asarray(images).astype(np.uint8), [label])

    # The same as the masker "blur(64,64)", which needs OpenCV.
    baseline = np.round(uniform_filter(image.astype(float), (BLUR, BLUR, 1), mode="mirror"))
    masker = copy.copy(_halvings(image.shape))
    masker.mask_value = baseline.astype(np.uint8).ravel()
    explainer = shap.PartitionExplainer(score, masker)
    most = budget - budget % 2  # of an odd number the package makes one call more
    values = explainer(image[None], max_evals=most, batch_size=BATCH, silent=True).values
    return values[0, ..., 0].sum(axis=-1).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _halvings(shape):
    # It depends on the shape alone, and takes as long as hundreds of model calls.
    import shap

    return shap.maskers.Image(np.zeros(shape, np.uint8), shape)


def soft_superpixels(black_box, image, label, budget, seed=0):
    """RISE's average [4]_ with superpixels of soft edges [3]_ in place of cells.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.methods.explain`, which has the errors, too.

    Returns
    -------
    (H, W) float32 array
        Mean score of the masked images, weighted by how much of a pixel they show.
    """
    image, label, seed = check_image(image), check_label(label), check_seed(seed)
    segments = slic(image, n_segments=SEGMENTS, compactness=10, start_label=0)
    n = segments.max() + 1
    sigma = SOFTNESS * np.sqrt(segments.size / n)
    soft = np.stack([gaussian((segments == one).astype(np.float32), sigma) for one in range(n)])
    rng = np.random.default_rng(seed)
    total, weight = np.zeros(segments.shape), np.zeros(segments.shape)
    for start in range(0, budget, BATCH):
        kept = rng.integers(0, 2, (min(BATCH, budget - start), n))
        masks = np.clip(np.tensordot(kept, soft, 1), 0, 1)  # sums round to above 1
        images = np.round(rise.perturb(image, masks)).astype(np.uint8)
        total += np.tensordot(predict(black_box, images, [label])[:, 0], masks, 1)
        weight += masks.sum(axis=0)
    return (total / weight).astype(np.float32)
