"""The ECGs that this session may open, and the choices that stand in the address of a page."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from clear_hug.cohort import list_entries
from clear_hug.ecg import ECG, ECGError
from clear_hug.io import LongRecord, held, open_ecg, read_ecg, read_ecg_upload
from clear_hug.io.limits import LONGEST_WHOLE
from clear_hug.simulate import SIMULATED, TITLES
from clear_hug.ui.show import say

MOST_OPTIONS = 2000  # in one menu; above it a search field narrows the list
UPLOADS = "uploads"  # session_state: id -> ECG, of this session alone
UPLOAD_NAMES = "upload_names"  # session_state: id -> the file's name, which may be a patient's
UPLOAD_SHOWN = {"record": "upload_shown", "with_record": "upload_beside"}  # session_state: ids looked at
MOST_UPLOADS = 5
OWN_FILE = "own_file"  # in the address: that a file of the user's own is shown, and nothing of it
STRETCH = 120.0  # s of a long record that are looked at; the slowest page takes seconds for it
STEP = 60.0  # s between two places where such a stretch may begin


@dataclass(frozen=True)
class Record:
    """An ECG that can be opened.

    id : in links;  title : for people, and says "simulated" where it is;  kind : a key of `KINDS`
    path : of a record in the folder
    """

    id: str
    title: str
    kind: str
    path: str = ""


KINDS = {"built in": "built in", "folder": "from the folder", "upload": "your file"}
DEFAULT_RECORD = "real"
BUILT_IN = {
    DEFAULT_RECORD: Record(DEFAULT_RECORD, "real: the 12-lead ECG that pydicom carries", "built in"),
    **{f"simulated-{kind}": Record(f"simulated-{kind}", TITLES[kind], "built in") for kind in SIMULATED},
}


def in_menu(record: Record) -> str:
    """A record's title for a narrow menu: the folder comes last, where it may be cut."""
    folder, _, name = record.title.rpartition("/")
    return f"{name} · {folder}" if folder and record.kind == "folder" else record.title


def data_folder() -> str:
    """The folder named by CLEAR_HUG_DATA, or ""."""
    return os.environ.get("CLEAR_HUG_DATA", "")


@st.cache_data(ttl=60, max_entries=4, show_spinner="Listing the folder ...")
def folder_records(folder: str) -> dict[str, Record]:
    """Ids are hashes: a file's name may be a patient's, and a link must not carry it."""
    return {
        entry.key: Record(entry.key, entry.title, "folder", str(entry.path)) for entry in list_entries(folder)
    }


def list_records() -> dict[str, Record]:
    """All that this session may open: id -> Record, built in first, then its uploads, then the folder."""
    names = st.session_state.get(UPLOAD_NAMES, {})
    uploads = {
        key: Record(key, names.get(key) or ecg.record_id or "your file", "upload")
        for key, ecg in st.session_state.get(UPLOADS, {}).items()
    }
    try:
        folder = folder_records(data_folder()) if data_folder() else {}
    except ECGError:
        folder = {}  # app.py says so
    return {**BUILT_IN, **uploads, **folder}


