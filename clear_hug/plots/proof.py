"""How far a map may be believed: what happens as parts go, or come, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.plots.theme import Theme, axis, figure, layout, theme

BAND = (5.0, 95.0)  # percentiles of the random orders
DOTTED = 40  # steps up to which each is a dot
DELETION, INSERTION = "Deletion", "Insertion"


@dataclass(frozen=True, eq=False)
class Proof:
    """One of the two curves, beside those of random orders.

    name : "Deletion" or "Insertion"
    share : (step,) of the parts that are removed, or there;  curve, mean, low, high : (step,)
    gap : mean distance to the mean of the random orders, positive on the good side: below it for
        deletion, above it for insertion
    beaten, orders : random orders that the map's does better than, and all of them
    """

    name: str
    share: NDArray[np.float64]
    curve: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    gap: float
    beaten: int
    orders: int


def _proof_data(name: str, curve: NDArray[np.floating], orders: NDArray[np.floating]) -> Proof:
    one, many = np.asarray(curve, dtype=np.float64), np.asarray(orders, dtype=np.float64)
    if one.ndim != 1 or one.size < 2 or many.ndim != 2 or many.shape[1:] != one.shape or not len(many):
        raise ValueError(
            f"a curve (step,) and random orders (order, step) are shown; these are {one.shape} and "
            f"{many.shape}."
        )
    if not (np.isfinite(one).all() and np.isfinite(many).all()):
        raise ValueError(f"the curves of {name.lower()} have values that are no numbers.")
    good = -1 if name == DELETION else 1
    ahead = good * (one - many).mean(axis=1)  # over the steps, as `faithfulness.curves` has it
    low, high = np.percentile(many, BAND, axis=0)
    return Proof(
        name=name,
        share=np.linspace(0, 1, one.size),
        curve=one,
        mean=many.mean(axis=0),
        low=low,
        high=high,
        gap=float(ahead.mean()),
        beaten=int((ahead > 0).sum()),
        orders=len(many),
    )


def plot_curves_of_proof(
    deletion: NDArray[np.floating],
    insertion: NDArray[np.floating],
    random_deletion: NDArray[np.floating],
    random_insertion: NDArray[np.floating],
    what: str = "logit",
    parts: str = "part",
    dark: bool = False,
) -> go.Figure:
    """The answer as parts are left out, or put back, in the map's order and in random orders.

    Parameters
    ----------
    deletion : (step,) from every part there to none, what supports most leaves first
    insertion : (step,) from none to all, what supports most comes first
    random_deletion, random_insertion : (order, step) the same in random orders
    what : the answer, in words;  parts : what one part is (lead, beat)
    dark : theme
    """
    look = theme(dark)
    panels = (
        _proof_data(DELETION, deletion, random_deletion),
        _proof_data(INSERTION, insertion, random_insertion),
    )
    traces = [trace for k, data in enumerate(panels) for trace in _proof_traces(data, k, look)]
    every = np.concatenate([c for p in panels for c in (p.curve, p.low, p.high)])
    low, high = float(every.min()), float(every.max())
    pad = 0.06 * ((high - low) or 1.0)
    key = (
        f"<span style='color:{look.accent}'><b>━ this map's order</b></span>   "
        f"<span style='color:{look.muted}'><b>┅ mean of {panels[0].orders} random orders</b>, "
        f"band: {BAND[0]:g} to {BAND[1]:g} % of them</span>"
    )
    said = [f"{p.name.lower()} {_gap_words(p)}" for p in panels]
    across = []
    for k, data in enumerate(panels):
        n = data.share.size - 1
        done = "removed" if data.name == DELETION else "there"
        step = max(1, int(np.ceil(n / 12)))
        across.append(
            axis(
                look,
                f"{parts}s {done}, of {n}",
                domain=[0, 0.47] if k == 0 else [0.53, 1],
                range=[-0.02, 1.02],
                tickmode="array",
                tickvals=data.share[::step].tolist(),
                ticktext=[str(i) for i in range(0, n + 1, step)],
                anchor="y" if k == 0 else "y2",
                fixedrange=True,
            )
        )
    up: dict[str, Any] = {"range": [low - pad, high + pad], "fixedrange": True}
    shape = layout(
        look,
        f"Proof by leaving out: {said[0]}, {said[1]}, on average",
        key,
        height=400,
        margin={"l": 60, "r": 24, "t": 98, "b": 48},
        annotations=[_panel_title(p, x, look) for p, x in zip(panels, (0.0, 0.53), strict=True)],
        xaxis=across[0],
        xaxis2=across[1],
        yaxis=axis(look, what, **up),
        yaxis2=axis(look, anchor="x2", matches="y", **up),
    )
    return figure(traces, shape)


def _gap_words(data: Proof) -> str:
    side = "below" if (data.gap > 0) == (data.name == DELETION) else "above"
    return f"{abs(data.gap):.2f} {side} random"


def _panel_title(data: Proof, x: float, look: Theme) -> dict[str, Any]:
    better = "lower is better" if data.name == DELETION else "higher is better"
    return {
        "text": f"<b>{data.name}</b> ({better}): ahead of {data.beaten} of {data.orders} random orders",
        "x": x,
        "xref": "paper",
        "xanchor": "left",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 14, "color": look.ink},
    }


def _proof_traces(data: Proof, k: int, look: Theme) -> list[Any]:
    axes = {} if k == 0 else {"xaxis": "x2", "yaxis": "y2"}
    n = data.share.size
    steps = np.arange(n)
    dots = n <= DOTTED
    return [
        go.Scatter(
            x=np.concatenate([data.share, data.share[::-1]]),
            y=np.concatenate([data.high, data.low[::-1]]),
            mode="lines",
            name="band of random orders",
            fill="toself",
            fillcolor=look.band[0],
            line={"width": 0},
            hoverinfo="skip",
            **axes,
        ),
        go.Scatter(
            x=data.share,
            y=data.mean,
            mode="lines",
            name="mean of random orders",
            line={"color": look.muted, "width": 2, "dash": "dash"},
            customdata=steps,
            hovertemplate="random, %{customdata}: %{y:.3f}<extra></extra>",
            **axes,
        ),
        go.Scatter(
            x=data.share,
            y=data.curve,
            mode="lines+markers" if dots else "lines",
            name=data.name.lower(),
            line={"color": look.accent, "width": 3},
            marker={"size": 7, "color": look.accent},
            customdata=steps,
            hovertemplate="this map, %{customdata}: %{y:.3f}<extra></extra>",
            **axes,
        ),
    ]
