"""Figures: each module has a data step, tested as data, and a drawing step; plotly lives only here."""

from clear_hug.plots.beats import plot_beat_strip
from clear_hug.plots.calipers import Caliper, caliper_from_box
from clear_hug.plots.cohort import plot_cohort_map
from clear_hug.plots.diagnosis import plot_probabilities, plot_trade, plot_window_probabilities
from clear_hug.plots.errors import plot_error_map
from clear_hug.plots.explanation import plot_compare, plot_contributions, plot_waterfall
from clear_hug.plots.icicle import plot_icicle
from clear_hug.plots.left import plot_what_is_left
from clear_hug.plots.novelty import plot_novelty
from clear_hug.plots.overlay import plot_beat_overlay
from clear_hug.plots.overview import plot_overview, plot_trend
from clear_hug.plots.painted import plot_painted_ecg, plot_painted_samples
from clear_hug.plots.pair import plot_laid_over, plot_medians, plot_side_by_side
from clear_hug.plots.paper import LAYOUTS, plot_ecg, rhythm_lead, roomy_layout
from clear_hug.plots.proof import plot_curves_of_proof
from clear_hug.plots.reconstruction import plot_reconstruction
from clear_hug.plots.segments import plot_segments
from clear_hug.plots.tokens import plot_attention, plot_token, plot_token_map
from clear_hug.plots.training import MOST_RUNS, curve_words, labelled_tasks, plot_curves, plot_labels
from clear_hug.plots.what_if import plot_what_if

__all__ = [
    "LAYOUTS", "MOST_RUNS", "Caliper", "caliper_from_box", "curve_words", "labelled_tasks",
    "plot_attention", "plot_beat_overlay", "plot_beat_strip", "plot_cohort_map", "plot_compare",
    "plot_contributions", "plot_curves", "plot_curves_of_proof", "plot_ecg", "plot_error_map",
    "plot_icicle", "plot_labels", "plot_laid_over", "plot_medians", "plot_novelty", "plot_overview",
    "plot_painted_ecg", "plot_painted_samples", "plot_probabilities", "plot_reconstruction",
    "plot_segments", "plot_side_by_side", "plot_token", "plot_token_map", "plot_trade", "plot_trend",
    "plot_waterfall", "plot_what_if", "plot_what_is_left", "plot_window_probabilities",
    "rhythm_lead",
    "roomy_layout",
]  # fmt: skip
