"""What all figures share: two themes, colours with enough contrast, rows of traces, thin traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.leads import LEADS

FONT = "Source Sans Pro, Source Sans 3, Inter, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
DRAWN_PER_SECOND = 250.0  # samples; two a pixel at the size that a 10 s page is shown
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
    diverging, sequential : colour scales
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
    sequential: tuple[tuple[float, str], ...]


LIGHT = Theme(
    page="#ffffff",
    paper="#fffaf8",
    minor="#fae6e1",
    major="#efbfb5",
    line="#d9d5d2",
    ink="#1d1b1a",
    muted="#5f5a57",
    accent="#b3123d",
    supports="#b8480b",
    opposes="#1f63a8",
    called="#b8480b",
    quiet="#6b7684",
    band=("rgba(31,99,168,0.13)", "rgba(31,99,168,0.05)"),
    hatch="#8f8a86",
    diverging=((0.0, "#0b559f"), (0.3, "#3f7fb8"), (0.5, "#77716d"), (0.7, "#c0692c"), (1.0, "#a33a00")),
    sequential=((0.0, "#f4f1ee"), (0.25, "#c9d7e6"), (0.5, "#7fa8cf"), (0.75, "#2f6fab"), (1.0, "#08306b")),
)

DARK = Theme(
    page="#14171c",
    paper="#171b21",
    minor="#20252d",
    major="#323a45",
    line="#3a424e",
    ink="#eceff3",
    muted="#a9b2be",
    accent="#ff7d96",
    supports="#ff9a52",
    opposes="#6db3f2",
    called="#ff9a52",
    quiet="#8b97a6",
    band=("rgba(109,179,242,0.20)", "rgba(109,179,242,0.08)"),
    hatch="#6f7a88",
    diverging=((0.0, "#52a8ff"), (0.3, "#7fb4e0"), (0.5, "#a39f9b"), (0.7, "#e8a06a"), (1.0, "#ff8a33")),
    sequential=((0.0, "#20262f"), (0.25, "#274563"), (0.5, "#3674a8"), (0.75, "#6db3f2"), (1.0, "#e2f1ff")),
)


def theme(dark: bool) -> Theme:
    return DARK if dark else LIGHT


def layout(look: Theme, title: str, subtitle: str = "", *, height: int, **more: Any) -> dict[str, Any]:
    """What every figure's layout has; `more` overrides."""
    heading: dict[str, Any] = {
        "text": f"<b>{title}</b>",
        "font": {"size": 17, "color": look.ink},
        "x": 0,
        "xref": "container",
        "xanchor": "left",
        "pad": {"l": 14},
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "automargin": False,
    }
    heading["pad"]["t"] = 12
    if subtitle:
        heading["subtitle"] = {"text": subtitle, "font": {"size": 13, "color": look.muted}}
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


def thin(time: Floats, values: Floats, fs: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A trace of fewer samples with every peak kept: the extremes of each short stretch, in order.

    Parameters
    ----------
    time, values : (sample,);  NaN marks absent samples and stays
    fs : Hz

    Returns
    -------
    time, values : (fewer,) float32, at most about `DRAWN_PER_SECOND` a second
    """
    step = int(2 * fs // DRAWN_PER_SECOND)
    if step <= 2 or values.size < 2 * step:
        return time.astype(np.float32), values.astype(np.float32)
    n = values.size // step * step
    blocks = values[:n].reshape(-1, step)
    low = np.where(np.isnan(blocks), np.inf, blocks).argmin(axis=1)
    high = np.where(np.isnan(blocks), -np.inf, blocks).argmax(axis=1)
    gap = np.isnan(blocks).any(axis=1)
    low = np.where(gap, np.isnan(blocks).argmax(axis=1), low)
    first = np.arange(0, n, step)
    rows = np.sort(np.stack([first + low, first + high], axis=1), axis=1).ravel()
    rows = np.concatenate([[0], rows, np.arange(n, values.size), [values.size - 1]])
    rows = np.unique(rows)
    return time[rows].astype(np.float32), values[rows].astype(np.float32)


def stack(low: Floats, high: Floats, gap: float, least: float, most: float) -> NDArray[np.float64]:
    """Base lines (row,) of traces under one another, the first at 0, so that neighbours do not meet.

    Parameters
    ----------
    low, high : (row,) reach of each row below (<= 0) and above (>= 0) its base line
    gap : room between two rows;  least, most : of the distance between two base lines
    """
    pitch = np.clip(gap - low[:-1] + high[1:], least, most)
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
    """x and y of filled rectangles, (span, 2) each from x to x, in one trace."""
    x: list[float | None] = []
    y: list[float | None] = []
    for a, b in spans.tolist():
        x += [a, b, b, a, a, None]
        y += [bottom, bottom, top, top, bottom, None]
    return x, y
