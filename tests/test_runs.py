"""Run folders are read while they are written, and whatever is torn in them is a sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from clear_hug.runs import (
    EPOCH,
    age_words,
    differences,
    find_runs,
    list_runs,
    passed_over,
    read_run,
    runs_folder,
)
from tests.written_runs import log_row, write_metrics, write_run, write_runs


def test_what_a_run_tells(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", "finetune", epochs=8, done=5, state="running")
    write_metrics(folder)
    run = read_run(folder)
    assert (run.name, run.folder, run.stage, run.state) == ("one", folder, "finetune", "running")
    assert (run.epoch, run.epochs, run.step, run.steps) == (5, 8, 50, 80)
    assert run.log[EPOCH].tolist() == [1, 2, 3, 4, 5]
    assert run.log["train/loss"].tolist() == [log_row("finetune", e)["train/loss"] for e in range(1, 6)]
    assert run.columns[0] == "watch/superdiagnostic" and EPOCH not in run.columns
    assert run.last("lr") == pytest.approx(1e-3 / 5) and run.last("nothing") is None
    assert run.config["recipe.epochs"] == 8 and run.config["engine.accumulate"] == 1
    assert "superdiagnostic" in run.metrics["tasks"]
    assert not run.notes and run.alive(datetime.now(UTC))


def test_a_run_of_the_engine_is_read(tmp_path: Path) -> None:
    """What `Run` writes is what is read here; the rest of these tests write the same by hand."""
    from accelerate import Accelerator

    from clear_hug.train.run import Run

    about = {"stage": "pretrain", "config": {"epochs": 3, "lr": 0.1}, "engine": {}, "sources": ["a"]}
    with Run(tmp_path / "one", Accelerator(cpu=True), about, {"run": "one"}) as run:
        run.begin_log(0)
        run.progress(step=4, steps=12, epoch=0, epochs=3, ecg_per_second=2.5, seconds_left=9.0)
        run.log(1, lr=0.1, **{"probe/r2": 0.5, "train/loss": float("nan")})
        read = read_run(tmp_path / "one")
        assert read.state == "running" and read.last("probe/r2") == 0.5 and "train/loss" not in read.log
    read = read_run(tmp_path / "one")
    assert (read.state, read.epoch, read.epochs, read.step, read.steps) == ("finished", 1, 3, 4, 12)
    assert (read.rate, read.seconds_left) == (2.5, 9.0)
    assert read.started and read.updated and read.started <= read.updated
    assert read.config["sources"] == ["a"] and not read.notes


def test_a_growing_log(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", epochs=9, done=2, state="running")
    for epoch in range(3, 6):
        line = json.dumps(log_row("pretrain", epoch))
        with (folder / "log.jsonl").open("a") as file:
            file.write(line[:20])
        torn = read_run(folder)
        assert torn.log[EPOCH].tolist() == list(range(1, epoch))
        assert ["1 line passed over" in note for note in torn.notes] == [True]
        with (folder / "log.jsonl").open("a") as file:
            file.write(line[20:] + "\n")
        whole = read_run(folder)
        assert whole.log[EPOCH].tolist() == list(range(1, epoch + 1)) and not whole.notes
        assert whole.epoch == epoch  # though run.json was not written again


@pytest.mark.parametrize(
    "line",
    ['{"epoch": 3, "tra', "[1, 2]", "null", '{"lr": 1}', '{"epoch": "x"}', '{"epoch": true}',
     '{"epoch": 2.5}', '{"epoch": 1' + "0" * 5000 + "}", "[" * 100_000, "\x00\xff", '{"epoch": null}'],
)  # fmt: skip
def test_a_torn_line_is_passed_over(tmp_path: Path, line: str) -> None:
    folder = write_run(tmp_path / "one", epochs=4)
    log = folder / "log.jsonl"
    log.write_bytes(line.encode("latin-1") + b"\n" + log.read_bytes())
    run = read_run(folder)
    assert run.log[EPOCH].tolist() == [1, 2, 3, 4]
    assert ["1 line passed over" in note for note in run.notes] == [True]


def test_values_that_are_no_numbers_are_not_known(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", epochs=1)
    rows = ['{"epoch": 2, "lr": null, "train/loss": NaN, "probe/r2": 1e999}', '{"epoch": 3, "lr": "x"}',
            '{"epoch": 4, "lr": 1' + "0" * 400 + "}"]  # fmt: skip
    with (folder / "log.jsonl").open("a") as file:
        file.write("\n".join(rows) + "\n")
    run = read_run(folder)
    assert run.log[EPOCH].tolist() == [1, 2, 3, 4]
    for name in ("lr", "train/loss", "probe/r2"):
        assert np.isfinite(run.log[name]).tolist() == [True, False, False, False], name


def test_an_epoch_that_was_written_again_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", epochs=3)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"epoch": 2, "lr": 7}\n')
    run = read_run(folder)
    assert run.log[EPOCH].tolist() == [1, 2, 3] and run.log["lr"][1] == 7


def test_a_log_that_calls_an_epoch_a_step_is_read_as_well(tmp_path: Path) -> None:
    """As runs of before 0.19 do; one of them that went on later holds both."""
    folder = write_run(tmp_path / "one", epochs=3)
    log = folder / "log.jsonl"
    before = read_run(folder).log
    log.write_text(log.read_text().replace('"epoch"', '"step"', 2))
    after = read_run(folder)
    assert before.keys() == after.log.keys() and not after.notes
    for name, values in before.items():
        np.testing.assert_array_equal(after.log[name], values)


@pytest.mark.parametrize("content", [None, "", "{", "[]", "7", '{"state": "runn'])
def test_without_a_whole_run_json_the_log_still_shows(tmp_path: Path, content: str | None) -> None:
    folder = write_run(tmp_path / "one", epochs=4)
    (folder / "run.json").unlink()
    if content is not None:
        (folder / "run.json").write_text(content)
    run = list_runs(tmp_path)["one"]
    assert (run.state, run.stage, run.epoch, run.epochs) == ("unknown", "", 4, 0)
    assert run.updated is not None and run.started is None and not run.config
    assert ["run.json" in note and "recipe are unknown" in note for note in run.notes] == [True]


def test_without_a_log(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", epochs=4, done=0, state="running")
    (folder / "log.jsonl").unlink()
    run = read_run(folder)
    assert run.columns == [] and run.log[EPOCH].size == 0 and not run.notes


@pytest.mark.parametrize(
    "value",
    ["x", None, [], {}, "9999-99-99", "0001-01-01T00:00:00+23:59", 10**400],
    ids=range(7),
)
def test_nonsense_in_run_json_is_not_known(tmp_path: Path, value: object) -> None:
    names = ("started", "updated", "epoch", "epochs", "step", "steps", "ecg_per_second", "seconds_left")
    folder = write_run(tmp_path / "one", epochs=4)
    about = json.loads((folder / "run.json").read_text()) | dict.fromkeys(names, value)
    (folder / "run.json").write_text(json.dumps(about | {"config": {"epochs": value}}))
    run = read_run(folder)
    assert (run.epoch, run.epochs, run.step, run.steps) == (4, 0, 0, 0)
    assert run.started is None and run.rate is None and run.seconds_left is None


def test_torn_metrics_are_a_sentence(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one")
    write_metrics(folder)
    (folder / "checkpoint" / "metrics.json").write_text('{"tasks": {')
    run = read_run(folder)
    assert run.metrics == {} and "metrics.json cannot be read" in run.notes[0]


def test_a_run_that_is_not_heard_of_is_silent(tmp_path: Path) -> None:
    now = datetime.now(UTC)

    def silent(state: str = "running", **times: float) -> bool:
        run = read_run(write_run(tmp_path / f"{len(list(tmp_path.iterdir()))}", state=state, **times))
        assert run.alive(now) == (state == "running" and not run.silent(now))
        assert run.state_words(now).startswith("silent since " if run.silent(now) else state)
        return run.silent(now)

    assert not silent(written=5)
    assert not silent(began=1300, written=9 * 60)
    assert silent(began=1300, written=11 * 60)
    hour = 3600
    assert not silent(began=4 * hour + 2 * hour, written=2 * hour, done=4)  # an epoch takes an hour
    assert silent(began=4 * hour + 4 * hour, written=4 * hour, done=4)
    assert not silent("finished", began=9 * hour, written=8 * hour)
    assert not silent("failed", began=9 * hour, written=8 * hour)


def test_runs_are_found_and_others_named(tmp_path: Path) -> None:
    write_runs(tmp_path)
    write_run(tmp_path / "sweep" / "lr" / "one", began=100)
    (tmp_path / "second" / "checkpoint" / "run.json").write_text("{}")  # within a run is no other
    (tmp_path / "notes").mkdir()
    (tmp_path / "resnet").mkdir()
    (tmp_path / "resnet" / "predictions.npz").write_bytes(b"")
    (tmp_path / "log.txt").write_text("x")
    assert list(list_runs(tmp_path)) == ["sweep/lr/one", "second", "first", "pretrain"]  # the newest first
    said = passed_over(tmp_path)
    assert len(said) == 2 and "notes is no run" in said[0] and "resnet holds the predictions" in said[1]
    assert list(list_runs(tmp_path / "second")) == ["second"] and passed_over(tmp_path / "second") == []
    for nothing in (tmp_path / "gone", tmp_path / "log.txt", tmp_path / "notes"):
        assert find_runs(nothing) == {} and passed_over(nothing) == []


def test_only_what_differs(tmp_path: Path) -> None:
    one = read_run(write_run(tmp_path / "one", config={"tasks": ["form"], "only": None}))
    two = read_run(write_run(tmp_path / "two", config={"tasks": ["form", "rhythm"], "more": 3}))
    assert differences([one, one]) == {} == differences([one]) == differences([])
    assert differences([one, two]) == {
        "recipe.tasks": (["form"], ["form", "rhythm"]),
        "recipe.more": (None, 3),
    }


def test_the_folder_of_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEAR_HUG_RUNS", raising=False)
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("CLEAR_HUG_RUNS", str(tmp_path))
    assert runs_folder() == tmp_path


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (12.7, "12 s"), (100, "1 min"), (7200, "2 h"), (3e5, "3 days")]
)
def test_age_words(seconds: float, words: str) -> None:
    assert age_words(timedelta(seconds=seconds)) == words
