"""known(path) -> Known: what the data set around an ECG file, or the file's own header, says of it.

The labels are those of `datasets.py`'s tables, held against the app's answers, and who the patient is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from clear_hug.datasets import (
    Item,
    age_of,
    codes_of,
    header_notes,
    in_words,
    is_reference,
    layout_of,
    or_none,
    own_facts,
    ptbxl_facts,
    rows_of,
    sex_of,
    table_of,
)
from clear_hug.ecg import ECGError
from clear_hug.labels import OWN, OWN_TASKS, is_own, read_labels, read_tasks, row_of
from clear_hug.snomed import WORDS
from clear_hug.tasks import NO_LABEL, TASKS, Task, alike


@dataclass(frozen=True)
class Known:
    """What is known of a record beside its signal.

    Attributes
    ----------
    labels : task name -> its labels that the record has, for every task of its vocabulary; {} without labels
    statements : as the data set writes them
    vocabulary : what they are written in (SCP, SNOMED, a label set of one's own), "" without labels
    source : the file that says so, by name, "" without labels
    age : years or None;  sex : "F", "M" or None
    own : the label sets of one's own among those of `labels`
    """

    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    vocabulary: str = ""
    source: str = ""
    age: float | None = None
    sex: str | None = None
    own: tuple[Task, ...] = ()

    def of(self, tasks: Sequence[Task]) -> dict[str, tuple[str, ...]]:
        """The labels of some tasks, by name; not those of one's own set that only bears the same name."""
        own = {task.name: task for task in self.own}
        there = (task for task in tasks if task.name in self.labels)
        return {
            task.name: self.labels[task.name]
            for task in there
            if task.name in TASKS or (task.name in own and alike(own[task.name], task))
        }

    @property
    def words(self) -> tuple[str, ...]:
        """The statements in words, where a label set has words for them; else as they are written."""
        every = {**TASKS, **{task.name: task for task in self.own}}
        tasks = [every[name] for name in self.labels][::-1]  # the finer sets of PTB-XL come later
        out = []
        for statement in (one for one in self.statements if one != NO_LABEL):
            meant = (
                task.descriptions[label]
                for task in tasks
                for label, there in zip(task.labels, task.encode([statement]), strict=True)
                if there
            )
            written = next(meant, f"{self.vocabulary} {statement}")
            out.append(WORDS.get(statement, written) if self.vocabulary == "SNOMED" else written)
        return tuple(dict.fromkeys(out))


@dataclass(frozen=True)
class Person:
    """Whose ECG it is.

    age : years or None;  sex : "F", "M" or None;  told : which of the two ("age", "sex") the file lacks and
        the data set around it tells
    """

    age: float | None = None
    sex: str | None = None
    told: tuple[str, ...] = ()


def person_of(age: float | None, sex: str | None, said: Known) -> Person:
    """What a file says of its patient, and where it is silent what its data set says."""
    lacks = (("age", age, said.age), ("sex", sex, said.sex))
    told = tuple(name for name, own, other in lacks if own is None and other is not None)
    return Person(said.age if age is None else age, said.sex if sex is None else sex, told)


def known(path: str | Path) -> Known:
    """What the data set around a file, or the file's own header, says of it; nothing where they are silent.

    Parameters
    ----------
    path : of a record as `find_records` lists it (for WFDB its header)

    Raises
    ------
    ECGError : a table of labels around the file is torn

    """
    path = Path(path)
    for folder in path.parents:
        for table in _tables(folder):
            stats = [path.stat() for path in _with_tasks(table)]
            told, own = _told(table, tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))
            below = path.relative_to(folder)
            key = row_of(told, below.as_posix()) if table.name == OWN else below.with_suffix("").as_posix()
            if found := told.get(key or ""):
                return _known_of(found, table.name, own)
    notes = header_notes(path.with_suffix(".hea"))
    codes = codes_of(notes)
    facts: dict[str, Any] = {"age": age_of(notes.get("age")), "sex": sex_of(notes.get("sex", ""))}
    if codes:
        facts |= {"statements": json.dumps(codes), "vocabulary": "SNOMED"}
    item = Item(path.stem, "files", path.name, **facts)
    return _known_of(item, path.with_suffix(".hea").name)


def known_labels(path: str | Path) -> dict[str, tuple[str, ...]]:
    """Task name -> the labels that a record is known to have; {} where none are at hand (see `known`)."""
    return dict(known(path).labels)


def label_tables(path: str | Path) -> list[Path]:
    """The tables of the data sets around a file, of which one may name its labels."""
    return [one for folder in Path(path).parents for table in _tables(folder) for one in _with_tasks(table)]


def _with_tasks(table: Path) -> list[Path]:
    """A table of labels, and beside one's own the label sets that it is told in."""
    tasks = table.with_name(OWN_TASKS)
    return [table, tasks] if table.name == OWN and tasks.is_file() else [table]


def _tables(folder: Path) -> list[Path]:
    """Tables of labels in a folder, by name; others have a REFERENCE.csv or labels.csv of other columns."""
    named = (("ptbxl_database.csv", Path.is_file), ("REFERENCE.csv", is_reference), (OWN, is_own))
    return [folder / name for name, of in named if of(folder / name)]


@lru_cache(maxsize=4)
def _told(table: Path, stamps: tuple[tuple[int, int], ...]) -> tuple[dict[str, Item], tuple[Task, ...]]:
    """Record, by its path below the table's folder and without suffix -> what the table says of it.

    And the label sets of one's own that it is told in.
    """
    folder = table.parent
    try:
        if table.name == "REFERENCE.csv":
            items = [Item(**row) for row in table_of(folder, "cpsc2018").to_dict("records")]
            return {Path(item.where).with_suffix("").as_posix(): item for item in items}, ()
        if table.name == OWN:  # beside a published data set's it says nothing: those labels are its own
            if layout_of(folder) != "own":
                return {}, ()
            own = read_labels(table)
            found = {key: Item(key, "own", "", **own_facts(folder, one)) for key, one in own.items()}
            return found, tuple(read_tasks(folder).values())
        rows = rows_of(table)
        facts = pd.DataFrame(ptbxl_facts(rows)).assign(layout="ptbxl", where="").to_dict("records")
    except Exception as error:  # a table may hold anything
        raise ECGError(f"{table.name} around the record cannot be read: {in_words(error)}.") from error
    told = {}
    for row, fact in zip(rows, facts, strict=True):
        item = Item(**{str(key): value for key, value in fact.items()})
        told.update({row[name]: item for name in ("filename_hr", "filename_lr") if row.get(name)})
    return told, ()


def _known_of(item: Item, source: str, own: Sequence[Task] = ()) -> Known:
    statements = tuple(json.loads(item.statements)) if item.statements else ()
    every = (*TASKS.values(), *own)
    tasks = [task for task in every if item.statements and task.vocabulary == item.vocabulary]
    labels = {
        task.name: tuple(
            label for label, there in zip(task.labels, task.encode(statements), strict=True) if there
        )
        for task in tasks
    }
    return Known(
        labels, statements, item.vocabulary if tasks else "", source if tasks else "", or_none(item.age),
        item.sex or None, tuple(task for task in tasks if task in own),
    )  # fmt: skip
