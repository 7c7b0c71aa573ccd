"""Two ECGs on one paper: stretches laid over one another by an R peak of each, or their median beats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.ecg import ECG
from clear_hug.plots.paper import Paper, draw_paper, ecg_data, paper_frame, paper_labels, paper_layout
from clear_hug.plots.theme import Theme, along, figure, theme

Array = NDArray[np.float64]
MEDIAN_FS = 500.0  # Hz, of the time axis that two median beats share
COLUMNS = 4  # of the 3x4 print


def _pair_data(first: Paper, second: Paper) -> tuple[Paper, Paper]:
    """The same two prints with common base lines, far enough apart for both."""
    pitch = np.maximum(-np.diff(first.rows), -np.diff(second.rows))
    rows = -np.concatenate([[0.0], np.cumsum(pitch)])
    top = max(first.top, second.top)
    below = min(p.bottom - float(p.rows[-1]) for p in (first, second))
    return _moved(first, rows, top, below), _moved(second, rows, top, below)


def _moved(paper: Paper, rows: Array, top: float, below: float) -> Paper:
    by = dict(zip(paper.rows.tolist(), (rows - paper.rows).tolist(), strict=True))
    strips = tuple(
        replace(
            strip,
            base=strip.base + by[strip.base],
            mm=strip.mm + np.float32(by[strip.base]),
            label_at=strip.label_at + by[strip.base],
        )
        for strip in paper.strips
    )
    return replace(paper, strips=strips, rows=rows, top=top, bottom=float(rows[-1]) + below)


def plot_side_by_side(
    ecgs: tuple[ECG, ECG],
    starts: tuple[float, float],
    seconds: float = 5.0,
    layout: str = "6x2",
    rhythm: str | None = "II",
    speed: float = 25,
    gain: float = 10,
    cabrera: bool = False,
    at: tuple[float, float] = (0.0, 0.0),
    unit: str | None = None,
    marks: tuple[Array | None, Array | None] = (None, None),
    name: str = "",
    feet: tuple[str, str] = ("", ""),
    dark: bool = False,
) -> tuple[go.Figure, go.Figure]:
    """Two ECGs on two papers whose rows stand at the same heights; the twelve leads alone.

    Parameters
    ----------
    starts : s, of each;  at : s at which the first sample of each lies;  marks, feet : of each
    the rest as in `plot_ecg`
    """
    twelve = tuple(replace(ecg, extra={}) for ecg in ecgs)
    papers = _pair_data(
        *(
            ecg_data(ecg, start, seconds, layout, rhythm, speed, gain, cabrera=cabrera, at=begin, unit=unit)
            for ecg, start, begin in zip(twelve, starts, at, strict=True)
        )
    )
    look = theme(dark)
    one, two = (
        draw_paper(paper, ecg, look, peaks, name, foot)
        for paper, ecg, peaks, foot in zip(papers, twelve, marks, feet, strict=True)
    )
    return one, two


def plot_laid_over(
    first: ECG,
    second: ECG,
    names: tuple[str, str],
    shift: float,
    start: float = 0.0,
    seconds: float = 10.0,
    layout: str = "3x4",
    rhythm: str | None = None,
    speed: float = 25,
    gain: float = 10,
    cabrera: bool = False,
    at: tuple[float, float] = (0.0, 0.0),
    unit: str | None = None,
    foot: str = "",
    dark: bool = False,
) -> go.Figure:
    """Two ECGs on one paper, the second moved in time.

    Parameters
    ----------
    names : of both, for people
    shift : s by which the second is moved to the right
    at : s at which the first sample of each lies; the rest as in `plot_ecg`
    """
    first, second = replace(first, extra={}), replace(second, extra={})  # the twelve alone can be compared
    a, b = (
        ecg_data(ecg, start, seconds, layout, rhythm, speed, gain, cabrera=cabrera, at=begin, unit=unit)
        for ecg, begin in ((first, at[0]), (second, at[1] + shift))
    )
    if a.start != b.start:
        raise ValueError(f"moved by {shift:g} s, the second ECG holds nothing from {start:g} s on.")
    look = theme(dark)
    words = f"the second moved by {shift:+.2f} s".replace("-", "−")
    return _drawn(*_pair_data(a, b), (first, second), names, words, foot, look)


def plot_medians(
    values: tuple[Array, Array],
    times: tuple[Array, Array],
    names: tuple[str, str],
    units_known: tuple[bool, bool] = (True, True),
    gain: float = 10,
    cabrera: bool = False,
    dark: bool = False,
) -> go.Figure:
    """The median beats of two ECGs laid over one another lead by lead, their R peaks together.

    Parameters
    ----------
    values : (12, sample) mV, or arbitrary where not `units_known`, of each
    times : (sample,) s from the R peak, of each
    """
    ecgs, before, wide = _medians_data(values, times, units_known)
    a, b = (ecg_data(ecg, 0.0, COLUMNS * wide, "3x4", None, 50, gain, cabrera=cabrera) for ecg in ecgs)
    foot = "median beats, R peaks together: a large square is 0.1 s"
    shown = _drawn(*_pair_data(a, b), ecgs, names, "median beats", foot, theme(dark))
    shown.layout.title.text = shown.layout.title.text.replace(f"{a.start:.1f} to {a.stop:.1f} s · ", "")
    shown.layout.xaxis.update(showticklabels=False)
    shown.layout.xaxis.title.text = shown.layout.xaxis.title.text.replace(
        "time (s)", "time (s) around ▽, the R peak"
    )
    look = theme(dark)
    shown.add_trace(
        go.Scatter(
            x=[before + k * wide for k in range(COLUMNS)],
            y=[max(a.top, b.top) - 2.0] * COLUMNS,
            mode="markers",
            name="R peaks",
            marker={"symbol": "triangle-down-open", "size": 9, "color": look.accent},
            hoverinfo="skip",
        )
    )
    return shown


def _medians_data(
    values: tuple[Array, Array], times: tuple[Array, Array], units_known: tuple[bool, bool]
) -> tuple[tuple[ECG, ECG], float, float]:
    """Both median beats on one time axis, once for each column of the print.

    Returns
    -------
    ecgs : each holds its beat in every column;  before, wide : s, the R peak in a column, and its width
    """
    before = -min(float(t[0]) for t in times)
    after = max(float(t[-1]) for t in times)
    n = int(np.ceil((before + after) * MEDIAN_FS)) + 1
    axis = np.arange(n) / MEDIAN_FS - before
    ecgs = []
    for rows, t, known in zip(values, times, units_known, strict=True):
        beat = np.stack([np.interp(axis, t, row, left=np.nan, right=np.nan) for row in rows])
        ecgs.append(ECG(np.tile(beat, COLUMNS), MEDIAN_FS, units_known=known))
    return (ecgs[0], ecgs[1]), before, n / MEDIAN_FS


def _drawn(
    a: Paper,
    b: Paper,
    ecgs: tuple[ECG, ECG],
    names: tuple[str, str],
    words: str,
    foot: str,
    look: Theme,
) -> go.Figure:
    colours = (look.ink, look.opposes)
    traces: list[go.Scatter] = []
    for paper, name, colour in zip((a, b), names, colours, strict=True):
        unit = {"arbitrary units": "(arbitrary unit)"}.get(paper.unit, paper.unit)
        traces += [
            go.Scatter(
                **along(strip.time),
                y=strip.mm,
                customdata=strip.mv,
                mode="lines",
                name=f"{strip.lead}, {name}",
                line={"color": colour, "width": 1.3},
                hovertemplate=f"<b>{strip.lead}</b> {name}  %{{customdata:.3f}} {unit}<extra></extra>",
            )
            for strip in paper.strips
            if strip.state != "absent"
        ]
    known = ecgs[0].units_known and ecgs[1].units_known
    traces += [*paper_frame(a, look, known), paper_labels(a, look, {}, {})]
    said = " · ".join(
        f"<span style='color:{colour}'><b>━ {name}</b></span>"
        for colour, name in zip(colours, names, strict=True)
    )
    ecg = ecgs[0] if known or not ecgs[0].units_known else ecgs[1]
    shape = paper_layout(a, ecg, look, f"Laid over each other: {words}", said, foot=foot)
    return figure(traces, shape)
