"""The store of kept work: whole or not at all, private, and a sentence where it cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from clear_hug.store import FILE, VERSION, Forgotten, Store, StoreError, new_workspace, store_folder

ROOT = Path(__file__).resolve().parent.parent
RECORD = "d" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def mine() -> str:
    return new_workspace()


def test_what_is_saved_is_there_after_a_restart(store: Store, mine: str) -> None:
    assert store.r_peaks(RECORD, mine) == {} and store.readings(RECORD, mine) == []
    store.save_r_peaks(RECORD, mine, "clear", {"r_peaks": [1, 2]})
    store.save_r_peaks(RECORD, mine, "clear", {"r_peaks": [1, 3]})
    store.save_r_peaks(RECORD, mine, "xqrs", {"r_peaks": []})
    for k in range(3):
        store.save_reading(RECORD, mine, {"said": k, "note": "“ä”"})
    again = Store(store.folder)
    assert again.r_peaks(RECORD, mine) == {"clear": {"r_peaks": [1, 3]}, "xqrs": {"r_peaks": []}}
    assert [reading["said"] for reading in again.readings(RECORD, mine)] == [0, 1, 2]
    again.forget_r_peaks(RECORD, mine, "clear")
    assert list(store.r_peaks(RECORD, mine)) == ["xqrs"]


def test_nobody_sees_the_work_of_another(store: Store, mine: str) -> None:
    other = new_workspace()
    store.save_r_peaks(RECORD, mine, "clear", {"r_peaks": [1]})
    store.save_reading(RECORD, mine, {"said": 1})
    assert store.r_peaks(RECORD, other) == {} and store.readings(RECORD, other) == []
    assert store.readings("e" * 64, mine) == []
    store.save_reading(RECORD, other, {"said": 2})
    store.forget(mine)
    assert store.r_peaks(RECORD, mine) == {} and store.readings(RECORD, mine) == []
    assert store.readings(RECORD, other) == [{"said": 2}]
    assert mine != other and len(mine) == 32


def test_a_forgotten_workspace_takes_no_more_work(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {"said": 1})
    store.forget(mine)
    other_tab = Store(store.folder)
    for write in (
        lambda: other_tab.save_reading(RECORD, mine, {"said": 2}),
        lambda: other_tab.save_r_peaks(RECORD, mine, "clear", {}),
        lambda: other_tab.forget_r_peaks(RECORD, mine, "clear"),
    ):
        with pytest.raises(Forgotten, match="deleted in another tab"):
            write()
    assert store.readings(RECORD, mine) == [] and store.r_peaks(RECORD, mine) == {}
    store.forget(mine)
    assert mine.encode() not in b"".join(path.read_bytes() for path in store.folder.iterdir()), "nor its name"
    store.save_reading(RECORD, new_workspace(), {"said": 3})


def test_a_store_of_the_first_version_is_read_on(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {"said": 1})
    db = sqlite3.connect(store.path)
    db.execute("DROP TABLE forgotten")
    db.execute("PRAGMA user_version = 1")
    db.close()
    store.save_reading(RECORD, mine, {"said": 2})
    assert [reading["said"] for reading in store.readings(RECORD, mine)] == [1, 2]


@pytest.mark.parametrize("workspace", ["", "mine", "%", "../" * 4, "A" * 32, "a" * 31])
def test_a_workspace_that_could_be_guessed_is_refused(store: Store, workspace: str) -> None:
    with pytest.raises(ValueError, match="new_workspace"):
        store.readings(RECORD, workspace)


def test_folder_and_file_are_private(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {})
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in store.folder.iterdir())


def test_what_is_forgotten_is_not_left_in_the_file(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {"note": "unmistakable"})
    assert b"unmistakable" in store.path.read_bytes()
    store.forget(mine)
    assert b"unmistakable" not in b"".join(path.read_bytes() for path in store.folder.iterdir())


def test_where_the_store_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLEAR_HUG_STORE", str(tmp_path / "named"))
    assert Store().path == tmp_path / "named" / FILE
    monkeypatch.delenv("CLEAR_HUG_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store_folder() == tmp_path / "data" / "clear-hug"


WRITER = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("store", sys.argv[3])  # alone: it starts at once
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
store, mine = module.Store(sys.argv[1]), sys.argv[2]
print("writing", flush=True)
for k in range(100_000):
    store.save_r_peaks("d", mine, "clear", {"k": k, "twice": k, "long": [k] * 3_000})
    store.save_reading("d", mine, {"k": k, "long": "x" * 5_000, "twice": k})
    time.sleep(0.02)
"""


