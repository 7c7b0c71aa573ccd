"""Beats: where they lie on the trace, and the RR intervals between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots.theme import (
    Floats,
    Theme,
    along,
    axis,
    boxes,
    colours_at,
    figure,
    ink_on,
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

RR_REACH = 0.4  # of the usual RR interval: where the colours of the RR lane end
WIDE_AS = 0.3  # s of a 10 s view that a word takes
CLICKABLE = 2500  # points along the traces of one strip
MOST_NUMBERS = 36  # RR intervals written in one view; more would touch


@dataclass(frozen=True, eq=False)
class BeatStrip:
    """What a beat strip shows, in s and in the record's unit.

    traces : lead -> (time, value, base line)
    beats : (seen,) rows of the beats whose R peak lies in view;  r_peaks : (seen,) s
    even, odd : (n, 2) windows, alternating;  bare : (n, 2) stretches that no token holds
    lost : lead -> (n, 2) windows in which this lead has no token
    differs : (n, 2) windows of beats that differ from the usual one;  differing : (n,) their rows
    rr_at, rr : (n,) s and ms, mid-way between two R peaks in view;  usual : ms, median of all RR intervals
    bottom, top : edges
    """

    traces: dict[str, tuple[NDArray[np.float32], NDArray[np.float32], float]]
    beats: NDArray[np.int64]
    r_peaks: NDArray[np.float64]
    even: NDArray[np.float64]
    odd: NDArray[np.float64]
    bare: NDArray[np.float64]
    lost: dict[str, NDArray[np.float64]]
    differs: NDArray[np.float64]
    differing: NDArray[np.int64]
    rr_at: NDArray[np.float64]
    rr: NDArray[np.float64]
    usual: float
    bottom: float
    top: float


def _strip_data(
    ecg: ECG,
    tokens: BeatTokens | None,
    lead: str | None,
    start: float,
    seconds: float,
    differing: Collection[int] = (),
) -> BeatStrip:
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

    every = tokens.r_peaks if tokens else np.empty(0)
    clipped = np.clip(tokens.windows if tokens else np.empty((0, 2)), start, stop)
    shown = clipped[:, 1] > clipped[:, 0]
    number = np.arange(every.size)
    edges = np.concatenate([[start], clipped[shown].ravel(), [stop]]).reshape(-1, 2)
    gone = shown & ~tokens.valid if tokens else np.zeros((len(LEADS), 0), dtype=bool)
    lost = {LEADS[row]: clipped[gone[row]] for row in rows if gone[row].any()}
    odd_ones = np.flatnonzero(shown & np.isin(number, list(differing)))
    seen = np.flatnonzero((every >= start) & (every <= stop))
    r_peaks = every[seen]
    return BeatStrip(
        traces=traces,
        beats=seen,
        r_peaks=r_peaks,
        even=clipped[shown & (number % 2 == 0)],
        odd=clipped[shown & (number % 2 == 1)],
        bare=edges[edges[:, 1] - edges[:, 0] > 1 / TOKEN_FS],
        lost=lost,
        differs=clipped[odd_ones],
        differing=odd_ones,
        rr_at=(r_peaks[1:] + r_peaks[:-1]) / 2,
        rr=np.diff(r_peaks) * 1000,
        usual=float(np.median(np.diff(every))) * 1000 if every.size > 1 else 0.0,
        bottom=bottom,
        top=top,
    )


def plot_beat_strip(
    ecg: ECG,
    tokens: BeatTokens | None,
    lead: str | None = "II",
    start: float = 0.0,
    seconds: float = 10.0,
    selected: int | None = None,
    dark: bool = False,
    differing: Mapping[int, tuple[str, str]] | None = None,
    by_hand: Collection[int] = (),
    removed: Floats | None = None,
    editing: bool = False,
    at: float | None = None,
) -> go.Figure:
    """A trace with the window of each beat shaded, R peaks, RR intervals, and what no token holds.

    Parameters
    ----------
    ecg, tokens : a record and its beats; None = it has none
    lead : its name; None = all twelve under one another
    start, seconds : stretch shown, s
    selected : a beat's row, outlined
    dark : theme
    differing : row of a beat that differs from the usual one -> (how, why), in words
    by_hand : rows of the beats whose R peak was added or moved by hand
    removed : (n,) s, where R peaks were taken away
    editing : a time can be chosen by a click on a trace
    at : s, the time chosen

    The R peaks are markers whose customdata is the beat's row.
    """
    look = theme(dark)
    differing = differing or {}
    data = _strip_data(ecg, tokens, lead, start, seconds, differing)
    unit = voltage_unit(ecg.units_known)
    stop = min(start + seconds, ecg.duration)
    tall = data.top - data.bottom
    lane = 0.1 * tall if lead is not None else 0.024 * tall  # as high as a line of text
    peak_at, rr_low, ceiling = (data.top + k * lane for k in (0.5, 1.0, 2.0))
    reasons, lines = _reasons(data, differing, stop - start)
    floor = data.bottom - lines * lane  # below the traces: why windows differ
    traces: list[Any] = []
    for name, spans, wash in (("beat", data.even, look.band[0]), ("next beat", data.odd, look.band[1])):
        plain = spans[~np.isin(spans[:, 0], data.differs[:, 0])]
        x, y = boxes(plain, data.bottom, data.top)
        traces.append(_filled(x, y, name, fillcolor=wash))
    x, y = boxes(data.differs, floor, data.top)
    traces.append(_filled(x, y, "differs from the usual beat", fillcolor=_wash(look.supports)))
    hatch = {"shape": "/", "size": 7, "solidity": 0.18, "fgcolor": look.hatch, "bgcolor": "rgba(0,0,0,0)"}
    x, y = boxes(data.bare, data.bottom, data.top)
    for name, spans in data.lost.items():
        base = data.traces[name][2]
        half = 0.4 * tall / len(data.traces)
        more = boxes(spans, max(base - half, data.bottom), min(base + half, data.top))
        x, y = x + more[0], y + more[1]
    traces.append(_filled(x, y, "held by no token", fillpattern=hatch))
    if tokens and selected is not None and 0 <= selected < tokens.n_beats:
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
    if editing:
        traces += _where_to_add(data, look, at, ceiling)
    traces.append(_r_peaks(data, look, peak_at, selected, differing, set(by_hand)))
    if reasons:
        traces.append(
            go.Scatter(
                x=data.differs.mean(axis=1),
                y=np.full(len(reasons), (floor + data.bottom) / 2),
                mode="text",
                name="why it differs",
                text=reasons,
                textfont={"size": 11, "color": look.ink},
                cliponaxis=False,
                hoverinfo="skip",
            )
        )
    if removed is not None and removed.size:
        traces.append(
            go.Scatter(
                x=removed,
                y=np.full(removed.size, peak_at),
                mode="markers",
                name="removed by hand",
                marker={"symbol": "x-thin", "size": 9, "line": {"color": look.muted, "width": 2}},
                hovertemplate="removed by hand: R peak at %{x:.3f} s<extra></extra>",
            )
        )
    traces += _rr_lane(data, look, rr_low, ceiling)
    bar = round_bar(tall, len(data.traces))
    y_axis: dict[str, Any] = axis(look, f"{lead} ({unit})", range=[floor, ceiling])
    if lead is None:
        y_axis = axis(
            look,
            f"leads, one scale; bar = {bar:g} {unit}",
            range=[floor, ceiling],
            tickmode="array",
            tickvals=[base for _, _, base in data.traces.values()],
            ticktext=[f"<b>{name}</b>" for name in data.traces],
            showgrid=False,
        )
    words = [f"{data.beats.size} beats in view"]
    if data.rr.size:
        words.append("RR intervals in ms above, coloured from short to long")
    if data.bare.size or data.lost:
        words.append("hatched: held by no token")
    if tokens and tokens.n_dropped:
        words.append(f"{tokens.n_dropped} R peaks without a token")
    shape = layout(
        look,
        f"Beats of {record_name(ecg)}",
        " · ".join(words),
        height=340 if lead is not None else 860,
        margin={"l": 60 if lead is not None else 88, "r": 24, "t": 66, "b": 48},
        shapes=[scale_bar(bar, start, data.bottom, look.ink)] if lead is None else [],
        xaxis=time_axis(look, start, stop),
        yaxis=y_axis,
    )
    return figure(traces, shape)


def _wash(colour: str, share: float = 0.22) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"


def _reasons(data: BeatStrip, differing: Mapping[int, tuple[str, str]], span: float) -> tuple[list[str], int]:
    """What is written below each window that differs, and in how many lines; initials where words touch.

    span : s in view
    """
    words = [differing[beat][0].split(", ") for beat in data.differing.tolist()]
    near = np.diff(data.differs.mean(axis=1)) * 10 / span
    if near.size and near.min() < WIDE_AS:
        words = [["".join(word[0].upper() for word in how)] for how in words]
    return ["<br>".join(how) for how in words], max(map(len, words), default=0)


def _r_peaks(
    data: BeatStrip,
    look: Theme,
    y: float,
    selected: int | None,
    differing: Mapping[int, tuple[str, str]],
    by_hand: Collection[int],
) -> Any:
    """One marker a beat at `y`, hollow where a hand has set it."""
    beats = data.beats.tolist()
    hand = [beat in by_hand for beat in beats]
    why = [
        "".join(
            [
                f"<br>{differing[beat][1]}" if beat in differing else "",
                "<br>set by hand" if set_by_hand else "",
            ]
        )
        for beat, set_by_hand in zip(beats, hand, strict=True)
    ]
    return go.Scatter(
        x=data.r_peaks,
        y=np.full(data.r_peaks.size, y),
        customdata=data.beats,
        mode="markers",
        name="R peaks",
        hovertext=why,
        marker={
            "symbol": ["triangle-down-open" if k else "triangle-down" for k in hand],
            "size": np.where(data.beats == (-1 if selected is None else selected), 16, 11),
            "color": look.accent,
            "opacity": 1,
            "line": {"width": [2 if k else 0 for k in hand]},
        },
        unselected={"marker": {"opacity": 1}},
        hovertemplate="beat %{customdata}: R peak at %{x:.3f} s%{hovertext}<extra></extra>",
    )


def _rr_lane(data: BeatStrip, look: Theme, low: float, high: float) -> list[Any]:
    """A box from each R peak to the next, coloured by how long that is beside the usual RR interval."""
    if not data.rr.size:
        return []
    shortest, longest = data.usual * (1 - RR_REACH), data.usual * (1 + RR_REACH)
    scale = [(1 - place, colour) for place, colour in reversed(look.two_sided)]  # short: warm
    traces: list[Any] = [
        go.Heatmap(
            x=data.r_peaks,
            y=[low, high],
            z=[data.rr],
            zmin=shortest,
            zmax=longest,
            colorscale=[list(stop) for stop in scale],
            showscale=False,
            xgap=2,
            name="RR interval",
            hovertemplate=f"RR %{{z:.0f}} ms; usual {data.usual:.0f}<extra></extra>",
        )
    ]
    if data.rr.size <= MOST_NUMBERS:
        colours = colours_at(tuple(scale), (data.rr - shortest) / (longest - shortest))
        traces.append(
            go.Scatter(
                x=data.rr_at,
                y=np.full(data.rr.size, (low + high) / 2),
                mode="text",
                name="RR",
                text=[f"{rr:.0f}" for rr in data.rr],
                textfont={"size": 12 if data.rr.size <= 24 else 10, "color": ink_on(colours)},
                hoverinfo="skip",
            )
        )
    return traces


def _where_to_add(data: BeatStrip, look: Theme, at: float | None, ceiling: float) -> list[Any]:
    """Points along the traces that can be clicked on and are not seen, and a line at the time chosen."""
    step = max(1, sum(time.size for time, _, _ in data.traces.values()) // CLICKABLE)
    places = [(time[::step], trace[::step]) for time, trace, _ in data.traces.values()]
    traces = [
        go.Scatter(
            x=np.concatenate([time for time, _ in places]),
            y=np.concatenate([trace for _, trace in places]),
            mode="markers",
            name="where to add",
            marker={"size": 6, "opacity": 0, "color": look.accent},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            hovertemplate="%{x:.3f} s: click to choose this time<extra></extra>",
        ),
    ]
    if at is not None:
        line = {"color": look.called, "width": 1.5, "dash": "dot"}
        traces.append(
            go.Scatter(
                x=[at, at],
                y=[data.bottom, ceiling],
                mode="lines",
                name="time chosen",
                line=line,
                hoverinfo="skip",
            )
        )
    return traces


def _filled(x: list[float | None], y: list[float | None], name: str, **fill: Any) -> Any:
    return go.Scatter(
        x=x, y=y, mode="none", fill="toself", name=name, hoverinfo="skip", line={"width": 0}, **fill
    )
