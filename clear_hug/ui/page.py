"""open_page, the first line of every page, and guard, which turns what goes wrong into a sentence."""

from __future__ import annotations

import logging
import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import streamlit as st

from clear_hug.beats import NoBeats
from clear_hug.checkpoint import (
    CheckpointError,
)
from clear_hug.diagnosis import pick_device
from clear_hug.ecg import ECGError
from clear_hug.io import remove_left_folders, without_calls
from clear_hug.qrs import DETECTORS
from clear_hug.removal import TooManyParts
from clear_hug.ui.edits import say_edited
from clear_hug.ui.long import places_in_links, where_in_record
from clear_hug.ui.menus import NOTICES, linked_menu
from clear_hug.ui.printed import PRINT_CSS, fit_prints
from clear_hug.ui.records import (
    DEFAULT_RECORD,
    KINDS,
    MOST_OPTIONS,
    UPLOAD_SHOWN,
    Record,
    choice,
    choose,
    in_menu,
    list_records,
    warn_of,
    warn_of_lost_file,
)
from clear_hug.ui.results import Page, checkpoint_folders
from clear_hug.ui.show import html, say, show_quality
from clear_hug.ui.wizard import AT_UPLOAD
from clear_hug.words import NOTICE

log = logging.getLogger(__name__)
APP = "CLEAR-HUG Explorer"
HOME = "app.py"


def open_page(title: str) -> Page:
    """The first line of every page: look, navigation, notice, and the record that it is about."""
    st.set_page_config(f"{title} · {APP}", layout="wide", initial_sidebar_state=230)
    dark = st.context.theme.type == "dark"
    st.html(_CSS + PRINT_CSS + (_ON_LIGHT if dark else ""))
    remove_left_folders(tempfile.gettempdir())  # of a server that was killed while it read an upload
    records = list_records()
    uploaded = st.session_state.get(UPLOAD_SHOWN["record"])
    chosen = choice("record", records, uploaded if uploaded in records else DEFAULT_RECORD)
    detector = choice("detector", DETECTORS, next(iter(DETECTORS)))
    folders = checkpoint_folders()
    model = choice("model", folders, next(iter(folders), ""))
    record = records[chosen]

    with st.sidebar:
        st.html(f'<div class="brand">{APP}</div>')
        _navigation()
        _record_menu(records, chosen)
        _model_menu(folders, model)

    what = "" if record.kind == "built in" else f"{KINDS[record.kind]}: "
    st.html(
        f'<div class="head"><h1>{title}</h1><p>{html(what + record.title)}</p><small>{NOTICE}</small></div>'
    )
    fit_prints()
    st.session_state[NOTICES] = st.container()
    warn_of_lost_file()
    warn_of("record", records)
    warn_of("detector", DETECTORS)
    warn_of("model", folders)
    minute = 0
    with guard(), suppress(ECGError):  # of a record that cannot be read: the page itself says so
        minute = where_in_record(record, dark, open_whole=title == "Home")
    page = Page(record, detector, model, dark, minute)
    say_edited(page)
    with guard(), suppress(ECGError):  # of a record that cannot be read: the page itself says so
        show_quality(page)
        judged = page.quality.acceptable
        st.sidebar.caption(f"Signal quality: {'not judged' if math.isnan(judged) else f'{judged:.2f}'}")
    return page


@contextmanager
def guard(stop: bool = False) -> Iterator[None]:
    """Turn what goes wrong inside into one sentence on the page: the one place that does."""
    try:
        yield
        return
    except (NoBeats, TooManyParts) as error:
        st.warning(say(_begun(error)))
    except (ECGError, CheckpointError) as error:
        st.error(say(_begun(error)))
    except Exception:
        log.exception("a page failed")
        st.error(
            "Something unexpected went wrong here. The log of the app has the details; "
            "the record stays chosen, and the other pages still work."
        )
    if stop:
        st.stop()


def _begun(error: Exception) -> str:
    """An error as a sentence on the page; a record's name that it begins with stays as it is."""
    said = without_calls(str(error), AT_UPLOAD)
    return re.sub(r"^(no|the) ", lambda word: word[0].capitalize(), said)


def _navigation() -> None:
    # links carry the choices, so that a new tab shows the same record
    here = {**st.query_params.to_dict(), **places_in_links()}
    st.page_link(HOME, label="Home", query_params=here)
    for path in sorted((Path(__file__).parents[2] / "pages").glob("*.py")):
        label = re.sub(r"^\d+_", "", path.stem).replace("_", " ")
        st.page_link(f"pages/{path.name}", label=label, query_params=here)


