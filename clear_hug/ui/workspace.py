"""Whose work it is: of the session, and over a restart of the browser that asked to keep it.

`clear_hug.store` says how a workspace stays private. Work goes through here, so that a page need not know
whether it is kept: what the store cannot do is said once on the page, and work goes on in the session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from clear_hug.store import WORKSPACE, Forgotten, Store, StoreError, new_workspace
from clear_hug.ui.show import say

COOKIE = "clear_hug_workspace"
KEPT_SECONDS = 365 * 24 * 3600
MINE = "workspace"  # session_state: the workspace that this session keeps its work in; "" for none
FAILED = "store_failed"  # session_state: why the store could not be used
SWITCH = "keep_work"
LEFT = "workspace_left"  # session_state: the workspace that this session forgot
READINGS = "readings"  # session_state: digest of a record -> what was read of it
LOST_ON_RELOAD = "In this tab until it is reloaded; “Keep my work”, on the ECG page, keeps it longer."
KEEP_WORDS = (
    "In this browser, over a reload or a restart. R peaks edited by hand and readings are kept on the "
    "machine that runs this app, under the record's digest, for this browser alone: a cookie says which are "
    "yours, and no link does. Switched off, what was kept is deleted."
)


def workspace() -> str:
    """The workspace of this browser, or "" where its work is not kept."""
    if MINE not in st.session_state:
        asked = st.context.cookies.get(COOKIE, "")
        known = isinstance(asked, str) and WORKSPACE.fullmatch(asked)
        st.session_state[MINE] = asked if known and not _forgotten(asked) else ""
    return str(st.session_state[MINE])


def _forgotten(mine: str) -> bool:
    """Whether a workspace was forgotten: a cookie, or another tab, may still name it."""
    try:
        Store().check(mine)
    except Forgotten:
        return True
    except StoreError:  # said where the store is asked for work
        pass
    return False


def with_store(work: Callable[[Store, str], Any], default: Any = None) -> Any:
    """What `work` (store, workspace) returns; `default` where work is not kept, or the store fails."""
    mine = workspace()
    if not mine:
        return default
    try:
        result = work(Store(), mine)
        st.session_state[FAILED] = ""
    except StoreError as error:
        st.session_state[FAILED] = str(error)
        if isinstance(error, Forgotten):
            st.session_state[MINE] = ""
        return default
    return result


def say_store_failed() -> None:
    """Why work is not kept although it was asked for."""
    if said := st.session_state.get(FAILED):
        st.warning(say(said))


def save_reading(record: str, reading: Mapping[str, Any]) -> None:
    """Add what was read of a record (its digest) to the session, and to the store where work is kept."""
    readings(record)  # what was kept before comes first
    st.session_state[READINGS][record].append(dict(reading))
    with_store(lambda store, mine: store.save_reading(record, mine, reading))


def readings(record: str) -> list[dict[str, Any]]:
    """What was read of a record (its digest), the oldest first."""
    mine = st.session_state.setdefault(READINGS, {})
    if record not in mine:
        mine[record] = with_store(lambda store, kept: store.readings(record, kept), [])
    return list(mine[record])


def keep_switch(save_all: Callable[[], None]) -> None:
    """The switch that keeps this browser's work over a restart, or deletes what was kept.

    save_all : saves what the session holds, when it is switched on
    """
    if workspace() and _forgotten(workspace()):  # by another tab, whose cookie is not to be written over
        with_store(lambda store, mine: store.check(mine))
        say_store_failed()
    st.session_state[SWITCH] = bool(workspace())
    st.toggle("Keep my work", key=SWITCH, on_change=_switched, args=(save_all,), help=KEEP_WORDS)
    _write_cookie(workspace())


def _switched(save_all: Callable[[], None]) -> None:
    if st.session_state[SWITCH]:
        st.session_state[MINE] = new_workspace()
        save_all()
        for record, mine in st.session_state.get(READINGS, {}).items():
            for reading in mine:
                with_store(lambda store, kept: store.save_reading(record, kept, reading))  # noqa: B023
    else:

        def forget(store: Store, mine: str) -> bool:
            store.forget(mine)
            return True

        if with_store(forget, False):  # else its name is still needed, and what went wrong is said
            st.session_state[LEFT], st.session_state[MINE] = workspace(), ""


def _write_cookie(mine: str) -> None:
    """Set the cookie; without a workspace delete it, where it still names the one that was forgotten here."""
    left = st.session_state.get(LEFT, "")
    if not mine and not left:
        return
    age = KEPT_SECONDS if mine else 0
    when = "" if mine else f"if (document.cookie.includes('{COOKIE}={left}')) "
    st.html(
        f"<script>{when}document.cookie = '{COOKIE}={mine}; path=/; max-age={age}; SameSite=Strict' + "
        "(location.protocol === 'https:' ? '; Secure' : '')</script>",
        unsafe_allow_javascript=True,
    )
