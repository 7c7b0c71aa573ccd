"""Pick a record, a detector, a label."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import streamlit as st

from clear_hug.ecg import ECGError
from clear_hug.io import READERS, NeedsAnswer, read_physionet, without_calls
from clear_hug.qrs import DETECTORS
from clear_hug.ui.menus import linked_menu, number, write_choice
from clear_hug.ui.records import (
    BUILT_IN,
    MOST_OPTIONS,
    UPLOAD_SHOWN,
    choice,
    data_folder,
    folder_records,
    in_menu,
    keep,
    last_minute,
    list_records,
    long_record,
    warn_of,
)
from clear_hug.ui.results import Page
from clear_hug.ui.show import say
from clear_hug.ui.wizard import AT_UPLOAD, BELOW, ask_about_upload, first_read, forget

log = logging.getLogger(__name__)
TURN = "uploader_turn"  # session_state: counts uploads, each of which leaves an empty uploader behind
WAITING = "upload_waiting"  # session_state: name -> content of WFDB files whose other file is not there yet
FAILED, FAILED_AT = "upload_failed", "upload_failed_at"  # session_state: why, and what was shown then
PARTS = (".hea", ".dat", ".mat")  # of a WFDB record
MOST_WAITING = 8


def detector_menu(page: Page) -> None:
    linked_menu(
        "Beats found by", list(DETECTORS), page.detector, "detector", "menu_detector", _detector_words
    )


def _detector_words(name: str) -> str:
    known = {
        "clear": "CLEAR-HUG's own, all leads",
        "neurokit": "neurokit2, one lead",
        "xqrs": "XQRS, one lead",
    }
    return known.get(name, name)


def target_menu(page: Page) -> str:
    """The label to look at; the most probable one of the first task, until another is chosen."""
    warn_of("target", page.checkpoint.targets)
    order = [page.checkpoint.targets[row] for row in page.ranking]
    chance = dict(zip(page.checkpoint.targets, page.diagnosis.probabilities, strict=True))

    def words(target: str) -> str:
        task = f"{target.split('/')[0]}: " if len(page.checkpoint.tasks) > 1 else ""
        return f"{task}{page.checkpoint.description[target]} ({chance[target]:.0%})"

    return linked_menu("Label", order, page.target, "target", "menu_target", words)


def against_menu(page: Page, target: str) -> str:
    """A label of the same task that `target` is held against; "" for none."""
    task = target.split("/")[0]
    names = {
        "": "no other: the label alone",
        **{
            page.checkpoint.targets[row]: page.words(row)
            for row in page.ranking
            if page.diagnosis.tasks[row] == task and page.checkpoint.targets[row] != target
        },
    }
    warn_of("against", names)
    asked = st.query_params.get("against", "")
    return linked_menu("Rather than", list(names), asked if asked in names else "", "against", "menu_against",
                 lambda key: names[key])  # fmt: skip


def other_record(page: Page) -> Page:
    """The page of another record, chosen by a menu: of those built in, and of the same kind."""
    kinds = {"built in", page.record.kind}
    records = {
        key: record
        for key, record in list_records().items()
        if record.kind in kinds and key != page.record.id
    }
    options = list(records)[:MOST_OPTIONS]
    mine = st.session_state.get(UPLOAD_SHOWN["with_record"])
    chosen = mine if mine in records else choice("with_record", options, options[0])
    key = linked_menu(
        "With", options, chosen, "with_record", "menu_with_record", lambda key: in_menu(records[key])
    )
    minute = 0
    with suppress(ECGError):  # of a record that cannot be read: whoever draws it says so
        if long := long_record(records[key]):
            minute = number("from minute", "with_minute", 0, last_minute(long[0]), 0)
    return replace(page, record=records[key], minute=minute)


def pick_built_in(page: Page) -> None:
    chosen = page.record.id if page.record.id in BUILT_IN else None
    _menu_or_none("Built in", list(BUILT_IN), chosen, "pick_built_in", lambda key: BUILT_IN[key].title)


def pick_from_folder(page: Page) -> None:
    if not data_folder():
        st.markdown("**A folder of your own**")
        st.caption(say("Set CLEAR_HUG_DATA to a folder of ECG files before the start to list them here."))
        return
    records = folder_records(data_folder())
    if not records:
        st.info("The folder named by CLEAR_HUG_DATA holds no ECG file.")
        return
    wanted = ""
    if len(records) > MOST_OPTIONS:
        wanted = st.text_input("Search the folder", placeholder="part of a name").lower()
    found = [key for key, record in records.items() if wanted in record.title.lower()]
    chosen = page.record.id if page.record.id in found else None
    label = f"From the folder ({len(found)} record{'' if len(found) == 1 else 's'})"
    _menu_or_none(label, found[:MOST_OPTIONS], chosen, "pick_folder", lambda key: in_menu(records[key]))


def _menu_or_none(
    label: str, options: Sequence[str], chosen: str | None, key: str, words: Callable[[str], str]
) -> None:
    st.session_state[key] = chosen
    st.selectbox(label, options, index=None, format_func=words, key=key, on_change=write_choice,
                 args=(key, "record"), placeholder="Type to search ...")  # fmt: skip


def pick_upload() -> None:
    """An uploader; what cannot be read is said in a sentence, and the record shown stays."""
    key = f"uploader_{st.session_state.get(TURN, 0)}"
    st.file_uploader(
        "Your file, or all files of a WFDB record",
        None,  # known by content: a hospital's files have any extension, or none
        accept_multiple_files=True,
        key=key,
        on_change=_uploaded,
        args=(key,),
        help=f"{', '.join(READERS)}, or a .zip of one record; a WFDB record needs its .hea and .dat, at once "
        "or one after the other. "
        "The file stays in this session, and is in no link. A longer recording (WFDB, EDF, BDF, ISHNE) opens "
        "in parts where it lies in the folder that CLEAR_HUG_DATA names.",
    )


def pick_physionet() -> None:
    """A field for the name of a record of PhysioNet, which is opened as an upload is."""
    st.text_input(
        "From PhysioNet",
        placeholder="mitdb/100",
        key="physionet",
        on_change=_named,
        help="database/record, such as mitdb/100 or ptb-xl/records500/00000/00001_hr. Its files come from "
        "physionet.org, which learns no more than the name; the record stays in this session.",
    )


def _named() -> None:
    name = st.session_state.get("physionet", "").strip()
    st.session_state[FAILED] = ""
    if not name:
        return
    forget()
    try:
        with st.spinner(f"Reading {say(name[:80])} from PhysioNet ..."):
            keep(read_physionet(name), f"{name} of PhysioNet")
    except ECGError as error:
        _failed(without_calls(str(error), AT_UPLOAD))
        return
    st.session_state["physionet"] = ""


def show_upload_error() -> None:
    """What was wrong with the last upload, until another one is tried or another record is chosen."""
    if said := st.session_state.get(FAILED):
        if st.session_state.setdefault(FAILED_AT, _shown()) == _shown():
            st.error(say(f"{said} The record below is still the one that was shown before."))
        else:
            st.session_state[FAILED] = ""
    if not st.session_state.get(FAILED):
        st.session_state.pop(FAILED_AT, None)
    ask_about_upload()


def _shown() -> tuple[str | None, str | None]:
    """Which record is shown, by the address or in this session."""
    return st.query_params.get("record"), st.session_state.get(UPLOAD_SHOWN["record"])


def _failed(said: str) -> None:
    st.session_state[FAILED], st.session_state[FAILED_AT] = said, _shown()


def _uploaded(key: str) -> None:
    files = {file.name: file.getvalue() for file in st.session_state.get(key) or []}
    st.session_state[FAILED] = ""
    if not files:
        return
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1  # the uploader is empty again
    waiting: dict[str, bytes] = st.session_state.pop(WAITING, {})
    try:
        _read_first(files, waiting)
    except ECGError as error:
        names = ", ".join(list(files)[:4])  # to the one who chose them, and in no log
        said = f"{names}: {without_calls(str(error), BELOW)}"
        lacking = _of_wfdb(files) and not _whole({**waiting, **files}, _stems(files))
        if lacking and not isinstance(error, NeedsAnswer):
            st.session_state[WAITING] = dict([*waiting.items(), *files.items()][-MOST_WAITING:])
            said += " It is kept meanwhile: give what it needs, and they are read together."
        _failed(said)
    except Exception as error:
        log.error("an upload failed: %s", type(error).__name__)  # its text may quote the file
        _failed("This file cannot be read. The log of the app has the details.")


def _read_first(files: dict[str, bytes], waiting: dict[str, bytes]) -> None:
    """Read files with those that wait for them, of the same name first; else by themselves."""
    if _of_wfdb(files):
        stems = _stems(files)
        alike = {name: content for name, content in waiting.items() if Path(name).stem in stems}
        for some in (alike, waiting):
            if not some:
                continue
            try:
                return first_read({**some, **files})
            except NeedsAnswer:
                raise
            except ECGError:
                if some is alike and _whole({**some, **files}, stems):
                    raise  # nothing is missing: this is what is wrong
    return first_read(files)


def _stems(names: Iterable[str]) -> set[str]:
    return {Path(name).stem for name in names}


def _whole(files: Iterable[str], stems: set[str]) -> bool:
    """Whether header and samples of one of the records are both there."""
    parts = {(Path(name).stem, Path(name).suffix.lower()) for name in files}
    return any((stem, ".hea") in parts and bool({(stem, ".dat"), (stem, ".mat")} & parts) for stem in stems)


def _of_wfdb(files: Iterable[str]) -> bool:
    return all(Path(name).suffix.lower() in PARTS for name in files)
