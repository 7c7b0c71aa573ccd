"""Why: contributions as bars, as a sum, painted on the trace; attention as a map of beats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale, unlabel_rgb

from clear_hug.beats import BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots.paper import _ecg_data, _paper_layout, _paper_traces
from clear_hug.plots.theme import Theme, axis, figure, layout, record_name, signed, theme

if TYPE_CHECKING:
    from clear_hug.explain import Attribution

SHOWN = 1e-5  # of a logit; a residual below it is rounding
WRITTEN = 16  # beats up to which each weight is written in its square


def _label(target: str) -> str:
    return target.split("/", 1)[-1]


def _check(attribution: Attribution, level: str | None) -> None:
    if level is not None and attribution.level != level:
        raise ValueError(f"this figure shows an attribution by {level}; this one is by {attribution.level}.")
    if not np.isfinite(attribution.bias):
        raise ValueError(f"method {attribution.method!r} gives no contributions that add up; use 'hug'.")


@dataclass(frozen=True, eq=False)
class Contributions:
    """names, values, error, words : (part,) in order, a value NaN where absent;  largest : of |values|.

    error : standard error, 0 where there is none
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    error: NDArray[np.float64]
    largest: float
    words: tuple[str, ...]


def _contribution_data(attribution: Attribution) -> Contributions:
    _check(attribution, None)
    if attribution.values.ndim != 1:
        raise ValueError(f"bars show one value a part; this attribution is by {attribution.level}.")
    values = np.asarray(attribution.values, dtype=np.float64)
    there = np.abs(values[np.isfinite(values)])
    largest = float(there.max()) if there.size else 0.0
    words = tuple(signed(v, largest) if np.isfinite(v) else "absent" for v in values.tolist())
    error = np.zeros_like(values) if attribution.error is None else np.nan_to_num(attribution.error)
    return Contributions(attribution.names, values, error, largest, words)


def plot_contributions(attribution: Attribution, dark: bool = False) -> go.Figure:
    """What each part (lead, group, pair or level) adds to the logit, or takes from it.

    Parameters
    ----------
    attribution : from `explain`, by a method that adds up and at any level with one value a part
    dark : theme
    """
    look = theme(dark)
    data = _contribution_data(attribution)
    label = _label(attribution.target)
    n = len(data.names)
    values = np.nan_to_num(data.values)
    room = 1.28 * (data.largest or 1.0) + float(data.error.max(initial=0.0))
    colour = np.where(values >= 0, look.supports, look.opposes)
    absent = ~np.isfinite(data.values)
    where = np.where(values >= 0, "middle right", "middle left")
    pad = 0.012 * room
    traces: list[Any] = [
        go.Bar(
            x=values,
            y=list(range(n)),
            orientation="h",
            name="contribution",
            width=0.66,
            marker={"color": colour, "line": {"width": 0}},
            text=data.names,
            textposition="none",
            hovertemplate="<b>%{text}</b>: %{x:+.4f} on the logit<extra></extra>",
            error_x={
                "array": data.error,
                "visible": bool(data.error.any()),
                "color": look.ink,
                "thickness": 1.2,
                "width": 3,
            },
        ),
        go.Scatter(
            x=values + np.where(values >= 0, pad + data.error, -pad - data.error),
            y=list(range(n)),
            mode="text",
            name="value",
            text=data.words,
            textposition=where.tolist(),
            textfont={"size": 13, "color": np.where(absent, look.muted, look.ink).tolist()},
            hoverinfo="skip",
        ),
    ]
    what = {"lead": "lead", "group": "group of leads", "pair": "path of HUG", "level": "level of HUG"}
    part = what.get(attribution.level, attribution.level)
    does = "is worth to" if attribution.method == "shapley" else "adds to"
    sides = [
        _side(f"← opposes {label}", 0.0, "left", look.opposes),
        _side(f"supports {label} →", 1.0, "right", look.supports),
    ]
    total = float(np.nansum(data.values))
    shape = layout(
        look,
        f"What each {part} {does} the logit of {label}",
        f"bias {signed(attribution.bias)}  and parts {signed(total, data.largest)}"
        f"  make the logit {signed(attribution.logit)}",
        height=66 + 22 + 48 + 32 * n,
        margin={"l": 40 + 9 * max(len(name) for name in data.names), "r": 24, "t": 88, "b": 48},
        annotations=sides,
        xaxis=axis(
            look,
            "worth (logit)" if attribution.method == "shapley" else "contribution (logit)",
            range=[-room, room],
            zeroline=True,
            zerolinecolor=look.ink,
            zerolinewidth=1.5,
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            range=[n - 0.5, -0.5],
            tickmode="array",
            tickvals=list(range(n)),
            ticktext=[f"<b>{name}</b>" for name in data.names],
            showgrid=False,
            fixedrange=True,
        ),
    )
    return figure(traces, shape)


