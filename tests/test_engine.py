"""The engine: a run that is cut off goes on as if it had not been; processes and pieces change nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.checkpoint import CheckpointError
from clear_hug.hug import HUG
from clear_hug.masked import MaskedCLEAR
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.train import __main__ as command
from clear_hug.train import run as run_module
from clear_hug.train.augment import ALL_BEATS, Augmentation
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.finetune import finetune
from clear_hug.train.intervals import N_INTERVALS
from clear_hug.train.loop import Average, EngineConfig, check_finite, learning_rate, parameter_groups
from clear_hug.train.prepare import prepare
from clear_hug.train.pretrain import PretrainConfig, Rebuilding, pretrain
from clear_hug.train.reading import Batch, batches, read_batch, workers_beside
from clear_hug.train.run import Run
from clear_hug.train.settings import RunError
from clear_hug.train.tuning import FinetuneConfig, layered_groups
from tests.simulated_ptbxl import write_wfdb

ROOT = Path(__file__).resolve().parent.parent
PRETRAIN = PretrainConfig(
    preset="tiny", epochs=3, batch_size=8, lr=3e-3, precision="no", warm_up=1
)  # 15 steps
FINETUNE = FinetuneConfig(epochs=2, batch_size=6, lr=1e-2, precision="no", rebuild_records=4)
ENGINE = EngineConfig(track="none", save_every=3)  # of 15 steps, five an epoch; of 12, six an epoch


class Cut(BaseException):
    """What a run is cut off by."""


@pytest.fixture
def train(corpus: Path, checkpoint_folder: Path):
    """train(stage, run, engine=..., resume=..., **changes of the recipe)."""

    def go(stage: str, run: Path, engine: EngineConfig = ENGINE, resume: bool = False, **changes) -> None:
        if stage == "pretrain":
            pretrain(run, corpus, replace(PRETRAIN, **changes), engine, resume)
        else:
            finetune(run, corpus, str(checkpoint_folder), (), replace(FINETUNE, **changes), engine, resume)

    return go


@pytest.fixture(scope="module")
def whole(corpus: Path, checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run of each stage."""
    folder = tmp_path_factory.mktemp("whole")
    pretrain(folder / "pretrain", corpus, PRETRAIN, ENGINE)
    finetune(folder / "finetune", corpus, str(checkpoint_folder), None, FINETUNE, ENGINE)
    return folder


@pytest.fixture
def cut_at(monkeypatch: pytest.MonkeyPatch):
    """cut_at(step): the next run is cut off after that step, before its state is saved."""

    def cut(step: int) -> None:
        def progress(self: Run, **values) -> None:
            if values["step"] == step:
                monkeypatch.undo()
                raise Cut

        monkeypatch.setattr(Run, "progress", progress)

    return cut


def weights(run: Path) -> bytes:
    return (run / "checkpoint" / "model.safetensors").read_bytes()


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def about(run: Path) -> dict:
    return json.loads((run / "run.json").read_text())


def states(run: Path) -> list[str]:
    return sorted(p.name for p in run.glob("state-*"))


def assert_same_run(run: Path, other: Path) -> None:
    assert weights(run) == weights(other)
    assert log(run) == log(other)
    assert about(run)["state"] == "finished"
    assert not list(run.glob("state-*")) and not list(run.glob(".*"))