def _record_menu(records: dict[str, Record], chosen: str) -> None:
    kind = records[chosen].kind
    options = [
        key
        for key, record in records.items()
        if record.kind != "folder" or kind == "folder" or len(records) < MOST_OPTIONS
    ]
    if len(options) > MOST_OPTIONS:
        at = max(0, options.index(chosen) - MOST_OPTIONS // 2)
        options = options[at : at + MOST_OPTIONS]
    linked_menu("Record", options, chosen, "record", "menu_record", lambda key: in_menu(records[key]))
    alike = [key for key, record in records.items() if record.kind == kind]
    at = alike.index(chosen)
    left, right = st.columns(2, wrap=False)
    left.button("Previous", on_click=choose, kwargs={"record": alike[at - 1]}, width="stretch",
                disabled=len(alike) < 2)  # fmt: skip
    right.button("Next", on_click=choose, kwargs={"record": alike[(at + 1) % len(alike)]}, width="stretch",
                 disabled=len(alike) < 2)  # fmt: skip


def _model_menu(folders: dict[str, Path], model: str) -> None:
    if len(folders) > 1:
        linked_menu("Model", list(folders), model, "model", "menu_model", str)
    device = {"cpu": "CPU", "cuda": "GPU (CUDA)", "mps": "GPU (MPS)"}[pick_device().type]
    st.caption(f"Model: {say(model) or 'none'} · runs on: {device}")


_CSS = """<style>
.stMainBlockContainer {padding: 1rem 2rem 1.5rem}
.stAppHeader {height: 2.2rem; background: transparent}
[data-testid="stSidebarHeader"] {height: 1.6rem; margin-bottom: 0}
[data-testid="stSidebarContent"] {padding: 0 .9rem}
[data-testid="stSidebarUserContent"] {padding: 0 0 1rem}
.stSidebar .stButton button {padding: 0 .3rem; min-height: 2.1rem}
.stSidebar .stVerticalBlock {gap: .4rem}
.stSidebar [data-testid="stColumn"] {min-width: 0}
.stMainBlockContainer > .stVerticalBlock {gap: .5rem}
.stMainBlockContainer > .stVerticalBlock {container-type: inline-size}
.stMainBlockContainer h4 {font-size: 1.15rem; padding: .2rem 0 .6rem}
.brand {font-weight: 650; letter-spacing: .01em}
.head {display: flex; align-items: baseline; gap: .9rem; flex-wrap: wrap}
.head h1 {font-size: 1.45rem; margin: 0; padding: 0}
.head p {font-size: 1rem; margin: 0}
.head small {opacity: .8}
.stApp [data-testid="stCaptionContainer"] {opacity: .8}
.stApp button kbd {opacity: .85}
.stApp code .token {color: inherit}
[class*="st-key-fit_prints"] {position: absolute}
[data-testid="stButtonGroup"] [role="radiogroup"] {flex-wrap: wrap; overflow: visible}
.stApp a:focus-visible {outline: 2px solid #8a2c2c; outline-offset: -2px}
[data-testid="stCheckbox"] label * {white-space: normal; overflow: visible}
[data-testid="stFileUploaderDropzone"] {padding: .25rem .4rem; min-height: 2.5rem}
[data-testid="stFileUploaderDropzoneInstructions"] {display: none}
[data-testid="stFileUploaderDropzone"] button {min-height: 1.9rem; padding: 0 .5rem}
@container (max-width: 640px) {
  .stColumn {min-width: 7.8rem}
  .stColumn:has(table, .stPlotlyChart) {min-width: min(100%, 26rem)}
  .js-plotly-plot .gtitle tspan[style*="font-size"] {font-size: 11.5px !important}
  .stMainBlockContainer [role="tablist"] {gap: .45rem}
  table.plain {font-size: .8rem}
  table.plain th {font-size: .75rem}
  table.plain.wide {font-size: .68rem}
  table.plain.wide th {font-size: .68rem}
  table.plain.wide :is(th, td) {padding-right: .15rem}
  table.plain.wide td:first-child {min-width: 5em}
}
</style>"""

# In the dark theme the main colour is a light one, on which Streamlit would write in white.
_ON_LIGHT = """<style>
.stApp [data-testid^="stBaseButton-primary"], .stApp [data-testid^="stBaseButton-primary"] p,
.stApp [data-tag], .stApp [data-tag] * {color: #14171c}
.stApp a:focus-visible {outline-color: #e58f83}
</style>"""
