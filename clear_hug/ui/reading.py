"""Read first: the answer stays hidden until the reader has committed theirs; then the two side by side.

A reading is JSON from the start, as it is kept and exported: it names the record and the model by their
digests, never a patient. Where it is kept, `clear_hug.ui.workspace` says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import streamlit as st

from clear_hug.diagnosis import Diagnosis
from clear_hug.operating import Operated
from clear_hug.ui.records import choose
from clear_hug.ui.results import Page
from clear_hug.ui.show import download, link, say
from clear_hug.ui.typed import send_typed
from clear_hug.ui.workspace import LOST_ON_RELOAD, readings, save_reading, workspace
from clear_hug.words import NOTICE

SCHEMA, VERSION = "clear-hug-reading", 1
READ_FIRST, SWITCH = "read_first", "read_first_switch"  # in the address, in session_state
VERDICTS = ("agree", "disagree", "unsure")
WORDS = "Labels stand for the whole record; leave all of them out where none fits, and say so in the note."
PRIVATE = "Write nothing that names the patient."
Reading = dict[str, Any]


def new_reading(page: Page, labels: Sequence[str], note: str) -> Reading:
    """What a reader commits before the answer is shown.

    labels : "task/label", those that the reader finds
    """
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "record": page.ecg.digest,
        "model": {"name": page.checkpoint.name, "digest": page.checkpoint.digest},
        "beats_by": page.beats_by,
        "committed": _now(),
        "asked": list(asked(page)),
        "labels": list(labels),
        "note": note.strip(),
        "verdicts": [],
    }


def with_verdicts(
    reading: Reading, page: Page, operated: Operated, how: Mapping[str, Any], verdicts: Mapping[str, Mapping]
) -> Reading:
    """The reading and the answer, side by side.

    how : the operating point, as it stands in the file
    verdicts : "task/label" -> {"verdict" : of `VERDICTS` or None, "note"}
    """
    answer = operated.diagnosis
    rows = [page.checkpoint.row(target) for target in verdicts]
    return {
        **reading,
        "model": {"name": page.checkpoint.name, "digest": page.checkpoint.digest},
        "beats_by": page.beats_by,
        "judged": _now(),
        "operating_point": dict(how),
        "verdicts": [
            {
                "label": target,
                "reader": target in reading["labels"] if target in reading["asked"] else None,
                "model": _says(answer, row),
                "probability": round(float(answer.probabilities[row]), 4),
                "threshold": None if answer.rare[row] else round(float(answer.thresholds[row]), 4),
                "state": operated.states[row],
                "verdict": said.get("verdict"),
                "note": str(said.get("note", "")).strip(),
            }
            for row, (target, said) in zip(rows, verdicts.items(), strict=True)
        ],
    }


def _says(answer: Diagnosis, row: int) -> bool | None:
    """Whether the model calls a label; None where it is too rare in training to be called."""
    return None if answer.rare[row] else bool(answer.called[row])


def as_json(reading: Reading) -> bytes:
    return (json.dumps({**reading, "notice": NOTICE}, indent=1, allow_nan=False) + "\n").encode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def asked(page: Page) -> tuple[str, ...]:
    """The labels that a reader is asked for: those of the checkpoint's first task."""
    task = page.checkpoint.tasks[0]
    return tuple(f"{task.name}/{label}" for label in task.labels)


def committed(record: str) -> Reading | None:
    """What was committed of a record (its digest), as it was last kept."""
    known = [r for r in readings(record) if r.get("schema") == SCHEMA and r.get("version") == VERSION]
    return known[-1] if known else None


def answer_hidden(page: Page) -> bool:
    """The address asks to read first, and nothing is committed of this record yet."""
    return st.query_params.get(READ_FIRST) == "true" and committed(page.ecg.digest) is None


def wait_for_reading(*pages: Page) -> None:
    """Stop a page that would tell the answer of a record that the reader has still to read.

    pages : of the records that it tells of, that of the page itself first
    """
    for page in pages:
        if answer_hidden(page):
            title = say(page.record.title)
            go: dict[str, str] | None = {}
            if page is not pages[0]:  # an upload is in no link: this session's menu alone opens it
                go = None if page.record.kind == "upload" else {"record": page.record.id}
            _say_hidden(f"what the model says of “{title}” is hidden until you commit your reading.", go)


def wait_while_reading_first() -> None:
    """Stop a page that tells the answers of many records at once, as long as the mode is on."""
    if st.query_params.get(READ_FIRST) == "true":
        _say_hidden(
            "a table of many records would tell the answer of each, also of those that you have not read; it "
            "is hidden as long as the mode is on."
        )


def _say_hidden(why: str, go: Mapping[str, str] | None = MappingProxyType({})) -> None:
    """Why nothing is shown, a link to the form of the record that `go` names, and the switch; the page ends.

    go : choices that the link carries; None for no link
    """
    st.info(f"**Read first:** {why}")
    to_form, switch = st.columns([2, 3], vertical_alignment="center")
    if go is not None:
        with to_form:
            link("4_Diagnosis", "Your reading, on the Diagnosis page", **go)
    with switch:
        read_first_switch()
    st.stop()


