"""Owen values over halvings of the image.

References
----------
.. [1] Lundberg, Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS
       2017. The method is `shap.PartitionExplainer`.
.. [2] Owen, "Values of Games with a Priori Unions", Mathematical Economics and Game
       Theory, 1977.
"""

import copy
import functools

import numpy as np
from scipy.ndimage import uniform_filter

from lab.model_calls import BATCH, predict

BLUR = 64  # pixels: side of the blurring window in shap's tutorials, ``blur(64,64)``


def owen(black_box, image, label, budget, seed):
    """Owen values [2]_ of the package `shap` [1]_: halves where the score changes most.

    The image is halved again and again. Of each half the package measures what it adds
    to the score with the rest of the image hidden and with it shown.

    Parameters
    ----------
    black_box, image, label, budget, seed
        As in `lab.methods.registry.explain`. The seed is without effect.

    Returns
    -------
    (H, W) float32 array
        In units of the score; a hidden pixel shows the image blurred over 64 pixels.
    """
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