def _side(text: str, x: float, anchor: str, colour: str) -> dict[str, Any]:
    return {
        "text": f"<b>{text}</b>",
        "x": x,
        "xref": "paper",
        "xanchor": anchor,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13, "color": colour},
    }


@dataclass(frozen=True, eq=False)
class Fall:
    """Steps of a sum: names, (step,) values, and the level (step,) before and after each."""

    names: tuple[str, ...]
    values: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def _fall_data(attribution: Attribution) -> Fall:
    """Bias, then each lead in order, then a residual where it is to be seen; `after` ends at the logit."""
    _check(attribution, "lead")
    names = ["bias", *attribution.names]
    values = [attribution.bias, *attribution.values.tolist()]
    if abs(attribution.residual) > SHOWN:
        names.append("residual")
        values.append(attribution.residual)
    steps = np.nan_to_num(np.array(values))
    after = np.cumsum(steps)
    return Fall(tuple(names), np.array(values), after - steps, after)


def plot_waterfall(attribution: Attribution, dark: bool = False) -> go.Figure:
    """From the bias, lead by lead, to the logit.

    Parameters
    ----------
    attribution : from `explain(..., method="hug", level="lead")`
    dark : theme
    """
    look = theme(dark)
    data = _fall_data(attribution)
    label = _label(attribution.target)
    names = [*data.names, "logit"]
    total = float(data.after[-1])
    measures = ["absolute", *["relative"] * (len(data.names) - 1), "total"]
    largest = float(np.nanmax(np.abs(data.values[1:]))) if data.values.size > 1 else 1.0
    words = [signed(v, largest) if np.isfinite(v) else "absent" for v in data.values.tolist()]
    words[0] = signed(attribution.bias, largest)
    levels = np.concatenate([[0.0], data.before[1:], data.after])
    low, high = float(levels.min()), float(levels.max())
    pad = 0.12 * ((high - low) or 1.0)
    trace = go.Waterfall(
        x=list(range(len(names))),
        y=[*np.nan_to_num(data.values).tolist(), total],
        measure=measures,
        text=[*words, signed(total, largest)],
        textposition="outside",
        textfont={"size": 12, "color": look.ink},
        cliponaxis=False,
        width=0.72,
        connector={"line": {"color": look.muted, "width": 1}},
        increasing={"marker": {"color": look.supports}},
        decreasing={"marker": {"color": look.opposes}},
        totals={"marker": {"color": look.quiet}},
        customdata=names,
        hovertemplate="<b>%{customdata}</b>: %{text}<extra></extra>",
        name="",
    )
    shape = layout(
        look,
        f"From bias to logit: {label}",
        f"orange supports {label}, blue opposes it · left over: {abs(attribution.residual):.0e}",
        height=400,
        xaxis=axis(
            look,
            "bias, leads, logit",
            tickmode="array",
            tickvals=list(range(len(names))),
            ticktext=[f"<b>{name}</b>" for name in names],
            showgrid=False,
            fixedrange=True,
        ),
        yaxis=axis(
            look,
            "logit",
            range=[low - pad, high + pad],
            zeroline=True,
            zerolinecolor=look.ink,
            zerolinewidth=1.2,
            fixedrange=True,
        ),
    )
    return figure([trace], shape)


