"""The index of a folder: built, stopped, gone on with, brought up to date, and whose it is."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clear_hug import index as index_module
from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.cohort import UNKNOWN, Cohort, list_entries
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG, ECGError
from clear_hug.index import ask, build, index_path, open_cohort, progress, stamps, waiting
from clear_hug.io import read_ecg
from clear_hug.model import CLEARHUG
from clear_hug.tasks import own_tasks
from clear_hug.ui.records import folder_records
from tests.simulated_ptbxl import write_wfdb

pytestmark = pytest.mark.usefixtures("own_cache")

N_READ = 8  # records of the folder that can be read; one is flat and one is torn


def opened(folder: Path, checkpoint: Checkpoint) -> Cohort:
    path = index_path(folder, checkpoint.digest, "clear")
    return open_cohort(path, list_entries(folder), checkpoint)


def left(folder: Path, checkpoint: Checkpoint) -> int:
    return len(waiting(index_path(folder, checkpoint.digest, "clear"), stamps(list_entries(folder))))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from now on."""
    found: list[str] = []
    whole = index_module.read_ecg
    monkeypatch.setattr(index_module, "read_ecg", lambda path: (found.append(path.name), whole(path))[1])
    return found


def test_every_record_stands_in_the_index(folder: Path, checkpoint: Checkpoint) -> None:
    done = build(folder, checkpoint)
    entries = list_entries(folder)
    assert (done.done, done.unread, done.wanted, done.alive) == (len(entries), 2, False, False)
    cohort = opened(folder, checkpoint)
    assert cohort.titles.tolist() == [entry.title for entry in entries]
    assert int(cohort.read.sum()) == N_READ
    said = dict(zip(cohort.titles.tolist(), cohort.said, strict=True))
    assert "Doe_Jane.dcm" in said["Doe_Jane"] and "00007_lr" in said["records100/00007_lr"]
    row = cohort.titles.tolist().index("records100/00001_lr")
    answer = diagnose(checkpoint, tokenize_beats(read_ecg(entries[row].path)))
    np.testing.assert_allclose(cohort.probabilities[row], answer.probabilities, atol=1e-5)
    assert cohort.truth[row].tolist() == [int(label == "CD") for label in answer.labels]
    assert cohort.labels[row] == "IVCD, PVC" and cohort.age[row] == 50 and cohort.sex[row] == "F"
    torn = cohort.titles.tolist().index("Doe_Jane")
    assert (cohort.truth[torn] == UNKNOWN).all() and np.isnan(cohort.probabilities[torn]).all()


def test_the_truth_of_a_label_set_of_ones_own_is_that_of_the_same_set(
    tmp_path: Path, simulated: Callable[..., ECG], random_model: Callable[..., CLEARHUG]
) -> None:
    folder, told = tmp_path / "echo", {"lvef": {"labels": {"LOW": "below 35 %", "MID": "35 to 49 %"}}}
    for name in ("a", "b"):
        write_wfdb(simulated("normal", fs=100.0), folder, name)
    (folder / "labels.csv").write_text("record,statements,vocabulary\na,LOW,lvef\nb,none,lvef\n")
    (folder / "tasks.json").write_text(json.dumps(told))
    other = {"lvef": {"labels": {"MID": "20 to 34 %", "VERYLOW": "below 20 %"}}}
    for seed, (sets, truth) in enumerate(((told, [[1, 0], [0, 0]]), (other, [[UNKNOWN] * 2] * 2))):
        tasks = tuple(own_tasks(sets).values())
        path = save_checkpoint(tmp_path / f"c{seed}", random_model("tiny", 2, seed=seed), tasks)
        checkpoint = load_checkpoint(path)
        build(folder, checkpoint)
        cohort = opened(folder, checkpoint)
        assert cohort.truth.tolist() == truth and cohort.labels.tolist() == ["LOW", ""]


def test_the_records_list_and_the_index_agree_on_keys(folder: Path) -> None:
    listed = folder_records(str(folder))
    assert {key: record.title for key, record in listed.items()} == {
        entry.key: entry.title for entry in list_entries(folder)
    }
    assert not any("lr" in key or "Doe" in key for key in listed)


def test_an_index_that_was_stopped_goes_on(folder: Path, checkpoint: Checkpoint, reads: list[str]) -> None:
    turns = iter([True, True, True, False])
    halfway = build(folder, checkpoint, go_on=lambda: next(turns))
    assert halfway.done == 3 == len(reads) and halfway.wanted and not halfway.alive
    assert len(opened(folder, checkpoint)) == 3
    assert build(folder, checkpoint).done == N_READ + 2
    assert len(reads) == len(set(reads)) == N_READ + 2  # none was read twice
    assert left(folder, checkpoint) == 0


