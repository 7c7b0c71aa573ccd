"""The cohort of the folder: its index and how far that is, what is chosen of it, steps along its order."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from clear_hug import index
from clear_hug.checkpoint import Checkpoint
from clear_hug.cohort import SORTS, UNKNOWN, Cohort, Described, Entry, describe, make_cohort
from clear_hug.ecg import ECGError
from clear_hug.export import cohort_csv
from clear_hug.known import Known
from clear_hug.plots.cohort import thumbnail
from clear_hug.plots.diagnosis import TOO_RARE
from clear_hug.ui.menus import menu, number, other_menu
from clear_hug.ui.records import BUILT_IN, built_in, choose, data_folder, folder_records
from clear_hug.ui.results import Page, checkpoint_folders
from clear_hug.ui.show import CHART, bullets, clicked, download, say

EVERY = 2  # s, between two looks at an index that is being built
LONGEST_NAME = 24  # letters of a record's name in a table
ROWS = 50  # of the table at a time
A_SECOND = 10  # records that a builder reads, about
MOST_UNREAD = 200  # shown in words
TURN = "cohort_turn"  # session_state: counts the choices that were not made in the table
TRUTHS = {"any": None, "has it": 1, "has it not": 0, "not told": UNKNOWN}
CALLED = ("any", "called", "not called")

_builders: dict[Path, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()


# The index


def cohort_of(page: Page) -> Cohort:
    """The cohort of CLEAR_HUG_DATA, as far as it is indexed; without a folder, of the records built in."""
    folder, checkpoint = data_folder(), page.checkpoint
    if not folder:
        st.markdown(
            "**No folder is named, so these are the records that are built in.** To browse your own, set "
            "CLEAR\\_HUG\\_DATA to a folder of ECG files or to a data set (PTB-XL, CPSC2018, "
            "Chapman-Shaoxing-Ningbo), and start the app again."
        )
        return _built_in_cohort(checkpoint.identity, page.detector, checkpoint)
    records = folder_records(folder)
    if not records:
        raise ECGError("the folder named by CLEAR_HUG_DATA holds no ECG file; put some there.")
    entries = [Entry(record.id, record.title, Path(record.path)) for record in records.values()]
    path = index.index_path(folder, checkpoint.digest, page.detector)
    stamped = _stamps(folder, entries)
    state = index.progress(path)
    if state.wanted and not state.alive and _ended(path) in (None, 0):
        _start(path, folder, page)  # it was cut off: by the end of the app, say
    seen = _version(path, state, len(entries))
    place = st.fragment(_show_progress, run_every=EVERY if state.wanted else None)
    place(path, folder, page, stamped, seen)
    return _cohort(str(path), seen, checkpoint.identity, entries, checkpoint)


@st.cache_resource(max_entries=4, show_spinner="Reading the records that are built in ...")
def _built_in_cohort(model: str, detector: str, _checkpoint: Checkpoint) -> Cohort:
    records: list[tuple[str, str, Described | str, Known]] = []
    for key, record in BUILT_IN.items():
        try:
            found: Described | str = describe(_checkpoint, built_in(key), detector)
        except ECGError as error:
            found = str(error)
        records.append((key, record.title, found, Known()))
    return make_cohort(_checkpoint, records)


@st.cache_data(ttl=300, max_entries=4, show_spinner="Looking for new files ...")
def _stamps(folder: str, _entries: list[Entry]) -> dict[str, str]:
    return index.stamps(_entries)


@st.cache_resource(max_entries=3, show_spinner="Opening the index ...")
def _cohort(path: str, version: str, model: str, _entries: list[Entry], _checkpoint: Checkpoint) -> Cohort:
    return index.open_cohort(Path(path), _entries, _checkpoint)


def _version(path: Path, state: index.Progress, n: int) -> str:
    """Changes when the page is to be drawn anew: as an index begins, with each twentieth, when it is done."""
    if not state.wanted:
        return str(path.stat().st_mtime_ns) if path.exists() else "none"
    return f"building {state.done // max(20, n // 20)}"


def _ended(path: Path) -> int | None:
    """How the builder that this app started has ended; None while it runs, or where there was none."""
    builder = _builders.get(path)
    return None if builder is None else builder.poll()


def _start(path: Path, folder: str, page: Page) -> None:
    """Start a builder, a process of its own, so that no page waits for it; once for all users."""
    with _lock:
        builder = _builders.get(path)
        if builder is not None and builder.poll() is None:
            return
        command = [sys.executable, "-m", "clear_hug.index", folder, "--detector", page.detector,
                   "--checkpoint", str(checkpoint_folders()[page.model])]  # fmt: skip
        _builders[path] = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL)


def _begin(path: Path, folder: str, page: Page) -> None:
    index.ask(path, True)
    _start(path, folder, page)


def _show_progress(path: Path, folder: str, page: Page, stamped: dict[str, str], seen: str) -> None:
    """A bar and a button that stops it, or a button that begins; draws the page anew as the index grows."""
    state = index.progress(path)
    left = len(index.waiting(path, stamped))
    n = len(stamped)
    if _version(path, state, n) != seen:
        st.rerun()
    if not state.wanted and not left:
        return
    bar, button = st.columns([6, 1], vertical_alignment="center")
    failed = state.wanted and _ended(path) not in (None, 0)
    if failed:
        bar.error("Indexing ended before it was done; the log of the app says why. What was read is kept.")
    elif state.wanted:
        rate = state.rate or A_SECOND
        words = f"Indexing: {n - left:,} of {n:,} records"
        words += f", about {_duration(left / rate)} left" if state.rate else ", starting"
        bar.progress((n - left) / n, text=words)
        button.button("Stop", key="cohort_stop", on_click=index.ask, args=(path, False), width="stretch")
        return
    elif state.done:
        what = f"{left:,} record{'s are' if left > 1 else ' is'} new, changed or not indexed yet."
        bar.markdown(f"**{what}** Reading takes about {_duration(left / A_SECOND)}; other pages go on.")
    else:
        bar.markdown(
            f"**The {n:,} records of the folder are not indexed yet.** Each is read once, which takes about "
            f"{_duration(n / A_SECOND)} in the background; other pages go on, and it may be stopped."
        )
    button.button("Go on" if state.done else "Index", key="cohort_index", type="primary", on_click=_begin,
                  args=(path, folder, page), width="stretch")  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_unread(cohort: Cohort) -> None:
    """The records that could not be read, each with its reason."""
    unread = np.flatnonzero(~cohort.read)
    if not unread.size:
        return
    words = f"{unread.size:,} record{'' if unread.size == 1 else 's'} could not be read"
    with st.expander(words):
        said = [f"{cohort.titles[row]}: {cohort.said[row]}" for row in unread[:MOST_UNREAD]]
        if unread.size > MOST_UNREAD:
            said.append(f"and {unread.size - MOST_UNREAD:,} more")
        st.markdown(bullets(said))


# What is chosen of it


@dataclass(frozen=True, eq=False)
class Selection:
    """What the page shows of a cohort: rows (shown,) in order, the label and the colour that were chosen."""

    cohort: Cohort
    rows: NDArray[np.int64]
    target: str
    colour: str
    chosen: int | None

    @property
    def at(self) -> int | None:
        """Place of the chosen record in the order; None where it is not shown."""
        found = np.flatnonzero(self.rows == self.chosen) if self.chosen is not None else self.rows[:0]
        return int(found[0]) if found.size else None

    @property
    def identity(self) -> str:
        """Another one for another order."""
        return str(hash(self.rows.tobytes()))


def select(page: Page, cohort: Cohort) -> Selection:
    """Menus for the label, the order, the colour and the filter, which stand in the link."""
    known = bool((cohort.truth != UNKNOWN).any())
    label, sort, order, colour, more = st.columns([3, 1.5, 1.9, 1.6, 1], vertical_alignment="bottom")
    with label:
        target = other_menu("Label", cohort.targets, "target", lambda name: _label_words(page, name))
    with sort:
        by = menu("Sort by", [name for name in SORTS if known or name != "error"], "sort")
    with order:
        down = menu("Order", ["highest first", "lowest first"], "direction")
    with colour:
        colours = ["probability", *(["known label"] if known else []), "novelty", "quality"]
        by_colour = menu("Colour", colours, "colour")
    with more, st.popover("Filter", width="stretch"):
        kept = _filter(cohort, target, known)
    if by == "uncertainty" and np.isnan(cohort.thresholds[cohort.column(target)]):
        rare = f"{target.split('/', 1)[1]} is {TOO_RARE}: it has no threshold to be near to."
        st.caption(say(f"{rare} The records stand as in the folder; sort by its probability instead."))
    descending = (down == "highest first") != (by == "name")  # a name's first letter stands first
    rows = cohort.order(np.flatnonzero(kept), by, target, descending)
    return Selection(cohort, rows, target, by_colour, cohort.row_of.get(page.record.id))


def _label_words(page: Page, target: str) -> str:
    task, label = target.split("/", 1)
    return f"{label}: {page.words_of(target)} ({task})"


def _filter(cohort: Cohort, target: str, known: bool) -> NDArray[np.bool_]:
    """(record,) True where a record passes; the part of a name is in no link, since it may be a patient's."""
    kept = np.ones(len(cohort), dtype=bool)
    label = target.split("/", 1)[1]
    if wanted := st.text_input("Name", key="cohort_name", placeholder="part of a name").lower():
        kept &= np.array([wanted in title.lower() for title in cohort.titles.tolist()], dtype=bool)
    column = cohort.column(target)
    if np.isnan(cohort.thresholds[column]):
        st.caption(say(f"{label} is {TOO_RARE}: sort by its probability instead."))
    elif (called := menu(f"{label} called by the model", CALLED, "called")) != "any":
        above = cohort.probabilities[:, column] >= cohort.thresholds[column]
        kept &= cohort.read & (above == (called == "called"))
    if known:
        truth = TRUTHS[menu(f"{label} known", list(TRUTHS), "is_known")]
        if truth is not None:
            kept &= cohort.truth[:, cohort.column(target)] == truth
    sex = menu("Sex", ["any", "F", "M", "not told"], "sex")
    if sex != "any":
        kept &= cohort.sex == sex.replace("not told", "")
    low, high = number("Age from", "age_from", 0, 120, 0), number("Age to", "age_to", 0, 120, 120)
    if (low, high) != (0, 120):
        kept &= (cohort.age >= low) & (cohort.age <= high)
    if menu("Reading", ["all", "could not be read"], "reading") != "all":
        kept &= ~cohort.read
    return kept


