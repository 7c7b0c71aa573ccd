"""R peaks edited by hand, in this session: the beat that is chosen, tools, undo, the notice, files.

Edits belong to a record (its digest) and a detector: another detector's marks are there untouched. Where
the work is kept (see `workspace`), each change is saved as it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from clear_hug.beats import BeatTokens, NoBeats
from clear_hug.ecg import ECG, ECGError
from clear_hug.edits import (
    EditedPeaks,
    add_peak,
    from_dict,
    move_peak,
    nearest_extremum,
    peaks_csv,
    peaks_json,
    read_peaks,
    remove_peak,
    start_from,
    to_dict,
)
from clear_hug.qrs import DETECTORS, detect_qrs
from clear_hug.ui.records import choose
from clear_hug.ui.show import CHART, clicked, download, say
from clear_hug.ui.workspace import keep_switch, say_store_failed, with_store, workspace

if TYPE_CHECKING:
    from clear_hug.ui.results import Page

EDITS = "r_peak_edits"  # session_state: digest of a record -> detector -> History
AT = "peak_at"  # session_state: s, where an R peak would be added
UNSEEN = "edits_unseen"  # session_state: of which edits what the store holds could not be read
UNSEEN_WORDS = (
    "What was kept of this record's R peaks could not be read, and is not written over: this change stays in "
    "the session. Export it, or reload the page to try again."
)
REFUSED = "edit_refused"  # session_state: why the last change was not made, until the next one
STRIP, TABLE = "strip_figure", "beat_table"
TABLES = "beat_tables"  # session_state: how often the choice came from elsewhere than the table
IMPORTS, IMPORT_SAID = "peaks_imports", "peaks_import_said"  # session_state: how many, what came of the last
SNAP_WORDS = "Where all leads together deflect most, within 80 ms on each side."
MOST_UNDO = 50
STEP = 0.01  # s, of a coarse step


@dataclass
class History:
    """What stands now; what stood before and after it, the nearest at the end."""

    now: EditedPeaks
    past: list[EditedPeaks] = field(default_factory=list)
    future: list[EditedPeaks] = field(default_factory=list)


def edits_of(ecg: ECG, detector: str) -> EditedPeaks | None:
    """The edited R peaks of a record; None where the detector's stand as they are."""
    history = _histories(ecg).get(detector)
    return history.now if history and history.now.changed else None


def may_have_edits() -> bool:
    """Something was edited in this session, or kept by this browser: a record is worth asking."""
    return bool(st.session_state.get(EDITS)) or bool(workspace())


def _histories(ecg: ECG) -> dict[str, History]:
    every = st.session_state.setdefault(EDITS, {})
    if ecg.digest not in every:
        nothing: dict[str, Any] | None = None if workspace() else {}
        kept = with_store(lambda store, mine: store.r_peaks(ecg.digest, mine), nothing)
        if kept is None and workspace():  # no answer: what the store may hold is not to be written over
            _unseen().update((ecg.digest, detector) for detector in DETECTORS)
        found = {}
        for detector, edits in (kept or {}).items():
            try:
                found[detector] = History(from_dict(edits, ecg))
            except ECGError as error:
                _unseen().add((ecg.digest, detector))
                st.warning(say(f"R peaks that were kept of this record cannot be used: {error}"))
        every[ecg.digest] = found
    return every[ecg.digest]


def _unseen() -> set[tuple[str, str]]:
    """(digest, detector) of edits that the store may hold and this session could not read."""
    found: set[tuple[str, str]] = st.session_state.setdefault(UNSEEN, set())
    return found


def say_edited(page: Page) -> None:
    """That R peaks were edited by hand: every page says so, as every answer rests on them."""
    if may_have_edits():
        with suppress(ECGError):  # a record that cannot be read: the page itself says so
            if page.edits:
                where = "" if workspace() else ", in this tab until it is reloaded"
                st.markdown(f":orange-badge[R peaks edited by hand ({page.edits.summary}){where}]")
            if aside := _put_aside(page):
                st.warning(say(aside))
    say_store_failed()