def test_a_builder_stops_when_it_is_asked_to(folder: Path, checkpoint: Checkpoint) -> None:
    path = index_path(folder, checkpoint.digest, "clear")

    def asked() -> bool:
        if progress(path).done == 2:
            ask(path, False)
        return True

    stopped = build(folder, checkpoint, go_on=asked)
    assert stopped.done == 3 and not stopped.wanted and not stopped.alive


def test_what_changed_is_read_again_and_what_is_gone_leaves(
    folder: Path, checkpoint: Checkpoint, reads: list[str]
) -> None:
    build(folder, checkpoint)
    reads.clear()
    assert left(folder, checkpoint) == 0 and build(folder, checkpoint).done == N_READ + 2 and not reads
    header = folder / "records100" / "00002_lr.hea"
    os.utime(header.with_suffix(".dat"), ns=(1, 1))
    (folder / "Doe_Jane.dcm").unlink()
    assert left(folder, checkpoint) == 1
    assert build(folder, checkpoint).done == N_READ + 1 and reads == ["00002_lr.hea"]
    table = folder / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("IVCD", "CLBBB"))
    assert left(folder, checkpoint) == N_READ + 1  # their labels may be others
    build(folder, checkpoint)
    assert "CLBBB, PVC" in opened(folder, checkpoint).labels


def test_another_detector_or_checkpoint_has_an_index_of_its_own(folder: Path, checkpoint: Checkpoint) -> None:
    paths = {index_path(folder, d, m) for d in (checkpoint.digest, "other") for m in ("clear", "xqrs")}
    assert len(paths | {index_path(folder / "records100", checkpoint.digest, "clear")}) == 5


def test_an_index_is_private_and_names_nobody(folder: Path, checkpoint: Checkpoint) -> None:
    build(folder, checkpoint)
    path = index_path(folder, checkpoint.digest, "clear")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700 and stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert content.startswith(b"SQLite format 3")
    for name in (b"Doe", b"Jane", b"00001_lr", b"records100", str(folder).encode()):
        assert name not in content


def test_a_torn_index_is_begun_anew(folder: Path, checkpoint: Checkpoint) -> None:
    path = index_path(folder, checkpoint.digest, "clear")
    path.write_bytes(b"this is no database" * 100)
    assert progress(path).done == 0 and not len(opened(folder, checkpoint))
    assert build(folder, checkpoint).done == N_READ + 2


def test_only_one_builder_works_on_an_index(folder: Path, checkpoint: Checkpoint, reads: list[str]) -> None:
    seen = []

    def second() -> bool:
        if len(reads) == 1 and not seen:
            seen.append(build(folder, checkpoint))
        return True

    build(folder, checkpoint, go_on=second)
    assert seen[0].alive and seen[0].done == 1 and len(reads) == N_READ + 2


def test_a_builder_that_fell_silent_is_replaced(folder: Path, checkpoint: Checkpoint) -> None:
    path = index_path(folder, checkpoint.digest, "clear")
    ask(path, True)
    with sqlite3.connect(path) as index:
        index.executemany(
            "INSERT INTO meta VALUES (?, ?)",
            [("builder", "somebody"), ("seen", str(time.time() - 2 * index_module.SILENT))],
        )
    assert not progress(path).alive and progress(path).wanted
    assert build(folder, checkpoint).done == N_READ + 2


def test_a_record_that_ends_the_program_twice_is_left_out_in_words(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    whole = index_module.read_ecg

    def fatal(path: Path) -> ECG:
        if path.stem == "00001_lr":
            raise Ended
        return whole(path)

    monkeypatch.setattr(index_module, "read_ecg", fatal)
    for _ in range(2):
        with pytest.raises(Ended):
            build(folder, checkpoint)
    assert build(folder, checkpoint).unread == 3
    cohort = opened(folder, checkpoint)
    said = cohort.said[cohort.titles.tolist().index("records100/00001_lr")]
    assert said.startswith("00001_lr.hea ended the program twice")


def test_a_fault_of_any_kind_is_a_sentence(
    folder: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(path: Path) -> ECG:
        raise RuntimeError(str(path))

    monkeypatch.setattr(index_module, "read_ecg", odd)
    assert build(folder, checkpoint).unread == N_READ + 2
    assert set(opened(folder, checkpoint).said) == {
        f"{entry.path.name} could not be read (RuntimeError)." for entry in list_entries(folder)
    }


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLEAR_HUG_CACHE", str(tmp_path / "file"))
    with pytest.raises(ECGError, match="name another in CLEAR_HUG_CACHE"):
        index_path(tmp_path, "digest", "clear")


def test_an_index_is_built_from_the_command_line(
    folder: Path,
    checkpoint: Checkpoint,
    checkpoint_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    niced: list[int] = []
    monkeypatch.setattr(os, "nice", niced.append)
    index_module.main([str(folder), "--checkpoint", str(checkpoint_folder)])
    assert capsys.readouterr().out == f"{N_READ + 2} records in the index, 2 of which could not be read.\n"
    assert len(opened(folder, checkpoint)) == N_READ + 2 and niced[0] >= 10