@st.cache_resource(max_entries=32, show_spinner=False)
def built_in(key: str) -> ECG:
    if key == DEFAULT_RECORD:
        from pydicom.data import get_testdata_file

        return read_ecg(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    return SIMULATED[key.removeprefix("simulated-")]()


@st.cache_resource(max_entries=8, show_spinner="Reading the record ...")
def _from_folder(path: str, stamps: tuple[tuple[int, int], ...]) -> ECG | LongRecord:
    return open_ecg(path)


@st.cache_resource(max_entries=16, show_spinner="Reading the stretch ...")
def _stretch(key: str, minute: int, _record: LongRecord) -> ECG:
    return _record.read(minute * STEP, STRETCH)


def stamps_of(*paths: Path) -> tuple[tuple[int, int], ...]:
    """When each file was written and how long it is; a changed file is another key of a cache."""
    stats = [path.stat() for path in paths if path.exists()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def _found(record: Record) -> tuple[ECG | LongRecord, str]:
    """A record as it was read or opened, and the key of what is known of it."""
    if record.kind == "upload":
        ecg: ECG = st.session_state[UPLOADS][record.id]
        return (held(ecg) if ecg.duration > LONGEST_WHOLE else ecg), ecg.digest
    if record.kind == "folder":
        path = Path(record.path)
        beside = [path.with_suffix(suffix) for suffix in (".dat", ".mat")] if path.suffix == ".hea" else []
        stamps = stamps_of(path, *beside)
        return _from_folder(record.path, stamps), repr((record.path, stamps))
    return built_in(record.id), record.id


def read_record(record: Record, minute: int = 0) -> ECG:
    """The ECG of a record in `list_records()`; of a long one the stretch that begins at `minute`."""
    found, key = _found(record)
    return found if isinstance(found, ECG) else _stretch(key, minute, found)


def long_record(record: Record) -> tuple[LongRecord, str] | None:
    """A record that is looked at a stretch at a time, and its key for caches; None for any other."""
    found, key = _found(record)
    return None if isinstance(found, ECG) else (found, key)


def last_minute(record: LongRecord) -> int:
    """The last place where a stretch of a long record may begin."""
    return max(0, math.ceil((record.seconds - STRETCH) / STEP))


def upload(files: Mapping[str, bytes], **asked: Any) -> str:
    """Keep an uploaded ECG in this session and show it; returns its id. Raises ECGError.

    files : name -> content;  **asked : options of `read_ecg_upload`
    """
    ecg = read_ecg_upload(files, **asked)
    header = next((name for name in files if name.lower().endswith(".hea")), next(iter(files)))
    return keep(ecg, Path(header).stem)


def keep(ecg: ECG, name: str) -> str:
    """Keep an ECG that the user brought in this session under a name for people, and show it; its id."""
    key = f"upload-{hashlib.sha256((ecg.digest + name).encode()).hexdigest()[:16]}"
    others = {k: v for k, v in st.session_state.get(UPLOADS, {}).items() if k != key}
    st.session_state[UPLOADS] = dict([*others.items(), (key, ecg)][-MOST_UPLOADS:])
    names = {**st.session_state.get(UPLOAD_NAMES, {}), key: name}
    st.session_state[UPLOAD_NAMES] = {k: v for k, v in names.items() if k in st.session_state[UPLOADS]}
    choose(record=key)
    return key


# Choices: they stand in the address


def choose(**choices: str | None) -> None:
    """Write choices into the address of the page; None takes one out.

    An uploaded record is no part of an address: this session alone remembers that it is shown.
    """
    for name, value in choices.items():
        if name in UPLOAD_SHOWN:
            mine = value if value in st.session_state.get(UPLOADS, {}) else None
            st.session_state[UPLOAD_SHOWN[name]] = mine
            if name == "record":  # so that a reload, which loses the file, can say so
                choose(**{OWN_FILE: "yes" if mine else None})
            value = None if mine else value
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value


def choice(name: str, options: Sequence[str] | Mapping[str, Any], default: str) -> str:
    """What the address names, if it is there to be chosen."""
    asked = st.query_params.get(name)
    return asked if asked is not None and asked in options else default


def warn_of_lost_file() -> None:
    """Say that the file that the address speaks of went with a reload, or with another's tab."""
    if st.query_params.get(OWN_FILE) and not st.session_state.get(UPLOAD_SHOWN["record"]):
        st.warning(
            "The file that was open here is not kept: it lived in its tab until the page was loaded anew. "
            "Open it again; until then another record is shown."
        )


def warn_of(name: str, options: Sequence[str] | Mapping[str, Any]) -> None:
    """Say that what the address names is not there to be chosen."""
    asked = st.query_params.get(name)
    if asked and asked not in options:
        st.warning(
            say(f"This link names the {name} {asked[:80]!r}, which is not here; another one is shown.")
        )
