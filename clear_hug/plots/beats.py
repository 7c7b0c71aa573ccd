"""Beats: where they lie on the trace, and all of them over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS, PAPER_3X4
from clear_hug.plots.theme import (
    Theme,
    along,
    axis,
    boxes,
    figure,
    layout,
    lead_rows,
    reach,
    record_name,
    round_bar,
    scale_bar,
    stack,
    theme,
    thin,
    time_axis,
    voltage_unit,
)

OVERLAID = 60  # beats drawn over one another in a lead; the median is of all
MOST_NUMBERS = 36  # RR intervals written in one view; more would touch


@dataclass(frozen=True, eq=False)
class BeatStrip:
    """What a beat strip shows, in s and in the record's unit.

    traces : lead -> (time, value, base line)
    beats : (seen,) rows of the beats whose R peak lies in view;  r_peaks : (seen,) s
    even, odd : (n, 2) windows, alternating;  bare : (n, 2) stretches that no token holds
    lost : lead -> (n, 2) windows in which this lead has no token
    rr_at, rr : (n,) s and ms, mid-way between two R peaks in view
    bottom, top : edges
    """

    traces: dict[str, tuple[NDArray[np.float32], NDArray[np.float32], float]]
    beats: NDArray[np.int64]
    r_peaks: NDArray[np.float64]
    even: NDArray[np.float64]
    odd: NDArray[np.float64]
    bare: NDArray[np.float64]
    lost: dict[str, NDArray[np.float64]]
    rr_at: NDArray[np.float64]
    rr: NDArray[np.float64]
    bottom: float
    top: float


def _strip_data(ecg: ECG, tokens: BeatTokens, lead: str | None, start: float, seconds: float) -> BeatStrip:
    stop = min(start + seconds, ecg.duration)
    first, last = round(start * ecg.fs), round(stop * ecg.fs)
    axis_s = np.arange(first, last) / ecg.fs
    rows = [row for row in lead_rows(lead)]
    values = {}
    for row in rows:
        time, trace = thin(axis_s, ecg.signal[row, first:last])
        middle = np.nanmedian(trace) if np.isfinite(trace).any() else 0.0
        values[LEADS[row]] = (time, trace - np.float32(middle))
    reaches = np.array([reach(trace) for _, trace in values.values()])
    spread = float(np.median(reaches[:, 1] - reaches[:, 0])) or 1.0
    bases = stack(reaches[:, 0], reaches[:, 1], 0.15 * spread, 0.6 * spread, 3 * spread)
    traces = {
        name: (time, trace + np.float32(base), float(base))
        for (name, (time, trace)), base in zip(values.items(), bases, strict=True)
    }
    limit = 3 * spread
    low, high = max(reaches[-1, 0], -limit), min(reaches[0, 1], limit)
    top, bottom = high + 0.08 * spread, float(bases[-1]) + low - 0.08 * spread

    clipped = np.clip(tokens.windows, start, stop)
    shown = clipped[:, 1] > clipped[:, 0]
    number = np.arange(tokens.n_beats)
    edges = np.concatenate([[start], clipped[shown].ravel(), [stop]]).reshape(-1, 2)
    lost = {
        LEADS[row]: clipped[shown & ~tokens.valid[row]] for row in rows if (shown & ~tokens.valid[row]).any()
    }
    seen = np.flatnonzero((tokens.r_peaks >= start) & (tokens.r_peaks <= stop))
    r_peaks = tokens.r_peaks[seen]
    return BeatStrip(
        traces=traces,
        beats=seen,
        r_peaks=r_peaks,
        even=clipped[shown & (number % 2 == 0)],
        odd=clipped[shown & (number % 2 == 1)],
        bare=edges[edges[:, 1] - edges[:, 0] > 1 / TOKEN_FS],
        lost=lost,
        rr_at=(r_peaks[1:] + r_peaks[:-1]) / 2,
        rr=np.diff(r_peaks) * 1000,
        bottom=bottom,
        top=top,
    )


def plot_beat_strip(
    ecg: ECG,
    tokens: BeatTokens,
    lead: str | None = "II",
    start: float = 0.0,
    seconds: float = 10.0,
    selected: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """A trace with the window of each beat shaded, R peaks, RR intervals, and what no token holds.

    Parameters
    ----------
    ecg, tokens : a record and its beats
    lead : its name; None = all twelve under one another
    start, seconds : stretch shown, s
    selected : a beat's row, outlined
    dark : theme

    The R peaks are markers whose customdata is the beat's row.
    """
    look = theme(dark)
    data = _strip_data(ecg, tokens, lead, start, seconds)
    unit = voltage_unit(ecg.units_known)
    tall = data.top - data.bottom
    peak_at, rr_at, ceiling = data.top + 0.04 * tall, data.top + 0.10 * tall, data.top + 0.14 * tall
    if lead is None:
        peak_at, rr_at, ceiling = data.top + 0.012 * tall, data.top + 0.032 * tall, data.top + 0.045 * tall
    traces: list[Any] = []
    for name, spans, wash in (("beat", data.even, look.band[0]), ("next beat", data.odd, look.band[1])):
        x, y = boxes(spans, data.bottom, data.top)
        traces.append(_filled(x, y, name, fillcolor=wash))
    hatch = {"shape": "/", "size": 7, "solidity": 0.18, "fgcolor": look.hatch, "bgcolor": "rgba(0,0,0,0)"}
    x, y = boxes(data.bare, data.bottom, data.top)
    for name, spans in data.lost.items():
        base = data.traces[name][2]
        half = 0.4 * tall / len(data.traces)
        more = boxes(spans, max(base - half, data.bottom), min(base + half, data.top))
        x, y = x + more[0], y + more[1]
    traces.append(_filled(x, y, "held by no token", fillpattern=hatch))
    if selected is not None and 0 <= selected < tokens.n_beats:
        x, y = boxes(tokens.windows[selected : selected + 1], data.bottom, data.top)
        outline = {"color": look.accent, "width": 2.5}
        traces.append(go.Scatter(x=x, y=y, mode="lines", name="selected", line=outline, hoverinfo="skip"))
    for name, (time, trace, base) in data.traces.items():
        traces.append(
            go.Scatter(
                **along(time),
                y=trace,
                customdata=trace - np.float32(base),
                mode="lines",
                name=name,
                line={"color": look.ink, "width": 1.3},
                hovertemplate=f"<b>{name}</b>  %{{x:.3f}} s  %{{customdata:.3f}} {unit}<extra></extra>",
            )
        )
    chosen = data.beats == (-1 if selected is None else selected)
    traces.append(
        go.Scatter(
            x=data.r_peaks,
            y=np.full(data.r_peaks.size, peak_at),
            customdata=data.beats,
            mode="markers",
            name="R peaks",
            marker={
                "symbol": "triangle-down",
                "size": np.where(chosen, 16, 11),
                "color": look.accent,
                "opacity": 1,
            },
            hovertemplate="beat %{customdata}: R peak at %{x:.3f} s<extra></extra>",
        )
    )
    if data.rr.size <= MOST_NUMBERS:
        traces.append(
            go.Scatter(
                x=data.rr_at,
                y=np.full(data.rr.size, rr_at),
                mode="text",
                name="RR",
                text=[f"{rr:.0f}" for rr in data.rr],
                textfont={"size": 12 if data.rr.size <= 24 else 10, "color": look.ink},
                hoverinfo="skip",
            )
        )
    bar = round_bar(tall, len(data.traces))
    y_axis: dict[str, Any] = axis(look, f"{lead} ({unit})", range=[data.bottom, ceiling])
    if lead is None:
        y_axis = axis(
            look,
            f"leads, one scale; bar = {bar:g} {unit}",
            range=[data.bottom, ceiling],
            tickmode="array",
            tickvals=[base for _, _, base in data.traces.values()],
            ticktext=[f"<b>{name}</b>" for name in data.traces],
            showgrid=False,
        )
    stop = start + seconds
    words = [f"{data.beats.size} beats in view", "RR intervals in ms above"]
    if data.bare.size or data.lost:
        words.append("hatched: held by no token")
    if tokens.n_dropped:
        words.append(f"{tokens.n_dropped} R peaks without a token")
    shape = layout(
        look,
        f"Beats of {record_name(ecg)}",
        " · ".join(words),
        height=340 if lead is not None else 860,
        margin={"l": 60 if lead is not None else 88, "r": 24, "t": 66, "b": 48},
        shapes=[scale_bar(bar, start, data.bottom, look.ink)] if lead is None else [],
        xaxis=time_axis(look, start, min(stop, ecg.duration)),
        yaxis=y_axis,
    )
    return figure(traces, shape)


def _filled(x: list[float | None], y: list[float | None], name: str, **fill: Any) -> Any:
    return go.Scatter(
        x=x, y=y, mode="none", fill="toself", name=name, hoverinfo="skip", line={"width": 0}, **fill
    )


@dataclass(frozen=True, eq=False)
class Overlay:
    """time : (96,) ms from the R peak;  beats : lead -> (drawn, 96), NaN outside the beat's window;
    median : lead -> (96,) over all its beats;  n : lead -> how many beats it has.
    """  # noqa: D205

    time: NDArray[np.float64]
    beats: dict[str, NDArray[np.float32]]
    median: dict[str, NDArray[np.float32]]
    n: dict[str, int]


def _overlay_data(tokens: BeatTokens, leads: Sequence[str] | None) -> Overlay:
    time = (np.arange(TOKEN_SAMPLES) - TOKEN_SAMPLES // 2) / TOKEN_FS * 1000
    beats, median, n = {}, {}, {}
    for row in lead_rows(list(leads) if leads is not None else None):
        there = np.flatnonzero(tokens.valid[row])
        name = LEADS[row]
        n[name] = there.size
        values = np.where(tokens.inside[there], tokens.values[row, there], np.float32(np.nan))
        middle = np.full(TOKEN_SAMPLES, np.nan, dtype=np.float32)
        held = np.isfinite(values).any(axis=0) if there.size else np.zeros(TOKEN_SAMPLES, dtype=bool)
        if held.any():
            middle[held] = np.nanmedian(values[:, held], axis=0)
        drawn = np.unique(np.linspace(0, max(there.size - 1, 0), min(there.size, OVERLAID)).astype(int))
        beats[name], median[name] = values[drawn] if there.size else values, middle
    return Overlay(time, beats, median, n)


def plot_beat_overlay(
    tokens: BeatTokens, leads: Sequence[str] | None = None, dark: bool = False
) -> go.Figure:
    """Every beat of a lead aligned on its R peak, the median beat on top, one panel a lead.

    Parameters
    ----------
    tokens : BeatTokens
    leads : names; None = all twelve, placed as on paper
    dark : theme
    """
    look = theme(dark)
    data = _overlay_data(tokens, leads)
    unit = voltage_unit(tokens.units_known)
    if leads is None:
        grid = [list(row) for row in PAPER_3X4]
    else:
        names = list(data.beats)
        grid = [names[i : i + 4] for i in range(0, len(names), 4)]
    n_rows, n_columns = len(grid), max(len(row) for row in grid)
    everything = [b for b in data.beats.values() if b.size]
    low, high = reach(np.concatenate([b.ravel() for b in everything])) if everything else (-1.0, 1.0)
    pad = 0.06 * (high - low or 1.0)
    x_room, y_room = 0.012, 0.03
    wide, tall = (1 + x_room) / n_columns, (1 + y_room) / n_rows
    traces: list[Any] = []
    axes: dict[str, Any] = {}
    notes: list[dict[str, Any]] = []
    for r, names_in_row in enumerate(grid):
        for c, name in enumerate(names_in_row):
            k = r * n_columns + c + 1
            tag = "" if k == 1 else str(k)
            left, bottom = c * wide, 1 - (r + 1) * tall + y_room
            last = r == n_rows - 1 or c >= len(grid[r + 1])
            axes[f"xaxis{tag}"] = axis(
                look,
                "time from R peak (ms)" if last else "",
                domain=[left, left + wide - x_room],
                anchor=f"y{tag}",
                range=[-480, 480],
                dtick=200,
                showticklabels=last,
                matches=None if k == 1 else "x",
                showline=True,
                mirror=True,
                zeroline=True,
                zerolinecolor=look.line,
                zerolinewidth=1.5,
            )
            axes[f"yaxis{tag}"] = axis(
                look,
                unit if c == 0 else "",
                domain=[max(bottom, 0.0), bottom + tall - y_room],
                anchor=f"x{tag}",
                range=[low - pad, high + pad],
                showticklabels=c == 0,
                matches=None if k == 1 else "y",
                showline=True,
                mirror=True,
                nticks=6,
            )
            n = data.n[name]
            where = {"xaxis": f"x{tag}", "yaxis": f"y{tag}"}
            traces += _overlay_traces(data, name, unit, where, look)
            notes.append(
                {
                    "text": f"<b>{name}</b>  " + (f"{n} beats" if n else "absent"),
                    "x": left + 0.006,
                    "y": bottom + tall - y_room - 0.012,
                    "xref": "paper",
                    "yref": "paper",
                    "xanchor": "left",
                    "yanchor": "top",
                    "showarrow": False,
                    "font": {"size": 13, "color": look.ink if n else look.muted},
                }
            )
    most = max(data.n.values(), default=0)
    words = f"0.67 to 40 Hz, {unit} · thin: each beat · thick: median beat"
    if most > OVERLAID:
        words += f" of all {most}; {OVERLAID} of them drawn"
    shape = layout(
        look,
        "All beats, aligned on the R peak",
        words,
        height=120 + 190 * n_rows,
        annotations=notes,
        hovermode="closest",
        **axes,
    )
    return figure(traces, shape)


def _overlay_traces(data: Overlay, name: str, unit: str, where: dict[str, str], look: Theme) -> list[Any]:
    beats = data.beats[name]
    if not beats.shape[0]:
        return []
    n = beats.shape[0]
    gap = np.full((n, 1), np.nan, dtype=np.float32)
    x = np.tile(np.append(data.time, np.nan), n).astype(np.float32)
    return [
        go.Scatter(
            x=x,
            y=np.concatenate([beats, gap], axis=1).ravel(),
            mode="lines",
            name=f"{name}, each beat",
            line={"color": look.opposes, "width": 1},
            opacity=0.75 if n <= 20 else 0.5,
            hoverinfo="skip",
            **where,
        ),
        go.Scatter(
            x=data.time,
            y=data.median[name],
            mode="lines",
            name=f"{name}, median",
            line={"color": look.ink, "width": 2},
            hovertemplate=f"<b>{name}</b> median  %{{x:.0f}} ms  %{{y:.3f}} {unit}<extra></extra>",
            **where,
        ),
    ]
