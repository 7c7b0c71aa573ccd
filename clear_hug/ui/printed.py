"""Pages as the browser prints them.

A figure is as wide as the window was, which no sheet of paper is: what lay to the right was cut off, and of
an ECG it was the last leads. While a page is printed a component without a face has each figure drawn to the
size of its place; what is only to be pressed is left out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

ON_SCREEN = "on_screen"  # a container whose key begins so is not printed

PRINT_CSS = f"""<style>
@media print {{
  @page {{margin: 8mm}}
  .stApp {{print-color-adjust: exact; -webkit-print-color-adjust: exact}}
  .stSidebar, .stAppHeader, .modebar, [class*="st-key-{ON_SCREEN}"] {{display: none !important}}
  .stMainBlockContainer {{padding: 0 !important}}
  .stPlotlyChart, table.plain {{break-inside: avoid}}
  [class*="st-key-paper_"] :is(.stElementContainer, [data-testid="stFullScreenFrame"], .stPlotlyChart)
    {{max-height: 92vh}}
  .js-plotly-plot, .js-plotly-plot .plot-container, .js-plotly-plot .svg-container
    {{width: 100% !important; height: 100% !important}}
  .js-plotly-plot svg.main-svg[viewBox] {{width: 100% !important; height: 100% !important}}
}}
</style>"""

# a view box has all of a drawing fit its place, and keeps a millimetre as long as it is high
_FIT = """
export default function () {
  const drawn = () => document.querySelectorAll('.js-plotly-plot svg.main-svg');
  const fit = () => drawn().forEach(svg => {
    const [wide, high] = ['width', 'height'].map(name => parseFloat(svg.getAttribute(name)));
    if (wide && high) svg.setAttribute('viewBox', `0 0 ${wide} ${high}`);
  });
  const back = () => drawn().forEach(svg => svg.removeAttribute('viewBox'));
  window.addEventListener('beforeprint', fit);
  window.addEventListener('afterprint', back);
  return () => {
    window.removeEventListener('beforeprint', fit);
    window.removeEventListener('afterprint', back);
  };
}
"""


def fit_prints() -> None:
    """Have the figures of this page fit the sheet when the browser prints it."""
    _component()(key="fit_prints", height=0)


@cache
def _component() -> Any:
    return st.components.v2.component("clear_hug_printed", js=_FIT)
