"""Hidden beats on paper: what the model saw, what was hidden from it, and what was made of that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots.paper import DISTANCE, LARGE, Paper, Strip, ecg_data, paper_layout, paper_traces
from clear_hug.plots.theme import (
    boxes,
    figure,
    lead_rows,
    reach,
    record_name,
    signed,
    stack,
    theme,
    voltage_unit,
)

if TYPE_CHECKING:
    from clear_hug.reconstruct import Reconstruction

Array = NDArray[np.float32]
FARTHEST = 100.0  # mm that a wave is followed above the first row, and below the last
SUFFIX = 8  # letters beside a lead's name: "R² 0.93"


@dataclass(frozen=True, eq=False)
class Line:
    """One lead's samples of one kind, beat after beat with a gap (NaN) after each.

    lead : its name;  time : s;  mm : height on the paper;  mv : in the record's own unit
    """

    lead: str
    time: Array
    mm: Array
    mv: Array


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """What a reconstruction shows.

    paper : the leads shown, their traces without the hidden stretches
    hidden : lines of what was hidden, as recorded;  rebuilt, linear : of what the two made of it
    spans : lead -> (n, 2) s, the windows of its hidden tokens in view
    edges : lead -> (2,) mm, bottom and top of its row
    cut : leads of which a wave leaves the paper
    """

    paper: Paper
    hidden: tuple[Line, ...]
    rebuilt: tuple[Line, ...]
    linear: tuple[Line, ...]
    spans: dict[str, NDArray[np.float64]]
    edges: dict[str, tuple[float, float]]
    cut: tuple[str, ...]


def _rebuilt_data(
    ecg: ECG,
    tokens: BeatTokens,
    rebuilt: Reconstruction,
    linear: Reconstruction | None,
    start: float,
    seconds: float,
    leads: Sequence[str] | None,
) -> Rebuilt:
    rows = lead_rows(list(leads) if leads is not None else None)
    whole = ecg_data(ecg, start, seconds, "12x1", None, 25, 10, letters=SUFFIX)
    start, stop = whole.start, min(whole.stop, tokens.duration)
    strips = [strip for row in rows for strip in whole.strips if strip.lead == LEADS[row]]
    near = np.flatnonzero((tokens.windows[:, 1] > start) & (tokens.windows[:, 0] < stop))
    values = {"hidden": tokens.values, "rebuilt": rebuilt.values}
    if linear is not None:
        values["linear"] = linear.values
    found: dict[str, list[tuple[Array, Array]]] = {
        kind: [
            _samples(tokens, mv[row], near[rebuilt.hidden[row, near]], start, stop)
            for row in rows
        ]
        for kind, mv in values.items()
    }  # fmt: skip
    level = [_level(strip, whole.gain) for strip in strips]
    bounds = np.array(
        [
            reach(
                np.concatenate(
                    [strip.mm - strip.base, *((found[k][i][1] - zero) * whole.gain for k in found)]
                )
            )
            for i, (strip, zero) in enumerate(zip(strips, level, strict=True))
        ]
    ).reshape(-1, 2)
    paper = _of_rows(whole, strips, bounds)
    lines = {
        kind: tuple(
            Line(strip.lead, time, ((mv - zero) * paper.gain + strip.base).astype(np.float32), mv)
            for strip, zero, (time, mv) in zip(paper.strips, level, pieces, strict=True)
            if time.size
        )
        for kind, pieces in found.items()
    }
    spans = {
        LEADS[row]: np.clip(tokens.windows[near[rebuilt.hidden[row, near]]], start, stop) for row in rows
    }
    between = (paper.rows[1:] + paper.rows[:-1]) / 2
    edges = np.concatenate([[paper.top], between, [paper.bottom]])
    return Rebuilt(
        paper=replace(paper, strips=tuple(_seen(strip, spans[strip.lead]) for strip in paper.strips)),
        hidden=lines["hidden"],
        rebuilt=lines["rebuilt"],
        linear=lines.get("linear", ()),
        spans={lead: some for lead, some in spans.items() if some.size},
        edges={strip.lead: (edges[i + 1], edges[i]) for i, strip in enumerate(paper.strips)},
        cut=_cut(paper, bounds),
    )


def _samples(
    tokens: BeatTokens, values: Array, beats: NDArray[np.int64], start: float, stop: float
) -> tuple[Array, Array]:
    """Seconds and values of some beats of a lead (beat, 96), a gap after each; on the trace's own grid."""
    offset = np.arange(TOKEN_SAMPLES + 1) - TOKEN_SAMPLES // 2
    time = ((np.rint(tokens.r_peaks[beats] * TOKEN_FS)[:, None] + offset) / TOKEN_FS).astype(np.float32)
    mv = np.full(time.shape, np.nan, dtype=np.float32)
    mv[:, :-1] = np.where(tokens.inside[beats], values[beats], np.float32(np.nan))
    mv[(time < start) | (time > stop)] = np.nan
    kept = np.isfinite(mv)
    kept[:, -1] = True
    return time[kept], mv[kept]


def _level(strip: Strip, gain: float) -> float:
    """The voltage that lies on a strip's base line."""
    away = strip.mv - (strip.mm - np.float32(strip.base)) / np.float32(gain)
    return float(np.nanmedian(away)) if np.isfinite(away).any() else 0.0


