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
}

BASELINES = "random", "centre", "edges"
"""Those that never ask the black box."""
