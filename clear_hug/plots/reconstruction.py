"""Hidden beats, and what the model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.leads import LEADS
from clear_hug.plots.theme import (
    axis,
    boxes,
    figure,
    layout,
    lead_rows,
    reach,
    round_bar,
    scale_bar,
    signed,
    stack,
    theme,
    time_axis,
    voltage_unit,
)

if TYPE_CHECKING:
    from clear_hug.reconstruct import Reconstruction


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """What a reconstruction shows; (sample,) arrays with NaN where a kind of sample is not.

    leads : names;  bases : (lead,) base lines in the record's unit
    time : (sample,) s;  visible, truth, rebuilt : (lead, sample) in the record's unit, 0 at the base line:
    what the model saw, what was hidden from it, what it made of that
    spans : lead -> (n, 2) s, the windows of its hidden tokens
    rmse : (lead,) root mean square error over its hidden tokens in view; NaN where none is
    bottom, top : edges
    """

    leads: tuple[str, ...]
    bases: NDArray[np.float64]
    time: NDArray[np.float32]
    visible: NDArray[np.float32]
    truth: NDArray[np.float32]
    rebuilt: NDArray[np.float32]
    spans: dict[str, NDArray[np.float64]]
    rmse: NDArray[np.float64]
    bottom: float
    top: float


def _rebuilt_data(
    tokens: BeatTokens,
    reconstruction: Reconstruction,
    start: float,
    seconds: float,
    leads: Sequence[str] | None,
) -> Rebuilt:
    rows = lead_rows(list(leads) if leads is not None else None)
    stop = min(start + seconds, tokens.duration)
    shown = np.flatnonzero((tokens.windows[:, 1] > start) & (tokens.windows[:, 0] < stop))
    # one row of samples a beat, and a gap after it; the samples lie on the 100 Hz grid of the trace
    centre = np.rint(tokens.r_peaks[shown] * TOKEN_FS)
    offset = np.arange(TOKEN_SAMPLES + 1) - TOKEN_SAMPLES // 2
    time = ((centre[:, None] + offset) / TOKEN_FS).astype(np.float32)
    inside = np.zeros((shown.size, TOKEN_SAMPLES + 1), dtype=bool)
    inside[:, :-1] = tokens.inside[shown]
    grid = np.ix_(np.array(rows), shown)
    valid, hidden = tokens.valid[grid], reconstruction.hidden[grid]
    width = ((0, 0), (0, 0), (0, 1))
    original = np.pad(tokens.values[grid], width)
    model = np.pad(reconstruction.values[grid], width)

    def only(values: NDArray[np.float32], which: NDArray[np.bool_]) -> NDArray[np.float32]:
        return np.where(which[..., None] & inside, values, np.float32(np.nan))[:, inside_or_gap]

    inside_or_gap = inside.copy()  # the samples of the windows, and one gap a beat
    inside_or_gap[:, -1] = True
    visible, truth, rebuilt = only(original, valid & ~hidden), only(original, hidden), only(model, hidden)
    reaches = np.array(
        [reach(np.concatenate([v, t, r])) for v, t, r in zip(visible, truth, rebuilt, strict=True)]
    )
    spread = float(np.median(reaches[:, 1] - reaches[:, 0])) or 1.0
    bases = stack(reaches[:, 0], reaches[:, 1], 0.15 * spread, 0.6 * spread, 3 * spread)
    with np.errstate(invalid="ignore"):
        square = np.where(hidden, reconstruction.rmse[grid], 0.0) ** 2 * inside.sum(axis=1)
        n = (hidden * inside.sum(axis=1)).sum(axis=1)
        rmse = np.sqrt(square.sum(axis=1) / np.where(n > 0, n, np.nan))
    windows = np.clip(tokens.windows[shown], start, stop)
    return Rebuilt(
        leads=tuple(LEADS[row] for row in rows),
        bases=bases,
        time=time[inside_or_gap],
        visible=visible,
        truth=truth,
        rebuilt=rebuilt,
        spans={LEADS[row]: windows[hidden[i]] for i, row in enumerate(rows) if hidden[i].any()},
        rmse=rmse,
        bottom=float(bases[-1]) + max(reaches[-1, 0], -3 * spread) - 0.1 * spread,
        top=min(reaches[0, 1], 3 * spread) + 0.1 * spread,
    )


def plot_reconstruction(
    tokens: BeatTokens,
    reconstruction: Reconstruction,
    start: float = 0.0,
    seconds: float = 10.0,
    leads: Sequence[str] | None = None,
    dark: bool = False,
) -> go.Figure:
    """Leads under one another: seen samples, hidden ones shaded with the truth, and the model's on top.

    Parameters
    ----------
    tokens, reconstruction : beats, and what `reconstruct` made of them
    start, seconds : stretch shown, s
    leads : names; None = all twelve
    dark : theme
    """
    look = theme(dark)
    data = _rebuilt_data(tokens, reconstruction, start, seconds, leads)
    unit = voltage_unit(tokens.units_known)
    x: list[float | None] = []
    y: list[float | None] = []
    edges = np.concatenate([[data.top], (data.bases[1:] + data.bases[:-1]) / 2, [data.bottom]])
    for i, lead in enumerate(data.leads):
        if lead in data.spans:
            more = boxes(data.spans[lead], edges[i + 1], edges[i])
            x, y = x + more[0], y + more[1]
    traces: list[Any] = [
        go.Scatter(
            x=x,
            y=y,
            mode="none",
            fill="toself",
            fillcolor=look.band[0],
            line={"width": 0},
            name="hidden from the model",
            hoverinfo="skip",
        )
    ]
    kinds = (
        ("seen by the model", data.visible, {"color": look.ink, "width": 1.2}, False),
        ("hidden, as recorded", data.truth, {"color": look.muted, "width": 1.4}, True),
        ("rebuilt", data.rebuilt, {"color": look.accent, "width": 2.2}, True),
    )
    for kind, values, line, of_hidden in kinds:
        first = True
        for i, lead in enumerate(data.leads):
            if (of_hidden and lead not in data.spans) or not np.isfinite(values[i]).any():
                continue
            drawn = np.isfinite(values[i])
            drawn |= np.roll(drawn, 1)  # and the gap that ends each beat
            traces.append(
                go.Scatter(
                    x=data.time[drawn],
                    y=values[i, drawn] + np.float32(data.bases[i]),
                    customdata=values[i, drawn],
                    mode="lines",
                    name=kind,
                    legendgroup=kind,
                    showlegend=first,
                    line=line,
                    hovertemplate=f"<b>{lead}</b> {kind}  %{{x:.2f}} s  %{{customdata:.3f}} {unit}"
                    "<extra></extra>",
                )
            )
            first = False
    n_hidden = int(reconstruction.hidden.sum())
    words = [f"{n_hidden} of {int(tokens.valid.sum())} tokens hidden", "0.67 to 40 Hz"]
    if n_hidden and np.isfinite(reconstruction.r2):
        words.append(f"R² {signed(reconstruction.r2).removeprefix('+')} over all hidden samples")
    bar = round_bar(data.top - data.bottom, len(data.leads))
    notes = [
        {
            "text": f"{rmse:.2f}",
            "x": 1.006,
            "xref": "paper",
            "xanchor": "left",
            "y": base,
            "yref": "y",
            "showarrow": False,
            "font": {"size": 12, "color": look.ink},
        }
        for rmse, base in zip(data.rmse, data.bases, strict=True)
        if np.isfinite(rmse)
    ]
    if notes:
        heading = {**notes[0], "text": f"error<br>RMS, {unit}" if tokens.units_known else "error<br>RMS"}
        notes.append({**heading, "y": 1.0, "yref": "paper", "yanchor": "bottom"})
    shape = layout(
        look,
        "Hidden beats, rebuilt from the others",
        " · ".join(words),
        height=150 + (66 * len(data.leads) if len(data.leads) > 3 else 160 * len(data.leads)),
        showlegend=True,
        margin={"l": 88, "r": 86, "t": 92, "b": 48},
        annotations=notes,
        shapes=[scale_bar(bar, start, data.bottom, look.ink)],
        legend={
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 1,
            "yanchor": "bottom",
            "entrywidth": 150,
            "entrywidthmode": "pixels",
            "font": {"size": 13},
        },  # fmt: skip
        xaxis=time_axis(look, start, min(start + seconds, tokens.duration)),
        yaxis=axis(
            look,
            f"leads, one scale; bar = {bar:g} {unit}",
            range=[data.bottom, data.top],
            tickmode="array",
            tickvals=data.bases,
            ticktext=[f"<b>{lead}</b>" for lead in data.leads],
            showgrid=False,
        ),
    )
    return figure(traces, shape)
