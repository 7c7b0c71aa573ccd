"""Beats: all of a lead over one another, aligned on the R peak, and their median."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.leads import LEADS, PAPER_3X4
from clear_hug.plots.theme import Theme, axis, figure, layout, lead_rows, reach, theme, voltage_unit

OVERLAID = 60  # beats drawn over one another in a lead; the median is of all


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