def _lead_colours(values: NDArray[np.float64], look: Theme) -> tuple[dict[str, str], float]:
    """Lead -> colour on the signed scale, and the end of that scale; leads without a value have none."""
    there = np.isfinite(values)
    end = float(np.abs(values[there]).max()) if there.any() else 1.0
    end = end or 1.0
    place = np.clip(0.5 + 0.5 * values[there] / end, 0, 1).tolist()
    scale = [list(stop) for stop in look.diverging]
    colours = sample_colorscale(scale, place) if place else []
    return dict(zip([LEADS[i] for i in np.flatnonzero(there)], colours, strict=True)), end


def plot_painted_ecg(
    ecg: ECG,
    attribution: Attribution,
    start: float = 0.0,
    seconds: float = 10.0,
    dark: bool = False,
    layout: str = "3x4",
    rhythm: str | None = None,
) -> go.Figure:
    """The ECG on paper, each lead in the colour of what it adds to the logit, that number beside its name.

    Parameters
    ----------
    ecg : ECG
    attribution : from `explain(..., method="hug", level="lead")`
    start, seconds : stretch shown, s
    dark : theme
    layout, rhythm : as in `plot_ecg`
    """
    _check(attribution, "lead")
    look = theme(dark)
    paper = _ecg_data(ecg, start, seconds, layout, rhythm, 25, 10, letters=6)
    colours, end = _lead_colours(attribution.values, look)
    colours |= {lead: look.muted for lead in (*LEADS, *ecg.extra) if lead not in colours}
    label = _label(attribution.target)
    numbers = {
        lead: signed(float(v), end)
        for lead, v in zip(LEADS, attribution.values, strict=True)
        if np.isfinite(v)
    }
    traces = _paper_traces(paper, look, None, ecg.units_known, colours, numbers)
    bar = {
        "thickness": 14,
        "len": 0.9,
        "y": 0.5,
        "x": 1.005,
        "xpad": 4,
        "outlinewidth": 0,
        "tickmode": "array",
        "tickvals": [-end, 0, end],
        "ticktext": [f"{signed(-end)}<br>opposes", "0", f"supports<br>{signed(end)}"],
        "tickfont": {"size": 12, "color": look.ink},
    }
    marker = {
        "color": [0.0],
        "cmin": -end,
        "cmax": end,
        "colorscale": [list(stop) for stop in look.diverging],
        "showscale": True,
        "colorbar": bar,
    }
    # a marker that is not there, for a colour bar that is
    traces.append(
        go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name="scale", hoverinfo="skip")
    )
    shape = _paper_layout(
        paper,
        ecg,
        look,
        f"Where {label} comes from: {record_name(ecg)}",
        f"colour and number: what the lead adds to the logit of {label}",
    )
    shape["margin"] = {**shape["margin"], "r": 104}
    return figure(traces, shape)


def _ink_on(colours: list[str]) -> list[str]:
    """Black or white, whichever reads better on each "rgb(r, g, b)"."""
    rgb = np.array([unlabel_rgb(colour) for colour in colours]).reshape(-1, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722] > 0.179  # where both contrasts are equal (WCAG 2)
    return np.where(light, "#000000", "#ffffff").tolist()


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """One row a (lead, beat) that has a weight.

    beats : (shown,) rows of the beats in view
    lead, beat : (n,) rows;  weight : (n,) share of its lead's attention;  missing : (m, 2) (lead, beat)
    even : share that each beat would have, were a lead to look at all alike
    """

    beats: NDArray[np.int64]
    lead: NDArray[np.int64]
    beat: NDArray[np.int64]
    weight: NDArray[np.float64]
    missing: NDArray[np.int64]
    even: float


def _attention_data(
    attribution: Attribution, tokens: BeatTokens, start: float, seconds: float
) -> AttentionMap:
    if attribution.level != "token" or attribution.values.shape != tokens.valid.shape:
        shape = attribution.values.shape
        raise ValueError(f"a map of beats needs values (12, beat) = {tokens.valid.shape}; these are {shape}.")
    shown = np.flatnonzero((tokens.r_peaks >= start) & (tokens.r_peaks <= start + seconds))
    values = attribution.values[:, shown]
    lead, column = np.nonzero(np.isfinite(values))
    missing = np.argwhere(~np.isfinite(values))
    missing[:, 1] = shown[missing[:, 1]]
    return AttentionMap(
        beats=shown,
        lead=lead,
        beat=shown[column],
        weight=values[lead, column],
        missing=missing,
        even=1 / max(tokens.n_beats, 1),
    )


