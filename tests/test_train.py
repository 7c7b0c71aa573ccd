"""Training from a folder in PTB-XL's layout, made of simulated ECGs, down to a checkpoint that diagnoses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.model import PRESETS
from clear_hug.tasks import TASKS
from clear_hug.train.augment import Augmentation
from clear_hug.train.corpus import Corpus
from clear_hug.train.finetune import FinetuneConfig, finetune
from clear_hug.train.metrics import auroc
from clear_hug.train.pretrain import PretrainConfig, pretrain


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
        encoder_lr=3e-3, precision="no", average=0.9, augment=Augmentation(drop_lead=0.0, mix=0.0),
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


def test_tiny_is_what_tests_use_and_tasks_cover_the_field() -> None:
    assert PRESETS["tiny"].width < PRESETS["small"].width < PRESETS["base"].width
    sizes = {name: len(task.labels) for name, task in TASKS.items()}
    assert sizes == {
        "superdiagnostic": 5, "subdiagnostic": 23, "form": 19, "rhythm": 12, "diagnostic": 44, "all": 71,
        "cpsc2018": 9, "csn": 38,
    }  # fmt: skip
