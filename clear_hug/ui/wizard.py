"""What an uploaded file does not say: asked in a few fields, and the file is read anew with the answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from clear_hug.ecg import ECG, ECGError
from clear_hug.io import NeedsAnswer, cure, without_calls
from clear_hug.leads import LEADS
from clear_hug.ui.records import UPLOAD_NAMES, UPLOAD_SHOWN, UPLOADS, upload

NTH = "upload_nth"  # session_state: how many uploads were read
SOURCE = "upload_source"  # session_state: the files of the last upload, while something about it is open
BELOW = "in the field below"  # where what a file does not say is asked for, under what was wrong with it
AT_UPLOAD = "where you upload the file, on Home"  # of a record that came another way
_AS_READ = "as read"
_UNITS = {"uV": "µV", "mV": "mV", "V": "V"}
_WORDS = {"fs": "sampling rate", "unit": "unit", "leads": "order of leads", "orientation": "place of leads",
          "record": "which of its records"}  # fmt: skip


def first_read(files: Mapping[str, bytes]) -> None:
    """Read an upload; where it leaves something unsaid, its files stay in the session to be read anew."""
    forget()
    st.session_state[NTH] = st.session_state.get(NTH, 0) + 1  # its answers are not those of the last
    try:
        key = upload(files)
    except NeedsAnswer as error:
        st.session_state[SOURCE] = {"files": files, "key": "", "asks": error.asks, **_numbers(error)}
        raise
    ecg: ECG = st.session_state[UPLOADS][key]
    if ecg.guessed or cure(ecg):
        st.session_state[SOURCE] = {"files": files, "key": key, "asks": ecg.guessed}


def _numbers(error: NeedsAnswer) -> dict[str, int]:
    """How many channels and records there are, where the refusal says so."""
    return {k: n for k, n in (("channels", error.channels), ("records", error.records)) if n}


def forget() -> None:
    """Ask no more about the last upload, and keep its files no longer."""
    st.session_state.pop(SOURCE, None)


def ask_about_upload() -> None:
    """The fields, under the uploader, while the upload that they are about is shown or could not be read."""
    source = st.session_state.get(SOURCE)
    if not source or source["key"] != (st.session_state.get(UPLOAD_SHOWN["record"]) or ""):
        return
    ecg: ECG | None = st.session_state.get(UPLOADS, {}).get(source["key"])
    right = cure(ecg) if ecg is not None else {}
    asks = source["asks"]
    named = ", ".join(_WORDS[ask] for ask in asks)
    with st.expander(
        f"Not in your file: {named}" if asks else "Set your file right", expanded=ecg is None or bool(right)
    ):
        if right:
            st.button(_cure_words(right), on_click=_again, args=(right,), key="upload_cure")
        if asks:
            _fields(asks, ecg, source.get("channels", 0), source.get("records"))


def _cure_words(right: dict[str, Any]) -> str:
    said = []
    for lead, is_lead in right.get("leads", {}).items():
        said.append(f"turn {lead} over" if is_lead == f"-{lead}" else f"call {lead} {is_lead}")
    if "unit" in right:
        said.append(f"read the values as {_UNITS[right['unit']]}")
    words = ", ".join(said)
    return words[:1].upper() + words[1:]


def _fields(asks: tuple[str, ...], ecg: ECG | None, channels: int, records: int | None) -> None:
    with st.form("upload_answers", border=False):
        columns = st.columns(len(asks))
        for ask, column in zip(asks, columns, strict=True):
            with column:
                if ask == "fs":
                    fs = ecg.fs if ecg is not None else 500.0
                    st.number_input("Sampling rate (Hz)", 50.0, 20_000.0, fs, format="%g", key=_field("fs"))
                elif ask == "unit":
                    st.selectbox("Unit of the values", [_AS_READ, *_UNITS], key=_field("unit"),
                                 format_func=lambda unit: _UNITS.get(unit, "unknown"))  # fmt: skip
                elif ask == "orientation":
                    st.selectbox("Leads are in", [_AS_READ, "columns", "rows"], key=_field("orientation"))
                elif ask == "record":
                    of = f" (1 to {records:,})" if records else ""
                    st.number_input(f"Record{of}", 1, records, key=_field("record"))
                elif ask == "leads":
                    hint = {0: ", ".join(LEADS), 12: ", ".join(LEADS), 1: "II"}.get(
                        channels, f"{channels} names"
                    )
                    st.text_input("Leads, in the file's order", placeholder=hint, key=_field("leads"))
        st.form_submit_button("Read anew", on_click=_answered, args=(asks,))


def _field(ask: str) -> str:
    """The key of a field of this upload's form."""
    return f"answer_{ask}_{st.session_state.get(NTH, 0)}"


def _answered(asks: tuple[str, ...]) -> None:
    given: dict[str, Any] = {}
    for ask in asks:
        value = st.session_state.get(_field(ask))
        if ask == "leads":
            value = [name for name in str(value or "").replace(";", ",").replace(" ", ",").split(",") if name]
        if value and value != _AS_READ:
            given[ask] = value
    _again(given)


def _again(given: dict[str, Any]) -> None:
    """Read the kept files with the answers so far and these, in place of what they were read as."""
    source = st.session_state[SOURCE]
    asked = {**source.get("asked", {}), **given}
    st.session_state["upload_failed"] = ""
    try:
        key = upload(source["files"], **asked)
    except ECGError as error:
        st.session_state["upload_failed"] = without_calls(str(error), BELOW)
        if isinstance(error, NeedsAnswer):
            asks = tuple(dict.fromkeys((*source["asks"], *error.asks)))
            st.session_state[SOURCE] = {**source, "asks": asks, "asked": asked, **_numbers(error)}
        return
    old = source["key"]
    if old and old != key:
        for kept in (UPLOADS, UPLOAD_NAMES):
            st.session_state[kept] = {k: v for k, v in st.session_state[kept].items() if k != old}
    ecg: ECG = st.session_state[UPLOADS][key]
    open_still = {
        **source,
        "key": key,
        "asks": tuple(a for a in ecg.guessed if a not in asked),
        "asked": asked,
    }
    st.session_state[SOURCE] = open_still if open_still["asks"] or cure(ecg) else None