@pytest.mark.parametrize(
    "stage, step",
    [
        pytest.param(*at, marks=pytest.mark.long if at == ("pretrain", 7) else pytest.mark.slow)
        for at in [*(("pretrain", step) for step in (1, 5, 7, 15)), ("finetune", 8)]
    ],
)
def test_a_run_that_was_cut_off_goes_on_bit_for_bit(train, cut_at, whole, tmp_path, stage, step) -> None:
    cut_at(step)
    with pytest.raises(Cut):
        train(stage, tmp_path / "run")
    assert about(tmp_path / "run")["state"] == "failed"
    assert len(states(tmp_path / "run")) == min(2, step // 3)
    cut_at(step + 2)  # and once more
    try:
        train(stage, tmp_path / "run", resume=True)
    except Cut:
        train(stage, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole / stage)


@pytest.mark.slow
def test_kill_9_and_resume_bit_for_bit(train, corpus, whole, tmp_path) -> None:
    """Killed while the state of step 9 is being written, in the second epoch."""
    run = tmp_path / "run"
    script = f"""
import os
import torch
from pathlib import Path
from clear_hug.train import run
from tests.test_engine import ENGINE, PRETRAIN, pretrain
torch.set_num_threads(1)
save = run.save_file
def torn(tensors, path, metadata):
    save(tensors, path, metadata)
    if "state-000000009" in path.name:
        os.truncate(path, 1000)
        os.kill(os.getpid(), {int(signal.SIGKILL)})
run.save_file = torn
pretrain(Path({str(run)!r}), Path({str(corpus)!r}), PRETRAIN, ENGINE)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert about(run)["state"] == "running" and list(run.glob(".state-*.part"))
    assert states(run) == ["state-000000005.safetensors", "state-000000006.safetensors"]
    train("pretrain", run, resume=True)
    assert_same_run(run, whole / "pretrain")


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param("cut short", marks=pytest.mark.long),
        *(pytest.param(harm, marks=pytest.mark.slow) for harm in ("one bit", "emptied")),
    ],
)
def test_a_torn_state_is_passed_over_and_said_so(train, cut_at, whole, tmp_path, capsys, harm) -> None:
    run = tmp_path / "run"
    cut_at(8)
    with pytest.raises(Cut):
        train("pretrain", run)
    last = run / states(run)[-1]
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes({"cut short": content[:-100], "one bit": content, "emptied": b""}[harm])
    train("pretrain", run, resume=True)
    said = capsys.readouterr().out
    assert f"{last.name} is torn" in said and "going on from step 5 (state-000000005.safetensors)" in said
    assert_same_run(run, whole / "pretrain")


@pytest.mark.slow
def test_where_no_state_is_left_it_begins_anew_and_says_so(train, cut_at, whole, tmp_path, capsys) -> None:
    run = tmp_path / "run"
    cut_at(8)
    with pytest.raises(Cut):
        train("pretrain", run)
    for name in states(run):
        (run / name).write_bytes(b"")
    train("pretrain", run, resume=True)
    assert "beginning anew" in capsys.readouterr().out
    assert_same_run(run, whole / "pretrain")


@pytest.mark.long
def test_a_full_disk_keeps_the_run_so_far(train, whole, tmp_path, monkeypatch) -> None:
    run = tmp_path / "run"
    save = run_module.save_file

    def full(tensors, path, metadata) -> None:
        if "state-000000006" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, path, metadata)

    monkeypatch.setattr(run_module, "save_file", full)
    with pytest.raises(RunError, match=r"No space left.*state-000000005.*kept.*--resume"):
        train("pretrain", run)
    assert about(run)["state"] == "failed" and "No space left" in about(run)["error"]
    assert states(run)[-1] == "state-000000005.safetensors" and not list(run.glob(".state-*"))
    monkeypatch.undo()
    train("pretrain", run, resume=True)
    assert_same_run(run, whole / "pretrain")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_the_run_and_keeps_it(train, whole, tmp_path, monkeypatch, what) -> None:
    run, forward, steps = tmp_path / "run", Rebuilding.forward, iter(range(100))

    def broken(self, batch, counts):
        out = forward(self, batch, counts)
        if self.training and next(steps) == 7:
            poison = torch.tensor(float("nan"))
            zero = sum(p.sum() for p in self.parameters()) * 0
            # the square root of 0 has no finite slope
            out["loss"] = out["loss"] + (poison if what == "loss" else zero.sqrt() * 0)
        return out

    monkeypatch.setattr(Rebuilding, "forward", broken)
    with pytest.raises(FloatingPointError, match=f"{what} is nan at step 7 .*ptbxl/"):
        train("pretrain", run)
    assert about(run)["state"] == "failed" and states(run)[-1] == "state-000000006.safetensors"
    monkeypatch.undo()
    train("pretrain", run, resume=True)
    assert_same_run(run, whole / "pretrain")


@pytest.mark.slow
def test_a_run_is_neither_written_over_nor_gone_on_with_otherwise(train, whole, corpus, tmp_path) -> None:
    with pytest.raises(RunError, match="holds a run already .finished.*--resume"):
        train("pretrain", whole / "pretrain")
    before = weights(whole / "pretrain")
    train("pretrain", whole / "pretrain", resume=True)  # nothing is left to do
    assert weights(whole / "pretrain") == before
    with pytest.raises(RunError, match=r"lr was 0.003 and is 0.1"):
        train("pretrain", whole / "pretrain", resume=True, lr=0.1)
    with pytest.raises(RunError, match=r"stage was 'pretrain'"):
        train("finetune", whole / "pretrain", resume=True)
    for n in (1, 2):
        shutil.copytree(corpus / "ptbxl", tmp_path / "more" / str(n))
    with pytest.raises(RunError, match=r"sources was \['ptbxl'\] and is \['1', '2'\]"):
        pretrain(whole / "pretrain", tmp_path / "more", PRETRAIN, ENGINE, resume=True)


def test_what_cannot_be_trained_is_refused_in_words(train, corpus, tmp_path, monkeypatch) -> None:
    with pytest.raises(RunError, match="does not go round 1 processes with 9 pieces"):
        train("pretrain", tmp_path / "a", EngineConfig(accumulate=9, track="none"))
    with pytest.raises(RunError, match="engine.accumulate = 0"):
        EngineConfig(accumulate=0)
    with pytest.raises(RunError, match="'paper_and_pencil' is not installed; there are tensorboard"):
        EngineConfig(track="paper_and_pencil")
    with pytest.raises(RunError, match="ship names rhythm"):
        train("finetune", tmp_path / "b", ship=("rhythm",))
    with pytest.raises(CorpusError, match=r"no record of folds \[10\] .* Labelled there: SCP, folds 1"):
        train("finetune", tmp_path / "b", watch_folds=(10,))
    with pytest.raises(CheckpointError, match="nowhere"):  # before hours are spent
        finetune(
            tmp_path / "b", corpus, None, (tmp_path / "nowhere",), replace(FINETUNE, watch_folds=()), ENGINE
        )
    labels = Corpus.labels
    monkeypatch.setattr(Corpus, "labels", lambda self, tasks, rows: labels(self, tasks, rows)[:, :4])
    with pytest.raises(CorpusError, match=r"labels \(33, 4\); expected \(33, 5\)"):
        train("finetune", tmp_path / "c")
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


@pytest.mark.long
def test_a_run_goes_on_with_the_labels_it_was_begun_with(train, cut_at, corpus, tmp_path) -> None:
    cut_at(4)
    with pytest.raises(Cut):
        train("pretrain", tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    table = next((other / "ptbxl").glob("*-000/records.csv"))
    table.write_text(table.read_text().replace("NORM", "IMI"))
    assert Corpus(other).digest == Corpus(corpus).digest  # the same signals
    with pytest.raises(RunError, match="labels was"):
        pretrain(tmp_path / "run", other, PRETRAIN, ENGINE, resume=True)
    (tmp_path / "run" / "run.json").unlink()
    with pytest.raises(RunError, match="states of a run and no run.json"):
        train("pretrain", tmp_path / "run", lr=0.1)


@pytest.mark.long
def test_one_run_at_a_time_trains_in_a_folder(train, tmp_path, monkeypatch) -> None:
    said: list[str] = []

    def progress(self: Run, **values) -> None:
        monkeypatch.undo()
        with pytest.raises(RunError, match="goes on in"):
            train("pretrain", tmp_path / "run", resume=True)
        said.append("refused")
        raise Cut

    monkeypatch.setattr(Run, "progress", progress)
    with pytest.raises(Cut):
        train("pretrain", tmp_path / "run")
    assert said
    left = tmp_path / "run" / ".checkpoint-abc"  # of a save that was cut off
    left.mkdir()
    train("pretrain", tmp_path / "run", resume=True, epochs=PRETRAIN.epochs)
    assert not left.exists() and not (tmp_path / "run" / ".lock").exists()
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    with pytest.raises(RunError, match="its checkpoint is gone"):
        train("pretrain", tmp_path / "run", resume=True)


@pytest.mark.long
def test_what_an_interrupted_run_says_is_kept_is_kept(train, tmp_path, monkeypatch) -> None:
    def stop_at(step: int) -> None:
        def progress(self: Run, **values) -> None:
            if values["step"] == step:
                raise KeyboardInterrupt

        monkeypatch.setattr(Run, "progress", progress)

    stop_at(2)
    with pytest.raises(RunError, match="no state was saved yet: --resume begins anew"):
        train("pretrain", tmp_path / "run")
    stop_at(5)
    with pytest.raises(RunError, match="up to state-000000003.safetensors is kept: --resume goes on"):
        train("pretrain", tmp_path / "run")


def test_a_damaged_record_is_named(train, corpus, tmp_path) -> None:
    other = tmp_path / "other"
    shutil.copytree(corpus, other)
    data = Corpus(other)
    part = next((other / "ptbxl").glob("*-000"))
    trace = np.load(part / "trace.npy", mmap_mode="r+")
    trace[300:340, 3] = np.nan
    trace.flush()
    name = data.records[0]["record"]
    for read in (data.trace, data.tokens, lambda i: data.beats(np.array([1, 2, i]))):
        with pytest.raises(CorpusError, match=f"{name} holds values that are no numbers"):
            read(0)
    data.beats(np.array([1, 2]))
    with pytest.raises(CorpusError, match=f"{name} holds"):
        pretrain(tmp_path / "run", other, PRETRAIN, ENGINE)


PLAIN = {
    "augment": Augmentation(**{f.name: 0.0 for f in fields(Augmentation)} | {"stretch": 99}),
    "dropout": 0.0,
}


STILL = replace(PLAIN["augment"], stretch=ALL_BEATS)


@pytest.mark.slow
def test_a_frozen_run_that_was_cut_off_goes_on_bit_for_bit(cut_at, tmp_path) -> None:
    """Tokens have other last bits in another batch: what is kept of a record must not hang on its batches."""
    folder, lines = tmp_path / "ward", ["record,statements,fold"]
    for i in range(24):
        ecg = ch.simulate_ecg("normal", seed=i, fs=100.0, heart_rate=40.0 + 6 * i)
        write_wfdb(ecg, folder, f"r{i}")
        lines.append(f"r{i},{('NORM', 'IMI', 'CLBBB')[i % 3]},{1 + i % 7}")
    (folder / "labels.csv").write_text("\n".join(lines))
    prepare([folder], tmp_path / "corpus", workers=1)
    recipe = replace(
        FINETUNE, augment=STILL, dropout=0.0, frozen=True, steady=0.0, additive=0.0, epochs=3,
        batch_size=2, watch_folds=(), intervals=0.0, preset="mini",
    )  # fmt: skip

    def go(run: str, resume: bool = False) -> None:
        finetune(tmp_path / run, tmp_path / "corpus", None, (), recipe, ENGINE, resume)

    go("whole")
    cut_at(14)
    with pytest.raises(Cut):
        go("run")
    go("run", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("stage, changes", [("pretrain", {}), ("finetune", PLAIN)])
def test_pieces_add_up_to_the_batch(train, tmp_path, stage, changes) -> None:
    for pieces in (1, 3):
        engine = EngineConfig(accumulate=pieces, track="none")
        train(stage, tmp_path / str(pieces), engine, **changes)
    for one, three in zip(log(tmp_path / "1"), log(tmp_path / "3"), strict=True):
        for name in one:
            assert one[name] == pytest.approx(three[name], abs=5e-2 if name.endswith("r2") else 1e-5), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_two_processes_reproduce_one(train, corpus, checkpoint_folder, tmp_path, stage) -> None:
    """Twenty steps of one batch each: the loss of every step is a row of the log."""
    changes = {"epochs": 20, "batch_size": 64} | (PLAIN if stage == "finetune" else {})
    train(stage, tmp_path / "one", **changes)
    script = tmp_path / "script.py"
    script.write_text(f"""
from dataclasses import replace
from pathlib import Path
from tests.test_engine import ENGINE, FINETUNE, PRETRAIN, Augmentation, finetune, pretrain
run, corpus = Path({str(tmp_path / "two")!r}), Path({str(corpus)!r})
init, changes = {str(checkpoint_folder)!r}, {changes}
if {stage!r} == "pretrain":
    pretrain(run, corpus, replace(PRETRAIN, **changes), ENGINE)
else:
    finetune(run, corpus, init, (), replace(FINETUNE, **changes), ENGINE)
""")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, str(script)], env=environment, check=True, capture_output=True)
    assert about(tmp_path / "two")["processes"] == 2
    one, two = log(tmp_path / "one"), log(tmp_path / "two")
    assert len(one) == len(two) == 20
    np.testing.assert_allclose(
        [row["train/loss"] for row in two], [row["train/loss"] for row in one], atol=1e-4, rtol=0
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of the compiler, about itself
def test_compiled_blocks_train_alike(train, tmp_path) -> None:
    for compiled in (False, True):
        train("pretrain", tmp_path / str(compiled), EngineConfig(compile=compiled, track="none"), epochs=1)
    plain, fast = log(tmp_path / "False")[0], log(tmp_path / "True")[0]
    assert plain["probe/loss"] == pytest.approx(fast["probe/loss"], abs=1e-3)


@pytest.mark.slow
def test_a_run_can_be_repeated_from_its_own_yaml(corpus, whole, tmp_path, monkeypatch) -> None:
    def go(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["train", *map(str, words)])
        command.main()

    recipe = ("--recipe.preset", "tiny", "--recipe.epochs", "1", "--recipe.leave_out_folds", "[3,9]")
    recipe += ("--recipe.precision", "no")  # as the other runs of this process
    go("pretrain", "--run", tmp_path / "a", "--corpus", corpus, *recipe, "--engine.save_every", 2)
    go("pretrain", "--config", tmp_path / "a" / "config.yaml", "--run", tmp_path / "b")
    same = ("stage", "config", "engine", "data", "records", "revision", "versions")
    assert [about(tmp_path / "a")[key] for key in same] == [about(tmp_path / "b")[key] for key in same]
    assert about(tmp_path / "b")["config"]["leave_out_folds"] == [3, 9]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    kept = json.loads((tmp_path / "b" / "checkpoint" / "config.json").read_text())["training"]
    assert [kept[key] for key in same] == [about(tmp_path / "b")[key] for key in same]
    go("pretrain", "--resume", "--config", tmp_path / "a" / "config.yaml", "--run", tmp_path / "b")
    with pytest.raises(SystemExit, match="error: .* holds a run already"):
        go("pretrain", "--config", tmp_path / "a" / "config.yaml", "--run", tmp_path / "b")
    with pytest.raises(SystemExit, match="error: .*prepare"):
        go("pretrain", "--corpus", tmp_path / "nowhere", "--run", tmp_path / "c")


@pytest.mark.slow
def test_run_json_tells_how_far_it_is(whole) -> None:
    told = about(whole / "finetune")
    assert (told["state"], told["step"], told["steps"], told["epoch"], told["epochs"]) == (
        "finished",
        12,
        12,
        2,
        2,
    )
    assert told["ecg_per_second"] > 0 and told["seconds_left"] == 0 and np.isfinite(told["loss"])
    assert [row["epoch"] for row in log(whole / "finetune")] == [1, 2]


def test_every_record_comes_once_an_epoch_and_processes_share_it(corpus) -> None:
    data = Corpus(corpus)
    rows = np.arange(len(data))

    def drawn(epoch: int = 3, **settings) -> list[list[int]]:
        return [
            [int(row) for part in parts for row in part.rows]
            for parts in batches(data, lambda _: rows, 8, 0, [epoch], **settings)
        ]

    seen = drawn()
    assert sorted(sum(seen, [])) == list(rows)
    assert {len(batch) for batch in seen} == {7, 8}
    assert drawn() == seen != drawn(epoch=4)
    assert drawn(start=2) == seen[2:]
    halves = [drawn(share=(process, 2), pieces=2) for process in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(batch) for batch in seen]
    for parts in batches(data, lambda _: rows, 8, 0, [3], pieces=3):
        assert sum(part.share for part in parts) == pytest.approx(1)
    both = batches(data, lambda epoch: rows[epoch:], 8, 0, [3, 4])  # one epoch after another
    read = [sorted(int(row) for parts in islice(both, n) for row in parts[0].rows) for n in (5, 5)]
    assert read == [list(rows[3:]), list(rows[4:])]


def test_values_are_single_from_the_device_on(corpus) -> None:
    batch = read_batch(Corpus(corpus), np.arange(2))
    there = batch.to(torch.device("cpu")).beats.values
    assert batch.beats.values.dtype == torch.float16 and there.dtype == torch.float32
    assert torch.equal(there, batch.beats.values.float())


def flat(parts: list[Batch]) -> list[torch.Tensor]:
    """All that a batch holds."""
    held = [torch.as_tensor([part.epoch, *part.part, part.share]) for part in parts]
    held += [torch.from_numpy(part.rows) for part in parts]
    for part in parts:
        held += [getattr(part.beats, name) for name in Beats.__dataclass_fields__]
        held += [part.drawn[name] for name in sorted(part.drawn)]
    return held


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_read_ahead_change_no_bit(corpus) -> None:
    data, masks = Corpus(corpus), MaskedCLEAR(CLEAR(PRESETS["tiny"]))
    how = {"pieces": 2, "start": 1, "objective": Rebuilding(masks, in_mv=False)}

    def read(workers: int) -> Iterator[list[Batch]]:
        return batches(data, lambda _: np.arange(len(data)), 8, 0, [3, 4], workers=workers, **how)

    state = torch.get_rng_state()
    n = 0
    for one, two in zip(read(0), read(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(flat(one), flat(two), strict=True))
        n += 1
    assert n == 11 and torch.equal(torch.get_rng_state(), state)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_said_as_it_is(corpus, monkeypatch, workers) -> None:
    def torn(self: Corpus, rows: np.ndarray, epoch: int = 0) -> None:
        raise CorpusError(f"record {rows[0]} is torn")

    monkeypatch.setattr(Corpus, "beats", torn)
    with pytest.raises(CorpusError) as caught:
        list(batches(Corpus(corpus), lambda _: np.array([2]), 8, 0, [0], workers=workers))
    assert str(caught.value) == "record 2 is torn"
    told = "".join(traceback.format_exception(caught.value))
    assert "in torn" in told  # where it happened, in whatever process


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_an_error_that_no_process_can_hand_over_does_not_stop_the_run_for_ever(corpus, monkeypatch) -> None:
    class Strange(Exception):
        """Pickle does not find it by its name."""

    def torn(self: Corpus, rows: np.ndarray, epoch: int = 0) -> None:
        raise Strange(f"record {rows[0]}")

    monkeypatch.setattr(Corpus, "beats", torn)
    with pytest.raises(RuntimeError, match="Strange: record 2"):
        list(batches(Corpus(corpus), lambda _: np.array([2]), 8, 0, [0], workers=1))


def test_who_reads_ahead() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert workers_beside(None, cpu, 64) == 0
    assert workers_beside(3, cpu, 64) == 3
    assert workers_beside(0, cuda, 64) == 0
    assert 0 <= workers_beside(None, cuda, 64) <= min(10, os.cpu_count() - 1)
    assert workers_beside(None, cuda, 2**40) == 0  # they have no room for it
    with pytest.raises(RunError, match="engine.workers = -1"):
        EngineConfig(workers=-1)


def test_averaged_weights_are_each_weight_averaged() -> None:
    model = torch.nn.Sequential(torch.nn.Conv1d(12, 8, 3), torch.nn.BatchNorm1d(8))
    average = Average(model, 0.9)
    mine = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(1, 4):
        model(torch.randn(4, 12, 9)).square().sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        average.update(model)
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                mine[name].lerp_(value, 1 - min(0.9, (1 + step) / (10 + step)))
    assert all(torch.equal(average.weights[name], mine[name]) for name in mine if "num_batches" not in name)
    assert average.weights["1.num_batches_tracked"] == 3


def test_a_loss_that_is_not_finite_stops_with_the_records_named(corpus) -> None:
    data = Corpus(corpus)
    with pytest.raises(FloatingPointError, match=data.records[2]["record"]):
        check_finite(float("nan"), 5, np.array([2]), data)


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert np.all(np.diff(rates[10:]) <= 0)


@pytest.mark.slow
@pytest.mark.parametrize("warm_up, told", [(4.0, True), (1.0, False)])
def test_a_warm_up_longer_than_the_run_is_told(train, tmp_path, capsys, warm_up, told) -> None:
    train("pretrain", tmp_path / "run", epochs=1, warm_up=warm_up)
    assert ("25% of its peak" in capsys.readouterr().out) == told


def test_weight_decay_does_not_hang_on_the_number_of_labels() -> None:
    """The head of one label is a matrix like that of 59; biases, norms and lead tokens are none."""
    several, recipe = [], FinetuneConfig(preset="tiny")
    for n_labels in (1, 5, 59):
        clear = CLEAR(PRESETS["tiny"])
        model = CLEARHUG(clear, HUG(clear.config.width, n_labels + N_INTERVALS, recipe.per_lead))
        name_of = {id(parameter): name for name, parameter in model.named_parameters()}
        for groups in (layered_groups(model, recipe), parameter_groups(model, recipe.weight_decay)):
            decayed = [group["params"] for group in groups if group["weight_decay"] > 0]
            several.append({name_of[id(parameter)] for params in decayed for parameter in params})
    assert all(one == several[0] for one in several)
    assert {"hug.head.weight", "hug.rhythm"} <= several[0]
    assert not {"clear.lead", "clear.summary", "hug.head.bias", "clear.norm.weight"} & several[0]
