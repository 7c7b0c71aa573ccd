"""The hidden tokens as a map, leads by beats, each in the colour of its error: click to hide or to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.plots.squares import squares
from clear_hug.plots.theme import (
    Theme,
    axis,
    colours_at,
    figure,
    ink_on,
    layout,
    theme,
    voltage_unit,
)

if TYPE_CHECKING:
    from clear_hug.reconstruct import Reconstruction

WRITTEN = 14  # beats up to which each error is written in its square
LEAST, MOST = 8, 22  # px, the side of a square
SIDES = 150  # px that the names of leads and the colour bar take
ROW = 25  # px, of a lead
ALL = -1  # in customdata, in place of a row: all leads, or all beats


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """One row a token in view.

    beats : (shown,) rows of the beats in view;  lead, beat : (n,) rows
    hidden : (n,) bool;  error : (n,) RMSE, NaN where not rebuilt;  missing : (m, 2) without a token
    whole_leads : (12,) bool, all tokens hidden;  whole_beats : (shown,) bool
    end : of the colour scale, in the record's unit
    """

    beats: NDArray[np.int64]
    lead: NDArray[np.int64]
    beat: NDArray[np.int64]
    hidden: NDArray[np.bool_]
    error: NDArray[np.float64]
    missing: NDArray[np.int64]
    whole_leads: NDArray[np.bool_]
    whole_beats: NDArray[np.bool_]
    end: float


def beats_in_view(tokens: BeatTokens, start: float, seconds: float, most: int) -> NDArray[np.int64]:
    """Rows of the beats whose R peak lies in the stretch; the first of them, where all would not fit."""
    return np.flatnonzero((tokens.r_peaks >= start) & (tokens.r_peaks <= start + seconds))[:most]


def _error_map_data(
    tokens: BeatTokens,
    hidden: NDArray[np.bool_],
    rmse: NDArray[np.float64] | None,
    start: float,
    seconds: float,
    most: int,
) -> ErrorMap:
    if hidden.shape != tokens.valid.shape:
        raise ValueError(f"hidden has shape {hidden.shape}; expected (12, beat) = {tokens.valid.shape}.")
    beats = beats_in_view(tokens, start, seconds, most)
    error = np.full(hidden.shape, np.nan) if rmse is None else np.where(hidden, rmse, np.nan)
    valid, out = tokens.valid[:, beats], hidden & tokens.valid
    lead, column = np.nonzero(valid)
    missing = np.argwhere(~valid)
    missing[:, 1] = beats[missing[:, 1]]
    shown = tokens.valid & ~hidden
    known = error[np.isfinite(error)]
    return ErrorMap(
        beats=beats,
        lead=lead,
        beat=beats[column],
        hidden=out[lead, beats[column]],
        error=error[lead, beats[column]],
        missing=missing,
        whole_leads=np.asarray(out.any(axis=1) & ~shown.any(axis=1)),
        whole_beats=np.asarray(out.any(axis=0) & ~shown.any(axis=0))[beats],
        end=float(known.max()) if known.size and known.max() > 0 else 1.0,
    )


def plot_error_map(
    tokens: BeatTokens,
    hidden: NDArray[np.bool_],
    rebuilt: Reconstruction | None = None,
    start: float = 0.0,
    seconds: float = 10.0,
    width: float = 500,
    clickable: bool = True,
    dark: bool = False,
) -> go.Figure:
    """A square a token: hollow where the model sees it, filled by its error where it is hidden.

    Parameters
    ----------
    tokens : of the record
    hidden : (12, beat) bool
    rebuilt : of the hidden tokens, for the colours; None = nothing was rebuilt
    start, seconds : stretch whose beats are shown, s
    width : px that the page gives the figure
    clickable : with a dot before each lead and above each beat, for all of its tokens
    dark : theme

    customdata is (row of the lead, row of the beat), -1 for all.
    """
    look = theme(dark)
    rmse = None if rebuilt is None else rebuilt.rmse
    data = _error_map_data(tokens, hidden, rmse, start, seconds, int((width - SIDES) / (LEAST + 2)))
    n = data.beats.size
    side = float(np.clip((width - SIDES) / (n + 1) - 2, LEAST, MOST))
    unit = voltage_unit(tokens.units_known)
    colours = np.array(colours_at(look.sequential, np.nan_to_num(data.error) / data.end))
    told = np.isfinite(data.error)
    fill = np.where(told, colours, look.hatch) if colours.size else np.array([])
    seen = {"color": look.page, "line": {"color": look.quiet, "width": 1}}
    gone = {"color": fill, "line": {"color": look.ink, "width": 1}}
    said = ["seen, click to hide" if clickable else "seen"] * data.lead.size
    errors = [
        f"hidden, error {error:.3g} {unit}" if known else "hidden, not rebuilt"
        for error, known in zip(data.error.tolist(), told.tolist(), strict=True)
    ]
    traces = [
        _squares(data, tokens, ~data.hidden, side, seen, "seen by the model", said),
        _squares(data, tokens, data.hidden, side, gone, "hidden", errors),
    ]
    power = 1 - int(np.floor(np.log10(data.end)))
    write = n <= WRITTEN and told.any()
    if write:
        traces.append(
            go.Scatter(
                x=data.beat[told] + 1,
                y=data.lead[told],
                mode="text",
                name="errors",
                text=np.rint(data.error[told] * 10.0**power).astype(int).astype(str),
                textfont={"size": 11, "color": ink_on(colours[told].tolist())},
                hoverinfo="skip",
            )
        )
    traces.append(missing_marks(data.missing, side, look))
    if clickable and n:
        traces.append(_heads(data, side, look))
    traces.append(_bar(data, look, unit, bool(told.any())))
    words = ["<b>RMS error of each hidden token</b>" if told.any() else "nothing is rebuilt yet"]
    if write:
        step = f"{10.0**-power:.7g} {unit}"
        words.append(f"numbers in {'µV' if step == '0.001 mV' else step}")
    if n < tokens.n_beats:
        words.append(f"{n} of {tokens.n_beats} beats in view")
    shape = map_layout(look, "What is hidden, and how far off it was", words, data.beats, tokens, clickable)
    return figure(traces, shape)


def _squares(
    data: ErrorMap,
    tokens: BeatTokens,
    which: NDArray[np.bool_],
    side: float,
    marker: dict[str, Any],
    name: str,
    said: list[str],
) -> Any:
    marker = {k: v[which] if isinstance(v, np.ndarray) else v for k, v in marker.items()}
    lead, beat = data.lead[which], data.beat[which]
    text = [
        f"<b>{LEADS[i]}</b>, beat {j + 1}, R peak {tokens.r_peaks[j]:.2f} s: {said[k]}"
        for k, i, j in zip(np.flatnonzero(which).tolist(), lead.tolist(), beat.tolist(), strict=True)
    ]
    return squares(lead, beat, side, name, text, **marker)


def missing_marks(missing: NDArray[np.int64], side: float, look: Theme) -> Any:
    """A cross for each (lead, beat) row without a token, in squares of `side` px."""
    return go.Scatter(
        x=missing[:, 1] + 1,
        y=missing[:, 0],
        mode="markers",
        name="no token",
        marker={"symbol": "x-thin", "size": min(side, 9), "line": {"color": look.muted, "width": 1.2}},
        unselected={"marker": {"opacity": 1}},
        hovertemplate="no token here<extra></extra>",
    )


def _heads(data: ErrorMap, side: float, look: Theme) -> Any:
    """A dot a lead and a beat: filled where all of it is hidden."""
    present = np.unique(data.lead)
    there = np.isin(data.beats, data.beat)
    first = int(data.beats[0])
    whole = np.concatenate([data.whole_leads[present], data.whole_beats[there]])
    names = [f"all of <b>{LEADS[row]}</b>" for row in present]
    names += [f"all of beat {beat + 1}" for beat in data.beats[there]]
    held = [(row, ALL) for row in present] + [(ALL, beat) for beat in data.beats[there]]
    return go.Scatter(
        x=np.concatenate([np.full(present.size, first + 0.0), data.beats[there] + 1]),
        y=np.concatenate([present, np.full(int(there.sum()), -1.0)]),
        customdata=np.array(held).reshape(-1, 2),
        mode="markers",
        name="all of a lead or a beat",
        marker={
            "symbol": "circle",
            "size": min(side, 13),
            "color": np.where(whole, look.ink, look.page),
            "line": {"color": look.ink, "width": 1.4},
            "opacity": 1,
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        text=[f"{name}: click to {'show' if w else 'hide'}" for name, w in zip(names, whole, strict=True)],
        hovertemplate="%{text}<extra></extra>",
    )


def _bar(data: ErrorMap, look: Theme, unit: str, shown: bool) -> Any:
    """A marker that is not there, for a colour bar that is."""
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name="scale",
        marker={
            "color": [0.0],
            "cmin": 0,
            "cmax": data.end,
            "colorscale": [list(stop) for stop in look.sequential],
            "showscale": shown,
            "colorbar": error_bar(look, unit),
        },
        hoverinfo="skip",
    )


def error_bar(look: Theme, title: str) -> dict[str, Any]:
    """A colour bar from 0 up."""
    return {
        "title": {"text": title.replace(" ", "<br>"), "font": {"size": 12}},
        "thickness": 12,
        "len": 1.0,
        "x": 1.005,
        "xpad": 4,
        "nticks": 5,
        "exponentformat": "power",  # "600µ" beside mV would be read as microvolt
        "outlinewidth": 0,
        "tickfont": {"size": 12, "color": look.ink},
    }


def map_layout(
    look: Theme,
    title: str,
    words: list[str],
    beats: NDArray[np.int64],
    tokens: BeatTokens,
    heads: bool,
    **more: Any,
) -> dict[str, Any]:
    """Leads by the beats in view; with room for heads before the leads and above the beats."""
    n = beats.size
    first = int(beats[0]) if n else 0
    ticks = beats[:: max(1, int(np.ceil(n / 16)))]
    return layout(
        look,
        title,
        " · ".join(words),
        height=66 + 58 + ROW * (N_LEADS + heads),
        margin={"l": 56, "r": 76, "t": 66, "b": 58},
        xaxis=axis(
            look,
            "beat, and its R peak (s)",
            range=[first + (-0.4 if heads else 0.4), first + n + 0.6],
            tickmode="array",
            tickvals=ticks + 1,
            ticktext=[f"<b>{beat + 1}</b><br>{tokens.r_peaks[beat]:.1f}" for beat in ticks],
            showgrid=False,
        ),
        yaxis=axis(
            look,
            "lead",
            range=[N_LEADS - 0.4, -1.6 if heads else -0.6],
            tickmode="array",
            tickvals=list(range(N_LEADS)),
            ticktext=[f"<b>{lead}</b>" for lead in LEADS],
            showgrid=False,
        ),
        **more,
    )
