"""Rate and quality along a record: as those of the whole, pieces joined without a seam, lists that find."""

from dataclasses import replace

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.io import NoSample, held
from clear_hug.plots import plot_trend
from clear_hug.plots.overview import _trend_data
from clear_hug.qrs import detect_qrs
from clear_hug.quality import assess_quality
from clear_hug.simulate import simulate_ecg
from clear_hug.trend import LISTS, MARGIN, PIECE, _order, nothing_read, places, read_on


def run(record):
    trend, seen = nothing_read(record.seconds), []
    while not trend.done:
        trend = read_on(record, trend)
        seen.append(trend)
    return trend, seen


def spoilt():
    """640 s: noise from 100 to 110 s, a pause of 4 s at 205 s, nothing from 300 to 320 s, fast from 500 s."""
    slow = simulate_ecg("normal", 1, fs=250.0, seconds=500.0, heart_rate=60.0).signal
    fast = simulate_ecg("normal", 2, fs=250.0, seconds=140.0, heart_rate=120.0).signal
    signal = np.concatenate([slow, fast], axis=1).copy()
    rng = np.random.default_rng(0)
    signal[:, 100 * 250 : 110 * 250] = rng.normal(0, 1, (12, 2500))
    signal[:, 300 * 250 : 320 * 250] = np.nan
    a = 205 * 250
    signal[:, a : a + 1000] = signal[:, a - 100 : a - 99] + rng.normal(0, 0.01, (12, 1000))
    return replace(simulate_ecg("normal", 1, fs=250.0), signal=signal, truth={})


@pytest.fixture(scope="module")
def ecg():
    return spoilt()


@pytest.fixture(scope="module")
def trend(ecg):
    return run(held(ecg))[0]


def test_as_much_is_known_as_was_read(ecg):
    trend, seen = run(held(ecg))
    assert len(seen) == 2 and trend.done and trend.share == 1
    assert seen[0].share == 0.5 and not seen[0].done
    known = seen[0].known
    assert known.sum() == 30 and (seen[0].edges[1:][known] <= PIECE).all()
    assert np.isnan(seen[0].quality[~known]).all() and np.isnan(seen[0].rate[~known]).all()
    np.testing.assert_array_equal(seen[0].quality[known], trend.quality[known])
    assert read_on(held(ecg), trend) is trend
    assert np.isnan(nothing_read(100.0).doubtful) and np.isnan(nothing_read(100.0).without_beats)


@pytest.mark.parametrize("n", [1, 2, 3, 12, 100, 288])
def test_pieces_are_read_once_each_and_the_first_lie_apart(n):
    order = _order(n)
    assert sorted(order) == list(range(n))
    for some in (2, 4, 8, 16):
        if some <= n // 2:
            at = np.sort(order[:some])
            assert np.diff([*at, n]).max() <= 2 * n / some + 1


@pytest.mark.parametrize("seconds", [2.0, 10.0, 299.0, 300.0, 301.0, 449.0, 451.0, 3600.0, 86_400.0])
def test_every_second_is_in_one_window(seconds):
    edges = nothing_read(seconds).edges
    assert edges[0] == 0 and edges[-1] == seconds
    assert (np.diff(edges) > 0).all() and np.diff(edges).max() <= 10.6


@pytest.mark.long
def test_it_is_what_the_whole_would_tell():
    ecg = simulate_ecg("normal", 4, fs=250.0, seconds=640.0, rr_sd=0.05)
    trend, _ = run(held(ecg))
    r = detect_qrs(ecg.signal, ecg.fs) / ecg.fs
    beats = np.histogram(r, trend.edges)[0]
    assert trend.beats.sum() == r.size and np.abs(trend.beats - beats).max() <= 1
    ends, gaps = r[1:], np.diff(r)
    for k, (a, b) in enumerate(zip(trend.edges[:-1], trend.edges[1:], strict=True)):
        assert trend.rate[k] == pytest.approx(60 / np.median(gaps[(ends >= a) & (ends < b)]), rel=0.02)
    np.testing.assert_allclose(trend.quality, assess_quality(ecg).by_window, atol=0.05)
    assert trend.doubtful == 0 and trend.without_beats == 0


