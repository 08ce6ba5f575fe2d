"""How people write the methods' names."""

METHOD_NAMES = {
    "lime": "LIME",
    "rise": "RISE (regression)",
    "rise_average": "RISE (average)",
    "shap": "KernelSHAP",
    "occlusion": "Occlusion",
    "random": "Random",
    "centre": "Centre Gaussian",
    "edges": "Edge detector",
    "lime_blurred": "LIME (blurred)",
    "occlusion_black": "Occlusion (black)",
    "occlusion_blurred": "Occlusion (blurred)",
    "nested": "Nested occlusion",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "expected_gradients": "Expected gradients",
}

BASELINES = "random", "centre", "edges"
"""Those that never ask the black box."""

REFERENCES = "grad_cam", "integrated_gradients", "expected_gradients"
"""Those that look inside: `lab.networks.gradients`."""

COMPARED = "lime", "rise", "rise_average", "shap", "occlusion", *BASELINES
"""Those whose maps are drawn and looked into one by one; the verdict has variants of them, and references, too."""
