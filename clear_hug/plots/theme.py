"""What all figures share: two themes, colours with enough contrast, rows of traces, thin traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import sample_colorscale, unlabel_rgb

from clear_hug.leads import LEADS

FONT = "Source Sans Pro, Source Sans 3, Inter, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
DRAWN = 6000  # samples a trace; five a pixel on a wide page, more would only be sent and not seen
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Theme:
    """Colours of a figure. Every colour that carries text or a trace stands 4.5:1 against `page`.

    page, paper : behind the figure, behind the traces
    minor, major : grid of ECG paper;  line : axes and plain grids
    ink, muted : traces and text; secondary text
    accent : what the eye is to go to (rebuilt samples, R peaks, a selected beat)
    supports, opposes : the two ends of the signed scale, vermilion and blue (colour-blind safe)
    called, quiet : bars of labels above and below their threshold
    band : the two washes that alternate behind beats;  hatch : time that no token holds
    diverging : signed colour scale of traces and their names;  two_sided : of squares and areas, 0 is pale
    sequential : colour scale of squares from 0 up
    """

    page: str
    paper: str
    minor: str
    major: str
    line: str
    ink: str
    muted: str
    accent: str
    supports: str
    opposes: str
    called: str
    quiet: str
    band: tuple[str, str]
    hatch: str
    diverging: tuple[tuple[float, str], ...]
    two_sided: tuple[tuple[float, str], ...]
    sequential: tuple[tuple[float, str], ...]


LIGHT = Theme(
    page="#ffffff",
    paper="#fff7f4",
    minor="#f9e2dc",
    major="#eebcb1",
    line="#d9d5d2",
    ink="#1d1b1a",
    muted="#5f5a57",
    accent="#b3123d",
    supports="#b8480b",
    opposes="#1f63a8",
    called="#0b6b66",
    quiet="#626d7b",
    band=("rgba(31,99,168,0.13)", "rgba(31,99,168,0.05)"),
    hatch="#8f8a86",
    diverging=((0.0, "#0b559f"), (0.3, "#2f6ba3"), (0.5, "#6b6662"), (0.7, "#a8541a"), (1.0, "#a33a00")),
    two_sided=((0.0, "#0b559f"), (0.25, "#6ea3d3"), (0.5, "#f3f0ed"), (0.75, "#eb9f68"), (1.0, "#a33a00")),
    sequential=((0.0, "#f4f1ee"), (0.25, "#c9d7e6"), (0.5, "#7fa8cf"), (0.75, "#2f6fab"), (1.0, "#08306b")),
)

DARK = Theme(
    page="#14171c",
    paper="#171b21",
    minor="#222831",
    major="#37404c",
    line="#3a424e",
    ink="#eceff3",
    muted="#a9b2be",
    accent="#ff7d96",
    supports="#ff9a52",
    opposes="#6db3f2",
    called="#4fd0c0",
    quiet="#8b97a6",
    band=("rgba(109,179,242,0.20)", "rgba(109,179,242,0.08)"),
    hatch="#6f7a88",
    diverging=((0.0, "#52a8ff"), (0.3, "#7fb4e0"), (0.5, "#a39f9b"), (0.7, "#e8a06a"), (1.0, "#ff8a33")),
    two_sided=((0.0, "#7cc4ff"), (0.25, "#33709f"), (0.5, "#252b34"), (0.75, "#a85f2a"), (1.0, "#ffab66")),
    sequential=((0.0, "#20262f"), (0.25, "#274563"), (0.5, "#3674a8"), (0.75, "#6db3f2"), (1.0, "#e2f1ff")),
)


def theme(dark: bool) -> Theme:
    return DARK if dark else LIGHT


def layout(look: Theme, title: str, subtitle: str = "", *, height: int, **more: Any) -> dict[str, Any]:
    """What every figure's layout has; `more` overrides."""
    text = f"<b>{title}</b>"
    if subtitle:
        text += f'<br><span style="font-size:13px;color:{look.muted}">{subtitle}</span>'
    heading = {
        "text": text,
        "font": {"size": 17, "color": look.ink},
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"l": 14, "t": 26},
    }
    return {
        "title": heading,
        "height": height,
        "paper_bgcolor": look.page,
        "plot_bgcolor": look.page,
        "font": {"family": FONT, "size": 13, "color": look.ink},
        "margin": {"l": 60, "r": 24, "t": 66, "b": 48},
        "hoverlabel": {"font": {"family": FONT, "size": 13}},
        "hovermode": "closest",
        "dragmode": "pan",
        "showlegend": False,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        **more,
    }


