"""Why, on the trace: the ECG painted by lead, by beat, or down to the sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from clear_hug.beats import TOKEN_FS, BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots.explanation import check, label_of
from clear_hug.plots.paper import Paper, ecg_data, paper_layout, paper_traces
from clear_hug.plots.theme import (
    Theme,
    colours_at,
    figure,
    largest,
    record_name,
    scale_end,
    signed,
    signed_marker,
    signed_places,
    theme,
)

if TYPE_CHECKING:
    from clear_hug.explain import Attribution

Array = NDArray[np.float64]
SHADES = 21  # of the signed scale; more would not be told apart, and each is a trace
POINTS = 14_000  # of paint on a page, at most
STEP = 0.5  # mm along the trace between two points of paint, at least
SMOOTH = 1.7  # samples of 10 ms, SD: 40 ms wide at half its height
QUIET = 0.04  # of the scale's end; below it a sample is not painted
LOUD = 99.0  # percentile of |values| where the scale of samples ends: a few samples do not dim the rest


def _lead_colours(
    values: NDArray[np.float64], look: Theme, end: float | None = None
) -> tuple[dict[str, str], float]:
    """Lead -> colour on the signed scale, and the end of that scale; leads without a value have none."""
    there = np.isfinite(values)
    end = scale_end(end, values)
    colours = colours_at(look.diverging, signed_places(values[there], end))
    return dict(zip([LEADS[i] for i in np.flatnonzero(there)], colours, strict=True)), end


def plot_painted_ecg(
    ecg: ECG,
    attribution: Attribution,
    start: float = 0.0,
    seconds: float = 10.0,
    dark: bool = False,
    layout: str = "3x4",
    rhythm: str | None = None,
    end: float | None = None,
    beats: NDArray[np.floating] | None = None,
    tokens: BeatTokens | None = None,
) -> go.Figure:
    """The ECG on paper, each lead in the colour of what it adds to the logit, that number beside its name.

    Parameters
    ----------
    ecg : ECG
    attribution : from `explain(..., level="lead")`, by a method other than attention
    start, seconds : stretch shown, s
    dark : theme
    layout, rhythm : as in `plot_ecg`
    end : of the colour scale, to share it with another figure; None = the largest value shown
    beats : (beat,) or (12, beat), by which each beat's stretch of trace is painted instead of the lead
    tokens : of the record; needed with `beats`

    With `beats`, the R peaks are markers whose customdata is (row of the lead, row of the beat).
    """
    check(attribution, "lead")
    look = theme(dark)
    label = label_of(attribution)
    numbers = _numbers(attribution.values)
    paper = ecg_data(ecg, start, seconds, layout, rhythm, 25, 10, letters=_letters(numbers))
    words = f"colour and number: what the lead adds to the logit of {label}"
    if beats is None:
        colours, end = _lead_colours(attribution.values, look, end)
        colours |= {lead: look.muted for lead in (*LEADS, *ecg.extra) if lead not in colours}
        traces = paper_traces(paper, look, None, ecg.units_known, colours, numbers)
    else:
        if tokens is None:
            raise ValueError("beats are painted over their windows; give the record's tokens too.")
        values = _beat_values(beats, tokens)
        end = scale_end(end, values)
        traces = paper_traces(paper, look, None, ecg.units_known, None, numbers, faint=True)
        traces += _paint_lines(_beat_paint(paper, values, tokens), look, end, 2.2)
        traces.append(_beat_points(paper, values, tokens, end))
        one = np.ndim(beats) == 1
        words = f"colour: what the beat is worth to the logit of {label}" + (", all leads alike" * one)
        words += " · number: what the lead adds"
    traces.append(_scale(look, end))
    shape = paper_layout(paper, ecg, look, f"Where {label} comes from: {record_name(ecg)}", words)
    shape["margin"] = {**shape["margin"], "r": 104}
    return figure(traces, shape)


def _scale(look: Theme, end: float, clipped: bool = False) -> Any:
    """A marker that is not there, for a colour bar that is."""
    marker = {"color": [0.0], **signed_marker(look, end, clipped)}
    return go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name="scale", hoverinfo="skip")


def _numbers(values: NDArray[np.float64]) -> dict[str, str]:
    """Lead -> its value as it is written beside the name."""
    end = largest(values)
    pairs = zip(LEADS, values.tolist(), strict=True)
    return {lead: signed(v, end) for lead, v in pairs if np.isfinite(v)}


def _letters(numbers: dict[str, str]) -> int:
    """Room that the longest of the numbers needs beside a lead's name."""
    return 1 + max((len(number) for number in numbers.values()), default=0)


