"""A whole record in one strip, and where one looks: up to an hour with its trace, hours with their trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.ecg import ECG, clock
from clear_hug.plots.theme import Theme, axis, figure, layout, lead_rows, record_name, theme, voltage_unit

if TYPE_CHECKING:
    from clear_hug.trend import Trend

MOST_PARTS = 360  # that can be clicked on, and that carry a heart rate
MOST_COLUMNS = 1500  # of the trace; more would be closer than a pixel
HEIGHT = 150  # px
TREND_COLUMNS = 480  # of a trend; each shows the median, slowest and fastest rate, and the lowest quality
TREND_HEIGHT = 210  # px
TICKS = (60, 300, 600, 1800, 3600, 7200, 10_800, 14_400, 21_600, 43_200, 86_400)  # s between two
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Overview:
    """The whole record in columns, and in the parts that can be clicked on.

    time : (column,) s, its middle;  low, high : (column,) reach of the lead; NaN where it is absent
    edges : (part + 1,) s;  rate : (part,) beats/min, NaN below one RR interval
    """

    time: Array
    low: Array
    high: Array
    edges: Array
    rate: Array


def _overview_data(ecg: ECG, lead: str, r_peaks: Array | None, seconds: float) -> Overview:
    """`seconds` is the length of a part, unless there would be more than `MOST_PARTS`."""
    values = ecg.extra[lead] if lead in ecg.extra else ecg.signal[lead_rows(lead)[0]]
    n = min(MOST_COLUMNS, values.size)
    first = np.linspace(0, values.size, n + 1).astype(np.int64)
    low = np.fmin.reduceat(values, first[:-1]).astype(np.float64)
    high = np.fmax.reduceat(values, first[:-1]).astype(np.float64)
    parts = int(min(MOST_PARTS, max(1, np.ceil(ecg.duration / seconds - 1e-9))))
    wide = seconds if parts < MOST_PARTS else max(seconds, ecg.duration / parts)
    edges = np.minimum(np.arange(parts + 1) * wide, ecg.duration)
    rate = np.full(parts, np.nan)
    if r_peaks is not None and len(r_peaks) > 1:
        gaps = np.diff(r_peaks)
        part = np.clip((r_peaks[1:] / wide).astype(np.int64), 0, parts - 1)
        for k in np.unique(part):
            rate[k] = 60 / np.median(gaps[part == k])
    return Overview((first[:-1] + first[1:]) / 2 / ecg.fs, low, high, edges, rate)


def plot_overview(
    ecg: ECG,
    lead: str,
    r_peaks: Array | None,
    start: float,
    seconds: float,
    dark: bool = False,
) -> go.Figure:
    """A whole record in one strip; a click on a part of it can be read from `customdata`, its start in s.

    Parameters
    ----------
    lead : whose reach is shown
    r_peaks : (beat,) s, or None where none was found
    start, seconds : the stretch that is looked at
    """
    look, data = theme(dark), _overview_data(ecg, lead, r_peaks, seconds)
    unit = voltage_unit(ecg.units_known)
    x: list[Any] = np.stack([data.time, data.time, np.full_like(data.time, np.nan)], 1).ravel().tolist()
    y = np.stack([data.low, data.high, np.full_like(data.low, np.nan)], axis=1).ravel()
    middle = (data.edges[1:] + data.edges[:-1]) / 2
    rates = [f"{rate:.0f} beats/min" if np.isfinite(rate) else "no rate" for rate in data.rate]
    spans = [f"{a:.0f} to {b:.0f} s" for a, b in zip(data.edges[:-1], data.edges[1:], strict=True)]
    traces = [
        go.Scatter(x=x, y=y, mode="lines", name=lead, line={"color": look.muted, "width": 1},
                   hoverinfo="skip"),
        go.Scatter(x=middle, y=data.rate, yaxis="y2", mode="lines", name="heart rate",
                   line={"color": look.accent, "width": 2}, hoverinfo="skip"),
        _places(data.edges, data.edges[:-1], [f"{a}<br>{b}" for a, b in zip(spans, rates, strict=True)]),
    ]  # fmt: skip
    top = 1.25 * float(np.nanmax(data.rate)) if np.isfinite(data.rate).any() else 100.0
    shape = layout(
        look,
        f"{record_name(ecg)} · overview",
        height=HEIGHT,
        margin={"l": 60, "r": 60, "t": 48, "b": 40},
        shapes=[_here(look, start, seconds)],
        bargap=0,
        dragmode=False,
        xaxis=axis(look, "time (s)", range=[0, ecg.duration], showgrid=False, fixedrange=True),
        yaxis=axis(look, f"{lead}, {unit}", showgrid=False, nticks=4, fixedrange=True),
        yaxis2=axis(look, "beats/min", overlaying="y", side="right", showgrid=False, nticks=4,
                    tickmode="auto", range=[0, top], fixedrange=True),
        yaxis3={"overlaying": "y", "visible": False, "range": [0, 1], "fixedrange": True},
    )  # fmt: skip
    return figure(traces, shape)


def _places(edges: Array, leads_to: Array, told: list[str]) -> go.Bar:
    """What is hovered over and clicked on: unseen columns between `edges` (s), each leading to a place."""
    see = {"marker": {"opacity": 1}}
    return go.Bar(
        x=(edges[1:] + edges[:-1]) / 2, y=np.ones(edges.size - 1), width=np.diff(edges), yaxis="y3",
        name="parts", marker={"color": "rgba(0,0,0,0)", "line": {"width": 0}}, customdata=leads_to, text=told,
        textposition="none", hovertemplate="%{text}<extra>click to look there</extra>",
        selected=see, unselected=see,
    )  # fmt: skip


def _here(look: Theme, start: float, seconds: float) -> dict[str, Any]:
    """The box around the stretch that is looked at."""
    return {
        "type": "rect", "xref": "x", "x0": start, "x1": start + seconds, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": look.opposes, "width": 1.5}, "fillcolor": look.band[0],
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Columns:
    """A trend in columns that can be clicked on.

    edges : (column + 1,) s;  rate, slowest, fastest : (column,) beats/min, NaN without any
    quality : (column,) the lowest, NaN where not read yet;  sound : (column,) bool, `Trend.sound` there
    worst : (column,) s, where it begins
    """

    edges: Array
    rate: Array
    slowest: Array
    fastest: Array
    quality: Array
    sound: NDArray[np.bool_]
    worst: Array


def _trend_data(trend: Trend, most: int = TREND_COLUMNS) -> Columns:
    n = trend.quality.size
    first = np.linspace(0, n, min(most, n) + 1).astype(np.int64)
    rows = [slice(a, b) for a, b in zip(first[:-1], first[1:], strict=True)]
    held = [trend.rate[row][np.isfinite(trend.rate[row])] for row in rows]
    rates = np.array([(np.median(x), x.min(), x.max()) if x.size else (np.nan,) * 3 for x in held])
    low = np.where(np.isfinite(trend.quality), trend.quality, np.inf)
    worst = np.array([row.start + int(low[row].argmin()) for row in rows])
    median, low_rate, high_rate = rates.T
    there = (trend.quality[worst], trend.sound[worst], trend.edges[worst])
    return Columns(trend.edges[first], median, low_rate, high_rate, *there)


def plot_trend(trend: Trend, name: str, start: float, seconds: float, dark: bool = False) -> go.Figure:
    """Heart rate and signal quality along hours; a click on it can be read from `customdata`, a place in s.

    Parameters
    ----------
    name : of the record, for the title
    start, seconds : the stretch that is looked at
    """
    look, data = theme(dark), _trend_data(trend)
    middle, wide = (data.edges[1:] + data.edges[:-1]) / 2, np.diff(data.edges)
    told = [
        f"{clock(a)} to {clock(b)}<br>"
        + (f"{r:.0f} beats/min ({low:.0f} to {high:.0f})" if np.isfinite(r) else "no rate")
        + (f"<br>lowest quality {q:.2f}" if np.isfinite(q) else "<br>not read yet")
        for a, b, r, low, high, q in zip(
            data.edges[:-1], data.edges[1:], data.rate, data.slowest, data.fastest, data.quality, strict=True
        )
    ]
    traces = [
        go.Bar(x=middle, y=data.fastest - data.slowest, base=data.slowest, width=wide, yaxis="y",
               name="slowest to fastest", marker={"color": look.band[0], "line": {"width": 0}},
               hoverinfo="skip"),
        go.Scatter(x=middle, y=data.rate, yaxis="y", name="heart rate",
                   mode="lines" if trend.done else "lines+markers",  # pieces may yet stand alone
                   line={"color": look.accent, "width": 1.5}, marker={"size": 3}, hoverinfo="skip"),
        *(
            go.Bar(x=middle[rows], y=data.quality[rows], width=wide[rows], yaxis="y2", name=what,
                   marker={"color": colour, "line": {"width": 0}, "pattern": {"shape": shape}},
                   hoverinfo="skip")
            for rows, what, colour, shape in ((data.sound, "quality", look.hatch, ""),
                                              (~data.sound, "doubtful", look.accent, "/"))
        ),
        _places(data.edges, data.worst, told),
    ]  # fmt: skip
    every = next((tick for tick in TICKS if trend.seconds / tick <= 12), TICKS[-1])
    at = np.arange(0, trend.seconds + 1, every)
    rates = np.append(data.slowest, data.fastest)
    ends = (np.nanmin(rates), np.nanmax(rates)) if np.isfinite(rates).any() else (50.0, 100.0)
    shape = layout(
        look,
        f"{name} · heart rate and signal quality along the whole",
        height=TREND_HEIGHT,
        margin={"l": 60, "r": 24, "t": 48, "b": 40},
        shapes=[_here(look, start, seconds)],
        bargap=0,
        barmode="overlay",
        dragmode=False,
        showlegend=False,
        xaxis=axis(look, "time into the record (h:min)", range=[0, trend.seconds], showgrid=False,
                   fixedrange=True, tickvals=at, ticktext=[clock(t)[:-3] for t in at], anchor="y2"),
        yaxis=axis(look, "beats/min", domain=[0.42, 1], nticks=4, range=[0.8 * ends[0], 1.1 * ends[1]],
                   fixedrange=True),
        yaxis2=axis(look, "quality", domain=[0, 0.3], tickvals=[0, 0.5, 1], range=[0, 1], fixedrange=True),
        yaxis3={"overlaying": "y", "domain": [0, 1], "visible": False, "range": [0, 1], "fixedrange": True},
    )  # fmt: skip
    return figure(traces, shape)
