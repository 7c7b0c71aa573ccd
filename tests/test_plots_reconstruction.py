"""Figures of the Reconstruction page: hidden beats on paper, the map of errors, the map of novelty."""

import time
from dataclasses import replace

import numpy as np
import pytest

from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.novelty import LIMIT, Novelty, score_of
from clear_hug.plots import plot_error_map, plot_novelty, plot_reconstruction
from clear_hug.plots.errors import _error_map_data
from clear_hug.plots.novelty import _novelty_data
from clear_hug.plots.reconstruction import _rebuilt_data
from clear_hug.reconstruct import as_the_model_sees_it, hide_beats, hide_leads
from tests.test_plots import rebuilt_of


@pytest.fixture(scope="module")
def seen(simulated):
    return as_the_model_sees_it(simulated())


@pytest.fixture(scope="module")
def hidden(tokens):
    return (np.random.default_rng(1).random(tokens.valid.shape) < 0.5) & tokens.valid


# On paper


@pytest.mark.parametrize("leads", [None, ["V3"], ["aVL", "II", "V6"]])
def test_each_sample_is_seen_or_hidden_and_hidden_ones_are_rebuilt(seen, tokens, hidden, leads):
    ours, linear = rebuilt_of(tokens, hidden, 0.1), rebuilt_of(tokens, hidden, 0.2)
    data = _rebuilt_data(seen, tokens, ours, linear, 0, 10, leads)
    assert [strip.lead for strip in data.paper.strips] == (leads or list(LEADS))
    truths, guesses, lines = ({p.lead: p for p in k} for k in (data.hidden, data.rebuilt, data.linear))
    for strip in data.paper.strips:
        row = LEADS.index(strip.lead)
        inside = tokens.inside[hidden[row]].sum()
        truth, guess, line = (kind[strip.lead] for kind in (truths, guesses, lines))
        assert np.isfinite(truth.mv).sum() == inside == np.isfinite(guess.mv).sum()
        there = np.isfinite(truth.mv)
        np.testing.assert_allclose((guess.mv - truth.mv)[there], 0.1, atol=1e-6)
        np.testing.assert_allclose((line.mv - truth.mv)[there], 0.2, atol=1e-6)
        np.testing.assert_allclose((guess.mm - truth.mm)[there], 0.1 * 10, atol=1e-4)  # true millimetres
        assert np.isfinite(strip.mm).sum() + inside == len(strip.time)  # no sample twice, none lost
        np.testing.assert_allclose(data.spans[strip.lead], tokens.windows[hidden[row]])


def test_what_was_hidden_lies_where_it_was_recorded(seen, tokens):
    """Hidden or not, a sample has one height on the paper."""
    hidden = hide_leads(tokens, ["II"])
    shown = _rebuilt_data(seen, tokens, rebuilt_of(tokens, np.zeros_like(hidden)), None, 0, 10, ["II"])
    gone = _rebuilt_data(seen, tokens, rebuilt_of(tokens, hidden, 0.0), None, 0, 10, ["II"])
    strip, line = shown.paper.strips[0], gone.hidden[0]
    at = np.rint(line.time[np.isfinite(line.mv)] * 100).astype(int)
    height = line.mm[np.isfinite(line.mv)] - gone.paper.strips[0].base
    np.testing.assert_allclose(height, (strip.mm - strip.base)[at], atol=1e-3)


@pytest.mark.parametrize("leads", [["V3"], ["V3", "II"], None])
def test_no_wave_leaves_the_paper_unless_it_is_said(seen, tokens, hidden, leads):
    """A wave of 8 mV is shown to its end; one of 70 mV is said to be cut off."""
    for times, cut in ((10.0, ()), (80.0, ("V3",))):
        row = LEADS.index("V3")
        signal, values = seen.signal.copy(), tokens.values.copy()
        signal[row], values[row] = times * signal[row], times * values[row]
        tall = replace(tokens, values=values)
        ours = rebuilt_of(tall, hidden, 0.1)
        data = _rebuilt_data(replace(seen, signal=signal), tall, ours, None, 0, 10, leads)
        lines = [*data.paper.strips, *data.hidden, *data.rebuilt]
        low, high = (min(np.nanmin(line.mm) for line in lines), max(np.nanmax(line.mm) for line in lines))
        inside = data.paper.bottom <= low and high <= data.paper.top
        assert data.cut == cut and inside == (not cut)
        told = plot_reconstruction(replace(seen, signal=signal), tall, ours, leads=leads).to_json()
        assert ("cut off at the edge: V3" in told) == bool(cut)


