"""Text that is sent as it is written.

Streamlit sends a text when its field loses the focus: a link that is clicked on may then open its page first,
and the text is lost. A component without a face has it sent at each pause, as Ctrl+Enter does; a click
before the pause is over sends it at once and takes effect after it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

PAUSE = 400  # ms without a letter

_SEND = """
export default function ({ data }) {
  let timer = null, waits = null, until = 0;
  const mine = target => target.closest?.(`.st-key-${data.key}`);
  const send = () => {
    clearTimeout(timer);
    const target = waits;
    waits = null;
    const key = { key: 'Enter', ctrlKey: true, bubbles: true, cancelable: true };
    target?.dispatchEvent(new KeyboardEvent('keydown', key));
  };
  const typed = ({ target }) => {
    if (!mine(target)) return;
    clearTimeout(timer);
    waits = target;
    timer = setTimeout(send, data.pause);
  };
  const hold = () => { until = performance.now() + data.pause; };
  const pressed = ({ target }) => {
    if (!waits || mine(target)) return;
    hold();
    send();
  };
  // a click that comes while the text is on its way is one with it to the server, and one of the two is lost
  const clicked = event => {
    if (!event.isTrusted) return;
    pressed(event);  // of a key, which no pointer came before
    if (performance.now() >= until || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.stopPropagation();
    event.preventDefault();
    hold();
    const { target, detail, clientX, clientY, screenX, screenY } = event;
    const where = { detail, clientX, clientY, screenX, screenY };
    setTimeout(() => target.dispatchEvent(
      new MouseEvent('click', { bubbles: true, cancelable: true, composed: true, view: window, ...where })
    ), data.pause);  // not click(), which the picture of a button has not, and which tells no place
  };
  const events = [['input', typed], ['pointerdown', pressed], ['click', clicked]];
  events.forEach(([name, act]) => document.addEventListener(name, act, true));
  return () => events.forEach(([name, act]) => document.removeEventListener(name, act, true));
}
"""


def send_typed(key: str) -> None:
    """Have what is written in the text area `key` sent at each pause."""
    _component()(data={"key": key, "pause": PAUSE}, key=f"typed-{key}", height=0)


@cache
def _component() -> Any:
    return st.components.v2.component("clear_hug_typed", js=_SEND)