def _put_aside(page: Page) -> str:
    """That R peaks were edited with the leads the other way round, and do not count now; else ""."""
    if page.set_right:
        edits = edits_of(page.recorded, page.detector)
        made, back = "before the leads were corrected", "“As recorded” brings them back"
    elif page.quality.reversal:
        edits = edits_of(page.undone(page.quality.reversal), page.detector)
        made, back = "while the leads were corrected", "“Correct the leads” brings them back"
    else:
        return ""
    return f"R peaks edited by hand {made} ({edits.summary}) are put aside; {back}." if edits else ""


# Changes


def _base(page: Page) -> EditedPeaks:
    """What a change starts from: the edits there are, or the detector's marks."""
    history = _histories(page.ecg).get(page.detector)
    if history:
        return history.now
    try:
        found = page.tokens.r_peaks
    except NoBeats:
        found = np.empty(0)
    return start_from(page.ecg, page.detector, found)


def _put(ecg: ECG, peaks: EditedPeaks, before: EditedPeaks) -> None:
    histories = _histories(ecg)
    past = histories[peaks.detector].past if peaks.detector in histories else []
    histories[peaks.detector] = History(peaks, [*past, before][-MOST_UNDO:])
    _save(peaks)


def _save(peaks: EditedPeaks) -> None:
    if (peaks.record, peaks.detector) in _unseen():
        st.session_state[REFUSED] = UNSEEN_WORDS
    elif peaks.changed:
        with_store(lambda store, mine: store.save_r_peaks(peaks.record, mine, peaks.detector, to_dict(peaks)))
    else:
        with_store(lambda store, mine: store.forget_r_peaks(peaks.record, mine, peaks.detector))


def _change(page: Page, change: Callable[[EditedPeaks], tuple[EditedPeaks, int | None]]) -> None:
    """Make a change, which returns the R peaks and the row that is chosen after it."""
    st.session_state[REFUSED] = ""
    before = _base(page)
    try:
        after, beat = change(before)
    except ECGError as error:
        st.session_state[REFUSED] = str(error)
        return
    _put(page.ecg, after, before)
    _choose_beat(beat)


def _add(page: Page, snapped: bool) -> None:
    sample = round(float(st.session_state[AT]) * page.ecg.fs)
    if snapped:
        sample = nearest_extremum(page.ecg, sample)

    def change(peaks: EditedPeaks) -> tuple[EditedPeaks, int]:
        after = add_peak(peaks, sample)
        return after, int(np.searchsorted(after.samples, sample))

    _change(page, change)
    st.session_state[AT] = None
    st.session_state["edit"] = True  # where no beat was found the tools stood there unasked: they stay


def _move(page: Page, sample: int, by: int) -> None:
    def change(peaks: EditedPeaks) -> tuple[EditedPeaks, int]:
        beat = _row(peaks, sample)
        return move_peak(peaks, beat, sample + by), beat

    _change(page, change)


def _snap(page: Page, sample: int) -> None:
    by = nearest_extremum(page.ecg, sample) - sample
    if by:
        _move(page, sample, by)
    else:
        st.session_state[REFUSED] = "This R peak stands at the extremum already."


def _remove(page: Page, sample: int) -> None:
    st.session_state[AT] = sample / page.ecg.fs
    _change(page, lambda peaks: (remove_peak(peaks, _row(peaks, sample)), None))


def _row(peaks: EditedPeaks, sample: int) -> int:
    return int(np.searchsorted(peaks.samples, sample))


def _take_marks(page: Page) -> None:
    marks = detect_qrs(page.ecg.signal, page.ecg.fs, page.detector)

    def change(peaks: EditedPeaks) -> tuple[EditedPeaks, None]:
        if not marks.size:
            raise ECGError("The detector sets no mark in this record: add the R peaks one by one.")
        for sample in marks.tolist():
            with suppress(ECGError):  # two that no heart beats so near
                peaks = add_peak(peaks, sample)
        return peaks, None

    _change(page, change)


