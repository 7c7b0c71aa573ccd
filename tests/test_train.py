"""Training from a folder in PTB-XL's layout, made of simulated ECGs, down to a checkpoint that diagnoses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb

import clear_hug as ch
from clear_hug.model import PRESETS
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus, prepare
from clear_hug.train.finetune import FinetuneConfig, finetune
from clear_hug.train.loop import batches, check_finite, learning_rate
from clear_hug.train.metrics import auroc
from clear_hug.train.pretrain import PretrainConfig, pretrain

KINDS = {"normal": ["NORM", "SR"], "premature": ["IVCD", "PVC"], "high_voltage": ["LVH", "SR"]}


def write_wfdb(ecg: ch.ECG, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, int(ecg.fs), ["mV"] * 12, list(ch.LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 records of three kinds in PTB-XL's layout, folds 1-9; record 7 is flat, record 8 lacks its file."""
    folder = tmp_path_factory.mktemp("data") / "ptbxl"
    rows = []
    for i in range(45):
        kind = list(KINDS)[i % 3]
        ecg = ch.simulate_ecg(kind, seed=i, fs=100.0)
        if i == 7:
            ecg = ch.ECG(np.zeros((12, 1000), np.float32), 100.0)
        if i != 8:
            write_wfdb(ecg, folder / "records100", f"{i:05d}_lr")
        rows.append({
            "ecg_id": i, "patient_id": float(i // 2), "age": 300 if i == 0 else 50, "sex": i % 2,
            "scp_codes": str(dict.fromkeys(KINDS[kind], 100.0)), "strat_fold": 1 + i // 5,
            "filename_lr": f"records100/{i:05d}_lr", "filename_hr": f"records500/{i:05d}_hr",
        })  # fmt: skip
    with (folder / "ptbxl_database.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def corpus(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    prepare([source], out, workers=1)
    return out


def test_every_record_comes_once_an_epoch_and_ranks_share_it(corpus: Path) -> None:
    data = Corpus(corpus)
    rows = np.arange(len(data))
    seen = [batch.rows for batch in batches(data, rows, 8, seed=0, epoch=3)]
    assert sorted(np.concatenate(seen)) == list(rows)
    again = [batch.rows for batch in batches(data, rows, 8, seed=0, epoch=3)]
    assert all((a == b).all() for a, b in zip(seen, again, strict=True))
    other = np.concatenate([batch.rows for batch in batches(data, rows, 8, seed=0, epoch=4)])
    assert (other != np.concatenate(seen)).any()
    halves = [list(batches(data, rows[:40], 8, 0, 0, (rank, 2))) for rank in (0, 1)]
    assert len(halves[0]) == len(halves[1])
    assert sorted(np.concatenate([b.rows for half in halves for b in half])) == list(rows[:40])


@pytest.fixture(scope="module")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("pretrain")
    recipe = PretrainConfig(preset="tiny", epochs=6, batch_size=8, lr=3e-3, precision="no", warm_up=1)
    pretrain(run, corpus, recipe)
    return run


@pytest.fixture(scope="module")
def finetuned(corpus: Path, pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finetune")
    recipe = FinetuneConfig(
        tasks=("superdiagnostic", "rhythm"), ship=("superdiagnostic",), epochs=10, batch_size=8, lr=1e-2,
        encoder_lr=3e-3, precision="no", average=0.9, drop_lead=0.0,
    )  # fmt: skip
    finetune(run, corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    return run


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_pretraining_learns_to_rebuild(pretrained: Path) -> None:
    log = log_of(pretrained)
    assert log[-1]["probe/r2"] > log[0]["probe/r2"] + 0.05
    assert list(pretrained.glob("events.out.tfevents*"))


def test_pretraining_never_reads_a_fold_left_out(corpus: Path, pretrained: Path) -> None:
    training = ch.load_checkpoint(pretrained / "checkpoint").training
    data = Corpus(corpus)
    assert training["records"] == (data.fold != 9).sum()
    assert training["data"] == data.digest


def test_finetuning_learns_and_ships_the_tasks_it_names(finetuned: Path, corpus: Path) -> None:
    log = log_of(finetuned)
    assert log[-1]["train/diagnosis"] < 0.8 * log[0]["train/diagnosis"]
    checkpoint = ch.load_checkpoint(finetuned / "checkpoint")
    assert [task.name for task in checkpoint.tasks] == ["superdiagnostic"]
    data = Corpus(corpus)
    logits = np.array([ch.diagnose(checkpoint, data.tokens(i)).logits for i in range(len(data))])
    labels = data.labels(checkpoint.tasks, np.arange(len(data)))
    hypertrophy = checkpoint.row("HYP")
    assert auroc(logits[:, [hypertrophy]], labels[:, [hypertrophy]])[0] > 0.9


def test_finetuning_is_deterministic(corpus: Path, pretrained: Path, tmp_path: Path) -> None:
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no")
    for name in ("a", "b"):
        finetune(tmp_path / name, corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    weights = [(tmp_path / n / "checkpoint" / "model.safetensors").read_bytes() for n in ("a", "b")]
    assert weights[0] == weights[1]


def test_a_frozen_encoder_stays_as_it_is(corpus: Path, pretrained: Path, tmp_path: Path) -> None:
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no", frozen=True)
    finetune(tmp_path / "run", corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    before = ch.load_checkpoint(pretrained / "checkpoint").model.clear.state_dict()
    after = ch.load_checkpoint(tmp_path / "run" / "checkpoint").model.clear.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_loss_that_is_not_finite_stops_with_the_records_named(corpus: Path) -> None:
    data = Corpus(corpus)
    with pytest.raises(FloatingPointError, match=data.records[2]["record"]):
        check_finite(torch.tensor(float("nan")), 5, np.array([2]), data)


def test_the_learning_rate_warms_up_and_comes_down() -> None:
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0) and rates[-1] < 0.02
    assert np.all(np.diff(rates[10:]) <= 0)


def test_tiny_is_what_tests_use_and_tasks_cover_the_field() -> None:
    assert PRESETS["tiny"].width < PRESETS["small"].width < PRESETS["base"].width
    sizes = {name: len(task.labels) for name, task in TASKS.items()}
    assert sizes == {
        "superdiagnostic": 5, "subdiagnostic": 23, "form": 19, "rhythm": 12, "diagnostic": 44, "all": 71,
        "cpsc2018": 9, "csn": 38,
    }  # fmt: skip
