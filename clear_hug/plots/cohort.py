"""A cohort: the map of its embeddings, in WebGL, and small pictures of records for tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import Floats, Theme, axis, figure, layout, theme

Rows = NDArray[np.int64]

# One hue whose lightness alone tells, so that it reads the same to every eye and in print; every step
# stands 3:1 against the page.
_SCALE = {
    False: ((0.0, "#7f97b0"), (0.5, "#2f6fab"), (1.0, "#071c40")),
    True: ((0.0, "#56708c"), (0.5, "#6db3f2"), (1.0, "#f4f9ff")),
}
_KINDS = ((1, "has it", "diamond"), (0, "has it not", "circle"), (-1, "not told", "x"))
_NUMBERED = 9  # neighbours that carry their number
THUMBNAIL = (250, 44)  # px


@dataclass(frozen=True, eq=False)
class Points:
    """Records of one kind on the map: rows (point,) of the cohort, and x, y, value (point,) of each."""

    name: str
    symbol: str
    rows: Rows
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    value: NDArray[np.float64]


def _map_data(places: Floats, rows: Rows, values: Floats, by_kind: bool) -> list[Points]:
    """The points of a map: one group, or one for each of has it, has it not, not told (1, 0, -1).

    Records without a place are left out.
    """
    rows = rows[np.isfinite(places[rows]).all(axis=1)]
    groups = _KINDS if by_kind else ((None, "records", "circle"),)
    found = []
    for kind, name, symbol in groups:
        those = rows if kind is None else rows[values[rows] == kind]
        x, y = places[those].T.astype(np.float32)
        found.append(Points(name, symbol, those, x, y, np.asarray(values[those], dtype=np.float64)))
    return found


def plot_cohort_map(
    places: Floats,
    shares: tuple[float, float],
    rows: Rows,
    values: Floats,
    name: str,
    titles: Sequence[str] | NDArray[np.str_],
    *,
    by_kind: bool = False,
    chosen: int | None = None,
    near: Sequence[int] = (),
    dark: bool = False,
) -> go.Figure:
    """Records on the two main axes of their embeddings; each marker's customdata is its row.

    Parameters
    ----------
    places : (record, 2), NaN for a record that could not be read;  shares : of the variance, an axis each
    rows : (shown,) of the cohort
    values : (record,) what colours a marker: a number, or with `by_kind` 1, 0, -1
    name : what the colour is, in words
    titles : (record,) names for the hover text
    chosen : row with a ring around it;  near : rows of its neighbours, numbered
    dark : theme
    """
    look = theme(dark)
    groups = _map_data(places, rows, values, by_kind)
    colours = (look.supports, look.opposes, look.muted)
    shown = sum(group.rows.size for group in groups)
    few = shown < 500
    traces: list[Any] = []
    for group, colour in zip(groups, colours, strict=False):
        marker: dict[str, Any] = {"symbol": group.symbol, "size": 9 if few else 5, "opacity": 0.85}
        if by_kind:
            marker["color"] = colour
        else:
            marker |= {"color": group.value, "colorscale": [list(stop) for stop in _SCALE[dark]],
                       "showscale": True, "colorbar": _bar(look), **_range(group.value)}  # fmt: skip
        number = "" if by_kind else f"<br>{escape(name)}: %{{marker.color:.2f}}"
        traces.append(
            go.Scattergl(
                x=group.x,
                y=group.y,
                mode="markers",
                name=group.name,
                marker=marker,
                customdata=group.rows.astype(np.int32),
                text=[escape(str(titles[row])) for row in group.rows],
                hovertemplate=f"<b>%{{text}}</b>{number}<extra></extra>",
                unselected={"marker": {"opacity": marker["opacity"]}},
            )
        )
    traces += _rings(look, places, chosen, near)
    shape = layout(
        look,
        "Records that look alike to the model lie side by side",
        f"{shown:,} records; colour: {escape(name)}",
        height=430,
        margin={"l": 48, "r": 44 if by_kind else 20, "t": 88 if by_kind else 66, "b": 44},
        xaxis=axis(look, f"first axis ({shares[0]:.0%} of the spread)", showticklabels=False),
        yaxis=axis(look, f"second axis ({shares[1]:.0%} of the spread)", showticklabels=False,
                   title_standoff=6),
        showlegend=by_kind,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom",
                "entrywidth": 80, "entrywidthmode": "pixels"},
        clickmode="event+select",
        uirevision="map",
    )  # fmt: skip
    return figure(traces, shape)


def _rings(look: Theme, places: Floats, chosen: int | None, near: Sequence[int]) -> list[Any]:
    """A ring around the chosen record, and smaller ones, numbered, around its neighbours."""
    rings = []
    for rows, size, colour, numbers in (
        ([row for row in near if np.isfinite(places[row]).all()], 15, look.accent, True),
        ([] if chosen is None or not np.isfinite(places[chosen]).all() else [chosen], 20, look.ink, False),
    ):
        if rows:
            rings.append(
                go.Scatter(
                    x=places[rows, 0],
                    y=places[rows, 1],
                    mode="markers+text" if numbers else "markers",
                    text=[str(k + 1) if k < _NUMBERED else "" for k in range(len(rows))],
                    textposition="top right",
                    textfont={"color": colour, "size": 13},
                    marker={"symbol": "circle-open", "size": size, "color": colour, "line": {"width": 2.5}},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
    return rings


def _range(values: Floats) -> dict[str, float]:
    """The ends of the colour scale: 0 to 1 for shares, else what is there."""
    there = values[np.isfinite(values)]
    if not there.size or (there.min() >= 0 and there.max() <= 1):
        return {"cmin": 0.0, "cmax": 1.0}
    return {"cmin": float(there.min()), "cmax": float(there.max())}


def _bar(look: Theme) -> dict[str, Any]:
    return {"thickness": 12, "len": 0.95, "x": 1.0, "xpad": 6, "outlinewidth": 0, "nticks": 5,
            "tickfont": {"size": 12, "color": look.ink}}  # fmt: skip


def thumbnail(trace: NDArray[np.int8], dark: bool = False) -> str:
    """A small picture of a trace as the address of an image.

    Parameters
    ----------
    trace : (2 * column,) lowest and highest value of each column, 127 = the largest
    dark : theme
    """
    width, height = THUMBNAIL
    n = len(trace) // 2
    y = np.round(height / 2 - trace.astype(np.float64) / 127 * (height / 2 - 2), 1)
    x = np.repeat(np.round((np.arange(n) + 0.5) * width / max(n, 1), 1), 2)
    path = "M" + " ".join(f"{a:g},{b:g}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    ink = theme(dark).ink.replace("#", "%23")
    size = f"width='{width}' height='{height}' viewBox='0 0 {width} {height}'"
    line = f"<path d='{path}' fill='none' stroke='{ink}' stroke-width='1.1'/>"
    return f"data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' {size}>{line}</svg>"
