"""The index of a folder: what is kept of each record (metadata, labels, answers, embeddings), in SQLite.

`build` reads every record of a folder once and writes what it finds into one SQLite file for each
(folder, checkpoint, detector); `open_cohort` gives it back as a `Cohort`. An index is a cache: it holds no
name of a file, is private to its user, and may be deleted at any time. Building goes on where it was
stopped, reads a changed file again, and keeps a record that cannot be read with the sentence that says why.

    python -m clear_hug.index FOLDER --checkpoint checkpoints/small
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clear_hug.checkpoint import Checkpoint, load_checkpoint
from clear_hug.cohort import Cohort, Described, Entry, describe, list_entries, make_cohort
from clear_hug.ecg import ECGError
from clear_hug.io import read_ecg
from clear_hug.known import Known, known, label_tables
from clear_hug.tasks import own_tasks, told_of

FORMAT = 2  # of an index; another one is built anew
SILENT = 120.0  # s without a sign of life, after which a builder is taken for dead
NAME = "{record}"  # stands for a file's name in a sentence that an index keeps


def cache_folder() -> Path:
    """Where indexes lie: below CLEAR_HUG_CACHE, or the user's cache; for its user's eyes alone.

    Raises
    ------
    ECGError : it cannot be made
    """
    named = os.environ.get("CLEAR_HUG_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) / "clear-hug" / "cohorts"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ECGError(
            f"the cache folder {folder} cannot be made ({error.strerror}); name another in CLEAR_HUG_CACHE."
        ) from error
    return folder


def index_path(folder: str | Path, digest: str, detector: str) -> Path:
    """The file of an index: one for each folder, checkpoint and detector."""
    what = repr((str(Path(folder).resolve()), digest, detector, FORMAT))
    return cache_folder() / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.sqlite"


_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, stamp TEXT, said TEXT, known TEXT, logits BLOB, embedding BLOB, novelty REAL,
    quality REAL, trace BLOB, peak REAL, lead TEXT, seconds REAL, beats INTEGER, rate REAL, age REAL, sex TEXT
);
"""
_COLUMNS = (
    "key", "stamp", "said", "known", "logits", "embedding", "novelty", "quality", "trace", "peak", "lead",
    "seconds", "beats", "rate", "age", "sex",
)  # fmt: skip
_INSERT = f"INSERT OR REPLACE INTO records VALUES ({', '.join('?' * len(_COLUMNS))})"


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """An index; one that is torn is begun anew, since it is only a cache."""
    try:
        index = _connect(path)
    except sqlite3.OperationalError as error:  # locked, or a full disk: not torn
        raise ECGError(f"the index {path.name} cannot be opened ({error}); try again later.") from error
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        index = _connect(path)
    try:
        with index:
            yield index
    finally:
        index.close()


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        path.touch(mode=0o600)
    index = sqlite3.connect(path, timeout=30)
    try:
        index.execute("PRAGMA synchronous=OFF")
        index.executescript(_TABLES)
    except sqlite3.DatabaseError:
        index.close()
        raise
    return index


def _meta(index: sqlite3.Connection) -> dict[str, str]:
    return dict(index.execute("SELECT name, value FROM meta"))


def _note(index: sqlite3.Connection, **values: object) -> None:
    index.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(name, str(value)) for name, value in values.items()]
    )


@dataclass(frozen=True)
class Progress:
    """How far an index is.

    done, unread : records that stand in it, and those of them that could not be read
    wanted : somebody asked for it to be built, and nobody to stop;  alive : a builder is at work
    rate : records/s of the builder, 0 where it has not told yet
    """

    done: int = 0
    unread: int = 0
    wanted: bool = False
    alive: bool = False
    rate: float = 0.0


def progress(path: Path) -> Progress:
    """How far an index is; nothing where there is none."""
    if not path.exists():
        return Progress()
    with _opened(path) as index:
        meta = _meta(index)
        done, unread = index.execute("SELECT count(*), coalesce(sum(said != ''), 0) FROM records").fetchone()
    alive = bool(meta.get("builder")) and time.time() - float(meta.get("seen", 0)) < SILENT
    return Progress(done, unread, meta.get("wanted") == "1", alive, float(meta.get("rate", 0)))