def axis(look: Theme, title: str = "", **more: Any) -> dict[str, Any]:
    """A plain axis: faint grid, no zero line; `more` overrides."""
    return {
        "title": {"text": title, "font": {"size": 13, "color": look.ink}},
        "tickfont": {"size": 12, "color": look.ink},
        "gridcolor": look.line,
        "linecolor": look.line,
        "zeroline": False,
        "automargin": False,
        **more,
    }


def figure(traces: list[Any], shape: dict[str, Any]) -> go.Figure:
    return go.Figure(data=traces, layout=shape)


def record_name(ecg: Any) -> str:
    """The record's name for a title; a simulated one says so."""
    name = ecg.record_id or "ECG"
    simulated = getattr(ecg, "simulated", False)
    return f"{name} (simulated)" if simulated and "simulated" not in name else name


def voltage_unit(units_known: bool) -> str:
    return "mV" if units_known else "arbitrary units"


def signed(value: float, like: float | None = None) -> str:
    """A signed number with the decimals that the largest of its kind (`like`) needs."""
    size = abs(value if like is None else like)
    decimals = 2 if size >= 0.095 or size == 0 else min(int(np.ceil(-np.log10(size))) + 2, 7)
    return f"{value:+.{decimals}f}".replace("-", "−")


def colours_at(scale: tuple[tuple[float, str], ...], places: Floats) -> list[str]:
    """Colours, "rgb(r, g, b)", at places (n,) of a colour scale that runs from 0 to 1; beyond, its end."""
    stops = [list(stop) for stop in scale]
    return sample_colorscale(stops, np.clip(places, 0, 1).tolist()) if places.size else []


def signed_places(values: Floats, end: float) -> NDArray[np.float64]:
    """Places on a scale that runs from -end to end."""
    return np.asarray(np.clip(0.5 + 0.5 * np.asarray(values, dtype=np.float64) / (end or 1.0), 0, 1))


def largest(values: Floats) -> float:
    """The largest of |values|, NaN aside: the end of a signed scale; 1 where there is none above 0."""
    there = np.abs(values[np.isfinite(values)])
    return (float(there.max()) if there.size else 1.0) or 1.0


def scale_end(end: float | None, values: Floats) -> float:
    """The end of a signed scale: the one that is asked for, else the largest of |values|."""
    if end is not None and not (np.isfinite(end) and end > 0):
        raise ValueError(f"end = {end}; a colour scale ends above 0.")
    return end if end is not None else largest(values)


def ink_on(colours: list[str]) -> list[str]:
    """Black or white, whichever reads better on each "rgb(r, g, b)"."""
    rgb = np.array([unlabel_rgb(colour) for colour in colours]).reshape(-1, 3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722] > 0.179  # where both contrasts are equal (WCAG 2)
    return np.where(light, "#000000", "#ffffff").tolist()


def signed_marker(look: Theme, end: float, clipped: bool = False) -> dict[str, Any]:
    """Of a marker that is coloured by a signed value: the scale of traces, and its bar.

    clipped : values beyond the end have the colour of the end, and the bar says so
    """
    low, high = ("≤ ", "≥ ") if clipped else ("", "")
    return {
        "cmin": -end,
        "cmax": end,
        "colorscale": [list(stop) for stop in look.diverging],
        "showscale": True,
        "colorbar": signed_bar(look, end, low, high),
    }


def signed_bar(look: Theme, end: float, low: str = "", high: str = "") -> dict[str, Any]:
    """The colour bar of a scale from -end to end; `low` and `high` stand before the numbers at its ends."""
    return {
        "thickness": 14,
        "len": 0.9,
        "y": 0.5,
        "x": 1.005,
        "xpad": 4,
        "outlinewidth": 0,
        "tickmode": "array",
        "tickvals": [-end, 0, end],
        "ticktext": [f"{low}{signed(-end)}<br>opposes", "0", f"supports<br>{high}{signed(end)}"],
        "tickfont": {"size": 12, "color": look.ink},
    }


