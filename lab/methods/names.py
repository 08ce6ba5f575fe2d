"""Names of the methods, as figures and tables show them."""

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
    "lime_black": "LIME (black)",
    "owen": "Owen values (shap)",
    "soft": "Soft superpixels",
    "combined": "Combined",
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "Integrated gradients",
    "expected_gradients": "Expected gradients",
}
OCCLUSIONS = "occlusion", "occlusion_black", "occlusion_blurred"
OBJECT = "object"  # its mask, in the place of a method's map
BASELINES = "random", "centre", "edges"  # without a model call
REFERENCES = "grad_cam", "integrated_gradients", "expected_gradients"  # with gradients
# Methods whose maps are drawn and studied one by one.
COMPARED = "lime", "rise", "rise_average", "shap", "occlusion", *BASELINES