def colour_of(selection: Selection) -> tuple[NDArray[Any], str, bool]:
    """(record,) what colours the map, its name, and whether it is has it / has it not / not told."""
    cohort, label = selection.cohort, selection.target.split("/", 1)[1]
    if selection.colour == "known label":
        return cohort.truth[:, cohort.column(selection.target)], f"{label} as it is known", True
    name = f"probability of {label}" if selection.colour == "probability" else selection.colour
    return cohort.values(selection.colour, selection.target), name, False


# Pictures that are clicked on, and steps


def pick_from_map(figure: Any, selection: Selection, alt: str) -> None:
    """Draw the map; a click on a record chooses it."""
    st.plotly_chart(figure, width="stretch", theme=None, key="cohort_map", config=CHART, alt=alt,
                    on_select=lambda: _from_map(selection), selection_mode="points")  # fmt: skip


def _from_map(selection: Selection) -> None:
    for click in clicked("cohort_map"):
        row = int(click.held[0])
        if 0 <= row < len(selection.cohort):
            _take(selection, row)


def _take(selection: Selection, row: int) -> None:
    """Choose a record elsewhere than in the table, which then turns to its page."""
    st.session_state[TURN] = st.session_state.get(TURN, 0) + 1
    choose(record=str(selection.cohort.keys[row]))
    at = np.flatnonzero(selection.rows == row)
    if at.size:
        st.session_state["page"] = 1 + int(at[0]) // ROWS