def thin(time: Floats, values: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A trace of fewer samples with every peak kept: the extremes of each short stretch, in order.

    Parameters
    ----------
    time, values : (sample,);  NaN marks absent samples and stays

    Returns
    -------
    time, values : (fewer,) float32, about `DRAWN` at most; all of them where they are no more than that
    """
    if values.size <= DRAWN:
        return time.astype(np.float32), values.astype(np.float32)
    step = int(np.ceil(2 * values.size / DRAWN))
    n = values.size // step * step
    blocks = values[:n].reshape(-1, step)
    absent = np.isnan(blocks)
    low = np.where(absent, np.inf, blocks).argmin(axis=1)
    high = np.where(absent, -np.inf, blocks).argmax(axis=1)
    first = np.arange(0, n, step)
    edges = np.flatnonzero(absent.any(axis=1))
    gaps = first[edges] + absent[edges].argmax(axis=1)
    rows = np.unique(np.concatenate([[0], first + low, first + high, gaps, np.arange(n, values.size)]))
    return time[rows].astype(np.float32), values[rows].astype(np.float32)


def along(time: NDArray[np.float32]) -> dict[str, Any]:
    """The x of a trace: start and step where the samples are evenly spaced, which is a third less to send."""
    if time.size < 3:
        return {"x": time}
    step = float(time[-1] - time[0]) / (time.size - 1)
    rounding = 2 * float(np.spacing(np.abs(time).max()))  # late in a long record
    if np.abs(np.diff(time) - step).max() > 0.02 * step + rounding:
        return {"x": time}
    return {"x0": float(time[0]), "dx": step}


def stack(
    low: Floats, high: Floats, gap: float, least: float, most: float, step: float = 0.0
) -> NDArray[np.float64]:
    """Base lines (row,) of traces under one another, the first at 0, so that neighbours do not meet.

    Parameters
    ----------
    low, high : (row,) reach of each row below (<= 0) and above (>= 0) its base line
    gap : room between two rows;  least, most : of the distance between two base lines
    step : that distance is a multiple of it
    """
    pitch = np.clip(gap - low[:-1] + high[1:], least, most)
    if step:
        pitch = np.ceil(pitch / step) * step
    return -np.concatenate([[0.0], np.cumsum(pitch)])


def reach(values: Floats) -> tuple[float, float]:
    """How far a trace goes below and above 0; 0 where it holds nothing."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    return min(float(finite.min()), 0.0), max(float(finite.max()), 0.0)


def lead_rows(leads: tuple[str, ...] | list[str] | str | None) -> list[int]:
    """Rows of named leads; None = all twelve."""
    if leads is None:
        return list(range(len(LEADS)))
    names = [leads] if isinstance(leads, str) else list(leads)
    for name in names:
        if name not in LEADS:
            raise ValueError(f"lead {name!r} is not one of {', '.join(LEADS)}.")
    return [LEADS.index(name) for name in names]


def boxes(spans: Floats, bottom: float, top: float) -> tuple[list[float | None], list[float | None]]:
    """The x and y of filled rectangles, (span, 2) each from x to x, in one trace."""
    x: list[float | None] = []
    y: list[float | None] = []
    for a, b in spans.tolist():
        x += [a, b, b, a, a, None]
        y += [bottom, bottom, top, top, bottom, None]
    return x, y


def round_bar(tall: float, n: int) -> float:
    """A round voltage no taller than one of `n` rows of a plot `tall` high."""
    want = tall / max(n, 1)
    power = 10.0 ** np.floor(np.log10(want))
    return float(max(m * power for m in (1, 2, 5) if m * power <= want))


def scale_bar(bar: float, start: float, bottom: float, colour: str) -> dict[str, Any]:
    """An upright bar of `bar` left of the lead names of stacked traces."""
    return {
        "type": "line",
        "xsizemode": "pixel",
        "xanchor": start,
        "x0": -46,
        "x1": -46,
        "y0": bottom,
        "y1": bottom + bar,
        "line": {"color": colour, "width": 3},
    }


def time_axis(look: Theme, start: float, stop: float) -> dict[str, Any]:
    every = {"dtick": 1} if stop - start <= 20 else {}
    return axis(look, "time (s)", range=[start, stop], showgrid=False, ticks="outside", **every)