def read_first_switch() -> bool:
    """The switch, whose state stands in the address, also of other pages; True while it is on."""
    st.session_state[SWITCH] = st.query_params.get(READ_FIRST) == "true"
    return st.toggle(
        "Read first",
        key=SWITCH,
        on_change=_switched,
        help="Hides the answer on every page until you have committed yours.",
    )


def _switched() -> None:
    choose(**{READ_FIRST: "true" if st.session_state[SWITCH] else None})


@st.fragment
def commit_form(page: Page) -> None:
    """The reader's labels and note, in place of the answer; kept for the session until they are committed."""
    st.markdown("#### Your reading first")
    st.caption(
        "The answer is hidden here and on Home, Explanation, What if and Compare until you commit; Cohort, "
        "which tells those of many records, as long as the mode is on. Your draft stays while you look at "
        "other pages and records, until this tab is reloaded."
    )
    record = page.ecg.digest
    draft: dict[str, Any] = {"persist_state": "session"}  # what was chosen and written outlives the page
    chosen = st.pills(
        "What do you find?",
        asked(page),
        selection_mode="multi",
        format_func=page.words_of,
        key=f"mine-{record[:16]}",
        **draft,
    )
    written = f"note-{record[:16]}"
    note = st.text_area("Note", key=written, height=80, placeholder=PRIVATE, **draft)
    st.caption(WORDS)
    commit, to_ecg, _ = st.columns([2.2, 2.4, 3], vertical_alignment="center")
    pressed = commit.button("Commit, and show the answer", type="primary", width="stretch")
    with to_ecg:
        link("1_ECG", "Calipers and measurements →")
    send_typed(written)
    if pressed:
        if not chosen and not note.strip():
            st.warning("Choose a label, or say in the note why none fits.")
        else:
            save_reading(record, new_reading(page, chosen, note))
            st.rerun()


def compare(page: Page, operated: Operated, how: Mapping[str, Any]) -> None:
    """What was committed beside the answer, a verdict and a note a label, and the file."""
    reading = committed(page.ecg.digest)
    if reading is None:
        return
    st.markdown("#### Your reading and the model's")
    when = reading["committed"].replace("T", " ").rstrip("Z")
    said = f" Your note: {reading['note']}" if reading["note"] else ""
    st.caption(say(f"Committed {when} UTC, before the answer was shown.{said}"))
    before = {row["label"]: row for row in reading["verdicts"]}
    verdicts = {}

    def ask(targets: Sequence[str]) -> None:
        for target in targets:
            verdicts[target] = _row(page, operated, reading, target, before.get(target, {}))

    targets = page.checkpoint.targets
    ask([target for target in reading["asked"] if target in targets])
    called = [targets[row] for row in page.ranking if operated.diagnosis.called[row]]
    if others := [target for target in called if target not in verdicts]:
        with st.expander(f"Other labels that are called: {len(others)}"):
            ask(others)
    latest = with_verdicts(reading, page, operated, how, verdicts)
    left, right, _ = st.columns([1, 1, 2])
    if left.button("Keep these verdicts", width="stretch"):
        save_reading(page.ecg.digest, latest)
        st.toast("Kept with this record." if workspace() else LOST_ON_RELOAD)
    with right:
        download("Reading as JSON", lambda: as_json(latest), f"reading-{page.ecg.digest[:12]}.json",
                 "application/json")  # fmt: skip
    st.caption(f"The file names the record and the model by their digests, and no patient. {PRIVATE}")


def _row(
    page: Page, operated: Operated, reading: Reading, target: str, before: Mapping[str, Any]
) -> dict[str, Any]:
    """One label: both answers, and what the reader makes of the model's."""
    row = page.checkpoint.row(target)
    answer = operated.diagnosis
    called = _says(answer, row)
    model = {True: "called", False: "not called", None: "too rare to call"}[called]
    mine = ""
    if target in reading["asked"]:
        mine = "you: yes" if target in reading["labels"] else "you: no"
    words, told, verdict, note = st.columns([2.2, 2.6, 2.9, 2.3], vertical_alignment="center")
    words.markdown(f"**{say(page.words(row))}**")
    told.markdown(
        " · ".join(part for part in (mine, f"model: {model}, {answer.probabilities[row]:.0%}") if part)
    )
    if before.get("model", called) != called:  # a verdict on another answer
        before = {}
    key = f"{page.ecg.digest[:16]}-{page.checkpoint.digest[:8]}-{page.beats_by}-{called}-{target}"
    said = verdict.segmented_control(
        f"Verdict on {target}",
        VERDICTS,
        default=before.get("verdict"),
        key=f"verdict-{key}",
        label_visibility="collapsed",
    )
    text = note.text_input(
        f"Note on {target}",
        before.get("note", ""),
        key=f"why-{key}",
        placeholder="Note",
        label_visibility="collapsed",
    )
    return {"verdict": said, "note": text}