def _of_rows(paper: Paper, strips: Sequence[Strip], bounds: NDArray[np.float64]) -> Paper:
    """The paper with these strips alone, one under the other."""
    below, above = bounds[:, 0], bounds[:, 1]
    least = DISTANCE["12x1"]
    rows = stack(below, above, gap=4, least=least, most=3 * least, step=LARGE)
    moved = tuple(
        replace(
            strip,
            base=base,
            mm=strip.mm + np.float32(base - strip.base),
            label_at=strip.label_at + base - strip.base,
        )
        for strip, base in zip(strips, rows.tolist(), strict=True)
    )
    high = min(max(float((rows + above).max()), 10.0), FARTHEST)  # a wave may reach over the next row
    low = max(min(float((rows + below).min() - rows[-1]), -5.0), -FARTHEST)
    return replace(
        paper,
        strips=moved,
        rows=rows,
        top=LARGE * math.ceil((high + 7) / LARGE),
        bottom=float(rows[-1]) + LARGE * math.floor((low - 2) / LARGE),
    )


def _cut(paper: Paper, bounds: NDArray[np.float64]) -> tuple[str, ...]:
    """The leads of which a wave leaves the paper."""
    ends = paper.rows[:, None] + bounds
    gone = (ends[:, 0] < paper.bottom) | (ends[:, 1] > paper.top)
    return tuple(strip.lead for strip, out in zip(paper.strips, gone.tolist(), strict=True) if out)


def _seen(strip: Strip, spans: NDArray[np.float64]) -> Strip:
    """The strip with the hidden windows blank."""
    if not spans.size:
        return strip
    at = np.rint(strip.time[:, None] * TOKEN_FS)
    gone = ((at >= np.rint(spans[:, 0] * TOKEN_FS)) & (at < np.rint(spans[:, 1] * TOKEN_FS))).any(axis=1)
    return replace(strip, mm=np.where(gone, np.float32(np.nan), strip.mm))


def plot_reconstruction(
    ecg: ECG,
    tokens: BeatTokens,
    rebuilt: Reconstruction,
    linear: Reconstruction | None = None,
    start: float = 0.0,
    seconds: float = 10.0,
    leads: Sequence[str] | None = None,
    errors: Mapping[str, float] | None = None,
    dark: bool = False,
    title: str = "Hidden beats, rebuilt from the others",
) -> go.Figure:
    """Leads on paper, one under the other: the seen trace, hidden stretches shaded, the rebuilt on top.

    Parameters
    ----------
    ecg : as the model sees it: the 100 Hz trace that the tokens were cut from
    tokens, rebuilt : of the same record
    linear : the same tokens by the linear baseline, as a third line; None = without
    start, seconds : stretch shown, s
    leads : names; None = all twelve
    errors : lead -> R2, written beside its name
    dark : theme
    title : of the figure
    """
    look = theme(dark)
    data = _rebuilt_data(ecg, tokens, rebuilt, linear, start, seconds, leads)
    unit = voltage_unit(tokens.units_known)
    x: list[float | None] = []
    y: list[float | None] = []
    for lead, spans in data.spans.items():
        more = boxes(spans, *data.edges[lead])
        x, y = x + more[0], y + more[1]
    shade = go.Scatter(
        x=x,
        y=y,
        mode="none",
        fill="toself",
        fillcolor=look.band[0],
        line={"width": 0},
        name="hidden from the model",
        hoverinfo="skip",
    )
    beside = {
        lead: f"R² {signed(r2).removeprefix('+')}" for lead, r2 in (errors or {}).items() if np.isfinite(r2)
    }
    printed = paper_traces(data.paper, look, None, ecg.units_known, None, beside)
    for trace in printed:
        trace.showlegend = False
    kinds = (
        ("as recorded", data.hidden, {"color": look.ink, "width": 1.3}),
        ("rebuilt by the model", data.rebuilt, {"color": look.accent, "width": 2}),
        ("linear baseline", data.linear, {"color": look.opposes, "width": 1.4, "dash": "4px,4px"}),
    )
    traces: list[Any] = [shade, *printed]
    for kind, lines, line in kinds:
        for i, part in enumerate(lines):
            traces.append(
                go.Scatter(
                    x=part.time,
                    y=part.mm,
                    customdata=part.mv,
                    mode="lines",
                    name=kind,
                    legendgroup=kind,
                    showlegend=i == 0,
                    line=line,
                    hovertemplate=f"<b>{part.lead}</b> {kind}  %{{x:.2f}} s  %{{customdata:.3f}} {unit}"
                    "<extra></extra>",
                )
            )
    foot = "0.67 to 40 Hz" + (f" · cut off at the edge: {', '.join(data.cut)}" if data.cut else "")
    shape = paper_layout(data.paper, ecg, look, f"{title}: {record_name(ecg)}", foot)
    shape["margin"] = {**shape["margin"], "t": 92}
    shape["height"] += 26
    shape["showlegend"] = bool(data.spans)
    shape["legend"] = {**shape["legend"], "font": {"size": 13}, "entrywidth": 168, "entrywidthmode": "pixels"}
    return figure(traces, shape)
