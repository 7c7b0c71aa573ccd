"""Menus whose choice stands in the address of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from clear_hug.operating import LEVELS
from clear_hug.ui.records import choice, choose
from clear_hug.ui.show import say

NOTICES = "notices"  # session_state: where this run of the page says what a link asks for in vain
GONE = "link_gone"  # session_state: key -> what a link asked in vain, of which record; the widget's value
VIEWS = ("one ECG", "two side by side", "two laid over")  # of the ECG page
TABS = ("On the trace", "Leads × beats", "Groups", "Waterfall", "Left out", "Samples", "Attention", "Trust",
        "Export")  # of the Explanation page  # fmt: skip
GROUPED = ("lead", "beat", "group", "pair", "level")
AT_LEAST = tuple(f"{share:.0%}" for share in LEVELS)  # of the Diagnosis page
OF_TWO = {"view": (*VIEWS, *TABS), "level": (*GROUPED, *AT_LEAST)}
"""Keys that two pages have widgets of -> what either knows."""
T = TypeVar("T")


def of_link(label: str, options: Sequence[Any], key: str, make: Callable[[], T]) -> T:
    """What a widget that is bound to the address holds; says, until it is set, what a link asked in vain."""
    fresh = key not in st.session_state
    there = {str(option) for option in (*options, *OF_TWO.get(key, ()))}
    asked = [name for name in st.query_params.get_all(key) if name and name not in there]
    held = make()
    record = st.query_params.get("record")
    told = st.session_state.setdefault(GONE, {})
    if fresh:
        told[key] = (asked, record, held)
    gone, of, first = told.get(key, ([], None, None))
    if gone and (of, first) == (record, held):
        named = ", ".join(repr(name[:80]) for name in gone)
        place = st.session_state.get(NOTICES, st)
        place.warning(say(f"This link asks for {named} of “{label}”, which is not here; it is passed over."))
    return held


def choices(label: str, options: Sequence[Any], key: str, default: Any = None) -> Any:
    """A row of buttons, one of which is always pressed."""
    first = options[0] if default is None else default
    how: dict[str, Any] = {"default": first, "required": True, "key": key, "bind": "query-params"}
    chosen = of_link(label, options, key, lambda: st.segmented_control(label, options, **how))
    return first if chosen is None else chosen  # an address may say "?key="


def menu(label: str, options: Sequence[str], key: str, default: str | None = None) -> str:
    """A menu in which one option is always chosen."""
    index = options.index(default) if default else 0
    chosen = of_link(
        label, options, key, lambda: st.selectbox(label, options, index, key=key, bind="query-params")
    )
    return chosen or options[index]


def tabs(names: Sequence[str], key: str) -> dict[str, Any]:
    """Name -> tab; only the one that is open need be drawn."""
    how: dict[str, Any] = {"key": key, "on_change": "rerun", "bind": "query-params"}
    made: dict[str, Any] = {}

    def make() -> str:
        made.update(zip(names, st.tabs(list(names), **how), strict=True))
        return next((name for name in names if made[name].open), "")

    of_link("Tabs", names, key, make)
    return made


def several(label: str, options: Sequence[str], key: str, default: Sequence[str], most: int) -> list[str]:
    """A menu in which up to `most` options are chosen."""
    how: dict[str, Any] = {"key": key, "bind": "query-params", "max_selections": most}
    chosen = of_link(label, options, key, lambda: st.multiselect(label, options, default, **how))
    return [option for option in chosen if option in options]


def number(label: str, key: str, low: int, high: int, default: int) -> int:
    """A whole number; what another record left there is brought into range."""
    keep_in(key, low, high)
    return int(st.number_input(label, low, high, default, key=key, bind="query-params"))


def keep_in(key: str, low: int, high: int) -> None:
    value = st.session_state.get(key)
    if isinstance(value, int) and not low <= value <= high:
        st.session_state[key] = min(max(value, low), high)


def linked_menu(
    label: str, options: Sequence[str], chosen: str, name: str, key: str, words: Callable[[str], str]
) -> str:
    """A menu that stands at `chosen` and writes the choice `name` into the address."""
    st.session_state[key] = chosen
    st.selectbox(label, options, format_func=words, key=key, on_change=write_choice, args=(key, name))
    return chosen


def write_choice(key: str, name: str) -> None:
    """Write what the menu `key` holds into the address as the choice `name`, unless it holds none."""
    if st.session_state[key] is not None:
        choose(**{name: st.session_state[key]})


def other_menu(label: str, options: Sequence[str], name: str, words: Callable[[str], str]) -> str:
    """A menu that writes the choice `name` into the address; the first option, until another is chosen."""
    chosen = choice(name, options, options[0])
    return linked_menu(label, options, chosen, name, f"menu_{name}", words)
