"""Figures are tested as data: what is drawn, where, in which unit; and that it can be read."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from plotly.colors import hex_to_rgb, sample_colorscale, unlabel_rgb

from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import ECG, ecg_from_leads
from clear_hug.explain import PATHS, Attribution
from clear_hug.io import read_ecg
from clear_hug.leads import GROUPS, LEADS
from clear_hug.operating import Rare
from clear_hug.plots import (
    LAYOUTS,
    MOST_RUNS,
    curve_words,
    labelled_tasks,
    plot_attention,
    plot_beat_overlay,
    plot_beat_strip,
    plot_contributions,
    plot_curves,
    plot_ecg,
    plot_error_map,
    plot_labels,
    plot_painted_ecg,
    plot_probabilities,
    plot_reconstruction,
    plot_token_map,
    plot_waterfall,
    plot_window_probabilities,
    rhythm_lead,
    roomy_layout,
)
from clear_hug.plots.beats import _strip_data
from clear_hug.plots.diagnosis import PROBABILITY_ONLY, _bars_data, _windows_data, share_words
from clear_hug.plots.explanation import _fall_data
from clear_hug.plots.overlay import OVERLAID, _overlay_data
from clear_hug.plots.painted import _lead_colours
from clear_hug.plots.paper import ecg_data
from clear_hug.plots.theme import DARK, DRAWN, LIGHT, along, ink_on, lead_rows, signed, stack, thin
from clear_hug.plots.tokens import _token_map_data
from clear_hug.plots.training import MACRO, _curves_data, _labels_data
from clear_hug.reconstruct import Reconstruction, as_the_model_sees_it
from clear_hug.runs import list_runs
from clear_hug.simulate import simulate_ecg
from clear_hug.tasks import TASKS
from tests.written_runs import LABELS, log_row, write_runs

THEMES = pytest.mark.parametrize("look", [LIGHT, DARK], ids=["light", "dark"])


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("normal", seed=1)


@pytest.fixture(scope="module")
def tokens(ecg):
    return tokenize_beats(ecg)


@pytest.fixture(scope="module")
def lead_off():
    return simulate_ecg("lead_off", seed=1)


def paper(ecg, **changes):
    choice = {"start": 0.0, "seconds": 10.0, "layout": "3x4", "rhythm": "II", "speed": 25, "gain": 10}
    return ecg_data(ecg, **{**choice, **changes})


def rebuilt_of(tokens, hidden, error=0.1):
    """A reconstruction that is off by `error` everywhere it was asked for."""
    values = np.where(hidden[..., None] & tokens.inside, tokens.values + np.float32(error), tokens.values)
    rmse = np.where(hidden, error, np.nan)
    scale = tokens.lead_scale
    return Reconstruction(
        values, hidden, rmse, rmse, 0.9, scale, np.zeros_like(hidden), tokens.units_known, "made", "cpu", 0.0
    )


def attribution(values, level="lead", bias=-1.7, names=LEADS, residual=0.0, method="hug"):
    values = np.asarray(values, dtype=float)
    logit = bias + np.nansum(values) + residual
    target = "superdiagnostic/MI"
    return Attribution(values, names, level, target, method, bias, logit, residual, 0.0, "made", "cpu")


def looked(tokens):
    weight = np.random.default_rng(0).random(tokens.valid.shape)
    weight = np.where(tokens.valid, weight, np.nan)
    total = np.nansum(weight, axis=1, keepdims=True)
    return attribution(weight / np.where(total > 0, total, np.nan), "token", np.nan, method="attention")


CONTRIBUTIONS = [0.9, 0.42, -0.13, -0.5, 0.7, 0.05, 1.1, -0.8, -0.02, 0.3, 0.2, -0.1]


def checkpoint_and_diagnosis(window_logits=((-2.0, 0.5, 0.1, -1.0, 3.0),)):
    task = TASKS["superdiagnostic"]
    platt = np.array([[1.0, 0.0], [2.0, -0.5], [1.0, 0.3], [0.5, 0.0], [1.0, -1.0]])
    thresholds = np.array([0.5, 0.4, 0.6, 0.2, 0.9])
    checkpoint = Checkpoint(None, "made", (task,), platt, thresholds)
    windows = np.array(window_logits, dtype=np.float32)
    logits = windows.mean(axis=0)
    probabilities = 1 / (1 + np.exp(-(platt[:, 0] * logits + platt[:, 1])))
    spans = np.array([[10.0 * i, 10.0 * (i + 1)] for i in range(len(windows))])
    answer = Diagnosis(
        (task.name,) * 5, task.labels, logits, probabilities, thresholds, windows, spans, "made", "cpu", 0.0
    )
    return checkpoint, answer


def every_figure(ecg, dark):
    tokens = tokenize_beats(ecg)
    hidden = np.zeros_like(tokens.valid)
    hidden[1, 2] = hidden[7, 3] = True
    hidden &= tokens.valid
    checkpoint, answer = checkpoint_and_diagnosis()
    leads = attribution(np.where(tokens.present, CONTRIBUTIONS, np.nan))
    groups = attribution([0.3, -0.2, 0.1], "group", names=tuple(GROUPS))
    paths = attribution(np.linspace(-1, 1, 7), "pair", names=PATHS)
    return {
        **{f"ecg {name}": lambda name=name: plot_ecg(ecg, layout=name, dark=dark) for name in LAYOUTS},
        "marks": lambda: plot_ecg(ecg, marks=tokens.r_peaks, dark=dark),
        "strip": lambda: plot_beat_strip(ecg, tokens, selected=1, dark=dark),
        "strips": lambda: plot_beat_strip(ecg, tokens, lead=None, dark=dark),
        "overlay": lambda: plot_beat_overlay(tokens, dark=dark),
        "rebuilt": lambda: plot_reconstruction(
            as_the_model_sees_it(ecg), tokens, rebuilt_of(tokens, hidden), dark=dark
        ),
        "errors": lambda: plot_error_map(tokens, hidden, rebuilt_of(tokens, hidden), dark=dark),
        "probabilities": lambda: plot_probabilities(answer, checkpoint.description, dark=dark),
        "windows": lambda: plot_window_probabilities(answer, checkpoint, "MI", dark=dark),
        "leads": lambda: plot_contributions(leads, dark=dark),
        "groups": lambda: plot_contributions(groups, dark=dark),
        "paths": lambda: plot_contributions(paths, dark=dark),
        "waterfall": lambda: plot_waterfall(leads, dark=dark),
        "painted": lambda: plot_painted_ecg(ecg, leads, 0, 10, dark=dark),
        "attention": lambda: plot_attention(looked(tokens), tokens, dark=dark),
    }


# every figure


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("kind", ["normal", "lead_off", "tachycardia", "bradycardia", "paced", "long"])
def test_every_figure_has_a_title_axes_with_names_and_survives_the_wire(kind, dark):
    for name, draw in every_figure(simulate_ecg(kind), dark).items():
        figure = draw()
        assert figure.layout.title.text, name
        assert figure.layout.height > 150, name
        assert any(axis.title.text for axis in figure.select_xaxes()), name
        named = any(axis.title.text for axis in figure.select_yaxes())
        assert named or figure.layout.yaxis.ticktext, name  # rows that are names need no name of their own
        assert figure.layout.paper_bgcolor == (DARK if dark else LIGHT).page
        assert len(json.loads(figure.to_json())["data"]) == len(figure.data)


def test_a_figure_is_built_within_150_ms(ecg):
    for name, draw in every_figure(ecg, dark=False).items():
        took = []
        for _ in range(5):
            began = time.thread_time()
            draw()
            took.append(time.thread_time() - began)
        assert min(took) < 0.15, name


def luminance(rgb):
    share = np.asarray(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    a, b = sorted((luminance(a), luminance(b)))
    return (b + 0.05) / (a + 0.05)


@THEMES
def test_text_and_traces_stand_out_from_what_is_behind_them(look):
    for behind in (look.page, look.paper):
        for name in ("ink", "muted", "accent", "supports", "opposes", "called", "quiet"):
            assert contrast(hex_to_rgb(getattr(look, name)), hex_to_rgb(behind)) >= 4.5, name
        for colour in sample_colorscale([list(stop) for stop in look.diverging], np.linspace(0, 1, 41)):
            assert contrast(unlabel_rgb(colour), hex_to_rgb(behind)) >= 4.5, colour


@THEMES
def test_numbers_can_be_read_on_any_square(look):
    for scale in (look.sequential, look.two_sided):
        squares = sample_colorscale([list(stop) for stop in scale], np.linspace(0, 1, 41))
        for square, ink in zip(squares, ink_on(squares), strict=True):
            assert contrast(unlabel_rgb(square), hex_to_rgb(ink)) >= 4.5


# traces


def test_thinning_keeps_every_extreme_and_every_gap():
    n = 50_000
    values = np.random.default_rng(0).normal(size=n)
    values[[12_345, 34_567]] = 40, -50
    values[20_000:20_500] = np.nan
    when, drawn = thin(np.arange(n) / 1000, values)
    assert drawn.size <= 2 * DRAWN
    assert np.nanmax(drawn) == 40 and np.nanmin(drawn) == -50
    assert when[np.nanargmax(drawn)] == pytest.approx(12.345, abs=1e-4)
    assert np.all(np.diff(when) > 0)
    rows = np.rint(when * 1000).astype(int)
    np.testing.assert_array_equal(drawn, values[rows].astype(np.float32))
    between = drawn[(when > 20.001) & (when < 20.498)]
    assert between.size and np.isnan(between).all()
    for first in range(0, n - 600, 600):  # any stretch keeps its own reach to within its edges
        part = drawn[(rows >= first) & (rows < first + 600)]
        if np.isfinite(values[first : first + 600]).all():
            assert np.ptp(part) >= np.ptp(values[first + 20 : first + 580]) - 1e-5


def test_a_short_trace_is_drawn_whole():
    values = np.random.default_rng(0).normal(size=DRAWN)
    np.testing.assert_array_equal(thin(np.arange(DRAWN) / 500, values)[1], values.astype(np.float32))


@pytest.mark.parametrize("fs", [100.0, 360.0, 500.0, 1000.0])
def test_even_samples_are_sent_as_start_and_step(fs):
    when = (np.arange(5000) / fs + 3590).astype(np.float32)
    sent = along(when)
    x = sent["x0"] + sent["dx"] * np.arange(5000)
    np.testing.assert_allclose(x, when, atol=5e-4)
    assert "x" in along(np.array([0, 1, 2, 5, 6], dtype=np.float32))


def test_rows_of_a_stack_do_not_meet():
    rng = np.random.default_rng(0)
    low, high = -rng.random(12) * 20, rng.random(12) * 20
    bases = stack(low, high, gap=2, least=5, most=100, step=5)
    assert np.all(bases[:-1] + low[:-1] >= bases[1:] + high[1:] + 2)
    assert np.all(bases % 5 == 0) and bases[0] == 0


def test_an_unknown_lead_is_named():
    with pytest.raises(ValueError, match="V9"):
        lead_rows("V9")


# paper


@pytest.mark.parametrize(("speed", "gain"), [(25, 10), (50, 10), (25, 5), (12.5, 20)])
def test_paper_is_true_to_the_millimetre(ecg, speed, gain):
    figure = plot_ecg(ecg, speed=speed, gain=gain)
    x, y = figure.layout.xaxis, figure.layout.yaxis
    assert y.scaleanchor == "x" and y.scaleratio == pytest.approx(1 / speed)  # 1 mm up = 1 mm along
    assert x.dtick * speed == pytest.approx(5) and y.dtick == 5
    assert x.minor.dtick * speed == pytest.approx(1) and y.minor.dtick == 1
    pulse = next(trace for trace in figure.data if trace.name == "calibration")
    px = np.array([v for v in pulse.x[:6]], dtype=float)
    py = np.array([v for v in pulse.y[:6]], dtype=float)
    assert np.ptp(py) == pytest.approx(gain)  # 1 mV
    assert np.ptp(px[py == py.max()]) == pytest.approx(0.2)  # s
    assert px.max() < 0 and px.min() >= x.range[0]


def test_the_grid_is_axis_lines_and_not_shapes(ecg):
    figure = plot_ecg(ecg)
    assert not figure.layout.shapes
    assert figure.layout.xaxis.minor.showgrid and figure.layout.yaxis.minor.showgrid
    assert len(figure.data) <= 13 + 4


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_paper_shows_every_lead_with_its_own_samples(ecg, layout):
    data = paper(ecg, layout=layout)
    rows = LAYOUTS[layout]
    assert {strip.lead for strip in data.strips} == set(LEADS)
    for strip in data.strips:
        width = 10 / next(len(row) for row in rows if strip.lead in row)
        if strip.stop - strip.start != 10:
            assert strip.stop - strip.start == pytest.approx(width)
        at = np.rint(strip.time * ecg.fs).astype(int)
        raw = ecg.signal[LEADS.index(strip.lead), at]
        np.testing.assert_array_equal(strip.mv, raw)
        np.testing.assert_allclose(strip.mm - strip.base, 10 * (raw - np.median(raw)), atol=1e-3)
        assert strip.base % 5 == 0
        assert data.bottom < strip.base < data.top


def test_the_columns_of_3x4_follow_one_another(ecg):
    starts = {s.lead: s.start for s in paper(ecg, start=0.0, rhythm=None).strips}
    assert [starts[lead] for lead in ("I", "aVR", "V1", "V4")] == [0, 2.5, 5, 7.5]


def test_voltage_and_gain_say_the_same(ecg):
    double = replace(ecg, signal=2 * ecg.signal)
    for a, b in zip(paper(ecg, gain=20).strips, paper(double, gain=10).strips, strict=True):
        np.testing.assert_allclose(a.mm - a.base, b.mm - b.base, atol=1e-3)


def test_offset_moves_nothing_on_paper(ecg):
    moved = replace(ecg, signal=ecg.signal + np.float32(1.5))
    for a, b in zip(paper(ecg).strips, paper(moved).strips, strict=True):
        np.testing.assert_allclose(a.mm, b.mm, atol=1e-3)


def test_neighbouring_rows_do_not_meet_even_when_voltage_is_high():
    data = paper(simulate_ecg("high_voltage"), layout="12x1")
    lowest = {s.base: np.inf for s in data.strips}
    highest = {s.base: -np.inf for s in data.strips}
    for strip in data.strips:
        lowest[strip.base] = min(lowest[strip.base], float(strip.mm.min()))
        highest[strip.base] = max(highest[strip.base], float(strip.mm.max()))
    bases = data.rows.tolist()
    assert all(lowest[a] > highest[b] for a, b in zip(bases[:-1], bases[1:], strict=True))


def test_leads_say_what_they_are():
    i, ii, v1 = simulate_ecg("normal").signal[[0, 1, 6]]
    flat = np.zeros_like(i)
    ecg = ecg_from_leads({"I": i, "II": ii, "V1": v1, "V2": flat, "V7": v1}, 500.0)
    states = {strip.lead: strip.state for strip in paper(ecg, layout="12x1").strips}
    assert states["I"] == states["V7"] == "recorded"
    assert states["III"] == states["aVR"] == "derived"
    assert states["V2"] == "flat" and states["V3"] == "absent"
    figure = plot_ecg(ecg, layout="12x1")
    text = " ".join(next(t for t in figure.data if t.name == "leads").text)
    assert "<b>III</b> derived" in text and "<b>V3</b> absent" in text and "<b>V2</b> flat" in text
    assert {t.name for t in figure.data} >= {"V7", "V2"} and "V3" not in {t.name for t in figure.data}


@pytest.mark.parametrize(("seconds", "layout"), [(10, "3x4"), (7.3, "6x2"), (2, "12x1")])
def test_a_short_record_gets_a_layout_that_shows_every_lead(seconds, layout):
    short = simulate_ecg("normal", seconds=seconds)
    assert roomy_layout(short) == layout
    assert all(strip.state == "recorded" for strip in paper(short, layout=layout).strips)
    usual = {strip.lead: strip.state for strip in paper(short, layout="3x4", rhythm=None).strips}
    assert usual["V6"] == ("recorded" if seconds == 10 else "gap") and usual["III"] == "recorded"
    words = next(t for t in plot_ecg(short, layout="3x4").data if t.name == "leads").text
    assert ("<b>V6</b> no signal" in words) == (seconds < 10)


def test_a_lead_without_a_sample_in_its_stretch_says_so(ecg):
    signal = ecg.signal.copy()
    signal[:, int(2.2 * ecg.fs) : int(5 * ecg.fs)] = np.nan
    states = {strip.lead: strip.state for strip in paper(replace(ecg, signal=signal), rhythm=None).strips}
    assert {lead for lead, state in states.items() if state == "gap"} == {"aVR", "aVL", "aVF"}


def test_arbitrary_units_have_no_pulse_and_say_so(ecg):
    unknown = replace(ecg, signal=ecg.signal * 37, units_known=False)
    figure = plot_ecg(unknown)
    assert "voltage cannot be read" in figure.layout.title.text
    assert "arbitrary" in figure.layout.yaxis.title.text
    assert not next(t for t in figure.data if t.name == "calibration").x
    same = paper(replace(ecg, units_known=False))
    for a, b in zip(paper(unknown).strips, same.strips, strict=True):
        np.testing.assert_allclose(a.mm, b.mm, atol=0.01)  # whatever the unit, the same picture


def test_marks_are_the_r_peaks_in_view(ecg, tokens):
    figure = plot_ecg(ecg, start=2, seconds=5, marks=tokens.r_peaks)
    drawn = next(t for t in figure.data if t.name == "R peaks").x
    inside = tokens.r_peaks[(tokens.r_peaks >= 2) & (tokens.r_peaks <= 7)]
    np.testing.assert_allclose(drawn, inside)
    assert 0 < inside.size < tokens.n_beats


def test_missing_samples_leave_a_gap(ecg):
    signal = ecg.signal.copy()
    signal[1, 1000:1200] = np.nan
    strip = paper(replace(ecg, signal=signal)).strips[-1]
    assert strip.lead == "II"
    gap = (strip.time > 2.001) & (strip.time < 2.397)
    assert np.isnan(strip.mm[gap]).all() and np.isfinite(strip.mm[~gap]).sum() > 4700


@pytest.mark.parametrize(("wrong", "value"), [("layout", "4x3"), ("rhythm", "V9")])
def test_a_wrong_choice_is_named_with_the_ways_out(ecg, wrong, value):
    with pytest.raises(ValueError, match=f"{value}.*expected one of"):
        plot_ecg(ecg, **{wrong: value})


def test_a_start_beyond_the_end_and_a_short_record_still_draw(ecg):
    short = ECG(ecg.signal[:, :1000], ecg.fs)
    for start in (0.0, 5.0, 99.0):
        assert json.loads(plot_ecg(short, start=start).to_json())


def test_an_empty_record_is_twelve_absent_leads():
    ecg = ECG(np.full((12, 5000), np.nan), 500.0)
    assert {strip.state for strip in paper(ecg).strips} == {"absent"}
    assert plot_ecg(ecg).layout.height > 0


# beats


@pytest.mark.parametrize("kind", ["normal", "bradycardia", "tachycardia", "premature", "long"])
@pytest.mark.parametrize("start", [0.0, 3.3])
def test_windows_and_bare_time_tile_the_view(kind, start):
    ecg = simulate_ecg(kind)
    tokens = tokenize_beats(ecg)
    seconds = min(10.0, ecg.duration - start)
    data = _strip_data(ecg, tokens, "II", start, seconds)
    covered = sum(np.diff(spans, axis=1).sum() for spans in (data.even, data.odd, data.bare))
    assert covered == pytest.approx(seconds, abs=0.011 * (data.beats.size + 2))
    spans = np.concatenate([data.even, data.odd, data.bare])
    spans = spans[spans[:, 0].argsort()]
    assert np.all(spans[:-1, 1] <= spans[1:, 0] + 1e-9)
    if start == 0 and ecg.duration <= 10:
        assert np.diff(data.bare, axis=1).sum() == pytest.approx(tokens.uncovered, abs=0.2)


def test_rr_intervals_stand_between_their_peaks(ecg, tokens):
    data = _strip_data(ecg, tokens, "II", 0, 10)
    np.testing.assert_allclose(data.rr, np.diff(tokens.r_peaks) * 1000)
    assert np.all((data.rr_at > data.r_peaks[:-1]) & (data.rr_at < data.r_peaks[1:]))
    figure = plot_beat_strip(ecg, tokens)
    text = next(t for t in figure.data if t.name == "RR").text
    assert [int(t) for t in text] == np.rint(data.rr).astype(int).tolist()


def test_r_peaks_carry_the_row_of_their_beat():
    ecg = simulate_ecg("long")
    tokens = tokenize_beats(ecg)
    peaks = next(t for t in plot_beat_strip(ecg, tokens, start=12).data if t.name == "R peaks")
    assert peaks.customdata[0] > 0
    np.testing.assert_allclose(tokens.r_peaks[np.asarray(peaks.customdata)], peaks.x)


def test_the_hover_gives_the_records_own_voltage_from_its_median(ecg, tokens):
    figure = plot_beat_strip(ecg, tokens, lead=None)
    for row, lead in enumerate(LEADS):
        trace = next(t for t in figure.data if t.name == lead)
        raw = ecg.signal[row]
        np.testing.assert_allclose(trace.customdata, raw - np.median(raw), atol=1e-5)
        assert "mV" in trace.hovertemplate


def test_a_lead_that_is_off_is_hatched_in_its_own_row(lead_off):
    tokens = tokenize_beats(lead_off)
    off = [LEADS[row] for row in np.flatnonzero(~tokens.valid.any(axis=1))]
    assert list(_strip_data(lead_off, tokens, None, 0, 10).lost) == off == list(lead_off.truth["leads"])


def test_the_selected_beat_is_outlined_at_its_window(ecg, tokens):
    figure = plot_beat_strip(ecg, tokens, selected=3)
    outline = next(t for t in figure.data if t.name == "selected")
    np.testing.assert_allclose([outline.x[0], outline.x[1]], tokens.windows[3])
    assert "selected" not in {t.name for t in plot_beat_strip(ecg, tokens).data}


def test_overlay_is_aligned_and_its_median_is_of_all_beats(tokens):
    data = _overlay_data(tokens, None)
    assert data.time[48] == 0 and data.time[0] == -480
    for row, lead in enumerate(LEADS):
        assert data.n[lead] == tokens.valid[row].sum()
        outside = ~tokens.inside[tokens.valid[row]]
        assert np.isnan(data.beats[lead][outside]).all()
        np.testing.assert_allclose(
            data.median[lead][48], np.median(tokens.values[row, tokens.valid[row], 48])
        )


def test_overlay_of_many_beats_draws_some_and_says_so():
    tokens = tokenize_beats(simulate_ecg("tachycardia", seconds=40, heart_rate=150))
    data = _overlay_data(tokens, ["V1"])
    assert data.beats["V1"].shape[0] == OVERLAID < data.n["V1"]
    everything = np.where(tokens.inside, tokens.values[6], np.nan)
    np.testing.assert_allclose(data.median["V1"][48], np.nanmedian(everything[:, 48]))
    assert f"{OVERLAID} of them drawn" in plot_beat_overlay(tokens, ["V1"]).layout.title.text


def test_unknown_units_are_named_on_the_axes_of_beats(ecg):
    unknown = replace(ecg, units_known=False)
    tokens = tokenize_beats(unknown)
    for figure in (plot_beat_strip(unknown, tokens), plot_beat_overlay(tokens)):
        assert "arbitrary units" in figure.layout.yaxis.title.text


# diagnosis


def test_bars_are_the_most_probable_first_and_keep_their_words():
    checkpoint, answer = checkpoint_and_diagnosis()
    data = _bars_data(answer, checkpoint.description, None)
    assert sorted(data.targets) == sorted(checkpoint.targets)
    assert np.all(np.diff(data.probabilities) <= 0)
    for i, target in enumerate(data.targets):
        row = checkpoint.row(target)
        assert data.probabilities[i] == answer.probabilities[row]
        assert data.thresholds[i] == answer.thresholds[row]
        assert data.called[i] == (answer.probabilities[row] >= answer.thresholds[row])
        assert data.words[i] == checkpoint.description[target]
    assert 0 < data.called.sum() < 5


def test_called_is_told_by_word_as_well_as_by_colour():
    checkpoint, answer = checkpoint_and_diagnosis()
    figure = plot_probabilities(answer, checkpoint.description)
    words = next(t for t in figure.data if t.name == "value").text
    called = _bars_data(answer, checkpoint.description, None).called
    assert ["called" in word for word in words] == called.tolist()
    ticks = next(t for t in figure.data if t.name == "threshold")
    assert sorted(ticks.x) == sorted(answer.thresholds)


def test_labels_too_rare_to_call_stand_below_without_a_threshold():
    checkpoint, answer = checkpoint_and_diagnosis()
    first, second = "superdiagnostic/NORM", "superdiagnostic/HYP"
    rows = [checkpoint.row(target) for target in (first, second)]
    thresholds = np.array(answer.thresholds)
    thresholds[rows] = np.nan
    answer = replace(answer, thresholds=thresholds, probabilities=np.array([0.03, 0.9, 0.8, 0.7, 0.02]))
    rare = [Rare(second, 0.02, 1, 1000), Rare(first, 0.03, 30, 1000)]
    data = _bars_data(answer, checkpoint.description, None, rare=rare)
    assert data.targets[3:] == (second, first), "the one further above its share in training first"
    assert data.rare.tolist() == [False] * 3 + [True] * 2 and not data.called[3:].any()
    assert data.tasks == () and data.rare_at == (3.0,) and data.at.tolist() == [0, 1, 2, 4, 5]
    figure = plot_probabilities(answer, checkpoint.description, rare=rare)
    words = next(t for t in figure.data if t.name == "value").text
    assert "2.0%" in words[3] and "in training 0.1%" in words[3] and "called" not in words[3]
    assert [share_words(x) for x in (0, 1e-5, 0.0006, 0.25)] == ["0%", "<0.1%", "0.1%", "25.0%"]
    ticks = next(t for t in figure.data if t.name == "threshold").x
    assert np.isnan(np.array(ticks)[3:].astype(float)).all()
    assert any(PROBABILITY_ONLY in text for text in figure.layout.yaxis.ticktext)
    lines = plot_window_probabilities(answer, checkpoint, first).layout.shapes
    assert ["record" in line.label.text for line in lines] == [True], "no threshold is drawn"


def test_two_tasks_are_kept_apart_by_a_heading():
    checkpoint, answer = checkpoint_and_diagnosis()
    both = replace(answer, tasks=("superdiagnostic",) * 3 + ("rhythm",) * 2)
    data = _bars_data(both, checkpoint.description, None)
    assert [name for name, _ in data.tasks] == ["superdiagnostic", "rhythm"]
    taken = [*data.at.tolist(), *(row for _, row in data.tasks)]
    assert sorted(taken) == list(range(7))
    assert len(_bars_data(both, checkpoint.description, "rhythm").targets) == 2
    with pytest.raises(ValueError, match="form.*answers superdiagnostic, rhythm"):
        plot_probabilities(both, checkpoint.description, "form")


def test_windows_are_calibrated_as_the_record_is():
    checkpoint, answer = checkpoint_and_diagnosis([[-1.0] * 5, [0.4] * 5, [1.5] * 5])
    data = _windows_data(answer, checkpoint, "MI")
    slope, intercept = checkpoint.platt[checkpoint.row("MI")]
    logit = np.log(data.probabilities / (1 - data.probabilities))
    np.testing.assert_allclose((logit - intercept) / slope, [-1.0, 0.4, 1.5], atol=1e-6)
    assert data.probabilities.min() < data.record < data.probabilities.max()
    markers = next(t for t in plot_window_probabilities(answer, checkpoint, "MI").data if t.name == "windows")
    assert [row[0] for row in markers.customdata] == [0, 1, 2]


# explanation


def test_the_waterfall_ends_at_the_logit():
    why = attribution(CONTRIBUTIONS)
    data = _fall_data(why)
    assert data.after[-1] == pytest.approx(why.logit)
    assert data.after[0] == why.bias and "residual" not in data.names
    np.testing.assert_allclose(data.before[1:], data.after[:-1])
    trace = plot_waterfall(why).data[0]
    assert sum(y for y, m in zip(trace.y, trace.measure, strict=True) if m != "total") == pytest.approx(
        why.logit
    )


def test_rhythm_and_qtc_have_bars_of_their_own_and_leads_the_rest():
    whole, apart = attribution(CONTRIBUTIONS), replace(attribution(CONTRIBUTIONS), rhythm=1.2, qtc=0.05)
    data = _fall_data(apart)
    assert data.names[:3] == ("bias", "rhythm", "I") and "QTc" not in data.names
    np.testing.assert_allclose(data.values[2:], np.array(CONTRIBUTIONS) - 0.1, atol=1e-12)
    assert data.after[-1] == pytest.approx(_fall_data(whole).after[-1])
    both = _fall_data(replace(apart, qtc=-2.4))
    assert both.names[1:3] == ("rhythm", "QTc") and both.after[-1] == pytest.approx(apart.logit)
    np.testing.assert_allclose(both.values[3:], np.array(CONTRIBUTIONS) + 0.1, atol=1e-12)


def test_what_is_left_over_is_shown_when_it_is_more_than_rounding():
    data = _fall_data(attribution(CONTRIBUTIONS, residual=0.01))
    assert data.names[-1] == "residual" and data.values[-1] == pytest.approx(0.01)


def test_an_absent_lead_is_called_absent_and_adds_nothing():
    values = np.array(CONTRIBUTIONS)
    values[8] = np.nan
    why = attribution(values)
    for figure in (plot_contributions(why), plot_waterfall(why)):
        texts = [t for trace in figure.data if trace.text is not None for t in trace.text]
        assert texts.count("absent") == 1
    assert _fall_data(why).after[-1] == pytest.approx(why.logit)


def test_bars_follow_the_lead_order_and_their_sign_picks_the_colour():
    figure = plot_contributions(attribution(CONTRIBUTIONS))
    bar = figure.data[0]
    np.testing.assert_allclose(bar.x, CONTRIBUTIONS)
    assert [t.removeprefix("<b>").removesuffix("</b>") for t in figure.layout.yaxis.ticktext] == list(LEADS)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # lead I on top
    for value, colour in zip(CONTRIBUTIONS, bar.marker.color, strict=True):
        assert colour == (LIGHT.supports if value >= 0 else LIGHT.opposes)
    assert figure.layout.xaxis.range[0] == -figure.layout.xaxis.range[1]


@THEMES
def test_the_signed_scale_has_two_sides(look):
    values = np.array(CONTRIBUTIONS)
    values[3] = np.nan
    colours, end = _lead_colours(values, look)
    assert end == 1.1 and "aVR" not in colours and len(colours) == 11
    for lead, value in zip(LEADS, values, strict=True):
        if lead in colours and abs(value) > 0.3:
            red, _, blue = unlabel_rgb(colours[lead])
            assert (red > blue) == (value > 0), lead


def test_the_painted_ecg_writes_the_number_beside_the_lead(ecg):
    figure = plot_painted_ecg(ecg, attribution(CONTRIBUTIONS))
    names = next(t for t in figure.data if t.name == "leads").text
    for lead, value in zip(LEADS, CONTRIBUTIONS, strict=True):
        assert f"<b>{lead}</b> {signed(value, like=1.1)}" in names
    colours, _ = _lead_colours(np.array(CONTRIBUTIONS), LIGHT)
    for trace in figure.data:
        if trace.name in LEADS:
            assert trace.line.color == colours[trace.name]
    scale = next(t for t in figure.data if t.name == "scale").marker
    assert scale.cmin == -scale.cmax and scale.showscale


def test_each_square_is_one_token(lead_off):
    tokens = tokenize_beats(lead_off)
    why = looked(tokens)
    squares = plot_attention(why, tokens).data[0]
    rows = zip(squares.customdata, squares.marker.color, strict=True)
    found = {(int(lead), int(beat)): w for (lead, beat), w in rows}
    assert set(found) == {(int(a), int(b)) for a, b in np.argwhere(tokens.valid)}
    for (lead, beat), weight in found.items():
        assert weight == pytest.approx(why.values[lead, beat])
    data = _token_map_data(why, tokens, 0, 60, 99)
    assert {(int(a), int(b)) for a, b in data.missing} == {
        (int(a), int(b)) for a, b in np.argwhere(~tokens.valid)
    }


def test_attention_of_a_long_record_keeps_the_rows_of_its_beats():
    tokens = tokenize_beats(simulate_ecg("long"))
    squares = plot_attention(looked(tokens), tokens, start=10, seconds=5).data[0]
    beats = {int(row[1]) for row in squares.customdata}
    assert beats == set(np.flatnonzero((tokens.r_peaks >= 10) & (tokens.r_peaks <= 15)).tolist())


def test_a_figure_refuses_what_it_cannot_show(ecg, tokens):
    with pytest.raises(ValueError, match="adds? up"):
        plot_contributions(looked(tokens))
    with pytest.raises(ValueError, match="by lead; this one is by group"):
        plot_waterfall(attribution([1, 2, 3], "group", names=tuple(GROUPS)))
    with pytest.raises(ValueError, match="by lead; this one is by group"):
        plot_painted_ecg(ecg, attribution([1, 2, 3], "group", names=tuple(GROUPS)))
    with pytest.raises(ValueError, match="a map of beats needs values"):
        plot_token_map(attribution(CONTRIBUTIONS), tokens)


@pytest.mark.parametrize("value", [0.0, 1e-9, -3.2e-4, 0.0951, -0.42, 12.3])
def test_a_written_number_is_within_a_tenth_of_the_largest(value):
    text = signed(value)
    assert text[0] == ("−" if value < 0 else "+")
    assert abs(float(text.replace("−", "-")) - value) <= max(0.1 * abs(value), 1e-7)


# training


@pytest.fixture(scope="module")
def training_runs(tmp_path_factory):
    """second, first (fine-tuned and evaluated), pretrain"""
    return list(list_runs(write_runs(tmp_path_factory.mktemp("runs"))).values())


def test_a_curve_is_the_log(training_runs):
    second, first, pretrain = _curves_data(training_runs, "train/loss")
    assert [second.run, first.run, pretrain.run] == ["second", "first", "pretrain"]
    for curve, stage in ((first, "finetune"), (pretrain, "pretrain")):
        assert curve.epochs.tolist() == list(range(1, 9))
        assert curve.values.tolist() == [log_row(stage, epoch)["train/loss"] for epoch in range(1, 9)]
        assert curve.last == (8, curve.values[-1])
    assert [curve is None for curve in _curves_data(training_runs, "probe/r2")] == [True, True, False]
    with pytest.raises(ValueError, match="is in no log; there are lr"):
        _curves_data(training_runs, "none")
    with pytest.raises(ValueError, match=f"shows {MOST_RUNS} at most"):
        _curves_data(training_runs * 2, "lr")


def test_labels_stand_with_their_intervals(training_runs):
    assert labelled_tasks(training_runs) == ["superdiagnostic"] and labelled_tasks(training_runs[2:]) == []
    data = _labels_data(training_runs, "superdiagnostic")
    assert data.labels == (MACRO, *LABELS) and data.runs == ("second", "first") and data.subset == "field"
    field = training_runs[0].metrics["tasks"]["superdiagnostic"]["field"]
    for i, label in enumerate(LABELS, 1):
        assert data.auroc[0, i] == field["labels"][label]["auroc"]
        assert data.positives[0, i] == field["labels"][label]["positives"]
    assert np.isnan(data.interval[:, -1]).all() and np.isfinite(data.interval[:, :-1]).all()
    assert (data.interval[:, :-1, 0] < data.auroc[:, :-1]).all()
    assert (data.interval[:, :-1, 1] > data.auroc[:, :-1]).all()
    assert data.counted.tolist() == [True] * 5 + [False]
    with pytest.raises(ValueError, match="no run here was evaluated on it"):
        _labels_data(training_runs, "form")


@pytest.mark.parametrize("metrics", [{}, {"tasks": None}, {"tasks": {"form": {"field": {"labels": [1]}}}}])
def test_figures_of_another_make_are_no_figures(training_runs, metrics):
    assert labelled_tasks([replace(training_runs[0], metrics=metrics)]) == []


def test_a_run_has_one_colour_in_both_figures(training_runs):
    runs = [training_runs[2], *training_runs[:2]]
    for dark in (False, True):
        curves, labels = plot_curves(runs, "lr", dark), plot_labels(runs, "superdiagnostic", dark)
        assert curves.layout.paper_bgcolor == labels.layout.paper_bgcolor == (DARK if dark else LIGHT).page
        colours = [trace.line.color for trace in curves.data]
        assert len(set(colours)) == 3 and [dot.marker.color for dot in labels.data] == colours[1:]


def test_names_of_runs_are_text(training_runs):
    run = replace(training_runs[0], name="<b>a</b>")
    for drawn in (plot_curves([run], "lr"), plot_labels([run], "superdiagnostic")):
        assert "<b>a" not in drawn.data[0].name and "&lt;b&gt;a" in drawn.data[0].name


def test_curves_have_plain_names():
    assert curve_words("watch/form") == "macro AUROC of form, on the watched folds"
    assert curve_words("lr") == "learning rate" and curve_words("own") == "own"
    assert curve_words("train/loss") == "loss, in training"


# real ECGs


@pytest.mark.data
def test_real_records_draw():
    folder = os.environ.get("CLEAR_HUG_DATA")
    if not folder:
        pytest.skip("CLEAR_HUG_DATA does not name the folder of real ECGs")
    headers = sorted(Path(folder, "ptbxl", "records500").rglob("*.hea"))[:3]
    assert headers
    for header in headers:
        for name, draw in every_figure(read_ecg(header), dark=False).items():
            assert json.loads(draw().to_json())["data"], name


def test_the_real_ecg_that_pydicom_carries_draws():
    from pydicom.data import get_testdata_file

    ecg = read_ecg(get_testdata_file("waveform_ecg.dcm"))
    for name, draw in every_figure(ecg, dark=True).items():
        assert json.loads(draw().to_json())["data"], name


@pytest.mark.parametrize(
    "there, lead",
    [(LEADS, "II"), (("I", "V1", "V2"), "V1"), (("I",), "I"), (("V6", "aVF"), "aVF"), ((), "II")],
)
def test_the_strip_below_shows_a_lead_that_is_there(there, lead):
    assert rhythm_lead(np.isin(LEADS, there)) == lead


def _reasons_of(figure):
    return next((trace for trace in figure.data if trace.name == "why it differs"), None)


@pytest.mark.parametrize("lead", ["II", None])
def test_every_window_that_differs_has_its_reason(ecg, tokens, lead):
    """Also one whose R peak lies out of view, below the traces and within its window."""
    ways = {k: (("early, odd", "odd", "early, wide")[k % 3], "why") for k in range(0, tokens.n_beats, 2)}
    stop = float(tokens.r_peaks[6]) - 0.1
    figure = plot_beat_strip(ecg, tokens, lead, seconds=stop, differing=ways)
    said, data = _reasons_of(figure), _strip_data(ecg, tokens, lead, 0, stop, ways)
    assert data.differing[-1] == 6 and 6 not in data.beats
    assert list(said.text) == [ways[k][0].replace(", ", "<br>") for k in data.differing]
    assert np.all((said.x > data.differs[:, 0]) & (said.x < data.differs[:, 1]))
    low = figure.layout.yaxis.range[0]
    assert np.all((low < np.array(said.y)) & (np.array(said.y) < data.bottom))
    assert _reasons_of(plot_beat_strip(ecg, tokens, lead)) is None


def test_where_words_would_touch_each_window_has_initials():
    ecg = simulate_ecg("normal", heart_rate=210)
    tokens = tokenize_beats(ecg)
    fast = {k: ("early, odd", "why") for k in range(4)}
    far = _reasons_of(plot_beat_strip(ecg, tokens, differing={k: fast[k] for k in (0, 2)})).text
    near = _reasons_of(plot_beat_strip(ecg, tokens, differing=fast)).text
    assert far == ("early<br>odd",) * 2 and near == ("EO",) * 4


def test_the_name_of_a_lead_stands_clear_of_a_tall_wave_from_the_row_below(simulated):
    ecg = simulated("normal")
    signal = ecg.signal * np.float32(0.1)
    at = round(0.15 * ecg.fs)  # III goes up into the row of II, where its name begins
    signal[2, at - 50 : at + 50] += (8 * (1 - np.abs(np.linspace(-1, 1, 100)))).astype(np.float32)
    paper = ecg_data(replace(ecg, signal=signal), 0, 10, "3x4", None, 25, 10)
    names = {strip.lead: strip for strip in paper.strips}
    two, three = names["II"], names["III"]
    tall = three.mm[three.time <= 0.36]
    assert two.base + 3 < tall.max() < two.base + 8
    assert not ((tall > two.label_at) & (tall < two.label_at + 4)).any()
    assert two.base + 3 <= two.label_at < two.base + 15
