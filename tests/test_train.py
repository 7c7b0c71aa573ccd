"""Training from a folder in PTB-XL's layout, made of simulated ECGs, down to a checkpoint that diagnoses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.model import PRESETS
from clear_hug.tasks import TASKS
from clear_hug.train.augment import Augmentation
from clear_hug.train.average import average
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.corpus import Corpus, CorpusError, prepare
from clear_hug.train.finetune import FinetuneConfig, finetune, learn_from, predict
from clear_hug.train.metrics import auroc
from clear_hug.train.pretrain import PretrainConfig, pretrain
from clear_hug.train.run import RunError
from tests.simulated_ptbxl import write_wfdb

MODULE = sys.modules["clear_hug.train.finetune"]


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


def test_what_is_saved_answers_as_what_was_watched(
    corpus: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    monkeypatch.setattr(MODULE, "predict", lambda *args: said.append(predict(*args)) or said[-1])
    recipe = FinetuneConfig(tasks=("superdiagnostic", "rhythm"), ship=("rhythm",), epochs=1, precision="no")
    finetune(tmp_path / "run", corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    watched, calibrated_on = said
    np.testing.assert_allclose(calibrated_on, watched[:, 5:], atol=1e-5)
    data, checkpoint = Corpus(corpus), ch.load_checkpoint(tmp_path / "run" / "checkpoint")
    rows = np.flatnonzero(data.fold == 8)
    saved = [ch.diagnose(checkpoint, data.tokens(int(i))).logits for i in rows]
    np.testing.assert_allclose(saved, watched[:, 5:], atol=1e-5)


def test_finetuning_is_deterministic(corpus: Path, pretrained: Path, tmp_path: Path) -> None:
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no")
    for name in ("a", "b"):
        finetune(tmp_path / name, corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    weights = [(tmp_path / n / "checkpoint" / "model.safetensors").read_bytes() for n in ("a", "b")]
    assert weights[0] == weights[1]


@pytest.fixture(scope="module")
def with_unlabelled(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of `source`, and eight without labels."""
    folder, out = tmp_path_factory.mktemp("more") / "others", tmp_path_factory.mktemp("corpus_more")
    for i in range(8):
        write_wfdb(
            ch.simulate_ecg("high_voltage" if i % 2 else "normal", seed=100 + i, fs=100.0), folder, f"r{i}"
        )
    prepare([source, folder], out, workers=1)
    return out


def test_teachers_stand_in_for_labels_that_are_not_there(
    with_unlabelled: Path, pretrained: Path, tmp_path: Path
) -> None:
    tasks = ("superdiagnostic", "rhythm")
    recipe = BaselineConfig(tasks=tasks, epochs=1, train_folds=(1, 2, 3), watch_folds=(), teach=True)
    baseline(tmp_path / "teacher", with_unlabelled, recipe)
    with np.load(tmp_path / "teacher" / "predictions.npz") as saved:
        assert sum(name.startswith("others/") for name in saved["records"]) == 8
    pupil = FinetuneConfig(tasks=tasks, epochs=1, batch_size=8, precision="no", taught=("superdiagnostic",))
    teachers, init = (tmp_path / "teacher",), str(pretrained / "checkpoint")
    finetune(tmp_path / "pupil", with_unlabelled, init, teachers=teachers, recipe=pupil)
    training = ch.load_checkpoint(tmp_path / "pupil" / "checkpoint").training
    assert training["pupils"] == 8 and training["teachers"] == ["teacher"]
    with pytest.raises(CorpusError, match=r"learned from folds \[1, 2, 3\], its pupil may from \[1, 2\]"):
        narrow = replace(pupil, train_folds=(1, 2))
        finetune(tmp_path / "leak", with_unlabelled, init, teachers=teachers, recipe=narrow)


def test_what_a_teacher_does_not_tell_is_not_learned(
    with_unlabelled: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Corpus(with_unlabelled)
    labels = np.full((len(data), 17), np.nan, dtype=np.float32)
    tasks = [TASKS["superdiagnostic"], TASKS["rhythm"]]
    recipe = BaselineConfig(tasks=("superdiagnostic", "rhythm"), epochs=1, watch_folds=(), teach=True)
    for seed in (0, 1):
        baseline(tmp_path / str(seed), with_unlabelled, replace(recipe, seed=seed))
    how = FinetuneConfig(taught=("superdiagnostic",))
    rows = learn_from([tmp_path / "0", tmp_path / "1"], data, tasks, how, labels)
    assert list(rows) == list(np.flatnonzero(data.source == "others"))
    told = labels[rows]
    assert np.isnan(told[:, 5:]).all() and ((told[:, :5] > 0) & (told[:, :5] < 1)).all()
    assert np.isnan(np.delete(labels, rows, axis=0)).all()


def test_an_average_is_the_mean_of_the_weights_and_refuses_strangers(
    corpus: Path, pretrained: Path, tmp_path: Path
) -> None:
    init = str(pretrained / "checkpoint")
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no")
    for seed in (0, 1):
        finetune(tmp_path / str(seed), corpus, init=init, recipe=replace(recipe, seed=seed))
    finetune(tmp_path / "other", corpus, init=init, recipe=replace(recipe, lr=2e-3))
    average(tmp_path / "mean", (tmp_path / "0", tmp_path / "1"), corpus)
    one, two, mean = (
        ch.load_checkpoint(tmp_path / name / "checkpoint").model.state_dict() for name in ("0", "1", "mean")
    )
    for name in mean:
        torch.testing.assert_close(mean[name], (one[name] + two[name]) / 2)
    training = ch.load_checkpoint(tmp_path / "mean" / "checkpoint").training
    assert training["averaged_seeds"] == [0, 1] and "[8]" in training["calibrated_on"]
    with pytest.raises(RunError, match=r"other differs from .*0 by lr; only seeds may"):
        average(tmp_path / "x", (tmp_path / "0", tmp_path / "other"), corpus)
    with pytest.raises(RunError, match="name at least two"):
        average(tmp_path / "x", (tmp_path / "0",), corpus)


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
