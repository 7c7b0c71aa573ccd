"""Calipers, the strip of a whole record, Cabrera's order, and two ECGs on one paper: tested as data."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from clear_hug.beats import tokenize_beats
from clear_hug.display import DisplayFilter, as_the_model_sees, for_display
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots import (
    LAYOUTS,
    Caliper,
    caliper_from_box,
    plot_ecg,
    plot_laid_over,
    plot_medians,
    plot_overview,
    plot_side_by_side,
)
from clear_hug.plots.calipers import _heights, _marches
from clear_hug.plots.overview import MOST_COLUMNS, MOST_PARTS, _overview_data
from clear_hug.plots.pair import _medians_data, _pair_data
from clear_hug.plots.paper import CABRERA, ecg_data
from clear_hug.simulate import simulate_ecg


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("normal", seed=1)


@pytest.fixture(scope="module")
def other():
    return simulate_ecg("high_voltage", seed=2)


def paper(ecg, layout="3x4", rhythm="II", **more):
    return ecg_data(ecg, 0.0, 10.0, layout, rhythm, 25, 10, **more)


def strip_of(data, lead):
    return next(strip for strip in data.strips if strip.lead == lead)


# Cabrera's order


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_cabrera_turns_the_limb_leads_and_negates_avr(ecg, layout):
    data = paper(ecg, layout, None, cabrera=True)
    shown = [strip.lead for strip in data.strips]
    assert set(shown) == {"aVL", "I", "-aVR", "II", "aVF", "III", *LEADS[6:]} and len(shown) == 12
    limb = [lead for column in zip(*CABRERA[layout], strict=True) for lead in column][:6]
    assert limb == ["aVL", "I", "-aVR", "II", "aVF", "III"]
    strip = strip_of(data, "-aVR")
    at = np.rint(strip.time * ecg.fs).astype(int)
    np.testing.assert_array_equal(strip.mv, -ecg.signal[3, at])


def test_what_avr_is_its_negative_is_too(ecg):
    signal = ecg.signal.copy()
    signal[3] = np.nan
    assert strip_of(paper(ECG(signal, ecg.fs), cabrera=True), "-aVR").state == "absent"
    derived = ECG(ecg.signal, ecg.fs, derived=("aVR",))
    assert strip_of(paper(derived, cabrera=True), "-aVR").state == "derived"


# title and the line under the trace


def test_what_is_shown_is_named_in_the_title_and_under_the_trace(ecg):
    shown = for_display(ecg, DisplayFilter(0.5, 50.0, 40.0), 0, 10)
    figure = plot_ecg(shown.ecg, name=shown.name, foot=shown.words)
    assert "filtered for display" in figure.layout.title.text
    under = figure.layout.xaxis.title.text
    assert under == (
        "time (s)<br>25 mm/s · 10 mm/mV · filtered for display: 0.5 Hz high-pass, 50 Hz notch, 40 Hz low-pass"
    )
    seen = as_the_model_sees(ecg, tokenize_beats(ecg))
    figure = plot_ecg(seen.ecg, name=seen.name, foot=seen.words, unit=seen.unit)
    assert "SD of each lead: voltage cannot be read" in figure.layout.title.text
    assert "2.5 mm/SD" in figure.layout.xaxis.title.text and "mV" not in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.title.text == "2.5 mm = 1 SD"


def test_a_stretch_is_drawn_at_its_own_time():
    ecg = simulate_ecg("long")
    shown = for_display(ecg, DisplayFilter(None, None, None), 15, 25)
    assert shown.at > 0
    cut = ecg_data(shown.ecg, 15, 10, "12x1", None, 25, 10, at=shown.at)
    whole = ecg_data(ecg, 15, 10, "12x1", None, 25, 10)
    for a, b in zip(cut.strips, whole.strips, strict=True):
        np.testing.assert_allclose(a.time, b.time, atol=1e-4)
        np.testing.assert_allclose(a.mm, b.mm, atol=1e-3)


# calipers


def test_a_box_is_read_in_ms_beats_a_minute_and_mv(ecg):
    data = paper(ecg)
    base = strip_of(data, "II").base
    caliper = caliper_from_box(data, [2.0, 1.2], [base + 12, base - 3])
    assert (caliper.start, caliper.stop, caliper.lead, caliper.row) == (1.2, 2.0, "II", 1)
    assert caliper.words("mV") == "800 ms · 75 beats/min · 1.50 mV"
    assert caliper.words("arbitrary units") == "800 ms · 75 beats/min"
    np.testing.assert_allclose(_heights(data, caliper), (base - 3, base + 12))


def test_a_box_over_a_wave_belongs_to_the_lead_it_stands_in(ecg):
    data = paper(ecg)
    for strip in data.strips:
        row = data.rows.tolist().index(strip.base)
        middle = (strip.start + strip.stop) / 2
        caliper = caliper_from_box(data, [middle - 0.2, middle + 0.2], [strip.base + 2, strip.base + 8])
        assert (caliper.lead, caliper.row) == (strip.lead, row)
        assert _heights(data, caliper)[0] == pytest.approx(strip.base + 2)


def test_a_drag_along_the_trace_is_of_time_alone(ecg):
    data = paper(ecg)
    for y in ([data.bottom, data.top], [3.0, 3.4]):
        caliper = caliper_from_box(data, [1.0, 1.5], y)
        assert caliper.height is None and caliper.words("mV") == "500 ms · 120 beats/min"
    near = (data.bottom + 20, data.bottom + 60)  # zoomed in, a level drag covers what is seen
    assert caliper_from_box(data, [1.0, 1.5], list(near), near).height is None
    assert caliper_from_box(data, [1.0, 1.5], list(near)).height == pytest.approx(40 / data.gain)
    assert caliper_from_box(data, [1.0, 1.0], [0.0, 10.0]) is None
    beyond = caliper_from_box(data, [-3.0, 99.0], [data.bottom, data.top])
    assert (beyond.start, beyond.stop) == (0, 10)


def test_calipers_stay_on_their_wave_in_another_layout_and_gain(ecg):
    data = paper(ecg)
    strip = strip_of(data, "V5")
    caliper = caliper_from_box(data, [7.6, 8.2], [strip.base, strip.base + 10])
    twelve = ecg_data(ecg, 0.0, 10.0, "12x1", None, 50, 20)
    base = strip_of(twelve, "V5").base
    np.testing.assert_allclose(_heights(twelve, caliper), (base, base + 20))
    assert _heights(paper(ecg, cabrera=True), replace(caliper, lead="aVR")) is None


@pytest.mark.parametrize(
    "caliper",
    [Caliper(1.25, 2.5), Caliper(0.1, 0.9, "-aVR", 2, -0.25, 1.5), Caliper(1, 2, "V7", 12, 0.0, 1.0)],
)
def test_calipers_survive_a_link(caliper):
    assert Caliper.from_link(caliper.link) == caliper


@pytest.mark.parametrize("text", ["1", "2_1", "a_b", "nan_2", "1_2_II", "1_inf", "1_2_II_x_0_1", "1_1"])
def test_a_link_that_holds_no_calipers_is_refused(text):
    with pytest.raises(ValueError):
        Caliper.from_link(text)


def test_calipers_march_to_both_ends(ecg):
    data = paper(ecg)
    times = _marches(data, Caliper(4.3, 5.1))
    np.testing.assert_allclose(np.diff(times), 0.8)
    assert 0 <= times[0] < 0.8 and 9.2 < times[-1] <= 10 and 4.3 in times
    assert _marches(data, Caliper(1, 1.001)) == []
    drawn = plot_ecg(ecg, caliper=Caliper(4.3, 5.1), march=True)
    lines = next(trace for trace in drawn.data if trace.name == "march")
    assert sorted({x for x in lines.x if x is not None}) == pytest.approx(times)
    assert "75 beats/min" in drawn.layout.annotations[0].text
    assert (drawn.layout.shapes[0].x0, drawn.layout.shapes[0].x1) == (4.3, 5.1)


def test_calipers_elsewhere_in_the_record_are_not_drawn(ecg):
    assert not plot_ecg(ecg, start=5, seconds=5, caliper=Caliper(1, 2)).layout.shapes


# the whole record in a strip


def test_an_hour_fits_into_a_strip_with_every_extreme():
    fs, n = 250.0, 250 * 3600
    signal = np.random.default_rng(0).normal(0, 0.1, (1, n)).astype(np.float32).repeat(12, axis=0)
    signal[1, 123_456], signal[1, 700_000] = 5, -4
    signal[1, 10_000:20_000] = np.nan
    ecg = ECG(signal, fs)
    peaks = np.concatenate([np.arange(0, 1800, 1.0), np.arange(1800, 3600, 0.5)])
    began = time.thread_time()
    data = _overview_data(ecg, "II", peaks, 10.0)
    assert time.thread_time() - began < 0.15
    assert data.time.size == MOST_COLUMNS and data.edges.size - 1 == MOST_PARTS
    assert np.nanmax(data.high) == 5 and np.nanmin(data.low) == -4
    assert data.time[np.nanargmax(data.high)] == pytest.approx(123_456 / fs, abs=3600 / MOST_COLUMNS)
    assert np.isnan(data.low[(data.time > 45) & (data.time < 75)]).all()
    assert data.rate[10] == pytest.approx(60) and data.rate[300] == pytest.approx(120)


def test_a_click_on_the_strip_tells_where_to_look():
    ecg = simulate_ecg("long")
    figure = plot_overview(ecg, "V5", tokenize_beats(ecg).r_peaks, 10, 10)
    parts = next(trace for trace in figure.data if trace.name == "parts")
    assert list(parts.customdata) == [0, 10, 20]
    for x, width, start in zip(parts.x, parts.width, parts.customdata, strict=True):
        assert x - width / 2 == pytest.approx(start)
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (10, 20)
    assert "V5" in figure.layout.yaxis.title.text and "beats/min" in figure.layout.yaxis2.title.text


def test_a_strip_without_beats_has_no_rate():
    ecg = ECG(np.zeros((12, 20_000)), 500.0)
    assert np.isnan(_overview_data(ecg, "I", None, 10).rate).all()
    assert plot_overview(ecg, "I", None, 0, 10).layout.title.text


# two ECGs


def test_two_prints_share_their_base_lines(ecg, other):
    a, b = _pair_data(paper(ecg, "6x2"), paper(other, "6x2"))
    np.testing.assert_array_equal(a.rows, b.rows)
    assert (a.top, a.bottom) == (b.top, b.bottom)
    for moved, was in ((a, paper(ecg, "6x2")), (b, paper(other, "6x2"))):
        for one, two in zip(moved.strips, was.strips, strict=True):
            np.testing.assert_allclose(one.mm - one.base, two.mm - two.base, atol=1e-3)
            assert one.base in a.rows
    one, two = plot_side_by_side((ecg, other), (0.0, 2.0))
    assert one.layout.yaxis.range == two.layout.yaxis.range
    assert one.layout.yaxis.scaleratio == two.layout.yaxis.scaleratio


def test_laid_over_ecgs_meet_at_the_chosen_r_peaks(ecg, other):
    ours, theirs = tokenize_beats(ecg).r_peaks, tokenize_beats(other).r_peaks
    shift = float(ours[4] - theirs[2])
    figure = plot_laid_over(ecg, other, ("one", "two"), shift, layout="12x1")
    lines = {trace.name: trace for trace in figure.data}
    ends = []
    for name, fs in (("II, one", ecg.fs), ("II, two", other.fs)):
        trace = lines[name]
        when = trace.x0 + trace.dx * np.arange(len(trace.y))
        near = np.abs(when - ours[4]) < 0.05
        ends.append(when[near][np.argmax(np.asarray(trace.y)[near])])
        assert fs
    assert ends[0] == pytest.approx(ends[1], abs=0.012)
    assert lines["II, one"].line.color != lines["II, two"].line.color
    assert "one" in figure.layout.title.text and "two" in figure.layout.title.text
    with pytest.raises(ValueError, match="holds nothing"):
        plot_laid_over(ecg, other, ("one", "two"), -30.0)


def test_median_beats_lie_over_one_another_at_their_r_peaks():
    times = (np.arange(-200, 300) / 500, np.arange(-50, 320) / 250)
    values = tuple(np.exp(-((t / 0.02) ** 2))[None].repeat(12, axis=0) for t in times)
    ecgs, before, wide = _medians_data(values, times, (True, True))
    for ecg in ecgs:
        assert ecg.duration == pytest.approx(4 * wide)
        for column in range(4):
            beat = ecg.signal[0, round(column * wide * 500) : round((column + 1) * wide * 500)]
            assert np.nanargmax(beat) / 500 == pytest.approx(before, abs=0.002)
    assert np.isfinite(ecgs[0].signal[0, 0]) and np.isnan(ecgs[1].signal[0, 0])
    figure = plot_medians(values, times, ("one", "two"))
    assert {trace.name for trace in figure.data} >= {f"{lead}, {n}" for lead in LEADS for n in ("one", "two")}
    assert "R peak" in figure.layout.xaxis.title.text and "mV" in figure.layout.yaxis.title.text


@pytest.mark.parametrize("fs", [500.0, 1000.0])
def test_each_picture_is_made_within_150_ms(fs):
    ecg = simulate_ecg("normal", fs=fs)
    tokens = tokenize_beats(ecg)

    def filtered():
        shown = for_display(ecg, DisplayFilter(0.05, 50.0, 150.0), 0, 10)
        return plot_ecg(shown.ecg, layout="12x1", at=shown.at, foot=shown.words)

    def seen():
        shown = as_the_model_sees(ecg, tokens)
        return plot_ecg(shown.ecg, layout="12x1", unit=shown.unit, foot=shown.words)

    made = {
        **{
            name: lambda name=name: plot_ecg(
                ecg, layout=name, marks=tokens.r_peaks, caliper=Caliper(1, 2), march=True, cabrera=True
            )
            for name in LAYOUTS
        },
        "filtered": filtered,
        "as the model sees it": seen,
        "laid over": lambda: plot_laid_over(ecg, ecg, ("one", "two"), 0.3, layout="12x1"),
        "whole": lambda: plot_overview(ecg, "II", tokens.r_peaks, 0, 10),
    }
    took = {}
    for name, draw in made.items():
        times = []
        for _ in range(4):
            began = time.thread_time()
            draw().to_json()
            times.append(time.thread_time() - began)
        took[name] = min(times)
    print(f"{fs:g} Hz, ms:", {name: round(1000 * seconds) for name, seconds in took.items()})
    assert max(took.values()) < 0.15, took
