"""Why, token by token: a map of leads and beats, and the beat that was clicked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.plots.explanation import WEIGHTS, label_of
from clear_hug.plots.squares import squares
from clear_hug.plots.theme import (
    axis,
    colours_at,
    figure,
    ink_on,
    largest,
    layout,
    scale_end,
    signed,
    signed_bar,
    signed_marker,
    signed_places,
    theme,
    voltage_unit,
)

if TYPE_CHECKING:
    from clear_hug.explain import Attribution

WRITTEN = 16  # beats up to which each value is written in its square
LEAST, MOST = 8, 34  # px, the side of a square that can be clicked, and of one in a row
SIDES = 190  # px that the names of leads and the colour bar take
OTHERS = 60  # beats of the lead that are drawn behind the one chosen


@dataclass(frozen=True, eq=False)
class TokenMap:
    """One row a (lead, beat) that has a value.

    beats : (shown,) rows of the beats in view
    lead, beat : (n,) rows;  value : (n,);  missing : (m, 2) (lead, beat) without a token
    shares : the values are shares of a lead's attention, else signed
    end : of the colour scale
    """

    beats: NDArray[np.int64]
    lead: NDArray[np.int64]
    beat: NDArray[np.int64]
    value: NDArray[np.float64]
    missing: NDArray[np.int64]
    shares: bool
    end: float


def _token_map_data(
    attribution: Attribution, tokens: BeatTokens, start: float, seconds: float, most: int
) -> TokenMap:
    if attribution.level != "token" or attribution.values.shape != tokens.valid.shape:
        shape = attribution.values.shape
        raise ValueError(f"a map of beats needs values (12, beat) = {tokens.valid.shape}; these are {shape}.")
    shown = np.flatnonzero((tokens.r_peaks >= start) & (tokens.r_peaks <= start + seconds))[:most]
    values = np.asarray(attribution.values[:, shown], dtype=np.float64)
    lead, column = np.nonzero(np.isfinite(values))
    missing = np.argwhere(~np.isfinite(values))
    missing[:, 1] = shown[missing[:, 1]]
    return TokenMap(
        beats=shown,
        lead=lead,
        beat=shown[column],
        value=values[lead, column],
        missing=missing,
        shares=attribution.method in WEIGHTS,
        end=largest(values),
    )


def _check_token(token: tuple[int, int], tokens: BeatTokens) -> tuple[int, int]:
    lead, beat = token
    if not (0 <= lead < N_LEADS and 0 <= beat < tokens.n_beats):
        raise ValueError(
            f"token ({lead}, {beat}) is not in the record; leads are 0 to {N_LEADS - 1}, "
            f"beats 0 to {tokens.n_beats - 1}."
        )
    return int(lead), int(beat)


def _power(end: float) -> int:
    """The power of ten that makes the largest value a number of two digits before the point."""
    return 1 - int(np.floor(np.log10(end)))


def plot_token_map(
    attribution: Attribution,
    tokens: BeatTokens,
    chosen: tuple[int, int] | None = None,
    dark: bool = False,
    start: float = 0.0,
    seconds: float = 60.0,
    width: float = 1120,
    marks: Mapping[int, str] | None = None,
) -> go.Figure:
    """A square a token, leads by beats, in the colour of its value.

    Parameters
    ----------
    attribution : from `explain(..., level="token")`; signed values, or shares of attention
    tokens : of the same record
    chosen : (row of the lead, row of the beat) that is outlined
    dark : theme
    start, seconds : stretch whose beats are shown, s; the first of them, where all would not fit
    width : px that the page gives the figure, for the size of the squares
    marks : row of a beat -> a word on it (premature, wide), set above the map

    The squares' customdata is (row of the lead, row of the beat).
    """
    look = theme(dark)
    data = _token_map_data(attribution, tokens, start, seconds, int((width - SIDES) / (LEAST + 2)))
    n = data.beats.size
    side = float(np.clip((width - SIDES) / max(n, 1) - 2, LEAST, MOST))
    write = n <= WRITTEN
    scale = look.sequential if data.shares else look.two_sided
    places = data.value / data.end if data.shares else signed_places(data.value, data.end)
    power = 2 if data.shares else _power(data.end)
    said = [f"{v:.1%}" if data.shares else signed(v, data.end) for v in data.value.tolist()]
    at = zip(data.lead, data.beat, said, strict=True)
    bar: dict[str, Any] = {
        "title": {"text": "share of the<br>lead's attention", "font": {"size": 12}},
        "tickformat": ".0%",
        "thickness": 14,
        "outlinewidth": 0,
        "tickfont": {"size": 12, "color": look.ink},
    }
    traces: list[Any] = [
        squares(
            data.lead,
            data.beat,
            side,
            "tokens",
            [
                f"<b>{LEADS[lead]}</b>, beat {beat + 1}, R peak {tokens.r_peaks[beat]:.2f} s: {words}"
                for lead, beat, words in at
            ],
            color=data.value,
            cmin=0 if data.shares else -data.end,
            cmax=data.end,
            colorscale=[list(stop) for stop in scale],
            line={"color": look.line, "width": 1 if side > 10 else 0},
            colorbar=bar if data.shares else signed_bar(look, data.end),
        )
    ]
    if write:
        digits = np.rint(data.value * 10.0**power).astype(int).tolist()
        traces.append(
            go.Scatter(
                x=data.beat + 1,
                y=data.lead,
                mode="text",
                name="values",
                text=[str(d) if data.shares else f"{d:+d}".replace("-", "−") for d in digits],
                textfont={"size": 12, "color": ink_on(colours_at(scale, places))},
                selected={"textfont": {"color": look.ink}},  # so that a click does not dim the others
                hoverinfo="skip",
            )
        )
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
                selected={"marker": {"opacity": 1}},
                unselected={"marker": {"opacity": 1}},
                hovertemplate="no token here<extra></extra>",
            )
        )
    marked = {beat: (marks or {})[beat] for beat in data.beats.tolist() if beat in (marks or {})}
    if marked:
        traces.append(
            go.Scatter(
                x=[beat + 1 for beat in marked],
                y=[-0.85] * len(marked),
                mode="markers",
                name="marks",
                marker={"symbol": "triangle-down", "size": min(side, 11), "color": look.accent},
                selected={"marker": {"opacity": 1}},
                unselected={"marker": {"opacity": 1}},
                text=[f"beat {beat + 1}: {word}" for beat, word in marked.items()],
                hovertemplate="%{text}<extra></extra>",
            )
        )
    if chosen is not None:
        lead, beat = _check_token(chosen, tokens)
        if beat in data.beats:
            traces.append(
                go.Scatter(
                    x=[beat + 1],
                    y=[lead],
                    mode="markers",
                    name="chosen",
                    marker={
                        "symbol": "square-open",
                        "size": side + 3,
                        "color": look.ink,
                        "line": {"width": 3, "color": look.ink},
                    },
                    unselected={"marker": {"opacity": 1}},
                    hoverinfo="skip",
                )
            )
    step = max(1, int(np.ceil(n / 16)))
    first = int(data.beats[0]) if n else 0
    ticks = data.beats[::step].tolist()
    names = [
        f"<b>{_tinted(beat + 1, look.accent if beat in marked else '')}</b><br>{tokens.r_peaks[beat]:.1f}"
        for beat in ticks
    ]
    shape = layout(
        look,
        _map_title(attribution),
        " · ".join(_map_words(attribution, tokens, data, write, power, marked)),
        height=66 + 66 + 38 * 12 + (20 if marked else 0),
        margin={"l": 60, "r": 24 if data.shares else 104, "t": 66, "b": 66},
        xaxis=axis(
            look,
            "beat, and its R peak (s)",
            range=[first + 0.4, first + n + 0.6],
            tickmode="array",
            tickvals=[beat + 1 for beat in ticks],
            ticktext=names,
            showgrid=False,
        ),
        yaxis=axis(
            look,
            "lead",
            range=[11.6, -1.2 if marked else -0.6],
            tickmode="array",
            tickvals=list(range(12)),
            ticktext=[f"<b>{lead}</b>" for lead in LEADS],
            showgrid=False,
        ),
    )
    return figure(traces, shape)


def _tinted(text: object, colour: str) -> str:
    return f"<span style='color:{colour}'>{text}</span>" if colour else str(text)


def _map_title(attribution: Attribution) -> str:
    if attribution.method in WEIGHTS:
        return f"{attribution.method.capitalize()}: where each lead looked (not what mattered)"
    return f"What each beat of each lead is worth to the logit of {label_of(attribution)}"


def _map_words(
    attribution: Attribution,
    tokens: BeatTokens,
    data: TokenMap,
    write: bool,
    power: int,
    marked: Mapping[int, str],
) -> list[str]:
    words = []
    if data.shares:
        even = 1 / max(tokens.n_beats, 1)
        layers = WEIGHTS[attribution.method]
        words.append(f"lead tokens over their own beats, {layers}; all alike would be {even:.1%} each")
    else:
        words.append("orange supports, blue opposes")
    if write:
        words.append("numbers in %" if data.shares else f"numbers in {10.0**-power:.7g} of the logit")
    if data.beats.size < tokens.n_beats:
        words.append(f"{data.beats.size} of {tokens.n_beats} beats shown")
    if marked:
        said = [
            f"{word}: {', '.join(str(beat + 1) for beat, w in marked.items() if w == word)}"
            for word in dict.fromkeys(marked.values())
        ]
        words.append("▼ " + "; ".join(said))
    if data.missing.size:
        words.append("×: no token")
    return words


def plot_attention(
    attribution: Attribution, tokens: BeatTokens, dark: bool = False, **choices: Any
) -> go.Figure:
    """How each lead token shares its attention among its own beats: a square a (lead, beat).

    Parameters
    ----------
    attribution : from `explain(..., method="attention" or "rollout")`
    tokens, dark, **choices : as in `plot_token_map`
    """
    if attribution.method not in WEIGHTS:
        raise ValueError(f"{attribution.method} is no attention; show it by plot_token_map.")
    return plot_token_map(attribution, tokens, dark=dark, **choices)


@dataclass(frozen=True, eq=False)
class Token:
    """One token beside the others of its lead.

    time : (96,) s from the R peak;  trace : (96,) in the record's unit, NaN outside the beat's window
    others : (other, 96) likewise;  paint : (96,) what each sample is worth, or None
    """

    time: NDArray[np.float64]
    trace: NDArray[np.float64]
    others: NDArray[np.float64]
    paint: NDArray[np.float64] | None


def _token_data(tokens: BeatTokens, token: tuple[int, int], samples: NDArray[np.floating] | None) -> Token:
    lead, beat = _check_token(token, tokens)
    if samples is not None and np.shape(samples) != (TOKEN_SAMPLES,):
        raise ValueError(f"samples has shape {np.shape(samples)}; expected ({TOKEN_SAMPLES},).")
    traces = np.where(tokens.inside & tokens.valid[lead][:, None], tokens.values[lead], np.nan)
    others = np.flatnonzero(tokens.valid[lead])
    others = others[others != beat]
    nearest = others[np.argsort(np.abs(others - beat), kind="stable")[:OTHERS]]
    trace = traces[beat].astype(np.float64)
    return Token(
        time=(np.arange(TOKEN_SAMPLES) - TOKEN_SAMPLES // 2) / TOKEN_FS,
        trace=trace,
        others=traces[np.sort(nearest)].astype(np.float64),
        paint=None if samples is None else np.where(np.isfinite(trace), samples, np.nan),
    )


def plot_token(
    tokens: BeatTokens,
    token: tuple[int, int],
    attribution: Attribution | None = None,
    attention: Attribution | None = None,
    samples: NDArray[np.floating] | None = None,
    dark: bool = False,
    end: float | None = None,
) -> go.Figure:
    """One beat in one lead, over the lead's other beats, with its value and attention in words.

    Parameters
    ----------
    tokens : of the record
    token : (row of the lead, row of the beat)
    attribution : what the token is worth, from `explain(..., level="token")`
    attention : its share of attention, likewise
    samples : (96,) what each of its samples is worth, painted on the trace
    dark : theme
    end : of the colour scale of the samples, to share it; None = the largest
    """
    look = theme(dark)
    data = _token_data(tokens, token, samples)
    lead, beat = token
    unit = voltage_unit(tokens.units_known)
    gap = np.full((len(data.others), 1), np.nan)
    traces: list[Any] = [
        go.Scatter(
            x=np.tile(np.append(data.time, np.nan), len(data.others)),
            y=np.concatenate([data.others, gap], axis=1).ravel(),
            mode="lines",
            name="other beats",
            line={"color": look.hatch, "width": 1},
            opacity=0.5,
            hoverinfo="skip",
        ),
        go.Scatter(
            x=data.time,
            y=data.trace,
            mode="lines",
            name="this beat",
            line={"color": look.ink, "width": 1.4 if data.paint is not None else 2.4},
            hovertemplate=f"%{{x:.2f}} s  %{{y:.3f}} {unit}<extra></extra>",
        ),
    ]
    if data.paint is not None:
        end = scale_end(end, data.paint)
        loud = np.clip(np.abs(np.nan_to_num(data.paint)) / end, 0, 1)
        traces.append(
            go.Scatter(
                x=data.time,
                y=data.trace,
                mode="markers",
                name="paint",
                marker={
                    **signed_marker(look, end),
                    "color": np.nan_to_num(data.paint),
                    "size": 3 + 8 * loud,
                    "opacity": 1,
                    "line": {"width": 0},
                },
                hovertemplate="%{x:.2f} s: %{marker.color:+.2g} on the logit<extra></extra>",
            )
        )
    reach = np.concatenate([data.trace, data.others.ravel()])
    reach = reach[np.isfinite(reach)]
    low, high = (float(reach.min()), float(reach.max())) if reach.size else (-0.5, 0.5)
    pad = 0.08 * max(high - low, 1e-6)
    # of a tall beat the 0.1 mV lines would only be a haze
    fine = tokens.units_known and high - low < 4
    shape = layout(
        look,
        f"{LEADS[lead]}, beat {beat + 1} of {tokens.n_beats}: R peak at {tokens.r_peaks[beat]:.2f} s",
        " · ".join(_token_words(tokens, token, attribution, attention, data)),
        height=360,
        margin={"l": 60, "r": 104 if data.paint is not None else 24, "t": 66, "b": 48},
        plot_bgcolor=look.paper,
        xaxis=axis(
            look,
            "time from the R peak (s)",
            range=[float(data.time[0]) - 0.01, float(data.time[-1]) + 0.01],
            dtick=0.2,
            tick0=0,
            gridcolor=look.major,
            minor={"dtick": 0.04, "tick0": 0, "showgrid": True, "gridcolor": look.minor},
        ),
        yaxis=axis(
            look,
            unit,
            range=[low - pad, high + pad],
            gridcolor=look.major,
            **({"dtick": 0.5, "tick0": 0} if fine else {}),
            minor={"dtick": 0.1, "tick0": 0, "showgrid": True, "gridcolor": look.minor} if fine else {},
        ),
    )
    return figure(traces, shape)


def _token_words(
    tokens: BeatTokens,
    token: tuple[int, int],
    attribution: Attribution | None,
    attention: Attribution | None,
    data: Token,
) -> list[str]:
    lead, beat = token
    if not tokens.valid[lead, beat]:
        return ["no token here: the lead is absent or flat, or samples are missing"]
    words = []
    if attribution is not None:
        value = float(attribution.values[lead, beat])
        said = "supports" if value > 0 else "opposes"
        if np.isfinite(value):
            end = largest(attribution.values)
            words.append(f"<b>{said} {label_of(attribution)}: {signed(value, end)} on the logit</b>")
        else:
            words.append("left out")
    if attention is not None and np.isfinite(weight := float(attention.values[lead, beat])):
        even = 1 / max(int(tokens.valid[lead].sum()), 1)
        words.append(f"{weight:.1%} of the lead's {attention.method} (all alike: {even:.1%})")
    if data.paint is not None:
        words.append("paint: what each sample of 10 ms is worth")
    n = len(data.others)
    if n:
        words.append(f"faint: {n} other {'beat' if n == 1 else 'beats'} of the lead")
    return words