def plot_attention(
    attribution: Attribution,
    tokens: BeatTokens,
    dark: bool = False,
    start: float = 0.0,
    seconds: float = 60.0,
    width: float = 1120,
) -> go.Figure:
    """How each lead token shares its attention among its own beats: a square a (lead, beat).

    Parameters
    ----------
    attribution : from `explain(..., method="attention")`
    tokens : of the same record
    dark : theme
    start, seconds : stretch whose beats are shown, s
    width : px that the page gives the figure, for the size of the squares

    The squares' customdata is (row of the lead, row of the beat).
    """
    look = theme(dark)
    data = _attention_data(attribution, tokens, start, seconds)
    n = data.beats.size
    top = float(data.weight.max()) if data.weight.size else 1.0
    side = float(np.clip((width - 170) / max(n, 1) - 2, 3, 34))
    write = n <= WRITTEN
    scale = [list(stop) for stop in look.sequential]
    ink = _ink_on(sample_colorscale(scale, (data.weight / (top or 1.0)).tolist())) if write else []
    trace = go.Scatter(
        x=data.beat + 1,
        y=data.lead,
        customdata=np.column_stack([data.lead, data.beat, tokens.r_peaks[data.beat], data.weight * 100]),
        mode="markers+text" if write else "markers",
        name="attention",
        text=[f"{w * 100:.0f}" for w in data.weight] if write else None,
        textfont={"size": 12, "color": ink} if write else None,
        marker={
            "symbol": "square",
            "size": side,
            "color": data.weight,
            "cmin": 0,
            "cmax": top,
            "colorscale": scale,
            "opacity": 1,
            "line": {"color": look.line, "width": 1 if side > 8 else 0},
            "colorbar": {
                "title": {"text": "share of the<br>lead's attention", "font": {"size": 12}},
                "tickformat": ".0%",
                "thickness": 14,
                "outlinewidth": 0,
                "tickfont": {"size": 12, "color": look.ink},
            },
        },
        hovertemplate=[
            f"<b>{LEADS[lead]}</b>, beat {beat + 1}, R peak {tokens.r_peaks[beat]:.2f} s: {weight:.1%}"
            "<extra></extra>"
            for lead, beat, weight in zip(data.lead, data.beat, data.weight, strict=True)
        ],
    )
    traces: list[Any] = [trace]
    if data.missing.size:
        traces.append(
            go.Scatter(
                x=data.missing[:, 1] + 1,
                y=data.missing[:, 0],
                mode="markers",
                name="no token",
                marker={
                    "symbol": "x-thin",
                    "size": min(side, 9),
                    "line": {"color": look.muted, "width": 1.2},
                },
                hovertemplate="no token here<extra></extra>",
            )
        )
    step = max(1, int(np.ceil(n / 16)))
    first = int(data.beats[0]) if n else 0
    ticks = (data.beats[::step] + 1).tolist()
    words = [f"lead tokens over their own beats, last layer; all alike would be {data.even:.1%} each"]
    if write:
        words.append("numbers in %")
    if n < tokens.n_beats:
        words.append(f"{n} of {tokens.n_beats} beats shown")
    if data.missing.size:
        words.append("×: no token")
    shape = layout(
        look,
        "Attention: where each lead looked (not what mattered)",
        " · ".join(words),
        height=66 + 66 + 38 * 12,
        margin={"l": 60, "r": 24, "t": 66, "b": 66},
        xaxis=axis(
            look,
            "beat, and its R peak (s)",
            range=[first + 0.4, first + n + 0.6],
            tickmode="array",
            tickvals=ticks,
            ticktext=[f"<b>{k}</b><br>{tokens.r_peaks[k - 1]:.1f}" for k in ticks],
            showgrid=False,
        ),
        yaxis=axis(
            look,
            "lead",
            range=[11.6, -0.6],
            tickmode="array",
            tickvals=list(range(12)),
            ticktext=[f"<b>{lead}</b>" for lead in LEADS],
            showgrid=False,
        ),
    )
    return figure(traces, shape)
