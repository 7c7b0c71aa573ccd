"""Figures: each module has a data step, tested as data, and a drawing step; plotly lives only here."""

from clear_hug.plots.beats import plot_beat_overlay, plot_beat_strip
from clear_hug.plots.diagnosis import plot_probabilities, plot_window_probabilities
from clear_hug.plots.explanation import (
    plot_attention,
    plot_contributions,
    plot_painted_ecg,
    plot_waterfall,
)
from clear_hug.plots.paper import LAYOUTS, plot_ecg
from clear_hug.plots.reconstruction import plot_reconstruction
from clear_hug.plots.training import MOST_RUNS, curve_words, labelled_tasks, plot_curves, plot_labels

__all__ = [
    "LAYOUTS", "MOST_RUNS", "curve_words", "labelled_tasks",
    "plot_attention", "plot_beat_overlay", "plot_beat_strip", "plot_contributions", "plot_curves",
    "plot_ecg", "plot_labels", "plot_painted_ecg", "plot_probabilities", "plot_reconstruction",
    "plot_waterfall", "plot_window_probabilities",
]  # fmt: skip