def _taken(key: str) -> list[int]:
    """Rows of a table that were clicked on."""
    event = st.session_state.get(key)
    return list(event["selection"]["rows"]) if event else []


def _from_neighbours(key: str, selection: Selection, rows: NDArray[np.int64]) -> None:
    for place in _taken(key):
        _take(selection, int(rows[place]))


def _from_table(key: str, cohort: Cohort, rows: NDArray[np.int64]) -> None:
    for place in _taken(key):
        choose(record=str(cohort.keys[rows[place]]))


def steps(selection: Selection) -> None:
    """Previous and next in the order of the cohort, by buttons and by the keys P and N."""
    n, at = len(selection.rows), selection.at
    left, right = st.columns(2)
    for column, name, key, step in ((left, "Previous", "P", -1), (right, "Next", "N", 1)):
        to = (0 if at is None else at + step) if n else -1
        column.button(
            name,
            key=f"cohort_{name}",
            shortcut=key,
            disabled=not 0 <= to < n,
            on_click=_take,
            args=(selection, int(selection.rows[to]) if 0 <= to < n else 0),
            width="stretch",
        )


def show_neighbours(page: Page, selection: Selection) -> list[int]:
    """The records most like the chosen one; a click on one chooses it. Returns their rows."""
    cohort, row = selection.cohort, selection.chosen
    if row is None or not cohort.read[row]:
        return []
    rows, alike = cohort.neighbours(row)
    table = {
        "": [str(k + 1) for k in range(len(rows))],
        "Trace": [thumbnail(cohort.traces[r], page.dark) for r in rows],
        "Record": _names(cohort, rows),
        "Alike": alike,
        "Most probable": _tops(cohort, rows, cohort.targets[0].split("/")[0]),
        "Known": cohort.labels[rows],
    }
    if not any(cohort.labels[rows]):
        del table["Known"]
    key = f"cohort_near_{cohort.keys[row]}"
    st.dataframe(
        pd.DataFrame(table),
        hide_index=True,
        height=35 * (len(rows) + 1) + 3,
        key=key,
        on_select=lambda: _from_neighbours(key, selection, rows),
        selection_mode="single-row",
        placeholder="–",
        column_config={
            "": st.column_config.TextColumn(width=25),
            "Trace": st.column_config.ImageColumn(width=105),
            "Record": st.column_config.TextColumn(width=100),
            "Alike": st.column_config.NumberColumn(format="%.2f", width=50),
            "Most probable": st.column_config.TextColumn(width=95),
        },
        alt="The records most like the chosen one, the most alike first",
    )
    return [int(r) for r in rows]