def _beat_values(beats: NDArray[np.floating], tokens: BeatTokens) -> NDArray[np.float64]:
    """(12, beat) of what may be (beat,); NaN where there is no token."""
    values = np.asarray(beats, dtype=np.float64)
    if values.shape not in ((tokens.n_beats,), tokens.valid.shape):
        raise ValueError(
            f"beats has shape {values.shape}; expected ({tokens.n_beats},) or (12, {tokens.n_beats})."
        )
    return np.where(tokens.valid, values, np.nan)


@dataclass(frozen=True, eq=False)
class Paint:
    """Points along the trace of one strip, joined by lines.

    lead : its name;  time : (point,) s;  mm : (point,) height on the paper
    value : (point,), of the line to the next point; NaN where there is no paint
    """

    lead: str
    time: Array
    mm: Array
    value: Array


def _beat_paint(paper: Paper, values: Array, tokens: BeatTokens) -> tuple[Paint, ...]:
    """Each strip's own samples, with the value of the token that holds them."""
    paint = []
    for strip in paper.strips:
        if strip.lead not in LEADS or strip.state == "absent":
            continue
        time = strip.time.astype(np.float64)
        beat = np.maximum(np.searchsorted(tokens.windows[:, 0], time, side="right") - 1, 0)
        inside = (time >= tokens.windows[beat, 0]) & (time <= tokens.windows[beat, 1])
        value = np.where(inside & np.isfinite(strip.mm), values[LEADS.index(strip.lead), beat], np.nan)
        paint.append(Paint(strip.lead, time, strip.mm.astype(np.float64), value))
    return tuple(paint)


def _paint_lines(
    paint: tuple[Paint, ...], look: Theme, end: float, wide: float, wider: float = 0.0
) -> list[Any]:
    """A trace a shade, the strongest on top and `wider` px wider than the palest."""
    gap = np.full((3, 1), np.nan)
    strips = [part for p in paint for part in (np.stack([p.time, p.mm, p.value]), gap)]
    points = np.concatenate([*strips, gap], axis=1)  # the last is the gap that index -1 points to
    told = np.isfinite(points[2, :-1]) & np.isfinite(points[0, 1:])
    places = signed_places(np.nan_to_num(points[2, :-1]), end)
    shade = np.where(told, np.rint(places * (SHADES - 1)), -1)
    colours = colours_at(look.diverging, np.linspace(0, 1, SHADES))
    middle = SHADES // 2
    traces = []
    for k in sorted(np.unique(shade[told]).astype(int).tolist(), key=lambda k: abs(k - middle)):
        at = np.flatnonzero(shade == k)
        first = np.diff(at, prepend=-2) != 1
        kept = np.column_stack([first, np.ones(at.size, dtype=bool), np.append(first[1:], True)])
        after = np.full(at.size, -1)  # a gap, where the next line has another shade
        x, y = points[:2, np.column_stack([at, at + 1, after])[kept]].astype(np.float32)
        value = points[2, np.column_stack([at, at, after])[kept]].astype(np.float32)
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                customdata=value,
                mode="lines",
                name="paint",
                line={"color": colours[k], "width": wide + wider * abs(k - middle) / middle},
                hovertemplate="%{x:.2f} s: %{customdata:+.2g} on the logit<extra></extra>",
            )
        )
    return traces


