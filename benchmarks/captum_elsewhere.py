"""The lab's LIME and KernelSHAP and Captum's: of one picture, with the same superpixels and the same coalitions.

    pip install --no-deps --target elsewhere captum==0.9.0 torch==2.13.0 sympy mpmath    # torch's build for CPUs
    PYTHONPATH=elsewhere python benchmarks/captum_elsewhere.py

`tests/explain` keeps the values that this prints. By one definition the weights agree to float32's rounding. Captum's own differ:

LIME: the linear model is a lasso of 0.01, the package's a ridge of 1. The kernel, of the same form, has width 1 and takes the
cosine distance between two pictures' pixels; the package's has width 0.25 and takes the one between their coalitions, of which
the first is the picture itself.

KernelSHAP: coalitions are drawn in proportion to Shapley's kernel, one by one, and count alike; shap goes through the smallest
and largest, draws others with their complements, and has the kernel in the weights. That values sum to the difference between
picture and nothing is a weight of a million, in shap an equation. All coalitions give shap the exact Shapley values, which as many
draws do not give to Captum. Either draws 25 coalitions by default in Captum, and hides in black.
"""

import sys
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import shap
import torch
from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
from captum.attr import KernelShap, Lime
from captum.attr._core.lime import get_exp_kernel_similarity_function
from torch.utils.data import DataLoader, TensorDataset

from lab.explain.masked_model import MaskedModel
from lab.explain.lime import perturbations
from lab.explain.methods import PACKAGE, attribute
from lab.networks.asking import Asked

N, FEW = 9, 202  # superpixels, and a budget that is only a part of their 512 coalitions


def inputs():
    """A picture, its superpixels and a classifier of two classes: all from formulas, none from a file."""
    y, x, c = np.mgrid[:12, :15, :3]
    image = ((37 * y + 11 * x * x + 53 * c) % 256).astype(np.uint8)

    def predict(images):
        # How rough each superpixel's red is: 0 where its mean colour hides it.
        rough = (
            np.asarray(images, float)[..., 0]
            .reshape(-1, 3, 4, 3, 5)
            .std(axis=(2, 4))
            .reshape(-1, N)
            / 80
        )
        pairs = (rough * np.roll(rough, 1, axis=1)) @ np.cos(
            2 * np.arange(N)
        )  # superpixels need each other
        score = rough @ np.sin(np.arange(N) + 1) + pairs + rough[:, ::4].prod(axis=1) - 0.5
        return np.stack([1 / (1 + np.exp(score)), 1 / (1 + np.exp(-score))], axis=1)

    return image, y[..., 0] // 4 * 3 + x[..., 0] // 5, predict


class Double(SkLearnLinearRegression):
    """Captum's linear regression in double precision: a weight of 1e12 leaves float32 no digit."""

    def fit(self, train_data, **kwargs):
        tensors = [tensor.double() for tensor in train_data.dataset.tensors]
        return super().fit(
            DataLoader(TensorDataset(*tensors), batch_size=len(tensors[0])), **kwargs
        )


def fed(kept):
    """Coalitions as Captum takes them: from a generator, one by one."""

    def generator(*_, **__):
        yield from torch.from_numpy(np.asarray(kept, int))[:, None]

    return generator


def main():
    image, segments, predict = inputs()
    game = MaskedModel(Asked(predict, [1]), image, segments, PACKAGE.hide_color)
    picture, hidden = (
        torch.from_numpy(pixels[None].astype(np.float32)) for pixels in (image, game.hidden)
    )
    forward = lambda pictures: torch.from_numpy(predict(pictures.numpy()))  # noqa: E731

    def ask(explainer, n):
        options = {
            "feature_mask": torch.from_numpy(segments[None, ..., None]),
            "target": 1,
            "return_input_shape": False,
        }
        return (
            explainer.attribute(picture, hidden, n_samples=n, perturbations_per_eval=n, **options)
            .numpy()
            .ravel()
            .astype(float)
        )

    def compare(name, found, expected):
        print(f"  {name:77s} {np.abs(found - expected).max() / np.ptp(expected):.1e}")

    print(
        f"LIME, {FEW} coalitions: largest difference from the lab's weights, as a share of their range"
    )
    kept, ours = perturbations(N, FEW, 0), attribute("lime", game.value, N, FEW)
    near = get_exp_kernel_similarity_function("cosine", kernel_width=0.25)
    of_coalitions = lambda original, perturbed, row, **_: near(torch.ones_like(row), row, None)  # noqa: E731
    compare(
        "Captum: lasso of 0.01, distance between pixels, width 1",
        ask(Lime(forward, perturb_func=fed(kept)), FEW),
        ours,
    )
    compare(
        "ridge of 1 in the lasso's place",
        ask(Lime(forward, SkLearnRidge(alpha=1), None, fed(kept)), FEW),
        ours,
    )
    compare(
        "and the package's width, 0.25",
        ask(Lime(forward, SkLearnRidge(alpha=1), near, fed(kept)), FEW),
        ours,
    )
    lime = ask(Lime(forward, SkLearnRidge(alpha=1), of_coalitions, fed(kept)), FEW)
    compare("and its distance, between coalitions: the lab's definition", lime, ours)

    for budget in (FEW, 2**N):
        print(f"KernelSHAP, {budget} coalitions: the same, of the lab's values")
        made, real = [], shap.KernelExplainer
        with mock.patch.object(
            shap, "KernelExplainer", lambda *args: made.append(real(*args)) or made[-1]
        ):
            ours = attribute("shap", game.value, N, budget)
        kept = np.concatenate(
            [np.ones((1, N)), np.zeros((1, N)), made[0].maskMatrix]
        )  # those that the lab has just asked about
        compare("exact Shapley values", attribute("shapley", game.value, N), ours)
        torch.manual_seed(0)
        compare("Captum, by its own draw", ask(KernelShap(forward), budget), ours)
        with mock.patch.object(KernelShap, "kernel_shap_perturb_generator", fed(kept)):
            compare("Captum, on the lab's coalitions", ask(KernelShap(forward), budget), ours)
        for name, model, ends in (
            ("with shap's weights for them", SkLearnLinearRegression(), 1e6),
            (
                "and 1e12 for the picture and nothing, in double precision: shap's definition",
                Double(),
                1e12,
            ),
        ):
            weights = iter(
                [ends, ends, *made[0].kernelWeights * (budget - 2)]
            )  # on average 1, as Captum's
            shapley = ask(Lime(forward, model, lambda *_, **__: next(weights), fed(kept)), budget)  # noqa: B023
            compare(name, shapley, ours)

    print(
        f"Captum's weights by the lab's definition\n  LIME {lime.round(6).tolist()}\n  KernelSHAP {shapley.round(6).tolist()}"
    )


if __name__ == "__main__":
    main()
