"""Tokens as squares, a row a lead and a column a beat: markers, since a heat map cannot be clicked on."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray


def squares(
    lead: NDArray[np.int64], beat: NDArray[np.int64], side: float, name: str, text: list[str], **marker: Any
) -> go.Scatter:
    """A trace of squares that hold (lead, beat) for a click, and are not dimmed by it.

    lead, beat : (token,) rows;  side : px;  text : (token,) under the mouse;  marker : of the squares
    """
    return go.Scatter(
        x=beat + 1,
        y=lead,
        customdata=np.column_stack([lead, beat]),
        mode="markers",
        name=name,
        marker={"symbol": "square", "size": side, "opacity": 1, **marker},
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        text=text,
        hovertemplate="%{text}<extra></extra>",
    )