def _step(page: Page, back: bool) -> None:
    history = _histories(page.ecg)[page.detector]
    source, other = (history.past, history.future) if back else (history.future, history.past)
    other.append(history.now)
    history.now = source.pop()
    st.session_state[REFUSED] = ""
    _choose_beat(None)
    _save(history.now)


def _back_to_detector(page: Page) -> None:
    before = _base(page)
    _put(page.ecg, replace(before, samples=before.found, origin=before.found), before)
    st.session_state[REFUSED] = ""
    _choose_beat(None)


# The beat that is chosen


def chosen_beat(n_beats: int) -> int | None:
    """Row of the beat that the address names, counted from 1 there."""
    asked = st.query_params.get("beat", "")
    return int(asked) - 1 if asked.isdecimal() and 1 <= int(asked) <= n_beats else None


def _choose_beat(row: int | None, by_table: bool = False) -> None:
    choose(beat=None if row is None else str(row + 1))
    if not by_table:
        st.session_state[TABLES] = st.session_state.get(TABLES, 0) + 1


def pick_in_strip(figure: Any, alt: str) -> None:
    """Draw the strip: a click on an R peak chooses its beat, one on the trace a time to add one at."""
    st.plotly_chart(figure, width="stretch", theme=None, key=STRIP, config=CHART, alt=alt,
                    on_select=_clicked, selection_mode="points")  # fmt: skip


def _clicked() -> None:
    for click in clicked(STRIP)[:1]:
        st.session_state[REFUSED] = ""
        row = int(click.held[0]) if click.held else None  # of a beat; none on the trace
        st.session_state[AT] = float(click.x) if row is None else None
        _choose_beat(row)


def pick_in_table(table: Any, rows: list[int], chosen: int | None) -> None:
    """Show the table of the beats `rows`: a row that is chosen chooses its beat."""
    # what was chosen elsewhere is marked in a table of its own: one that is there keeps its own choice
    key = f"{TABLE}_{st.session_state.get(TABLES, 0)}_{rows[0] if rows else 0}"
    how: dict[str, Any] = {
        "hide_index": True,
        "height": 310,
        "placeholder": "–",
        "column_config": {
            "R peak, s": st.column_config.NumberColumn(format="%.3f"),
            "r": st.column_config.NumberColumn(format="%.2f"),
            "Differs": st.column_config.Column(width=100),
        },
        "selection_mode": "single-row",
        "selection_default": {"selection": {"rows": [rows.index(chosen)] if chosen in rows else []}},
    }
    st.dataframe(table, key=key, on_select=lambda: _row_chosen(key, rows), **how)


def _row_chosen(key: str, rows: list[int]) -> None:
    chosen = st.session_state[key]["selection"]["rows"]
    _choose_beat(rows[chosen[0]] if chosen and chosen[0] < len(rows) else None, by_table=True)


# On the page


def time_to_add(ecg: ECG) -> float | None:
    """The time (s) that was clicked on or typed, within the record."""
    at = st.session_state.get(AT)
    if at is not None:
        at = st.session_state[AT] = min(max(float(at), 0.0), (ecg.n_samples - 1) / ecg.fs)
    return at


