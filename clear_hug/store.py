"""What a reader did to a record, kept over a restart: R peaks edited by hand, and readings.

One SQLite file with a write-ahead log. Each save is one transaction, so that a process that is killed
leaves either all of it or nothing. A record is named by its digest, never by a name or the path of a file.

Whose work? The app knows no users, and one machine may serve many. Each browser that asks to keep its work
gets a workspace: a random name of 128 bits, held by a cookie of that browser and by nothing else. It stands
in no link, so that a link which is passed on passes on no edits; every question to the store names it, and
there is none that lists workspaces. Until somebody asks, work stays in the session and nothing is written.

A workspace that was forgotten stays so: of its name a hash is kept, so that another tab of the same browser,
which still knows the name, cannot go on writing where nobody would find it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VERSION = 2  # of the tables
FILE = "work.sqlite"
PATIENCE = 2.0  # s to wait for another process that is writing
WORKSPACE = re.compile(r"[0-9a-f]{32}")

_TABLES = """
CREATE TABLE IF NOT EXISTS r_peaks (
    workspace TEXT NOT NULL, record TEXT NOT NULL, detector TEXT NOT NULL, saved REAL NOT NULL,
    edits TEXT NOT NULL, PRIMARY KEY (workspace, record, detector));
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, workspace TEXT NOT NULL, record TEXT NOT NULL, saved REAL NOT NULL,
    reading TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS readings_of ON readings (workspace, record);
CREATE TABLE IF NOT EXISTS forgotten (name_sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class StoreError(RuntimeError):
    """The store cannot be used, in a sentence that says why and what becomes of the work."""


class Forgotten(StoreError):
    """The workspace was forgotten; it takes no more work."""


def new_workspace() -> str:
    """A name that nobody can guess."""
    return secrets.token_hex(16)


def store_folder() -> Path:
    """The folder named by CLEAR_HUG_STORE, or a private one among the user's data."""
    if named := os.environ.get("CLEAR_HUG_STORE"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "clear-hug"


class Store:
    """The work that is kept in one folder; any number of threads and processes may use it at once.

    Every method raises `StoreError` where the file is broken, locked, read-only or of a later version.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else store_folder()

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def save_r_peaks(self, record: str, workspace: str, detector: str, edits: Mapping[str, Any]) -> None:
        """Keep the R-peak edits (JSON) of a record in place of those kept before."""
        with self._write(workspace) as db:
            db.execute(
                "INSERT OR REPLACE INTO r_peaks VALUES (?, ?, ?, ?, ?)",
                (workspace, record, detector, time.time(), _json(edits)),
            )

    def r_peaks(self, record: str, workspace: str) -> dict[str, dict[str, Any]]:
        """Detector -> the R-peak edits kept of a record."""
        with self._open(workspace) as db:
            rows = db.execute(
                "SELECT detector, edits FROM r_peaks WHERE workspace = ? AND record = ?", (workspace, record)
            ).fetchall()
        return {detector: json.loads(edits) for detector, edits in rows}

    def forget_r_peaks(self, record: str, workspace: str, detector: str) -> None:
        with self._write(workspace) as db:
            db.execute(
                "DELETE FROM r_peaks WHERE workspace = ? AND record = ? AND detector = ?",
                (workspace, record, detector),
            )

    def save_reading(self, record: str, workspace: str, reading: Mapping[str, Any]) -> None:
        """Add what a reader said of a record (JSON) to what was said before."""
        with self._write(workspace) as db:
            db.execute(
                "INSERT INTO readings (workspace, record, saved, reading) VALUES (?, ?, ?, ?)",
                (workspace, record, time.time(), _json(reading)),
            )

    def readings(self, record: str, workspace: str) -> list[dict[str, Any]]:
        """The readings kept of a record, the oldest first."""
        with self._open(workspace) as db:
            rows = db.execute(
                "SELECT reading FROM readings WHERE workspace = ? AND record = ? ORDER BY id",
                (workspace, record),
            ).fetchall()
        return [json.loads(reading) for (reading,) in rows]

    def check(self, workspace: str) -> None:
        """Raises `Forgotten` where a workspace was."""
        with self._open(workspace) as db:
            _refuse_forgotten(db, workspace)

    def forget(self, workspace: str) -> None:
        """Delete all that a workspace holds, and take no more work of it."""
        with self._open(workspace, "BEGIN IMMEDIATE") as db:
            db.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", (_hashed(workspace),))
            for table in ("r_peaks", "readings"):
                db.execute(f"DELETE FROM {table} WHERE workspace = ?", (workspace,))

    @contextmanager
    def _write(self, workspace: str) -> Iterator[sqlite3.Connection]:
        """One transaction that writes, into a workspace that was not forgotten."""
        with self._open(workspace, "BEGIN IMMEDIATE") as db:
            _refuse_forgotten(db, workspace)
            yield db

    @contextmanager
    def _open(self, workspace: str, begin: str = "BEGIN") -> Iterator[sqlite3.Connection]:
        """One transaction, on a connection of its own."""
        if not WORKSPACE.fullmatch(workspace):
            raise ValueError("a workspace is 32 hexadecimal digits; make one by new_workspace().")
        db = None
        try:
            self._make_private()
            db = _connect(self.path)
            db.execute(begin)
            yield db
            db.execute("COMMIT")
        except (sqlite3.Error, OSError, json.JSONDecodeError) as error:
            raise StoreError(
                f"The store of kept work cannot be used ({error}). What you do stays in this session, and is "
                "gone when it ends: export it, or put the file right, which lies in the folder that "
                "CLEAR_HUG_STORE names, or among your user's data."
            ) from error
        finally:
            if db is not None:
                db.close()  # what was not committed is rolled back

    def _make_private(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # its log gets the same mode


def _connect(path: Path) -> sqlite3.Connection:
    """A connection with the log on and the tables there; SQLite does not itself wait for these two."""
    until = time.monotonic() + PATIENCE
    while True:
        db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
            _upgrade(db)
            return db
        except sqlite3.OperationalError as error:
            db.close()
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        except sqlite3.Error:
            db.close()
            raise
        time.sleep(0.01)


def _upgrade(db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise sqlite3.DatabaseError(f"it is of version {version}, and this app reads up to {VERSION}")
    if version < VERSION:
        db.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")


def _refuse_forgotten(db: sqlite3.Connection, workspace: str) -> None:
    if db.execute("SELECT 1 FROM forgotten WHERE name_sha256 = ?", (_hashed(workspace),)).fetchone():
        raise Forgotten(
            "What this browser kept was deleted in another tab. What you do here stays in this session: "
            "export it, or reload the page to go on with what the browser keeps now."
        )


def _hashed(workspace: str) -> str:
    return hashlib.sha256(workspace.encode()).hexdigest()


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False)