def show_records(page: Page, selection: Selection) -> None:
    """The table of the records in order, `ROWS` at a time; a click on a row chooses its record."""
    cohort = selection.cohort
    n = len(selection.rows)
    pages = max(1, -(-n // ROWS))
    words, taken, which = st.columns([4, 2, 1], vertical_alignment="bottom")
    with taken:
        made = partial(cohort_csv, page.checkpoint, cohort, selection.rows)
        download(f"All {n:,} as CSV, with their names", made, "cohort.csv", "text/csv")
    with which:
        at = number("Page of the table", "page", 1, pages, 1) if pages > 1 else 1
    first = (at - 1) * ROWS
    rows = selection.rows[first : first + ROWS]
    words.markdown(f"#### Records {first + 1 if n else 0:,} to {first + len(rows):,} of {n:,}")
    chosen = np.flatnonzero(rows == selection.chosen) if selection.chosen is not None else rows[:0]
    key = f"cohort_table_{selection.identity}_{at}_{st.session_state.get(TURN, 0)}"
    st.dataframe(
        table_of(cohort, rows, selection.target, page.dark),
        hide_index=True,
        row_height=44,
        height=min(44 * len(rows) + 38, 460),
        key=key,
        on_select=lambda: _from_table(key, cohort, rows),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [int(chosen[0])] if chosen.size else []}},
        placeholder="–",
        column_config=_columns(cohort, selection.target),
        alt="The records with what is known of them and what the model says",
    )


