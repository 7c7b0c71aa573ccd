"""A whole record, however long, in one strip: how far a lead reaches, the heart rate, and where one looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.ecg import ECG
from clear_hug.plots.theme import axis, figure, layout, lead_rows, record_name, theme, voltage_unit

MOST_PARTS = 360  # that can be clicked on, and that carry a heart rate
MOST_COLUMNS = 1500  # of the trace; more would be closer than a pixel
HEIGHT = 150  # px
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
    middle, wide = (data.edges[1:] + data.edges[:-1]) / 2, np.diff(data.edges)
    rates = [f"{rate:.0f} beats/min" if np.isfinite(rate) else "no rate" for rate in data.rate]
    spans = [f"{a:.0f} to {b:.0f} s" for a, b in zip(data.edges[:-1], data.edges[1:], strict=True)]
    see = {"marker": {"opacity": 1}}
    traces = [
        go.Scatter(x=x, y=y, mode="lines", name=lead, line={"color": look.muted, "width": 1},
                   hoverinfo="skip"),
        go.Scatter(x=middle, y=data.rate, yaxis="y2", mode="lines", name="heart rate",
                   line={"color": look.accent, "width": 2}, hoverinfo="skip"),
        go.Bar(x=middle, y=np.ones(middle.size), width=wide, yaxis="y3", name="parts",
               marker={"color": "rgba(0,0,0,0)", "line": {"width": 0}}, customdata=data.edges[:-1],
               text=[f"{span}<br>{rate}" for span, rate in zip(spans, rates, strict=True)],
               textposition="none", hovertemplate="%{text}<extra>click to look there</extra>",
               selected=see, unselected=see),
    ]  # fmt: skip
    here = {
        "type": "rect", "xref": "x", "x0": start, "x1": start + seconds, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": look.opposes, "width": 1.5}, "fillcolor": look.band[0],
    }  # fmt: skip
    top = 1.25 * float(np.nanmax(data.rate)) if np.isfinite(data.rate).any() else 100.0
    shape = layout(
        look,
        f"{record_name(ecg)} · whole record",
        height=HEIGHT,
        margin={"l": 60, "r": 60, "t": 48, "b": 40},
        shapes=[here],
        bargap=0,
        dragmode=False,
        xaxis=axis(look, "time (s)", range=[0, ecg.duration], showgrid=False, fixedrange=True),
        yaxis=axis(look, f"{lead}, {unit}", showgrid=False, nticks=4, fixedrange=True),
        yaxis2=axis(look, "beats/min", overlaying="y", side="right", showgrid=False, nticks=4,
                    tickmode="auto", range=[0, top], fixedrange=True),
        yaxis3={"overlaying": "y", "visible": False, "range": [0, 1], "fixedrange": True},
    )  # fmt: skip
    return figure(traces, shape)