def test_rows_do_not_meet_and_lie_on_thick_lines(seen, tokens, hidden):
    data = _rebuilt_data(seen, tokens, rebuilt_of(tokens, hidden), None, 0, 10, None)
    assert (np.diff(data.paper.rows) <= -15).all() and np.allclose(data.paper.rows % 5, 0)
    edges = np.array([data.edges[lead] for lead in LEADS])
    np.testing.assert_allclose(edges[1:, 1], edges[:-1, 0])
    assert data.paper.top == edges[0, 1] and data.paper.bottom == edges[-1, 0]


def test_lines_end_with_the_stretch_that_is_shown(tokens_of, simulated):
    tokens, seen = tokens_of("long"), as_the_model_sees_it(simulated("long"))
    hidden = hide_leads(tokens, ["V1"])
    data = _rebuilt_data(seen, tokens, rebuilt_of(tokens, hidden), None, 7.3, 10, ["V1"])
    told = data.rebuilt[0].time[np.isfinite(data.rebuilt[0].mv)]
    assert 7.3 <= told.min() < 7.6 and 17.0 < told.max() <= 17.3
    assert data.spans["V1"].min() >= 7.3 and data.spans["V1"].max() <= 17.3 + 1e-9


def test_nothing_hidden_draws_the_record_alone(seen, tokens):
    figure = plot_reconstruction(seen, tokens, rebuilt_of(tokens, np.zeros_like(tokens.valid)))
    assert not {t.name for t in figure.data} & {"rebuilt by the model", "as recorded", "linear baseline"}
    assert not figure.layout.showlegend


def test_the_figure_says_what_is_what_once(seen, tokens, hidden):
    ours = rebuilt_of(tokens, hidden)
    figure = plot_reconstruction(seen, tokens, ours, ours, errors={"II": 0.934, "V3": np.nan})
    legend = [t.name for t in figure.data if t.showlegend is not False]
    assert legend == ["hidden from the model", "as recorded", "rebuilt by the model", "linear baseline"]
    text = next(t for t in figure.data if t.name == "leads").text
    assert "<b>II</b> R² 0.93" in text and "<b>V3</b>" in text
    assert figure.layout.yaxis.scaleanchor == "x" and figure.layout.yaxis.scaleratio == 1 / 25
    without = plot_reconstruction(seen, tokens, ours)
    assert "linear baseline" not in {t.name for t in without.data}


def test_arbitrary_units_are_named(simulated, tokens_of):
    ecg = replace(simulated(), units_known=False)
    tokens = replace(tokens_of(), units_known=False)
    hidden = hide_leads(tokens, ["II"])
    seen = as_the_model_sees_it(ecg)
    assert not seen.units_known
    figure = plot_reconstruction(seen, tokens, rebuilt_of(tokens, hidden))
    assert "arbitrary units" in figure.layout.title.text
    assert "arbitrary units" in figure.data[-1].hovertemplate
    assert "arbitrary units" in plot_error_map(tokens, hidden, rebuilt_of(tokens, hidden)).layout.title.text


# The map of errors


def test_the_map_holds_each_token_once(tokens_of):
    tokens = tokens_of("lead_off")
    hidden = hide_leads(tokens, ["V1"]) | hide_beats(tokens, [3])
    hidden[0, 0] = True
    data = _error_map_data(tokens, hidden, rebuilt_of(tokens, hidden, 0.25).rmse, 0, 10, 99)
    assert len(data.lead) == tokens.valid.sum() and len(data.missing) == tokens.n_beats
    np.testing.assert_array_equal(data.hidden, hidden[data.lead, data.beat])
    np.testing.assert_array_equal(np.isfinite(data.error), data.hidden)
    assert data.end == 0.25
    assert np.flatnonzero(data.whole_leads).tolist() == [6]
    assert np.flatnonzero(data.whole_beats).tolist() == [3]


def test_the_map_of_a_long_record_shows_the_beats_in_view(tokens_of):
    tokens = tokens_of("long")
    data = _error_map_data(tokens, np.zeros_like(tokens.valid), None, 10, 10, 99)
    assert ((tokens.r_peaks[data.beats] >= 10) & (tokens.r_peaks[data.beats] <= 20)).all()
    assert data.beats.size == ((tokens.r_peaks >= 10) & (tokens.r_peaks <= 20)).sum()
    assert _error_map_data(tokens, np.zeros_like(tokens.valid), None, 10, 10, 5).beats.size == 5
    with pytest.raises(ValueError, match="expected .12, beat."):
        _error_map_data(tokens, np.zeros((12, 2), bool), None, 0, 10, 99)