def table_of(cohort: Cohort, rows: NDArray[np.int64], target: str, dark: bool = False) -> pd.DataFrame:
    """A row a record: picture, metadata, known labels, top label a task, probabilities, and what sorts."""
    tasks = list(dict.fromkeys(name.split("/")[0] for name in cohort.targets))
    label = target.split("/", 1)[1]
    first = [name for name in cohort.targets if name.split("/")[0] == tasks[0]]
    columns: dict[str, Any] = {
        "Trace": [thumbnail(cohort.traces[row], dark) if cohort.read[row] else None for row in rows],
        "Record": _names(cohort, rows),
        f"p({label})": 100 * cohort.values("probability", target)[rows],
        "Known": cohort.labels[rows],
        "Age": cohort.age[rows],
        "Sex": cohort.sex[rows],
        "Uncertainty": cohort.uncertainty(target)[rows],
        "Error": cohort.error(target)[rows],
        "Novelty": cohort.novelty[rows],
        "Quality": cohort.quality[rows],
        **{f"Top {task}": _tops(cohort, rows, task) for task in tasks},
        **{
            name.split("/", 1)[1]: 100 * cohort.values("probability", name)[rows]
            for name in first
            if name != target
        },
        "beats/min": cohort.rate[rows],
        "Length, s": cohort.seconds[rows],
        "Note": cohort.said[rows],
    }
    for name in ("Known", "Note", "Sex"):
        if not any(columns[name]):
            del columns[name]
    for name in ("Error", "Age", "Uncertainty"):
        if not np.isfinite(columns[name]).any():
            del columns[name]
    return pd.DataFrame(columns)


def _names(cohort: Cohort, rows: NDArray[np.int64]) -> list[str]:
    """Titles, what tells them apart first: of a long name its end; the folder last, where it may be cut."""
    said = []
    for title in map(str, cohort.titles[rows].tolist()):
        if ": " in title:  # built in: a sentence, and no path
            said.append(title.partition(": ")[2])
            continue
        folder, _, name = title.rpartition("/")
        short = name if len(name) <= LONGEST_NAME else f"… {name[2 - LONGEST_NAME :]}"
        said.append(f"{short} · {folder}" if folder else short)
    return said


def _tops(cohort: Cohort, rows: NDArray[np.int64], task: str) -> list[str]:
    tops = cohort.top(task)[rows]
    return [
        "" if k < 0 else f"{cohort.targets[k].split('/', 1)[1]} {cohort.probabilities[row, k]:.0%}"
        for row, k in zip(rows, tops, strict=True)
    ]


def _columns(cohort: Cohort, target: str) -> dict[str, Any]:
    config, label = st.column_config, target.split("/", 1)[1]
    task = target.split("/")[0]
    first = cohort.targets[0].split("/")[0]
    shares = [name.split("/", 1)[1] for name in cohort.targets if name.split("/")[0] == first]
    return {
        "Trace": config.ImageColumn(width=170, pinned=True),
        "Record": config.TextColumn(width=170, pinned=True),
        f"p({label})": config.ProgressColumn(
            format="%.0f%%", min_value=0, max_value=100, width=110, help=f"Probability of {task}/{label}"
        ),
        "Known": config.TextColumn(width=110, help="Labels that the data set or the file's header gives it"),
        "Age": config.NumberColumn(format="%.0f", width=50),
        "Sex": config.TextColumn(width=45),
        "Uncertainty": config.NumberColumn(
            format="%.2f", width=85, help="1 at the label's threshold, 0 where the probability is 0 or 1"
        ),
        "Error": config.NumberColumn(
            format="%.2f", width=60, help="How far the probability is from the known label"
        ),
        "Novelty": config.NumberColumn(
            format="%.2f", width=70, help="Share of a hidden half of the beats that was not foretold"
        ),
        "Quality": config.NumberColumn(format="%.2f", width=65, help="1 is a signal fit to be read"),
        **{name: config.NumberColumn(format="%.0f%%", width=65) for name in shares},
        "beats/min": config.NumberColumn(format="%.0f", width=75),
        "Length, s": config.NumberColumn(format="%.0f", width=75),
        "Note": config.TextColumn(width=400),
    }


def chosen_line(selection: Selection) -> None:
    """The chosen record in words: its place in the order, its name, and why it could not be read."""
    cohort, row = selection.cohort, selection.chosen
    if row is None:
        st.markdown("**Choose a record:** click a point of the map or a row of the table.")
        return
    place = "not among those shown"
    if selection.at is not None:
        place = f"{selection.at + 1:,} of {len(selection.rows):,}"
    st.markdown(f"**{say(str(cohort.titles[row]))}** · {place}")
    if cohort.said[row]:
        st.warning(say(str(cohort.said[row])))
