"""Beats: where they lie on the trace, and all of them over one another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS, PAPER_3X4
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

OVERLAID = 60  # beats drawn over one another in a lead; the median is of all
RR_REACH = 0.4  # of the usual RR interval: where the colours of the RR lane end
WIDE_AS = 0.075  # s of a 10 s view that a letter takes
CLICKABLE = 2500  # points along the traces of one strip
MOST_NUMBERS = 36  # RR intervals written in one view; more would touch


@dataclass(frozen=True, eq=False)
class BeatStrip:
    """What a beat strip shows, in s and in the record's unit.

    traces : lead -> (time, value, base line)
    beats : (seen,) rows of the beats whose R peak lies in view;  r_peaks : (seen,) s
    even, odd : (n, 2) windows, alternating;  bare : (n, 2) stretches that no token holds
    lost : lead -> (n, 2) windows in which this lead has no token
    differs : (n, 2) windows of beats that differ from the usual one
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
        differs=clipped[shown & np.isin(number, list(differing))],
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
    traces: list[Any] = []
    for name, spans, wash in (("beat", data.even, look.band[0]), ("next beat", data.odd, look.band[1])):
        plain = spans[~np.isin(spans[:, 0], data.differs[:, 0])]
        x, y = boxes(plain, data.bottom, data.top)
        traces.append(_filled(x, y, name, fillcolor=wash))
    x, y = boxes(data.differs, data.bottom, data.top)
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
    traces.append(_r_peaks(data, look, peak_at, stop - start, selected, differing, set(by_hand)))
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


def _r_peaks(
    data: BeatStrip,
    look: Theme,
    y: float,
    span: float,
    selected: int | None,
    differing: Mapping[int, tuple[str, str]],
    by_hand: Collection[int],
) -> Any:
    """One marker a beat, hollow where a hand has set it; beside it how it differs, where there is room.

    y : of the marks;  span : s in view
    """
    beats = data.beats.tolist()
    how_each = [differing.get(beat, ("", ""))[0] for beat in beats]
    rooms = np.append(data.rr / 1000, 1.0)[: len(beats)]  # s to the next mark
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
        mode="markers+text" if differing else "markers",
        name="R peaks",
        text=[
            how if room > WIDE_AS * len(how) + 0.2 else ""
            for how, room in zip(how_each, rooms * 10 / span, strict=True)
        ],
        textposition="middle right",
        textfont={"size": 12, "color": look.supports},
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


@dataclass(frozen=True, eq=False)
class Overlay:
    """All beats of each lead over one another, (beat, 96) each, NaN outside the beat's window.

    time : (96,) ms from the R peak
    beats : lead -> those drawn;  differs : lead -> those that differ from the usual beat
    selected : lead -> (96,) the one that is chosen, where the lead has it
    median : lead -> (96,) over all its beats;  n : lead -> how many beats it has
    """

    time: NDArray[np.float64]
    beats: dict[str, NDArray[np.float32]]
    differs: dict[str, NDArray[np.float32]]
    selected: dict[str, NDArray[np.float32]]
    median: dict[str, NDArray[np.float32]]
    n: dict[str, int]


def _overlay_data(
    tokens: BeatTokens,
    leads: Sequence[str] | None,
    selected: int | None = None,
    differing: Collection[int] = (),
) -> Overlay:
    time = (np.arange(TOKEN_SAMPLES) - TOKEN_SAMPLES // 2) / TOKEN_FS * 1000
    data = Overlay(time, {}, {}, {}, {}, {})
    others = np.isin(np.arange(tokens.n_beats), list(differing))
    for row in lead_rows(list(leads) if leads is not None else None):
        there = np.flatnonzero(tokens.valid[row])
        name = LEADS[row]
        data.n[name] = there.size
        values = np.where(tokens.inside[there], tokens.values[row, there], np.float32(np.nan))
        middle = np.full(TOKEN_SAMPLES, np.nan, dtype=np.float32)
        held = np.isfinite(values).any(axis=0) if there.size else np.zeros(TOKEN_SAMPLES, dtype=bool)
        if held.any():
            middle[held] = np.nanmedian(values[:, held], axis=0)
        data.median[name] = middle
        data.beats[name] = _some(values)
        data.differs[name] = _some(values[others[there]])
        if selected is not None and selected in there:
            data.selected[name] = values[there == selected][0]
    return data


def _some(values: NDArray[np.float32]) -> NDArray[np.float32]:
    n = len(values)
    return values[np.unique(np.linspace(0, max(n - 1, 0), min(n, OVERLAID)).astype(int))] if n else values


def plot_beat_overlay(
    tokens: BeatTokens,
    leads: Sequence[str] | None = None,
    dark: bool = False,
    selected: int | None = None,
    differing: Collection[int] = (),
    title: str = "All beats, aligned on the R peak",
) -> go.Figure:
    """Every beat of a lead aligned on its R peak, the median beat on top, one panel a lead.

    Parameters
    ----------
    tokens : BeatTokens
    leads : names; None = all twelve, placed as on paper
    dark : theme
    selected : row of the beat that is drawn on top
    differing : rows of the beats that differ from the usual one
    title : of the figure
    """
    look = theme(dark)
    data = _overlay_data(tokens, leads, selected, differing)
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
    words = "thick: median"
    if n_columns > 1:
        words = f"0.67 to 40 Hz, {unit} · thin: each beat · thick: median beat"
    if any(values.size for values in data.differs.values()):
        words += " · orange: differs"
    if data.selected and selected is not None:
        words += f" · red: beat {selected + 1}"
    if most > OVERLAID:
        words += f" of all {most}; {OVERLAID} of them drawn"
    shape = layout(
        look,
        title,
        words,
        height=120 + 190 * n_rows,
        annotations=notes,
        hovermode="closest",
        **axes,
    )
    return figure(traces, shape)


def _overlay_traces(data: Overlay, name: str, unit: str, where: dict[str, str], look: Theme) -> list[Any]:
    n = len(data.beats[name])
    if not n:
        return []
    traces: list[Any] = []
    for what, beats, colour in (
        ("each beat", data.beats[name], look.opposes),
        ("differs", data.differs[name], look.supports),
    ):
        if not len(beats):
            continue
        gap = np.full((len(beats), 1), np.nan, dtype=np.float32)
        traces.append(
            go.Scatter(
                x=np.tile(np.append(data.time, np.nan), len(beats)).astype(np.float32),
                y=np.concatenate([beats, gap], axis=1).ravel(),
                mode="lines",
                name=f"{name}, {what}",
                line={"color": colour, "width": 1},
                opacity=0.75 if n <= 20 else 0.5,
                hoverinfo="skip",
                **where,
            )
        )
    lines = [("median", data.median[name], {"color": look.ink, "width": 2})]
    if name in data.selected:
        lines.append(("chosen beat", data.selected[name], {"color": look.accent, "width": 2.2}))
    traces += [
        go.Scatter(
            x=data.time,
            y=values,
            mode="lines",
            name=f"{name}, {what}",
            line=line,
            hovertemplate=f"<b>{name}</b> {what}  %{{x:.0f}} ms  %{{y:.3f}} {unit}<extra></extra>",
            **where,
        )
        for what, values, line in lines
    ]
    return traces