def test_every_square_and_every_dot_can_be_clicked(tokens, hidden):
    figure = plot_error_map(tokens, hidden, rebuilt_of(tokens, hidden))
    held = {tuple(row) for t in figure.data if t.customdata is not None for row in t.customdata.tolist()}
    every = {(lead, beat) for lead in range(12) for beat in range(tokens.n_beats)}
    assert held == every | {(lead, -1) for lead in range(12)} | {(-1, k) for k in range(tokens.n_beats)}
    for trace in figure.data:
        if trace.customdata is not None:
            assert len(trace.x) == len(trace.y) == len(trace.customdata) == len(trace.text)
    still = plot_error_map(tokens, hidden, rebuilt_of(tokens, hidden), clickable=False)
    assert len({t.name for t in figure.data} - {t.name for t in still.data}) == 1


def test_the_map_is_there_before_anything_is_rebuilt(tokens):
    figure = plot_error_map(tokens, np.ones_like(tokens.valid))
    assert "nothing is rebuilt" in figure.layout.title.text and "errors" not in {t.name for t in figure.data}
    assert len(next(t for t in figure.data if t.name == "hidden").x) == tokens.valid.sum()


# The map of novelty


def novelty_of(tokens, surprise):
    rebuilt = rebuilt_of(tokens, tokens.valid)
    return Novelty(rebuilt, rebuilt, surprise, score_of(surprise))


def test_the_map_of_novelty_holds_values_scores_and_what_stands_out(tokens_of):
    tokens = tokens_of("lead_off")
    surprise = np.where(tokens.valid, 0.5, np.nan)
    surprise[:, 4] = np.where(tokens.valid[:, 4], 7.0, np.nan)
    found = novelty_of(tokens, surprise)
    data = _novelty_data(found, tokens, 0, 10, 99)
    np.testing.assert_array_equal(data.value, surprise[data.lead, data.beat])
    assert len(data.missing) == tokens.n_beats and np.flatnonzero(data.out).tolist() == [4]
    assert data.top > data.score.max() > LIMIT
    figure = plot_novelty(found, tokens, (7, 4), marks={4: "premature and wide"})
    bars = next(t for t in figure.data if t.name == "beats")
    assert bars.customdata[4] == "premature and wide" and bars.customdata[0] == "usual"
    assert len(set(bars.marker.color)) == 2
    chosen = next(t for t in figure.data if t.name == "chosen")
    assert (chosen.x[0], chosen.y[0]) == (5, 7)
    squares = next(t for t in figure.data if t.name == "tokens")
    assert squares.customdata.shape == (tokens.valid.sum(), 2)
    with pytest.raises(ValueError, match="the record has"):
        plot_novelty(found, tokens_of("tachycardia"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["normal", "tachycardia", "long", "lead_off"])
def test_figures_have_titles_axes_and_are_built_in_150_ms(simulated, tokens_of, kind, dark):
    tokens, seen = tokens_of(kind), as_the_model_sees_it(simulated(kind))
    ours = rebuilt_of(tokens, tokens.valid)
    found = novelty_of(tokens, np.where(tokens.valid, 1.0, np.nan))
    for draw in (
        lambda: plot_reconstruction(seen, tokens, ours, ours, dark=dark),
        lambda: plot_error_map(tokens, tokens.valid, ours, dark=dark),
        lambda: plot_novelty(found, tokens, dark=dark),
    ):
        took = []
        for _ in range(4):
            began = time.thread_time()
            figure = draw()
            took.append(time.thread_time() - began)
        assert min(took) < 0.15
        assert figure.layout.title.text and figure.layout.xaxis.title.text and figure.layout.yaxis.title.text


def test_one_beat_and_one_lead_are_drawn(simulated, tokens_of):
    signal = np.full_like(simulated().signal, np.nan)
    signal[1] = simulated().signal[1]
    seen = as_the_model_sees_it(ECG(signal, simulated().fs))
    tokens = tokens_of()
    alone = replace(tokens, valid=tokens.valid & (np.arange(12) == 1)[:, None])
    figure = plot_reconstruction(seen, alone, rebuilt_of(alone, hide_beats(alone, [2])), leads=["II"])
    assert "rebuilt by the model" in {t.name for t in figure.data}
    one = replace(alone, valid=alone.valid & (np.arange(tokens.n_beats) == 0))
    assert len(_error_map_data(one, one.valid, None, 0, 10, 99).lead) == 1
