"""Figures of what is left of a record, and of segments: the data that they draw."""

from types import SimpleNamespace

import numpy as np
import pytest

from clear_hug.leads import LEADS
from clear_hug.plots import plot_segments, plot_what_is_left


def seen(figure):
    return next(trace for trace in figure.data if trace.name == "seen")


def test_what_is_switched_off_is_not_in_ink_and_the_rest_is(simulated, tokens_of):
    ecg, tokens = simulated("normal"), tokens_of("normal")
    nothing, all_of_it = np.zeros_like(tokens.valid), np.ones_like(tokens.valid)
    whole = np.isfinite(np.array(seen(plot_what_is_left(ecg, tokens, nothing)).x, float)).sum()
    assert whole > 3 * 0.9 * 10 * 100  # nearly all of three rows of 10 s
    assert not np.isfinite(np.array(seen(plot_what_is_left(ecg, tokens, all_of_it)).x, float)).any()
    beat = nothing.copy()
    beat[:, 2] = True
    x = np.array(seen(plot_what_is_left(ecg, tokens, beat)).x, float)
    start, stop = tokens.windows[2]
    assert not ((x > start + 0.01) & (x < stop - 0.01)).any()
    assert ((x > tokens.windows[3][0]) & (x < tokens.windows[3][1])).any()


@pytest.mark.parametrize("dark", [False, True])
def test_segments_are_fields_of_their_own_value(dark):
    values = np.linspace(-1, 0.5, 36).reshape(12, 3)
    values[4] = np.nan
    why = SimpleNamespace(
        values=values, level="segment", error=np.full((12, 3), 0.25), target="form/PVC", against="",
        method="shapley",
    )  # fmt: skip
    figure = plot_segments(why, dark)
    field = figure.data[0]
    np.testing.assert_array_equal(np.array(field.z, float), values)
    assert list(field.y) == list(LEADS) and field.zmax == -field.zmin == 1
    assert field.text[0][0] == "−1.00 ± 0.25" and field.text[4][1] == "absent"
    with pytest.raises(ValueError, match="by segment; this one is by lead"):
        plot_segments(SimpleNamespace(level="lead"))
