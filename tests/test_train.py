"""Training from a folder in PTB-XL's layout, made of simulated ECGs, down to a checkpoint that diagnoses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.model import PRESETS
from clear_hug.tasks import TASKS
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.evaluate import evaluate
from clear_hug.train.finetune import FinetuneConfig, finetune
from clear_hug.train.metrics import auroc, best_thresholds, bootstrap, fit_platt
from clear_hug.train.pretrain import PretrainConfig, pretrain
from tests.simulated_ptbxl import KINDS


def test_nothing_is_skipped_in_silence_and_labels_do_not_shift(corpus: Path) -> None:
    data = Corpus(corpus)
    with (corpus / "ptbxl" / "failures.csv").open() as f:
        failures = {row["record"]: row["reason"] for row in csv.DictReader(f)}
    assert set(failures) == {"ptbxl/7", "ptbxl/8"}
    assert len(data) == 43
    for i, record in enumerate(data.records):
        number = int(record["record"].split("/")[1])
        assert data.statements[i] == tuple(KINDS[list(KINDS)[number % 3]])
        assert data.fold[i] == 1 + number // 5
        assert data.patients[i] == f"ptbxl-{float(number // 2)}"
    assert data.records[0]["age"] == "90.0"


def test_shards_hold_the_same_tokens_as_the_files(source: Path, corpus: Path) -> None:
    data = Corpus(corpus)
    for i in (0, 5, 20):
        name = int(data.records[i]["record"].split("/")[1])
        direct = ch.tokenize_beats(ch.read_ecg(source / "records100" / f"{name:05d}_lr.hea"))
        kept = data.tokens(i)
        np.testing.assert_array_equal(kept.r_peaks, direct.r_peaks)
        np.testing.assert_array_equal(kept.windows, direct.windows)
        np.testing.assert_array_equal(kept.valid, direct.valid)
        np.testing.assert_allclose(kept.values, direct.values, atol=2e-3)  # float16 in the shard
        np.testing.assert_allclose(kept.lead_scale, direct.lead_scale, rtol=1e-3)


def test_a_torn_or_missing_shard_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="prepare"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match="nowhere"):
        Corpus(corpus, ["nowhere"])
    torn = tmp_path / "ptbxl"
    torn.mkdir()
    for name in ("beats.npy", "valid.npy", "records.csv"):
        (torn / name).write_bytes((corpus / "ptbxl" / name).read_bytes())
    (torn / "trace.npy").write_bytes((corpus / "ptbxl" / "trace.npy").read_bytes()[:500])
    with pytest.raises(CorpusError, match="ptbxl"):
        Corpus(tmp_path)


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


def test_evaluate_prints_figures_beside_a_baseline_and_writes_the_card(
    finetuned: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline(tmp_path / "resnet", corpus, BaselineConfig(epochs=1, test_folds=(8, 9), watch_folds=()))
    baseline(tmp_path / "random", corpus, BaselineConfig(kind="random", test_folds=(8, 9)))
    capsys.readouterr()
    checkpoint = finetuned / "checkpoint"
    runs = {"ResNet": tmp_path / "resnet", "random encoder": tmp_path / "random"}
    evaluate(str(checkpoint), corpus, (9,), runs, write=True)
    metrics = json.loads(capsys.readouterr().out)
    field = metrics["tasks"]["superdiagnostic"]["field"]
    low, high = field["macro_auroc_95"]
    assert low <= field["macro_auroc"] <= high
    assert set(metrics["tasks"]["superdiagnostic"]["baselines"]) == set(runs)
    card = (checkpoint / "README.md").read_text()
    assert f"{field['macro_auroc']:.3f}" in card and "ResNet" in card and "research" in card
    assert ch.load_checkpoint(checkpoint).metrics["tasks"] == metrics["tasks"]


def test_evaluate_refuses_a_fold_that_was_learned_from(finetuned: Path, corpus: Path) -> None:
    for fold in (7, 8):  # trained on, watched
        with pytest.raises(CorpusError, match="learned from"):
            evaluate(str(finetuned / "checkpoint"), corpus, (fold,))


def test_auroc_is_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, truth = (
        rng.normal(size=(60, 3)).astype(np.float32),
        (rng.random((60, 3)) < 0.4).astype(np.float32),
    )
    truth[:, 2] = 0
    expected = []
    for s, t in zip(scores.T[:2], truth.T[:2], strict=True):
        pairs = s[t == 1][:, None] - s[t == 0][None]
        expected.append((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    found = auroc(scores, truth)
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    assert np.isnan(found[2])


def test_the_bootstrap_draws_patients_not_records() -> None:
    patients = np.repeat(["a", "b"], 50)
    value = np.repeat([0.0, 1.0], 50)
    low, high = bootstrap(lambda rows: float(value[rows].mean()), patients, rounds=200)
    assert (low, high) == (0.0, 1.0)  # of two patients, now and then one is drawn twice


def test_platt_and_thresholds_mend_what_is_off() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=(4000, 1)) * 2
    truth = (rng.random((4000, 1)) < 1 / (1 + np.exp(-(0.5 * z - 1)))).astype(np.float32)
    slope, intercept = fit_platt(z, truth)[0]
    assert slope == pytest.approx(0.5, abs=0.06) and intercept == pytest.approx(-1, abs=0.12)
    scores = np.array([[0.1], [0.2], [0.7], [0.8]])
    threshold = best_thresholds(scores, np.array([[0], [0], [1], [1]]))[0]
    assert 0.2 < threshold <= 0.7


def test_tiny_is_what_tests_use_and_tasks_cover_the_field() -> None:
    assert PRESETS["tiny"].width < PRESETS["small"].width < PRESETS["base"].width
    sizes = {name: len(task.labels) for name, task in TASKS.items()}
    assert sizes == {
        "superdiagnostic": 5, "subdiagnostic": 23, "form": 19, "rhythm": 12, "diagnostic": 44, "all": 71,
        "cpsc2018": 9,
    }  # fmt: skip
