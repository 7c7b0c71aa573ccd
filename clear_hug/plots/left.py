"""What is left of an ECG when parts are switched off."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens
from clear_hug.ecg import ECG
from clear_hug.leads import LEADS
from clear_hug.plots.paper import Paper, ecg_data, paper_layout, paper_traces
from clear_hug.plots.theme import figure, record_name, theme


def plot_what_is_left(
    ecg: ECG,
    tokens: BeatTokens,
    hidden: NDArray[np.bool_],
    start: float = 0.0,
    seconds: float = 10.0,
    layout: str = "3x4",
    dark: bool = False,
) -> go.Figure:
    """The ECG on paper: what the model still sees in ink, what is switched off faint.

    Parameters
    ----------
    ecg, tokens : of one record
    hidden : (12, beat) bool, the tokens that are switched off
    start, seconds : stretch shown, s;  layout : as in `plot_ecg`
    dark : theme
    """
    look = theme(dark)
    paper = ecg_data(ecg, start, seconds, layout, None, 25, 10, letters=6)
    traces = paper_traces(paper, look, None, ecg.units_known, None, {}, faint=True)
    x, y = _seen(paper, tokens, tokens.valid & ~hidden)
    line = {"color": look.ink, "width": 1.6}
    traces.append(go.Scatter(x=x, y=y, mode="lines", name="seen", line=line, hoverinfo="skip"))
    return figure(traces, paper_layout(paper, ecg, look, f"What is left: {record_name(ecg)}", "in ink: seen"))


def _seen(
    paper: Paper, tokens: BeatTokens, seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(point,) s and mm of the stretches of trace that visible tokens hold, a gap between two."""
    gap = np.full((2, 1), np.nan, dtype=np.float32)
    pieces = [gap]
    for strip in paper.strips:
        if strip.lead not in LEADS or strip.state == "absent":
            continue
        points = np.stack([strip.time, strip.mm])
        first = np.searchsorted(strip.time, tokens.windows[:, 0])
        last = np.searchsorted(strip.time, tokens.windows[:, 1], side="right")
        for beat in np.flatnonzero(seen[LEADS.index(strip.lead)] & (last > first)):
            pieces += [points[:, first[beat] : last[beat]], gap]
    x, y = np.concatenate(pieces, axis=1)
    return x, y
