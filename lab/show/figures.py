"""The catalogue of all figures."""

from lab.show import figures_evaluation, figures_lime, figures_montages, figures_rise

FIGURES = {
    name: function
    for module in (figures_lime, figures_rise, figures_evaluation, figures_montages)
    for name, function in vars(module).items()
    if name.startswith(("lime_", "rise_", "evaluation_", "montages_", "photographs_"))
    and callable(function)
}
"""Functions of `lab.study.results.Results` that return a figure, by its file's name."""
