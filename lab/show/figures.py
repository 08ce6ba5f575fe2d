"""The catalogue of all figures."""

from lab.show import figures_evaluation, figures_lime, figures_rise, figures_verdict

FIGURES = {
    name: function
    for module in (figures_lime, figures_rise, figures_evaluation, figures_verdict)
    for name, function in vars(module).items()
    if name.startswith(("lime_", "rise_", "evaluation_", "verdict_", "photographs_"))
    and callable(function)
}
"""Functions of `lab.study.results.Results` that return a figure, by its file's name."""
