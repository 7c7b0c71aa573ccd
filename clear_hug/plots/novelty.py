"""Where a record did what its other leads and beats did not foretell: a map, and a score a beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.plots.errors import (
    LEAST,
    MOST,
    ROW,
    SIDES,
    beats_in_view,
    error_bar,
    map_layout,
    missing_marks,
)
from clear_hug.plots.squares import squares
from clear_hug.plots.theme import axis, colours_at, figure, ink_on, theme, voltage_unit

if TYPE_CHECKING:
    from clear_hug.novelty import Novelty

WRITTEN = 16  # beats up to which each value is written in its square
END = 10.0  # of the colour scale: from there on a token is as surprising as can be
BARS = 96  # px, the height of the bars


@dataclass(frozen=True, eq=False)
class NoveltyMap:
    """One row a token in view that was rebuilt.

    beats : (shown,) rows;  lead, beat : (n,) rows;  value : (n,) surprise;  error : (n,) RMSE
    missing : (m, 2) (lead, beat) without a value;  score : (shown,) of the beats;  out : (shown,) bool
    top : of the axis of the scores
    """

    beats: NDArray[np.int64]
    lead: NDArray[np.int64]
    beat: NDArray[np.int64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]
    missing: NDArray[np.int64]
    score: NDArray[np.float64]
    out: NDArray[np.bool_]
    top: float


def _novelty_data(
    novelty: Novelty, tokens: BeatTokens, start: float, seconds: float, most: int
) -> NoveltyMap:
    if novelty.surprise.shape != tokens.valid.shape:
        raise ValueError(
            f"the novelty is of {novelty.surprise.shape} tokens, the record has {tokens.valid.shape}."
        )
    beats = beats_in_view(tokens, start, seconds, most)
    values = novelty.surprise[:, beats]
    lead, column = np.nonzero(np.isfinite(values))
    missing = np.argwhere(~np.isfinite(values))
    missing[:, 1] = beats[missing[:, 1]]
    score = novelty.score[beats]
    known = score[np.isfinite(score)]
    return NoveltyMap(
        beats=beats,
        lead=lead,
        beat=beats[column],
        value=values[lead, column],
        error=novelty.rebuilt.rmse[lead, beats[column]],
        missing=missing,
        score=score,
        out=novelty.stands_out[beats],
        top=1.15 * max(float(known.max()) if known.size else 0.0, 1.5 * novelty.limit),
    )


def plot_novelty(
    novelty: Novelty,
    tokens: BeatTokens,
    chosen: tuple[int, int] | None = None,
    start: float = 0.0,
    seconds: float = 10.0,
    width: float = 500,
    marks: Mapping[int, str] | None = None,
    dark: bool = False,
) -> go.Figure:
    """A square a token by how far it was off what is usual in its lead, and a bar a beat.

    Parameters
    ----------
    novelty : of the record
    tokens : of the same record
    chosen : (row of the lead, row of the beat) that is outlined
    start, seconds : stretch whose beats are shown, s
    width : px that the page gives the figure
    marks : row of a beat -> a word on it (premature, wide)
    dark : theme

    The squares' customdata is (row of the lead, row of the beat).
    """
    look = theme(dark)
    data = _novelty_data(novelty, tokens, start, seconds, int((width - SIDES) / (LEAST + 2)))
    n = data.beats.size
    side = float(np.clip((width - SIDES) / max(n, 1) - 2, LEAST, MOST))
    unit = voltage_unit(tokens.units_known)
    marks = marks or {}
    colours = colours_at(look.sequential, np.maximum(data.value, 0) / END)
    known = np.isfinite(data.score)
    traces: list[Any] = [
        go.Bar(
            x=data.beats[known] + 1,
            y=np.maximum(data.score[known], 0),
            yaxis="y2",
            name="beats",
            marker={"color": np.where(data.out[known], look.accent, look.quiet).tolist()},
            width=0.62,
            text=[f"{score:.1f}" if n <= WRITTEN else "" for score in data.score[known]],
            textposition="outside",
            textfont={"size": 11, "color": look.ink},
            cliponaxis=False,
            customdata=[marks.get(beat, "usual") for beat in data.beats[known].tolist()],
            hovertemplate="beat %{x} (%{customdata}): %{y:.1f}<extra></extra>",
        ),
        squares(
            data.lead,
            data.beat,
            side,
            "tokens",
            [
                f"<b>{LEADS[i]}</b>, beat {j + 1}, R peak {tokens.r_peaks[j]:.2f} s: surprise {v:.1f}, "
                f"error {e:.3g} {unit}"
                for i, j, v, e in zip(
                    data.lead.tolist(),
                    data.beat.tolist(),
                    data.value.tolist(),
                    data.error.tolist(),
                    strict=True,
                )
            ],
            color=np.maximum(data.value, 0),
            cmin=0,
            cmax=END,
            colorscale=[list(stop) for stop in look.sequential],
            line={"color": look.line, "width": 1 if side > 10 else 0},
            colorbar={
                **error_bar(look, "surprise"),
                "tickvals": [0, END / 2, END],
                "ticktext": ["0", f"{END / 2:g}", f"≥ {END:g}"],
                "y": 0.0,
                "yanchor": "bottom",
                "len": _map_share(),
            },
        ),
        missing_marks(data.missing, side, look),
    ]
    if n <= WRITTEN:
        traces.append(
            go.Scatter(
                x=data.beat + 1,
                y=data.lead,
                mode="text",
                name="values",
                text=[f"{v:.0f}" if v >= 1 else "" for v in data.value.tolist()],
                textfont={"size": 11, "color": ink_on(colours)},
                selected={"textfont": {"color": look.ink}},
                hoverinfo="skip",
            )
        )
    if chosen is not None and chosen[1] in data.beats:
        traces.append(
            go.Scatter(
                x=[chosen[1] + 1],
                y=[chosen[0]],
                mode="markers",
                name="chosen",
                marker={
                    "symbol": "square-open",
                    "size": side + 2,
                    "color": look.accent,
                    "line": {"width": 3},
                },
                unselected={"marker": {"opacity": 1}},
                hoverinfo="skip",
            )
        )
    words = ["bars: each beat over its leads", "squares: SDs beyond the lead's usual error"]
    if n < tokens.n_beats:
        words.append(f"{n} of {tokens.n_beats} beats in view")
    shape = map_layout(
        look, "What the other leads and beats did not foretell", words, data.beats, tokens, False
    )
    shape["height"] = 66 + 58 + ROW * N_LEADS + BARS
    shape["yaxis"]["domain"] = [0, _map_share()]
    shape["yaxis2"] = axis(
        look, "score", range=[0, data.top], domain=[_map_share() + 0.02, 1], nticks=3, anchor="x"
    )
    shape["shapes"] = [
        {
            "type": "line",
            "xref": "x domain",
            "x0": 0,
            "x1": 1,
            "yref": "y2",
            "y0": novelty.limit,
            "y1": novelty.limit,
            "line": {"color": look.muted, "width": 1, "dash": "dot"},
        }
    ]
    return figure(traces, shape)


def _map_share() -> float:
    """Of the height of the figure that the map takes, below the bars."""
    return ROW * N_LEADS / (ROW * N_LEADS + BARS)
