"""Text that is sent as it is written.

Streamlit sends a text when its field loses the focus: a link that is clicked on may then open its page first,
and the text is lost. A component without a face has it sent at each pause, as Ctrl+Enter does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

PAUSE = 400  # ms without a letter

_SEND = """
export default function ({ data }) {
  let timer = null;
  const typed = ({ target }) => {
    if (!target.closest?.(`.st-key-${data.key}`)) return;
    clearTimeout(timer);
    const key = { key: 'Enter', ctrlKey: true, bubbles: true, cancelable: true };
    timer = setTimeout(() => target.dispatchEvent(new KeyboardEvent('keydown', key)), data.pause);
  };
  document.addEventListener('input', typed);
  return () => document.removeEventListener('input', typed);
}
"""


def send_typed(key: str) -> None:
    """Have what is written in the text area `key` sent at each pause."""
    _component()(data={"key": key, "pause": PAUSE}, key=f"typed-{key}", height=0)


@cache
def _component() -> Any:
    return st.components.v2.component("clear_hug_typed", js=_SEND)
