"""Beats, leads and groups switched off, and the token that was clicked on."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from clear_hug.leads import GROUPS, LEADS
from clear_hug.ui.menus import of_link
from clear_hug.ui.results import Page
from clear_hug.ui.show import CHART, clicked

OFF = ("off_groups", "off_leads", "off_beats")  # what is switched off, in the address
TOKEN = "token_chosen"  # session_state: (record and label, row of the lead, row of the beat)
PAST = "off_before"  # session_state: what was switched off before, the last at the end
MOST_PILLS = 24


def switches(page: Page) -> NDArray[np.bool_]:
    """Buttons, kept in the link, that switch groups, leads and beats off; (12, beat) bool, what is off."""
    tokens = page.tokens
    beats = [str(k) for k in range(1, tokens.n_beats + 1)]
    options = dict(zip(OFF, (list(GROUPS), list(LEADS), beats), strict=True))
    labels = dict(zip(OFF, ("Groups off", "Leads off", "Beats off"), strict=True))
    if st.session_state.get(f"{PAST}_of", page.ecg.digest) != page.ecg.digest:  # another record's
        st.session_state[PAST], st.session_state["off_beats"] = [], []
    st.session_state[f"{PAST}_of"] = page.ecg.digest
    off: dict[str, list[str]] = {}
    for place, (key, names) in zip(st.columns([2.6, 4, 4]), options.items(), strict=True):
        if any(name not in names for name in st.session_state.get(key) or []):  # of another record
            st.session_state[key] = [name for name in st.session_state[key] if name in names]
        how: dict[str, Any] = {"key": key, "on_change": _remember, "bind": "query-params"}
        if len(names) > MOST_PILLS:
            make = partial(place.multiselect, labels[key], names, **how)
        else:
            make = partial(place.pills, labels[key], names, selection_mode="multi", wrap=True, **how)
        off[key] = of_link(labels[key], names, key, make) or []
    undo, back, _ = st.columns([1, 1, 6])
    past = st.session_state.setdefault(PAST, [])
    undo.button("Undo", on_click=_undo, disabled=not past, width="stretch")
    back.button("All back on", on_click=_all_on, disabled=not any(off.values()), width="stretch")
    st.session_state[f"{PAST}_now"] = off
    hidden = np.zeros_like(tokens.valid)
    for group in off["off_groups"]:
        hidden[list(GROUPS[group])] = True
    hidden[[LEADS.index(lead) for lead in off["off_leads"]]] = True
    hidden[:, [int(beat) - 1 for beat in off["off_beats"]]] = True
    return hidden


def _remember() -> None:
    st.session_state.setdefault(PAST, []).append(st.session_state.get(f"{PAST}_now", {}))


def _undo() -> None:
    past = st.session_state.get(PAST)
    for key, value in (past.pop() if past else {}).items():
        st.session_state[key] = value


def _all_on() -> None:
    _remember()
    for key in OFF:
        st.session_state[key] = []


def chosen_token(page: Page, values: NDArray[np.float64]) -> tuple[int, int]:
    """(row of the lead, row of the beat) that was clicked on, or that which counts most."""
    record = (*page.key, page.target)
    for click in clicked("tokens"):
        row, beat = (int(k) for k in click.held[:2])
        st.session_state[TOKEN] = (record, row, beat)  # the figure is drawn anew, and forgets its selection
    of, row, beat = st.session_state.get(TOKEN, ((), 0, 0))
    if of == record and beat < page.tokens.n_beats and page.tokens.valid[row, beat]:
        return row, beat
    most = int(np.nanargmax(np.abs(values)))
    return most // values.shape[1], most % values.shape[1]


def pick_token(figure: Any, key: str, alt: str) -> None:
    """Draw a figure whose markers can be clicked on; see `chosen_token`."""
    st.plotly_chart(
        figure,
        width="stretch",
        theme=None,
        key=key,
        config=CHART,
        alt=alt,
        on_select="rerun",
        selection_mode="points",
    )
