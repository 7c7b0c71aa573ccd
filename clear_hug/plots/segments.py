"""Why, by the waves of a beat: what P, QRS and ST-T of each lead are worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from clear_hug.beats import SEGMENTS
from clear_hug.leads import LEADS
from clear_hug.plots.explanation import label_of
from clear_hug.plots.theme import axis, figure, largest, layout, signed, theme

if TYPE_CHECKING:
    from clear_hug.explain import Attribution


def plot_segments(attribution: Attribution, dark: bool = False) -> go.Figure:
    """A field a lead and segment, in the colour of its value.

    Parameters
    ----------
    attribution : from `explain(..., level="segment")`
    dark : theme
    """
    if attribution.level != "segment":
        raise ValueError(f"this figure shows an attribution by segment; this one is by {attribution.level}.")
    look = theme(dark)
    values = np.asarray(attribution.values, dtype=np.float64)
    end = largest(values)
    words = [[signed(v, end) if np.isfinite(v) else "absent" for v in row] for row in values.tolist()]
    if attribution.error is not None:
        words = [
            [word if word == "absent" else f"{word} ± {e:.2g}" for word, e in zip(row, errors, strict=True)]
            for row, errors in zip(words, attribution.error.tolist(), strict=True)
        ]
    label = label_of(attribution)
    field = go.Heatmap(
        z=values,
        x=list(SEGMENTS),
        y=list(LEADS),
        zmin=-end,
        zmax=end,
        colorscale=[list(stop) for stop in look.two_sided],
        text=words,
        texttemplate="%{text}",
        textfont={"size": 13},
        xgap=3,
        ygap=3,
        hovertemplate="<b>%{y}, %{x}</b>: %{text} on the logit<extra></extra>",
        colorbar={
            "thickness": 14,
            "outlinewidth": 0,
            "tickmode": "array",
            "tickvals": [-end, 0, end],
            "ticktext": [f"{signed(-end)}<br>opposes", "0", f"supports<br>{signed(end)}"],
            "tickfont": {"size": 12, "color": look.ink},
        },
    )
    shape = layout(
        look,
        f"What each segment of each lead is worth to the logit of {label}",
        "P: before the QRS complex; ST-T: after it; in all beats of the lead at once",
        height=66 + 40 + 30 * len(LEADS),
        margin={"l": 60, "r": 104, "t": 66, "b": 40},
        xaxis=axis(look, "", showgrid=False, fixedrange=True, side="bottom"),
        yaxis=axis(look, "", autorange="reversed", showgrid=False, fixedrange=True),
    )
    return figure([field], shape)
