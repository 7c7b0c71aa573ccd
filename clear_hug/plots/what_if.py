"""What if parts of the record were not there: every probability before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.diagnosis import ROW, TOO_RARE, wrapped
from clear_hug.plots.theme import axis, figure, layout, theme

FAR = 0.1  # of probability; a move from there on is emphasised
ORDERS = ("move", "before")


@dataclass(frozen=True, eq=False)
class Moves:
    """The labels shown, from the top.

    names : (label,);  before, after, thresholds : (label,) probabilities;  far : (label,) moved by `FAR`
    left : how many labels are not shown;  left_far : how many of those moved by `FAR`
    """

    names: tuple[str, ...]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    far: NDArray[np.bool_]
    left: int
    left_far: int


def _moves_data(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    names: Sequence[str],
    by: str,
    most: int,
) -> Moves:
    if by not in ORDERS:
        raise ValueError(f"by = {by!r}; expected one of {', '.join(ORDERS)}.")
    a, b, t = (np.asarray(x, dtype=np.float64) for x in (before, after, thresholds))
    if not a.shape == b.shape == t.shape == (len(names),):
        raise ValueError(
            f"before, after and thresholds have shapes {a.shape}, {b.shape} and {t.shape}; "
            f"expected one value a name, ({len(names)},)."
        )
    far = np.abs(b - a) >= FAR
    order = np.argsort(-(np.abs(b - a) if by == "move" else a), kind="stable")
    rows, rest = order[:most], order[most:]
    return Moves(
        tuple(names[i] for i in rows), a[rows], b[rows], t[rows], far[rows], rest.size, int(far[rest].sum())
    )


def plot_what_if(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    names: Sequence[str],
    descriptions: Mapping[str, str] | None = None,
    by: str = "move",
    most: int = 12,
    dark: bool = False,
) -> go.Figure:
    """The probability of each label with every part there, and with some switched off.

    Parameters
    ----------
    before, after : (label,) probabilities: all parts there (hollow), and without some (filled)
    thresholds : (label,), at and above which a label is called; NaN of those too rare to be called
    names : of the labels, "task/label"
    descriptions : task/label -> plain words
    by : "move", the largest first, or "before", the most probable first
    most : labels shown
    dark : theme
    """
    look = theme(dark)
    data = _moves_data(before, after, thresholds, names, by, most)
    n = len(data.names)
    at = np.arange(n)
    was, now = data.before >= data.thresholds, data.after >= data.thresholds
    colour = np.where(now, look.called, look.quiet)
    lines: list[Any] = []
    for name, chosen, line in (
        ("move", ~data.far, {"color": look.quiet, "width": 2}),
        ("far move", data.far, {"color": look.accent, "width": 5}),
    ):
        x = np.column_stack([data.before, data.after, np.full(n, np.nan)])[chosen].ravel()
        y = np.column_stack([at, at, np.full(n, np.nan)])[chosen].ravel()
        lines.append(go.Scatter(x=x, y=y, mode="lines", name=name, line=line, hoverinfo="skip"))
    hover = [
        f"<b>{name}</b><br>before {a:.1%}, after {b:.1%}<br>"
        + (TOO_RARE if np.isnan(t) else f"called from {t:.0%}")
        + "<extra></extra>"
        for name, a, b, t in zip(data.names, data.before, data.after, data.thresholds, strict=True)
    ]
    traces = [
        go.Scatter(
            x=data.thresholds,
            y=at,
            mode="markers",
            name="threshold",
            marker={"symbol": "line-ns", "size": 20, "line": {"color": look.ink, "width": 2}},
            hoverinfo="skip",
        ),
        *lines,
        go.Scatter(
            x=data.before,
            y=at,
            mode="markers",
            name="before",
            marker={"size": 12, "color": look.page, "line": {"color": look.ink, "width": 2}},
            hovertemplate=hover,
            cliponaxis=False,
        ),
        go.Scatter(
            x=data.after,
            y=at,
            mode="markers",
            name="after",
            marker={"size": 11, "color": colour, "line": {"color": colour, "width": 1}},
            hovertemplate=hover,
            cliponaxis=False,
        ),
        # beyond 100 %, so that no number ever meets a marker
        go.Scatter(
            x=np.full(n, 1.03),
            y=at,
            mode="text",
            name="value",
            text=_move_words(data, was, now),
            textposition="middle right",
            textfont={"size": 13, "color": np.where(data.far, look.accent, look.ink).tolist()},
            hoverinfo="skip",
        ),
    ]
    said = descriptions or {}
    labels = [name.split("/", 1)[-1] for name in data.names]
    labels = [
        name if labels.count(label) > 1 else label for name, label in zip(data.names, labels, strict=True)
    ]
    rows = [
        f"{wrapped(said[name])}  <b>{label}</b>" if said.get(name) else f"<b>{label}</b>"
        for name, label in zip(data.names, labels, strict=True)
    ]
    moved = int(data.far.sum()) + data.left_far
    words = ["○ before, ● after", "upright tick: threshold", f"{moved or 'none'} moved by {FAR:g} or more"]
    if data.left:
        order = "largest moves" if by == "move" else "most probable"
        words.append(f"the {n} {order} of {n + data.left} labels")
    shape = layout(
        look,
        "What if: the probabilities without what is switched off",
        " · ".join(words),
        height=66 + 52 + ROW * n + 12,
        margin={"l": 330 if said else 110, "r": 12, "t": 66, "b": 52},
        xaxis=axis(
            look,
            "probability",
            range=[-0.01, 1.42],
            tickmode="array",
            tickvals=[0, 0.25, 0.5, 0.75, 1],
            tickformat=".0%",
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.4, -0.6],
            tickmode="array",
            tickvals=at.tolist(),
            ticktext=rows,
            showgrid=False,
            fixedrange=True,
        ),
    )
    return figure(traces, shape)


def _move_words(data: Moves, was: NDArray[np.bool_], now: NDArray[np.bool_]) -> list[str]:
    words = []
    for a, b, far, w, n in zip(data.before, data.after, data.far, was, now, strict=True):
        said = f"{a:.0%} → {b:.0%}"
        said = f"<b>{said}</b>" if far else said
        said += "  now called" if n and not w else "  no longer called" if w and not n else ""
        words.append(said)
    return words
