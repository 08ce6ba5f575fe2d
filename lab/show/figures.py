"""The list of all figures."""

from lab.show import figures_evaluation, figures_lime, figures_montages, figures_rise

FIGURES = {
    function.__name__: function
    for function in (
        figures_lime.lime_superpixels,
        figures_lime.lime_q1,
        figures_lime.lime_q2,
        figures_lime.lime_q3,
        figures_lime.lime_q4_elephant,
        figures_lime.lime_drawing,
        figures_lime.lime_tradeoff,
        figures_lime.lime_stability,
        figures_lime.lime_parameters,
        figures_lime.lime_colors,
        figures_lime.lime_hidden,
        figures_lime.lime_recommended,
        figures_lime.lime_agreement,
        figures_rise.rise_steps,
        figures_rise.rise_networks,
        figures_rise.rise_agreement,
        figures_rise.rise_nb_samples,
        figures_rise.rise_few_and_many,
        figures_rise.rise_bear,
        figures_rise.lime_and_rise,
        figures_evaluation.evaluation_shapley,
        figures_evaluation.evaluation_curves,
        figures_evaluation.evaluation_sanity,
        figures_evaluation.evaluation_ranks,
        figures_evaluation.evaluation_disagreement,
        figures_evaluation.evaluation_at_odds,
        figures_evaluation.evaluation_roar,
        figures_montages.montages_images,
        figures_montages.montages_masks,
        figures_montages.montages_alone,
        figures_montages.photographs_gains,
    )
}
"""Functions of `lab.study.results.Results` that return a figure, by its file's name."""
