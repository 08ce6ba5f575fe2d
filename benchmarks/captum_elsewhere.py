"""LIME and KernelSHAP of the lab and of Captum, on the same superpixels and coalitions.

    pip install --no-deps --target elsewhere captum==0.9.0 torch==2.13.0 sympy mpmath
    PYTHONPATH=elsewhere python benchmarks/captum_elsewhere.py

`tests/methods` compares with the values printed here; torch's build for CPUs suffices.
With the same definitions the weights agree to float32's rounding. Captum's defaults
differ:

LIME: the linear model is a lasso of 0.01, the package's a ridge of 1. The kernel has
the same form, but width 1 instead of 0.25, and takes the cosine distance between the
pixels of two images; the package takes that between coalitions, the first of which is
the image itself.

KernelSHAP: coalitions are drawn one by one in proportion to Shapley's kernel, and have
equal weights. shap enumerates the smallest and largest, draws others with their
complements, and has the kernel in the weights. That attributions add up to the
difference between image and baseline is a weight of a million in Captum, an equation in
shap. With all coalitions shap returns the exact Shapley values; Captum does not with as
many draws. Captum evaluates 25 coalitions by default, with a black baseline.
"""
# ruff: noqa: E402

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import shap
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
from captum.attr import KernelShap, Lime
from captum.attr._core.lime import get_exp_kernel_similarity_function
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.methods.coalitions import attribute
from lab.methods.lime import perturbations
from lab.methods.masked_model import MaskedModel

N, FEW = 9, 202  # superpixels, and a budget that is only a part of their 512 coalitions


def inputs():
    """An image, its superpixels and a classifier of two classes, all from formulas."""
    y, x, c = np.mgrid[:12, :15, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)

    def predict(images):
        # The deviation of each superpixel's red: 0 where its mean colour hides it.
        red = np.asarray(images, float)[..., 0].reshape(-1, 3, 4, 3, 5)
        rough = red.std(axis=(2, 4)).reshape(-1, N) / 80
        pairs = (rough * np.roll(rough, 1, axis=1)) @ np.cos(2 * np.arange(N))  # interactions
        score = rough @ np.sin(np.arange(N) + 1) + pairs + rough[:, ::4].prod(axis=1) - 0.5
        return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)

    return image, y[..., 0] // 4 * 3 + x[..., 0] // 5, predict


class Double(SkLearnLinearRegression):
    """Captum's linear regression in double precision, for weights of 1e12."""

    def fit(self, train_data, **kwargs):
        """Fit to the same data in float64."""
        tensors = [tensor.double() for tensor in train_data.dataset.tensors]
        data = DataLoader(TensorDataset(*tensors), batch_size=len(tensors[0]))
        return super().fit(data, **kwargs)


class Recorded(shap.KernelExplainer):
    """shap's explainer; `last` is the one that was made last."""

    def __init__(self, *args):
        super().__init__(*args)
        Recorded.last = self


def generator(coalitions):
    """Coalitions as Captum takes them: from a generator, one by one."""

    def generate(*_, **__):
        yield from torch.from_numpy(np.asarray(coalitions, int))[:, None]

    return generate


def main():
    """Print how far Captum is from the lab, definition by definition."""
    image, segments, predict = inputs()
    masked = MaskedModel(predict, image, segments, None, [1])
    tensor, hidden = (
        torch.from_numpy(pixels[None].astype(np.float32)) for pixels in (image, masked.hidden)
    )

    def forward(images):
        return torch.from_numpy(predict(images.numpy()))

    def captum(explainer, n):
        weights = explainer.attribute(
            tensor,
            hidden,
            n_samples=n,
            perturbations_per_eval=n,
            feature_mask=torch.from_numpy(segments[None, ..., None]),
            target=1,
            return_input_shape=False,
        )
        return weights.numpy().ravel().astype(float)

    def compare(name, weights, expected):
        print(f"  {name:77s} {np.abs(weights - expected).max() / np.ptp(expected):.1e}")

    print(f"LIME, {FEW} coalitions: largest difference from the lab's weights / their range")
    coalitions, ours = perturbations(N, FEW, 0), attribute("lime", masked.value, N, FEW)
    near = get_exp_kernel_similarity_function("cosine", kernel_width=0.25)

    def near_coalition(original, perturbed, row, **_):
        return near(torch.ones_like(row), row, None)

    for name, options in (
        ("Captum: lasso of 0.01, distance between pixels, width 1", ()),
        ("a ridge of 1 instead of the lasso", (SkLearnRidge(alpha=1),)),
        ("and the package's width, 0.25", (SkLearnRidge(alpha=1), near)),
        ("and its distance, between coalitions", (SkLearnRidge(alpha=1), near_coalition)),
    ):
        lime = captum(Lime(forward, *options, perturb_func=generator(coalitions)), FEW)
        compare(name, lime, ours)

    for budget in (FEW, 2**N):
        print(f"KernelSHAP, {budget} coalitions: the same for the lab's attributions")
        with mock.patch.object(shap, "KernelExplainer", Recorded):
            ours = attribute("shap", masked.value, N, budget)
        # The coalitions that the lab has just evaluated.
        drawn = Recorded.last.maskMatrix
        coalitions = np.concatenate([np.ones((1, N)), np.zeros((1, N)), drawn])
        kernel = Recorded.last.kernelWeights * (budget - 2)  # on average 1, as Captum's
        compare("exact Shapley values", attribute("shapley", masked.value, N), ours)
        torch.manual_seed(0)
        compare("Captum, with its own draws", captum(KernelShap(forward), budget), ours)
        generate = generator(coalitions)
        with mock.patch.object(KernelShap, "kernel_shap_perturb_generator", generate):
            compare("Captum, on the lab's coalitions", captum(KernelShap(forward), budget), ours)
        for name, model, ends in (
            ("with shap's weights for them", SkLearnLinearRegression(), 1e6),
            ("and 1e12 for image and baseline, in double precision", Double(), 1e12),
        ):
            weights = iter([ends, ends, *kernel])
            similarity = lambda *_, weights=weights, **__: next(weights)  # noqa: E731
            shapley = captum(Lime(forward, model, similarity, generate), budget)
            compare(name, shapley, ours)

    print("Captum's weights by the lab's definition")
    print(f"  LIME {lime.round(6).tolist()}\n  KernelSHAP {shapley.round(6).tolist()}")


if __name__ == "__main__":
    main()