def ask(path: Path, wanted: bool) -> None:
    """Note that an index is to be built, or that its builder is to stop after the record at hand."""
    with _opened(path) as index:
        _note(index, wanted=int(wanted))


def stamps(entries: Iterable[Entry]) -> dict[str, str]:
    """Key -> when the files of each record, and the tables of its labels, were written, and their lengths."""
    told: dict[Path, tuple[dict[str, str], str]] = {}
    lines = {}
    for entry in entries:
        folder, name = entry.path.parent, entry.path.name
        if folder not in told:
            tables = " ".join(_stamp(table.stat()) for table in label_tables(entry.path))
            told[folder] = (_stamps_in(folder), tables)
        there, tables = told[folder]
        stem = name.removesuffix(".hea")
        beside = (f"{stem}.dat", f"{stem}.mat") if name.endswith(".hea") else ()
        lines[entry.key] = " ".join(filter(None, (*(there.get(file) for file in (name, *beside)), tables)))
    return lines


def _stamps_in(folder: Path) -> dict[str, str]:
    try:
        with os.scandir(folder) as files:
            return {file.name: _stamp(file.stat()) for file in files if file.is_file()}
    except OSError:  # gone since it was listed
        return {}


def _stamp(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns}:{stat.st_size}"


def waiting(path: Path, stamped: dict[str, str]) -> list[str]:
    """Keys of the records that the index lacks, or whose files changed since."""
    there: dict[str, str] = {}
    if path.exists():
        with _opened(path) as index:
            there = dict(index.execute("SELECT key, stamp FROM records"))
    return [key for key, stamp in stamped.items() if there.get(key) != stamp]


def build(
    folder: str | Path,
    checkpoint: Checkpoint,
    detector: str = "clear",
    go_on: Callable[[], bool] = lambda: True,
) -> Progress:
    """Index what is new or changed in a folder, record by record, until that is done or it is to stop.

    Only one builder works on an index: a second one returns at once.

    Parameters
    ----------
    folder : of ECG files
    checkpoint, detector : by whom records are read
    go_on : asked between two records; False stops, and a later build goes on from there

    """
    path = index_path(folder, checkpoint.digest, detector)
    me = uuid.uuid4().hex
    with _opened(path) as index:
        index.execute("BEGIN IMMEDIATE")
        meta = _meta(index)
        if meta.get("builder") and time.time() - float(meta.get("seen", 0)) < SILENT:
            return progress(path)
        _note(index, builder=me, seen=time.time(), wanted=1, rate=0)
    try:
        _build(path, me, list_entries(folder), checkpoint, detector, go_on)
    finally:
        with _opened(path) as index:
            if _meta(index).get("builder") == me:
                _note(index, builder="")
    return progress(path)


def _build(
    path: Path,
    me: str,
    entries: list[Entry],
    checkpoint: Checkpoint,
    detector: str,
    go_on: Callable[[], bool],
) -> None:
    stamped = stamps(entries)
    todo = set(waiting(path, stamped))
    began, n = time.monotonic(), 0
    with _opened(path) as index:
        gone = set(dict(index.execute("SELECT key, key FROM records"))) - stamped.keys()
        index.executemany("DELETE FROM records WHERE key = ?", [(key,) for key in gone])
        for entry in (entry for entry in entries if entry.key in todo):
            meta = _meta(index)
            if meta.get("builder") != me or meta.get("wanted") != "1" or not go_on():
                return
            # What ends the whole process twice (memory, a fault in a library) is not tried a third time.
            tries = 1 + int(meta.get("tries", 0)) if meta.get("at") == entry.key else 1
            _note(index, at=entry.key, tries=tries, seen=time.time())
            index.commit()
            found = _read(entry, checkpoint, detector) if tries <= 2 else _FATAL
            told = Known()
            try:
                told = known(entry.path) if tries <= 2 else told
            except ECGError as error:
                found = _nameless(str(error), entry)
            except Exception as error:  # as in _read
                found = f"{NAME} could not be read ({type(error).__name__})."
            index.execute(_INSERT, _row(entry.key, stamped[entry.key], found, told))
            n += 1
            rate = n / (time.monotonic() - began)
            _note(index, at="", tries=0, seen=time.time(), rate=f"{rate:.2f}")
            index.commit()
        _note(index, wanted=0)