def edit_tools(page: Page, tokens: BeatTokens | None, chosen: int | None) -> None:
    """Two rows of buttons that change the R peaks or keep them, and why the last change was not made.

    tokens : None where no token could be cut;  chosen : row of the beat that is chosen
    """
    fs, peaks = page.ecg.fs, _base(page)
    history = _histories(page.ecg).get(page.detector)
    last = (page.ecg.n_samples - 1) / fs
    shares = [1.6, 0.95, 1.75, 0.75, 0.75, 1.9, 1.75]
    at, add, snapped, undo, redo, back, keep = st.columns(shares, vertical_alignment="bottom", gap="xsmall")
    time = at.number_input("Time, s (click the trace)", 0.0, last, None, step=1 / fs, format="%.3f", key=AT)
    wide: dict[str, Any] = {"width": "stretch"}
    adding = {"disabled": time is None, **wide}
    add.button("Add here", on_click=_add, args=(page, False), **adding)
    snapped.button("Add at nearest peak", on_click=_add, args=(page, True), help=SNAP_WORDS, **adding)
    undo.button("Undo", on_click=_step, args=(page, True), disabled=not (history and history.past), **wide)
    redo.button("Redo", on_click=_step, args=(page, False), disabled=not (history and history.future), **wide)
    back.button("Back to the detector's", on_click=_back_to_detector, args=(page,),
                disabled=not peaks.changed, **wide)  # fmt: skip
    with keep:
        keep_switch(_save_all)
    if refused := st.session_state.pop(REFUSED, ""):
        st.warning(say(refused))
    if tokens is None:
        if not peaks.changed:
            st.button("Take the detector's marks as they are", on_click=_take_marks, args=(page,))
        return
    if chosen is None:
        st.caption("Click the mark of a beat, or its row in the table, to move or remove its R peak.")
        return
    sample = round(float(tokens.r_peaks[chosen]) * fs)
    fine, coarse = 1, max(1, round(STEP * fs))
    steps = [by for by in (-coarse, -fine, fine, coarse) if coarse > fine or abs(by) == fine]
    steps = list(dict.fromkeys(steps))
    places = st.columns([2.6, *[1.0] * len(steps), 1.6, 1.2], vertical_alignment="center")
    places[0].markdown(f"**Beat {chosen + 1}** at {sample / fs:.3f} s")
    for place, by in zip(places[1:], steps, strict=False):
        sign = "−" if by < 0 else "+"
        place.button(f"{sign}{abs(by) / fs * 1000:.3g} ms", on_click=_move, args=(page, sample, by), **wide)
    places[-2].button("To nearest peak", on_click=_snap, args=(page, sample), help=SNAP_WORDS, **wide)
    places[-1].button("Remove", on_click=_remove, args=(page, sample), **wide)


def edit_files(page: Page, editing: bool) -> None:
    """Export the R peaks, import them again; and keep the work, unless `edit_tools` shows that switch."""
    peaks = _base(page)
    as_json, as_csv, keep = st.columns([1, 1, 3], vertical_alignment="center")
    with as_json:
        download("R peaks as JSON", lambda: peaks_json(peaks), "r_peaks.json", "application/json")
    with as_csv:
        download("R peaks as CSV", lambda: peaks_csv(peaks), "r_peaks.csv", "text/csv")
    if not editing:
        with keep:
            keep_switch(_save_all)
    key = f"peaks_file_{st.session_state.get(IMPORTS, 0)}"
    label = "R peaks of this record that were exported here, JSON or CSV"
    st.file_uploader(label, ["json", "csv"], key=key, on_change=_imported, args=(page, key))
    if said := st.session_state.pop(IMPORT_SAID, ""):
        st.info(say(said))


def _imported(page: Page, key: str) -> None:
    file = st.session_state.get(key)
    if file is None:
        return
    st.session_state[IMPORTS] = st.session_state.get(IMPORTS, 0) + 1  # the uploader is empty again
    try:
        peaks = read_peaks(file.getvalue(), page.ecg)
    except ECGError as error:
        st.session_state[IMPORT_SAID] = f"{file.name}: {error}"
        return
    histories = _histories(page.ecg)
    before = histories[peaks.detector].now if peaks.detector in histories else replace(
        peaks, samples=peaks.found, origin=peaks.found)  # fmt: skip
    _put(page.ecg, peaks, before)
    choose(detector=peaks.detector)
    _choose_beat(None)
    st.session_state[IMPORT_SAID] = f"{file.name}: {peaks.samples.size} R peaks, {peaks.summary}."


def _save_all() -> None:
    for histories in st.session_state.get(EDITS, {}).values():
        for history in histories.values():
            _save(history.now)