def _beat_points(paper: Paper, values: NDArray[np.float64], tokens: BeatTokens, end: float) -> Any:
    """The R peaks: nothing to see, but to point at and to choose."""
    x, y, rows, said = [], [], [], []
    for strip in paper.strips:
        if strip.lead not in LEADS or strip.state == "absent":
            continue
        row = LEADS.index(strip.lead)
        seen = (tokens.r_peaks >= strip.start) & (tokens.r_peaks < strip.stop) & np.isfinite(values[row])
        for beat in np.flatnonzero(seen):
            at = min(int(np.searchsorted(strip.time, tokens.r_peaks[beat])), strip.time.size - 1)
            x.append(float(tokens.r_peaks[beat]))
            y.append(float(strip.mm[at]))
            rows.append((row, int(beat)))
            said.append(f"<b>{strip.lead}</b>, beat {beat + 1}: {signed(float(values[row, beat]), end)}")
    unchosen = {"marker": {"opacity": 0}}
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        name="beats",
        customdata=np.array(rows).reshape(-1, 2),
        text=said,
        marker={"size": 22, "opacity": 0},
        selected=unchosen,
        unselected=unchosen,
        hovertemplate="%{text}<extra></extra>",
    )


def _paint_data(
    paper: Paper, values: NDArray[np.float64], end: float | None
) -> tuple[tuple[Paint, ...], float]:
    """Paint at even steps along each strip, so that steep parts have it as closely, and the scale's end."""
    smooth = gaussian_filter1d(np.nan_to_num(values), SMOOTH, axis=1)
    if end is None:
        heard = np.abs(smooth[np.isfinite(values)])
        end = (float(np.percentile(heard, LOUD)) if heard.size else 0.0) or None
    end = scale_end(end, smooth)
    strips = [s for s in paper.strips if s.lead in LEADS and s.state != "absent" and s.time.size > 1]
    far = []
    for strip in strips:
        each = np.hypot(np.diff(strip.time.astype(np.float64)) * paper.speed, np.diff(strip.mm))
        far.append(np.concatenate([[0.0], np.cumsum(np.nan_to_num(each))]))
    step = max(STEP, sum(float(f[-1]) for f in far) / POINTS)
    paint = []
    for strip, along in zip(strips, far, strict=True):
        at = np.arange(0.0, along[-1], step)
        time, mm = np.interp(at, along, strip.time), np.interp(at, along, strip.mm)
        row = smooth[LEADS.index(strip.lead)]
        value = np.interp(time * TOKEN_FS, np.arange(row.size), row)
        told = np.isfinite(mm) & (np.abs(value) >= QUIET * end)
        paint.append(Paint(strip.lead, time, mm, np.where(told, value, np.nan)))
    return tuple(paint), end


def plot_painted_samples(
    ecg: ECG,
    attribution: Attribution,
    start: float = 0.0,
    seconds: float = 10.0,
    dark: bool = False,
    layout: str = "3x4",
    rhythm: str | None = None,
    end: float | None = None,
) -> go.Figure:
    """The ECG on paper, painted down to the sample: where on the trace the logit comes from.

    Parameters
    ----------
    ecg : ECG
    attribution : from `explain(..., level="sample")`: (12, sample at 100 Hz), smoothed here over 40 ms
    start, seconds : stretch shown, s
    dark : theme
    layout, rhythm : as in `plot_ecg`
    end : of the colour scale (logit a sample), to share it; None = so that 1 % of samples lie beyond
    """
    check(attribution, "sample")
    look = theme(dark)
    values = np.asarray(attribution.values, dtype=np.float64)
    there = np.isfinite(values).any(axis=1)
    numbers = _numbers(np.where(there, np.nansum(values, axis=1), np.nan))
    paper = ecg_data(ecg, start, seconds, layout, rhythm, 25, 10, letters=_letters(numbers))
    paint, end = _paint_data(paper, values, end)
    traces = paper_traces(paper, look, None, ecg.units_known, None, numbers, faint=True)
    traces += _paint_lines(paint, look, end, 2.0, 3.2)
    traces.append(_scale(look, end, clipped=True))
    label = label_of(attribution)
    shape = paper_layout(
        paper,
        ecg,
        look,
        f"Where {label} comes from, to the sample: {record_name(ecg)}",
        "colour: logit a sample of 10 ms, smoothed over 40 ms · number: sum over the lead",
    )
    shape["margin"] = {**shape["margin"], "r": 104}
    return figure(traces, shape)