_FATAL = f"{NAME} ended the program twice while it was read; it was left out."


def _read(entry: Entry, checkpoint: Checkpoint, detector: str) -> Described | str:
    """What is described of a record, or the sentence that says why it cannot be."""
    try:
        return describe(checkpoint, read_ecg(entry.path), detector)
    except (ECGError, OSError) as error:
        return _nameless(str(error), entry)
    except Exception as error:  # of many kinds: the file may be anything, and the others are to be read
        return f"{NAME} could not be read ({type(error).__name__})."


def _nameless(sentence: str, entry: Entry) -> str:
    """A sentence without the file's name, which may be a patient's."""
    for name in (str(entry.path), entry.path.name, entry.path.stem):
        sentence = sentence.replace(name, NAME)
    return sentence


def _row(key: str, stamp: str, found: Described | str, told: Known) -> tuple[object, ...]:
    labels = {name: list(labels) for name, labels in told.labels.items()}
    facts = {"labels": labels, "age": told.age, "sex": told.sex, "own": told_of(told.own)}
    head = (key, stamp, found if isinstance(found, str) else "", json.dumps(facts))
    if isinstance(found, str):
        return (*head, *[None] * (len(_COLUMNS) - len(head)))
    return (
        *head, found.logits.tobytes(), found.embedding.tobytes(), found.novelty, found.quality,
        found.trace.tobytes(), found.peak, found.lead, found.seconds, found.beats, found.rate, found.age,
        found.sex,
    )  # fmt: skip


def open_cohort(path: Path, entries: Sequence[Entry], checkpoint: Checkpoint) -> Cohort:
    """What an index holds of the records of a folder, in the order of `entries`, without those it lacks."""
    rows: dict[str, tuple[Any, ...]] = {}
    if path.exists():
        with _opened(path) as index:
            rows = {row[0]: row for row in index.execute(f"SELECT {', '.join(_COLUMNS)} FROM records")}
    there = (entry for entry in entries if entry.key in rows)
    return make_cohort(
        checkpoint, [(entry.key, entry.title, *_from_row(rows[entry.key], entry)) for entry in there]
    )


def _from_row(row: tuple[Any, ...], entry: Entry) -> tuple[Described | str, Known]:
    kept = dict(zip(_COLUMNS, row, strict=True))
    told = json.loads(str(kept["known"]))
    labels = {name: tuple(labels) for name, labels in told["labels"].items()}
    own = tuple(own_tasks(told["own"]).values()) if told.get("own") else ()
    what = Known(labels, age=told["age"], sex=told["sex"], own=own)
    if kept["said"]:
        return str(kept["said"]).replace(NAME, entry.path.name), what
    numbers = {
        name: float("nan") if kept[name] is None else float(kept[name])  # SQLite keeps NaN as NULL
        for name in ("novelty", "quality", "peak", "seconds", "rate")
    }
    return (
        Described(
            np.frombuffer(kept["logits"], dtype=np.float32),
            np.frombuffer(kept["embedding"], dtype=np.float32),
            trace=np.frombuffer(kept["trace"], dtype=np.int8),
            lead=kept["lead"],
            beats=kept["beats"],
            age=kept["age"],
            sex=kept["sex"],
            **numbers,
        ),
        what,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the index of a folder at low priority; ends with the process that started it."""
    parser = argparse.ArgumentParser(prog="python -m clear_hug.index", description="Index a folder of ECGs.")
    parser.add_argument("folder")
    parser.add_argument("--checkpoint", default="small", help="a folder, or the name of one that ships")
    parser.add_argument("--detector", default="clear")
    told = parser.parse_args(arguments)
    if hasattr(os, "nice"):
        os.nice(10)  # whoever looks at a page comes first
    torch.set_num_threads(1)
    parent = os.getppid()
    checkpoint = load_checkpoint(told.checkpoint)
    done = build(told.folder, checkpoint, told.detector, go_on=lambda: os.getppid() == parent)
    print(f"{done.done} records in the index, {done.unread} of which could not be read.")


if __name__ == "__main__":
    main()
