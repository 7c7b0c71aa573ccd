"""A zoom that outlives its figure.

Streamlit mounts a figure that changed (calipers, marks) anew, at the ranges of its layout. A component
without a face tells how far the reader has zoomed in, and the next figure of the same paper is drawn so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import streamlit as st

Ranges = tuple[float, float, float, float]

# The ranges at which a figure was mounted are those it goes back to: by a double-click, or by its button.
_WATCH = """
export default function ({ data, setStateValue }) {
  let watched = null;
  const ranges = plot => [...plot._fullLayout.xaxis.range, ...plot._fullLayout.yaxis.range];
  const timer = setInterval(() => {
    const plot = document.querySelector(`.st-key-paper_${data.key} .js-plotly-plot`);
    if (!plot || plot === watched || !plot._fullLayout?.xaxis?.range) return;
    watched = plot;
    const first = ranges(plot);
    plot.on('plotly_relayout', change => {
      const names = Object.keys(change);
      if (!names.some(name => /^[xy]axis[.]/.test(name))) return;
      const now = ranges(plot);
      const back = names.some(name => name.endsWith('autorange'))
        || now.every((value, k) => Math.abs(value - first[k]) < 1e-6);
      setStateValue('zoom', { of: data.of, ranges: back ? [] : now });
    });
  }, 150);
  return () => clearInterval(timer);
}
"""


def zoom_of(key: str, of: str) -> Ranges | None:
    """(from, to) in x and in y that the reader has zoomed in to; None where all is shown.

    key : of the figure;  of : names what is drawn; a zoom of anything else is forgotten
    """
    state: Any = st.session_state.get(_name(key)) or {}
    told = state.get("zoom") or {}
    ranges: Sequence[float] = told.get("ranges", ()) if told.get("of") == of else ()
    return (ranges[0], ranges[1], ranges[2], ranges[3]) if len(ranges) == 4 else None


@st.fragment
def watch_zoom(key: str, of: str, drawn: Ranges | None) -> None:
    """Listen to the figure `key` without running the page; it runs when a zoom that was drawn is undone.

    drawn : the zoom at which the figure stands
    """
    _component()(
        data={"key": key, "of": of},
        key=_name(key),
        default={"zoom": None},
        on_zoom_change=lambda: None,
        height=0,
    )
    if drawn and zoom_of(key, of) is None:
        st.rerun()


def _name(key: str) -> str:
    return f"zoom_{key}"


@cache
def _component() -> Any:
    return st.components.v2.component("clear_hug_zoom", js=_WATCH)