def test_a_process_killed_while_it_writes_leaves_nothing_half_written(store: Store, mine: str) -> None:
    done = 0
    for wait in (0.03, 0.11):
        code = str(ROOT / "clear_hug" / "store.py")
        command = [sys.executable, "-c", WRITER, str(store.folder), mine, code]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            try:
                assert writer.stdout and writer.stdout.readline() == b"writing\n"
                before = len(store.readings("d", mine))
                while len(store.readings("d", mine)) < before + 2:
                    time.sleep(0.05)
                time.sleep(wait)
            finally:
                writer.kill()  # SIGKILL: no handler, no clean end
        with sqlite3.connect(store.path) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        edits, readings = store.r_peaks("d", mine)["clear"], store.readings("d", mine)
        assert edits["k"] == edits["twice"] and edits["long"] == [edits["k"]] * 3_000
        assert all(row["k"] == row["twice"] and len(row["long"]) == 5_000 for row in readings)
        ks = [row["k"] for row in readings[done:]]
        assert ks == list(range(len(ks))) and len(ks) >= 2
        assert edits["k"] - ks[-1] in (0, 1)  # each of the two is saved on its own, the edits first
        done = len(readings)
        store.save_reading("d", mine, {"k": -1, "twice": -1, "long": "x" * 5_000})  # and it goes on
        done += 1


def test_many_at_once(store: Store) -> None:
    names = [new_workspace() for _ in range(8)]

    def work(mine: str) -> None:
        for k in range(5):
            store.save_reading(RECORD, mine, {"mine": mine, "k": k})

    threads = [threading.Thread(target=work, args=(mine,)) for mine in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine in names:
        assert store.readings(RECORD, mine) == [{"mine": mine, "k": k} for k in range(5)]


# What cannot be used is a sentence


def test_a_broken_file(store: Store, mine: str) -> None:
    store.folder.mkdir()
    store.path.write_bytes(b"this is no database, but a text\n" * 200)
    with pytest.raises(StoreError, match="stays in this session"):
        store.readings(RECORD, mine)
    assert store.path.read_bytes().startswith(b"this is no database")  # nothing was thrown away


def test_a_file_of_a_later_version(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {})
    db = sqlite3.connect(store.path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match=f"version {VERSION + 1}"):
        store.save_reading(RECORD, mine, {})


def test_a_file_that_another_process_holds(store: Store, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clear_hug.store.PATIENCE", 0.1)
    store.save_reading(RECORD, mine, {"k": 0})
    db = sqlite3.connect(store.path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked"):
        store.save_reading(RECORD, mine, {"k": 1})
    assert store.readings(RECORD, mine) == [{"k": 0}]  # what is there can still be read
    db.execute("COMMIT")
    db.close()
    store.save_reading(RECORD, mine, {"k": 1})
    assert len(store.readings(RECORD, mine)) == 2


def test_a_folder_that_cannot_be_made(tmp_path: Path, mine: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError):
        Store(tmp_path / "file" / "store").save_reading(RECORD, mine, {})


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anything")
def test_a_read_only_folder(store: Store, mine: str) -> None:
    store.save_reading(RECORD, mine, {})
    store.path.chmod(0o400)
    store.folder.chmod(0o500)
    with pytest.raises(StoreError, match="readonly|read-only|unable to open"):
        store.save_reading(RECORD, mine, {})
    store.folder.chmod(0o700)


def test_values_that_json_cannot_hold_are_refused_before_anything_is_written(store: Store, mine: str) -> None:
    with pytest.raises(ValueError):
        store.save_reading(RECORD, mine, {"p": float("nan")})
    assert store.readings(RECORD, mine) == []