def test_the_lists_find_what_is_planted(trend):
    assert places(trend, "Lowest quality", 1)[0].start in (100, 300, 310)
    worst = {place.start for place in places(trend, "Lowest quality", 2)}
    assert 100 in worst and worst & {300, 310}
    fastest, slowest = places(trend, "Fastest", 1)[0], places(trend, "Slowest", 1)[0]
    assert fastest.start >= 490 and fastest.value == pytest.approx(120, rel=0.05)
    assert slowest.start < 500 and slowest.value == pytest.approx(60, rel=0.1)
    pause = places(trend, "Longest RR interval", 1)[0]
    assert 195 <= pause.start <= 210 and 4 < pause.value < 6  # and not the 20 s without a signal
    assert trend.doubtful >= 3 / trend.quality.size and trend.without_beats >= 2 / trend.quality.size
    for by in LISTS:
        starts = [place.start for place in places(trend, by, 5)]
        assert starts and all(abs(a - b) >= 60 for i, a in enumerate(starts) for b in starts[:i])


@pytest.mark.parametrize("error", [NoSample, ECGError])
def test_nothing_recorded_is_of_no_quality_and_what_cannot_be_read_is_not_known(ecg, error):
    record = held(ecg)

    def part(start, stop):
        if start < PIECE - MARGIN:
            raise error("nothing here")
        return record.part(start, stop)

    trend, _ = run(replace(record, part=part))
    first = trend.edges[1:] <= PIECE
    assert trend.done and trend.known[~first].all()
    if error is NoSample:
        assert (trend.quality[first] == 0).all() and (trend.beats[first] == 0).all()
    else:
        assert np.isnan(trend.quality[first]).all() and not trend.known[first].any()


# drawn


def test_the_columns_hold_the_lowest_quality_and_where_it_is(trend):
    data = _trend_data(trend, 16)
    assert data.edges[0] == 0 and data.edges[-1] == trend.seconds and data.quality.size == 16
    for k, (a, b) in enumerate(zip(data.edges[:-1], data.edges[1:], strict=True)):
        rows = (trend.edges[:-1] >= a) & (trend.edges[:-1] < b)
        assert data.quality[k] == trend.quality[rows].min()
        assert a <= data.worst[k] < b and trend.quality[trend.edges[:-1] == data.worst[k]] == data.quality[k]
        rates = trend.rate[rows & np.isfinite(trend.rate)]
        if rates.size:
            assert (data.slowest[k], data.fastest[k]) == (rates.min(), rates.max())
            assert data.rate[k] == np.median(rates)


def test_what_was_not_read_is_drawn_as_such(ecg):
    half = read_on(held(ecg), nothing_read(held(ecg).seconds))
    data = _trend_data(half)
    unread = data.edges[:-1] >= PIECE
    assert np.isnan(data.quality[unread]).all() and np.isfinite(data.quality[~unread]).all()
    for trend in (half, nothing_read(100.0)):
        figure = plot_trend(trend, "a record", 0.0, 300.0)
        parts = next(trace for trace in figure.data if trace.name == "parts")
        assert len(parts.customdata) == _trend_data(trend).quality.size
        assert any("not read yet" in text for text in parts.text)


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_has_a_title_axes_with_units_and_the_stretch(trend, dark):
    figure = plot_trend(trend, "a record", 60.0, 300.0, dark)
    assert "a record" in figure.layout.title.text
    assert [figure.layout[name].title.text for name in ("xaxis", "yaxis", "yaxis2")] == [
        "time into the record (h:min)", "beats/min", "quality",
    ]  # fmt: skip
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (60.0, 360.0)
    doubtful = next(trace for trace in figure.data if trace.name == "doubtful")
    assert len(doubtful.x) and doubtful.marker.pattern.shape == "/"  # told without colour
