"""Training from a folder in PTB-XL's layout, made of simulated ECGs, down to a checkpoint that diagnoses."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

import clear_hug as ch
from clear_hug.batch import Beats
from clear_hug.checkpoint import save_checkpoint
from clear_hug.masked import MaskedCLEAR, masked_loss
from clear_hug.model import CLEAR, CLEARHUG, DECODER, PRESETS, Encoded, Facts
from clear_hug.tasks import TASKS, Task, targets_of
from clear_hug.train.answers import answers, learned_labels, predict
from clear_hug.train.augment import Augmentation
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.calibration import criteria, out_of_fold
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.criteria import (
    CRITERIA,
    LEAST,
    RIDGE,
    evidence,
    usual_r_and_s,
    weigh,
    weigh_criteria,
    weigh_qtc,
)
from clear_hug.train.decoder import DecoderConfig, decoder
from clear_hug.train.evaluate import baseline_answers, evaluate, judged, measure
from clear_hug.train.finetune import finetune, unstated
from clear_hug.train.metrics import auroc, fit_platt
from clear_hug.train.prepare import prepare
from clear_hug.train.pretrain import PretrainConfig, pretrain
from clear_hug.train.rhythm import by_rhythm, rhythms
from clear_hug.train.settings import RunError
from clear_hug.train.teachers import LEAST_TAUGHT, learn_from
from clear_hug.train.tuning import FinetuneConfig, Tuning
from tests.simulated_ptbxl import write_wfdb

pytestmark = pytest.mark.long  # each trains


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
    assert log[-1]["probe/mse"] < 0.8 * log[0]["probe/mse"]
    assert list(pretrained.glob("events.out.tfevents*"))


def test_pretraining_goes_on_from_a_checkpoint_with_the_regression_let_in(
    corpus: Path, tmp_path: Path
) -> None:
    recipe = PretrainConfig(preset="tiny", epochs=2, batch_size=8, precision="no", warm_up=1)
    pretrain(tmp_path / "alone", corpus, replace(recipe, regression=False))
    before = ch.load_checkpoint(tmp_path / "alone" / "checkpoint")
    assert not before.model.clear.regression.power.any()
    pretrain(tmp_path / "on", corpus, recipe, init=str(tmp_path / "alone" / "checkpoint"))
    after = ch.load_checkpoint(tmp_path / "on" / "checkpoint")
    assert (after.model.clear.regression.power > 0).all()
    assert after.training["init_digest"] == before.digest
    first, last = log_of(tmp_path / "on")[0], log_of(tmp_path / "alone")[-1]
    assert first["probe/r2"] > last["probe/r2"]


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
    assert checkpoint.model.hug.straight.any()  # averaged with ridge regression
    data = Corpus(corpus)
    logits = np.array([ch.diagnose(checkpoint, data.tokens(i)).logits for i in range(len(data))])
    labels = data.labels(checkpoint.tasks, np.arange(len(data)))
    hypertrophy = checkpoint.row("HYP")
    assert auroc(logits[:, [hypertrophy]], labels[:, [hypertrophy]])[0] > 0.9


def test_what_is_saved_answers_as_what_was_watched(
    corpus: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for module in ("finetune", "calibration"):
        where = sys.modules[f"clear_hug.train.{module}"]
        monkeypatch.setattr(where, "predict", lambda *args: said.append(predict(*args)) or said[-1])
    recipe = FinetuneConfig(
        tasks=("superdiagnostic", "rhythm"), ship=("rhythm",), epochs=1, precision="no", ridge=0.0
    )
    finetune(tmp_path / "run", corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    watched, calibrated_on = said
    watched = watched[:, 5 : 5 + len(TASKS["rhythm"].labels)]  # without the intervals
    np.testing.assert_allclose(calibrated_on, watched, atol=1e-5)
    data, checkpoint = Corpus(corpus), ch.load_checkpoint(tmp_path / "run" / "checkpoint")
    rows = np.flatnonzero(data.fold == 8)
    saved = [ch.diagnose(checkpoint, data.tokens(int(i))).logits for i in rows]
    np.testing.assert_allclose(saved, watched, atol=1e-5)


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


def test_a_fraction_of_the_labels_is_all_that_is_learned_from(
    corpus: Path, pretrained: Path, tmp_path: Path
) -> None:
    data, tasks = Corpus(corpus), [TASKS["superdiagnostic"]]
    recipe = FinetuneConfig(epochs=1, batch_size=8, precision="no", label_fraction=0.25)
    finetune(tmp_path / "run", corpus, str(pretrained / "checkpoint"), recipe=recipe)
    whole = np.flatnonzero(np.isin(data.fold, recipe.train_folds) & data.labelled_for(tasks))
    assert ch.load_checkpoint(tmp_path / "run" / "checkpoint").training["records"] == -(-len(whole) // 4)
    with pytest.raises(RunError, match="label_fraction = 0; expected above 0"):
        finetune(tmp_path / "none", corpus, recipe=replace(recipe, label_fraction=0.0))
    with pytest.raises(RunError, match="ridge = -1.0; expected from 0"):
        finetune(tmp_path / "none", corpus, recipe=replace(recipe, ridge=-1.0))


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


def test_a_recording_that_is_judged_is_not_taught_of_where_it_stands_without_labels(
    source: Path, corpus: Path, tmp_path: Path
) -> None:
    data = Corpus(corpus)
    (tmp_path / "others").mkdir()
    for fold in (2, 9):
        name = data.records[int(np.flatnonzero(data.fold == fold)[0])]["record"]
        copy = f"{int(name.split('/')[1]):05d}_lr"
        for suffix in (".hea", ".dat"):
            shutil.copy(source / "records100" / f"{copy}{suffix}", tmp_path / "others" / f"{copy}{suffix}")
    write_wfdb(ch.simulate_ecg("normal", seed=500, fs=100.0), tmp_path / "others", "new")
    prepare([source, tmp_path / "others"], tmp_path / "corpus", workers=1)
    recipe = BaselineConfig(kind="random", train_folds=(1, 2, 3, 4), watch_folds=(), teach=True)
    baseline(tmp_path / "teacher", tmp_path / "corpus", recipe)
    both = Corpus(tmp_path / "corpus")
    labels = np.full((len(both), 5), np.nan, dtype=np.float32)
    how = FinetuneConfig(train_folds=(1, 2, 3, 4))
    rows = learn_from([tmp_path / "teacher"], both, [TASKS["superdiagnostic"]], how, labels)
    assert both.fold[rows].tolist() == [2, 0] and (both.source[rows] == "others").all()
    assert (both.fold[both.source == "others"] == 9).sum() == 1


def test_what_a_data_set_never_states_is_told(tmp_path: Path) -> None:
    """Two hospitals in one corpus: what one never looks for would be taught as absent without a word."""
    for name, statements in (("a", ("NORM", "LVH")), ("b", ("NORM", "IMI"))):
        for i in range(4):
            write_wfdb(ch.simulate_ecg("normal", seed=i, fs=100.0, axis=5.0 * i), tmp_path / name, f"r{i}")
        lines = [f"r{i},{statements[i % 2]}" for i in range(4)]
        (tmp_path / name / "labels.csv").write_text("\n".join(["record,statements", *lines]))
    prepare([tmp_path / "a", tmp_path / "b"], tmp_path / "corpus", workers=1)
    data, task = Corpus(tmp_path / "corpus"), TASKS["superdiagnostic"]
    every = np.arange(len(data))
    told = unstated(data, every, data.labels([task], every), targets_of([task]))
    assert [one.split(", which")[0] for one in told] == [
        "a never states superdiagnostic/MI", "b never states superdiagnostic/HYP"
    ]  # fmt: skip
    alone = np.flatnonzero(data.data_set == "a")
    assert unstated(data, alone, data.labels([task], alone), targets_of([task])) == []


def test_of_labels_it_hardly_saw_a_teacher_is_not_believed(
    with_unlabelled: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = ("superdiagnostic", "rhythm")
    recipe = BaselineConfig(tasks=tasks, epochs=1, train_folds=(1, 2, 3, 4), watch_folds=(), teach=True)
    baseline(tmp_path / "teacher", with_unlabelled, recipe)
    seen = []

    def training(model: object, masks: object, labels: np.ndarray, *rest: object) -> None:
        seen.append(labels)
        raise StopIteration

    monkeypatch.setattr(sys.modules["clear_hug.train.finetune"], "Tuning", training)
    pupil = FinetuneConfig(tasks=tasks, train_folds=(1, 2, 3, 4), precision="no")
    with pytest.raises(StopIteration):
        finetune(
            tmp_path / "pupil",
            with_unlabelled,
            str(pretrained / "checkpoint"),
            recipe=pupil,
            teachers=(tmp_path / "teacher",),
        )
    data = Corpus(with_unlabelled)
    rows = np.flatnonzero(np.isin(data.fold, pupil.train_folds) & data.labelled)
    positives = data.labels([TASKS[name] for name in tasks], rows).sum(axis=0)
    told = seen[0][data.source == "others"]
    assert np.isfinite(told[:, positives >= LEAST_TAUGHT]).all()
    assert np.isnan(told[:, positives < LEAST_TAUGHT]).all()
    assert (positives >= LEAST_TAUGHT).any() and (positives < LEAST_TAUGHT).any()


def test_weights_of_the_rhythm_begin_at_what_it_tells_alone(corpus: Path) -> None:
    data = Corpus(corpus)
    rows = np.arange(len(data))
    times = [data.tokens(int(i)).r_peaks for i in rows]
    unrest = np.array([np.diff(t).std() for t in times])
    labels = np.stack([unrest > np.median(unrest), np.zeros(len(rows))], axis=1).astype(np.float32)
    alone = by_rhythm(data, rows, labels)
    logits = alone.logits(rhythms(data, rows))
    assert auroc(logits[:, :1], labels[:, :1])[0] > 0.95
    assert abs(expit(logits[:, 0]).mean() - labels[:, 0].mean()) < 1e-3  # a logistic regression's own balance
    assert np.isfinite(logits).all() and (logits[:, 1] < -5).all()  # a label that nobody has


def test_a_finetuned_run_teaches_as_a_baseline_does(
    with_unlabelled: Path, pretrained: Path, tmp_path: Path
) -> None:
    data, tasks = Corpus(with_unlabelled), [TASKS["superdiagnostic"]]
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no", train_folds=(1, 2), watch_folds=(3,))
    finetune(tmp_path / "run", with_unlabelled, str(pretrained / "checkpoint"), recipe=recipe)
    labels = np.full((len(data), 5), np.nan, dtype=np.float32)
    rows = learn_from([tmp_path / "run"], data, tasks, recipe, labels)
    model = ch.load_checkpoint(tmp_path / "run" / "checkpoint").model
    np.testing.assert_allclose(labels[rows], expit(predict(model, data, rows)), rtol=1e-5)
    with pytest.raises(CorpusError, match=r"learned from folds \[1, 2\], its pupil may from \[1\]"):
        learn_from([tmp_path / "run"], data, tasks, replace(recipe, train_folds=(1,)), labels)


def test_calibration_comes_from_folds_that_no_model_had_learned(
    corpus: Path, pretrained: Path, tmp_path: Path
) -> None:
    init = str(pretrained / "checkpoint")
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no")
    for name, train, watch in (("a", (1, 2, 3), (4, 5)), ("b", (4, 5), (1, 2, 3)), ("c", (5,), (3, 4))):
        finetune(tmp_path / name, corpus, init, recipe=replace(recipe, train_folds=train, watch_folds=watch))
    last = replace(recipe, train_folds=(1, 2, 3, 4, 5), watch_folds=())
    finetune(tmp_path / "final", corpus, init, (tmp_path / "a", tmp_path / "b"), last)
    data, opened = Corpus(corpus), ch.load_checkpoint(tmp_path / "final" / "checkpoint")
    assert "[1, 2, 3, 4, 5], by 2 models" in opened.training["calibrated_on"]
    logits, truth = [], []
    for name, folds in (("a", (4, 5)), ("b", (1, 2, 3))):
        rows = np.flatnonzero(np.isin(data.fold, folds))
        logits.append(predict(ch.load_checkpoint(tmp_path / name / "checkpoint").model, data, rows))
        truth.append(data.labels(opened.tasks, rows))
    expected = fit_platt(np.concatenate(logits), np.concatenate(truth))
    np.testing.assert_allclose(opened.platt, expected, rtol=1e-6)
    with pytest.raises(CorpusError, match="folds of their own, which they did not learn from"):
        finetune(tmp_path / "twice", corpus, init, (tmp_path / "a", tmp_path / "c"), last)

    assert not opened.model.hug.voltage.any()  # for a and b have none
    assert learned_labels(opened.training, "SCP")[0].fitted_folds == (1, 2, 3, 4, 5)
    told = json.loads((tmp_path / "final" / "run.json").read_text())["calibration"]
    assert told == [
        {"run": name, "digest": ch.load_checkpoint(tmp_path / name / "checkpoint").digest}
        for name in ("a", "b")
    ]
    # other runs of calibration make another model, and another recipe no calibration
    with pytest.raises(RunError, match="calibration"):
        finetune(tmp_path / "final", corpus, init, (tmp_path / "a",), last, resume=True)
    with pytest.raises(CorpusError, match=r"a is of another recipe \(lr = 0\.001, here 0\.5\)"):
        finetune(tmp_path / "other", corpus, init, (tmp_path / "a",), replace(last, lr=0.5))
    # what is calibrated on a fold is not judged on it
    with pytest.raises(CorpusError, match=r"calibrated on folds \[5\]"):
        nine = replace(last, train_folds=(1, 2, 3))
        finetune(tmp_path / "nine", corpus, init, (tmp_path / "a",), nine)
        evaluate(str(tmp_path / "nine" / "checkpoint"), corpus, (5,))


def test_calibration_takes_no_more_labels_than_the_run_may(
    corpus: Path, pretrained: Path, tmp_path: Path
) -> None:
    recipe = FinetuneConfig(
        epochs=1, batch_size=16, precision="no", label_fraction=0.5, train_folds=(1, 2, 3), watch_folds=(4, 5)
    )
    finetune(tmp_path / "a", corpus, str(pretrained / "checkpoint"), recipe=recipe)
    data, tasks = Corpus(corpus), (TASKS["superdiagnostic"],)
    every = np.flatnonzero(np.isin(data.fold, (4, 5)) & data.labelled_for(tasks))
    found = out_of_fold(data, tasks, (tmp_path / "a",))
    assert len(found.rows) == -(-len(every) // 2) and set(found.rows) < set(every)


def test_voltage_is_weighed_by_runs_that_had_not_learned_the_records(
    corpus: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init, data, tasks = str(pretrained / "checkpoint"), Corpus(corpus), (TASKS["superdiagnostic"],)
    a, b = tmp_path / "a", tmp_path / "b"
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no")
    for run, train, watch in ((a, (1, 2, 3), (4, 5)), (b, (4, 5), (1, 2, 3))):
        finetune(run, corpus, init, recipe=replace(recipe, train_folds=train, watch_folds=watch))
    rows = np.flatnonzero(np.isin(data.fold, (4, 5)))
    before = ch.load_checkpoint(a / "checkpoint")
    # of a run by the others, which changes the labels that have criteria, and calibrates them anew
    criteria(a, (b,), corpus)
    after = ch.load_checkpoint(a / "checkpoint")
    said = predict(after.model, data, rows)
    moved = (said != predict(before.model, data, rows)).any(axis=0)
    assert moved.tolist() == [label == "HYP" for label in tasks[0].labels]
    np.testing.assert_allclose(after.platt, fit_platt(said, data.labels(tasks, rows)), rtol=1e-6)
    assert "[1, 2, 3]" in after.training["criteria_from"]
    told = out_of_fold(data, tasks, (b,), criteria=False)
    usual = after.model.facts.usual.double().numpy()
    weights = weigh_criteria(data, told.rows, tasks, usual, told.logits)
    np.testing.assert_allclose(after.model.hug.voltage, weights, rtol=1e-5)
    # a disease is decided by more than voltage: beside an answer its criteria count for less than they could
    monkeypatch.setattr("clear_hug.train.criteria.DIAGNOSES", RIDGE)
    freely = weigh_criteria(data, told.rows, tasks, usual, told.logits)
    monkeypatch.undo()
    assert 0 < np.abs(weights).sum() < np.abs(freely).sum()
    with pytest.raises(CorpusError, match="would be judged by weights fitted on them"):
        criteria(a, (a,), corpus)
    # and of the last by all of them
    criteria(b, (a,), corpus)
    last = replace(recipe, train_folds=(1, 2, 3, 4, 5), watch_folds=())
    finetune(tmp_path / "final", corpus, init, (a, b), last)
    final = ch.load_checkpoint(tmp_path / "final" / "checkpoint")
    assert "[1, 2, 3, 4, 5]" in final.training["criteria_from"] and final.model.hug.voltage.any()


def test_a_long_qtc_speaks_for_the_label_that_it_defines_and_for_no_other(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, tasks, facts = Corpus(corpus), (TASKS["superdiagnostic"], TASKS["form"]), Facts(32)
    rows = np.flatnonzero(data.labelled_for(tasks))
    names = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    long = facts.qtc(data.beats(rows)).numpy() > 0
    made = np.zeros((len(rows), len(TASKS["form"].labels)), dtype=np.float32)
    made[:, TASKS["form"].labels.index("LNGQT")] = long
    made[:, TASKS["form"].labels.index("NDT")] = ~long
    own = data.labels

    def labels(asked: tuple[Task, ...], some: np.ndarray) -> np.ndarray:
        return made[np.searchsorted(rows, some)] if asked[0].name == "form" else own(asked, some)

    monkeypatch.setattr(data, "labels", labels)
    assert 3 <= long.sum() < len(rows)
    weights = weigh_qtc(data, rows, tasks, facts, np.zeros((len(rows), len(names)), dtype=np.float32))
    told = dict(zip(names, weights, strict=True))
    assert told.pop("form/LNGQT") > 0.3 and not any(told.values())
    made[:] = 1 - made
    assert not weigh_qtc(data, rows, tasks, facts, np.zeros((len(rows), len(names)), dtype=np.float32)).any()


def test_intervals_are_learned_beside_the_labels_and_not_shipped(finetuned: Path) -> None:
    log = log_of(finetuned)
    assert log[-1]["train/intervals"] < 0.5 * log[0]["train/intervals"]
    assert ch.load_checkpoint(finetuned / "checkpoint").model.hug.head.out_features == 5


@pytest.mark.parametrize("what", ["steady", "additive"])
def test_answers_without_some_leads_are_what_was_learned_to_foretell_them(
    corpus: Path, random_model: Callable[..., CLEARHUG], tmp_path: Path, what: str
) -> None:
    data = Corpus(corpus)
    model = random_model(n_labels=0)
    with torch.no_grad():
        for block in model.clear.blocks:  # so that leads hang on one another
            block.attention.out.weight.mul_(8)
    init = save_checkpoint(tmp_path / "init", model, ())
    beats = data.beats(np.flatnonzero(data.fold == 9))
    gone = torch.zeros(len(beats.there), 12, dtype=torch.bool)
    gone[:, ::2] = True  # some of each group
    missed = []
    for weight in (0.0, 30.0):
        weights = {"steady": 0.0, "additive": 0.0, what: weight}
        recipe = FinetuneConfig(
            epochs=14, batch_size=8, lr=3e-3, encoder_lr=3e-3, precision="no", average=0.5, **weights
        )
        finetune(tmp_path / str(weight), corpus, str(init), recipe=recipe)
        model = ch.load_checkpoint(tmp_path / str(weight) / "checkpoint").model
        with torch.inference_mode():
            encoded, without = model.encode(beats), model(beats.hide(gone[..., None]))
            foretold = (model.answer if what == "steady" else model.foretell)(encoded, gone)
            spread = (
                model.answer(encoded).var(dim=0).mean()
            )  # between records: a model that says nothing has none
            missed.append(float((without - foretold).square().mean() / spread))
    assert missed[0] > 1e-4 and missed[1] < 0.3 * missed[0]


def test_a_criterion_is_weighed_beside_the_answer_and_never_against_its_label() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    shape, tall, nothing = rng.normal(size=(3, n))
    truth = (rng.random(n) < expit(shape + 2 * tall - 2)).astype(float)
    weight, other = weigh(1.5 * shape, np.stack([tall, nothing], 1), truth)
    assert weight == pytest.approx(3, rel=0.2)  # in units of an answer that is half as sure again as it ought
    assert other < 0.3
    thrice = weigh(1.5 * shape, np.stack([3 * tall, nothing], 1), truth)
    np.testing.assert_allclose(thrice, [weight / 3, other], rtol=1e-3, atol=1e-3)  # whatever the unit
    assert weigh(shape, -tall[:, None], truth).item() == 0


def test_voltage_is_told_for_hypertrophy_of_records_in_mv_alone(with_unlabelled: Path) -> None:
    data, tasks = Corpus(with_unlabelled), [TASKS["superdiagnostic"], TASKS["rhythm"]]
    rows = np.flatnonzero(~data.labelled)
    labelled = np.flatnonzero(data.labelled)
    usual = usual_r_and_s(data, labelled)
    weights = weigh_criteria(data, labelled, tasks, usual)
    told = evidence(data, rows, usual, weights)
    high = np.array([data.tokens(int(i)).values.max() for i in rows])
    hypertrophy = tasks[0].labels.index("HYP")
    assert not np.delete(told, hypertrophy, axis=1).any()
    order = np.argsort(high)
    assert told[order[-4:], hypertrophy].min() > 0 > told[order[:4], hypertrophy].max()
    # only what the criteria name is weighed, and nothing speaks against its label
    named = np.any(CRITERIA["superdiagnostic/HYP"], axis=0)
    assert weights.min() == 0 and (weights[..., hypertrophy] > 0).sum() in (2, 4)
    assert not weights[..., hypertrophy][~named].any()
    # without voltage, or with too few positives that have it, nothing is told
    positives = labelled[data.labels(tasks, labelled)[:, hypertrophy] > 0]
    few = np.concatenate([np.setdiff1d(labelled, positives), positives[: LEAST - 1]])
    assert not weigh_criteria(data, few, tasks, usual).any()
    blind = Corpus(with_unlabelled)
    blind.units_known = np.zeros_like(data.units_known)
    assert not weigh_criteria(blind, labelled, tasks, usual).any()
    assert not evidence(blind, rows, usual, weights).any()


def test_the_decoder_learns_anew_and_the_diagnosis_stays(
    corpus: Path, finetuned: Path, tmp_path: Path
) -> None:
    recipe = DecoderConfig(epochs=4, batch_size=8, lr=3e-3, precision="no", centres=200)
    decoder(tmp_path / "run", str(finetuned / "checkpoint"), corpus, recipe)
    before, after = (ch.load_checkpoint(run / "checkpoint") for run in (finetuned, tmp_path / "run"))
    assert after.training["decoder"]["config"]["epochs"] == 4
    assert after.training["config"] == before.training["config"] and after.tasks == before.tasks
    np.testing.assert_array_equal(after.platt, before.platt)
    was, now = before.model.state_dict(), after.model.state_dict()
    moved = {name for name in was if not torch.equal(was[name], now[name])}
    assert moved and all(name.removeprefix("clear.").startswith((*DECODER, "regression")) for name in moved)
    data = Corpus(corpus)
    rows = np.flatnonzero(data.fold == 9)
    np.testing.assert_array_equal(predict(before.model, data, rows), predict(after.model, data, rows))
    beats = data.beats(rows)
    hidden, told = MaskedCLEAR(after.model.clear, few_leads=0.5).draw(beats.there, torch.from_numpy(rows), 0)
    with torch.no_grad():
        old, new = (masked_loss(one.model.clear, beats, hidden, told, in_mv=True) for one in (before, after))
    assert new["loss"] < old["loss"] and new["mse"] < old["mse"]
    # beside it stands a kernel, which another regression would not fit
    clear = after.model.clear
    assert clear.config.centres == 200 and clear.kernel.inner.any()
    at_once = replace(recipe, centres=0, epochs=1)
    decoder(tmp_path / "without", str(tmp_path / "run" / "checkpoint"), corpus, at_once)
    plain = ch.load_checkpoint(tmp_path / "without" / "checkpoint").model.clear
    assert plain.config.centres == 0 and not plain.kernel.state_dict()
    with pytest.raises(RunError, match="centres = -1; expected 0"):  # before hours are spent
        decoder(tmp_path / "bad", str(finetuned / "checkpoint"), corpus, replace(recipe, centres=-1))


def test_a_frozen_encoder_stays_as_it_is(corpus: Path, pretrained: Path, tmp_path: Path) -> None:
    recipe = FinetuneConfig(epochs=1, batch_size=16, precision="no", frozen=True)
    finetune(tmp_path / "run", corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
    before = ch.load_checkpoint(pretrained / "checkpoint").model.clear.state_dict()
    after = ch.load_checkpoint(tmp_path / "run" / "checkpoint").model.clear.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


STILL = Augmentation(
    stretch=100, drop_beat=0, drop_token=0, drop_lead=0, amplitude=0, withhold=0, rhythm_holes=0, mix=0,
    premature_wide=0, premature_narrow=0, st_elevation=0,
)  # fmt: skip


def test_a_frozen_encoder_reads_each_record_once(
    corpus: Path, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = FinetuneConfig(epochs=4, batch_size=16, precision="no", frozen=True, augment=STILL, steady=0,
                            additive=0, watch_folds=(), intervals=0, dropout=0)  # fmt: skip
    encode, records = CLEAR.encode, []

    def counted(self: CLEAR, beats: Beats, *args: object, **kw: object) -> Encoded:
        records.append(len(beats.units_known))
        return encode(self, beats, *args, **kw)

    monkeypatch.setattr(CLEAR, "encode", counted)
    weights = []
    for name, once in (("once", True), ("each", False)):
        monkeypatch.setattr(Augmentation, "off", once)
        records.clear()
        finetune(tmp_path / name, corpus, init=str(pretrained / "checkpoint"), recipe=recipe)
        opened = ch.load_checkpoint(tmp_path / name / "checkpoint")
        n = opened.training["records"]
        # before the first step, and after the last for the mean lead token and the ridge regression
        assert sum(records) == (3 * n + n if once else 3 * n + 4 * n)
        weights.append(opened.model.hug.head.weight)
    torch.testing.assert_close(*weights)


def test_a_frozen_encoder_reads_each_window_of_a_long_record(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch reads another window: what is kept of one must not answer for the next."""
    lines = ["record,statements,fold"]
    for i in range(6):
        ecg = ch.simulate_ecg("normal", seed=i, fs=100.0, seconds=25.0)
        write_wfdb(ecg, tmp_path / "long", f"r{i}")
        lines.append(f"r{i},{'SR' if i % 2 else 'NORM SR'},1")
    (tmp_path / "long" / "labels.csv").write_text("\n".join(lines))
    prepare([tmp_path / "long"], tmp_path / "corpus", workers=1)
    recipe = FinetuneConfig(epochs=5, batch_size=3, precision="no", frozen=True, augment=STILL, steady=0,
                            additive=0, watch_folds=(), intervals=0, dropout=0, ridge=0)  # fmt: skip
    init, weights = str(pretrained / "checkpoint"), []
    for name, once in (("once", True), ("each", False)):
        monkeypatch.setattr(Augmentation, "off", once)
        finetune(tmp_path / name, tmp_path / "corpus", init=init, recipe=recipe)
        weights.append(ch.load_checkpoint(tmp_path / name / "checkpoint").model.hug.head.weight)
    torch.testing.assert_close(*weights)
    monkeypatch.setattr(Augmentation, "off", True)
    kept, keep = [], Tuning.keep

    def seen(self: Tuning, *of: Any) -> None:
        keep(self, *of)
        kept.append(len(self.place))

    monkeypatch.setattr(Tuning, "keep", seen)
    for epochs in (1, 2, 5):  # windows that no epoch reads are not encoded
        finetune(
            tmp_path / str(epochs), tmp_path / "corpus", init=init, recipe=replace(recipe, epochs=epochs)
        )
    assert kept == [6, 12, 18]


def test_tiny_is_what_tests_use_and_tasks_cover_the_field() -> None:
    assert PRESETS["tiny"].width < PRESETS["small"].width < PRESETS["base"].width
    sizes = {name: len(task.labels) for name, task in TASKS.items()}
    assert sizes == {
        "superdiagnostic": 5, "subdiagnostic": 23, "form": 19, "rhythm": 12, "diagnostic": 44, "all": 71,
        "cpsc2018": 9, "csn": 38,
    }  # fmt: skip


def test_a_task_that_is_not_known_is_refused_before_anything_is_done(corpus: Path, tmp_path: Path) -> None:
    for command, recipe in ((finetune, FinetuneConfig), (baseline, BaselineConfig)):
        with pytest.raises(CorpusError, match="'superdiagnostik' is not known; expected one"):
            command(tmp_path / "run", corpus, recipe=recipe(tasks=("superdiagnostik",)))
    assert not (tmp_path / "run").exists()


def test_a_label_set_of_ones_own_is_learned_judged_and_told(
    corpus: Path, pretrained: Path, tmp_path: Path, simulated: Callable[..., ch.ECG]
) -> None:
    folder, rows = tmp_path / "echo", ["record,statements,vocabulary,fold"]
    for i in range(20):
        low = i % 2
        write_wfdb(simulated("premature" if low else "normal", 200 + i, fs=100.0), folder, f"r{i}")
        rows.append(f"r{i},{'LOW' if low else 'none'},lvef,{i // 2 + 1}")
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "tasks.json").write_text('{"lvef": {"labels": {"LOW": "35 % | <"}, "of_time": ["LOW"]}}')
    prepare([folder], tmp_path / "corpus", workers=1)
    recipe = FinetuneConfig(tasks=("lvef",), epochs=2, batch_size=8, precision="no", preset="tiny")
    with pytest.raises(RunError, match="what a planted change means for lvef: set premature_wide"):
        finetune(tmp_path / "run", tmp_path / "corpus", recipe=recipe)
    nothing = {"premature_wide": 0.0, "premature_narrow": 0.0, "st_elevation": 0.0}
    recipe = replace(recipe, augment=replace(recipe.augment, **nothing))
    finetune(tmp_path / "run", tmp_path / "corpus", init=str(pretrained / "checkpoint"), recipe=recipe)
    against = BaselineConfig(tasks=("lvef",), epochs=1, test_folds=(9,))
    baseline(tmp_path / "resnet", tmp_path / "corpus", recipe=against)
    opened, data = ch.load_checkpoint(tmp_path / "run" / "checkpoint"), Corpus(tmp_path / "corpus")
    assert opened.targets == ("lvef/LOW",) and opened.description["lvef/LOW"] == "35 % | <"
    rows = judged(opened, data, (9,))
    beside = baseline_answers({"ResNet": tmp_path / "resnet"}, opened, data, rows)
    told = measure(opened, data, rows, beside)["tasks"]["lvef"]
    for subset in ("field", "all_records"):  # those without a label are told to be so, and judged
        assert told[subset]["records"] == (data.fold == 9).sum() == 2
    assert list(told["baselines"]) == ["ResNet"]
    (folder / "tasks.json").write_text('{"lvef": {"labels": {"LOW": "above 35 %"}, "of_time": ["LOW"]}}')
    prepare([folder], tmp_path / "other", workers=1)  # told otherwise since
    for one in ("run", "resnet"):
        with pytest.raises(
            CorpusError, match=f"{one} learned another label set lvef than that of the corpus"
        ):
            answers(tmp_path / one, Corpus(tmp_path / "other"), rows, opened.targets)
    evaluate(str(tmp_path / "run" / "checkpoint"), tmp_path / "corpus", write=True)
    card = (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    assert r"| LOW | 35 % \| &lt; | " in card
    assert "### lvef" in card and "every record, which a label set of one's own" in card
    said = ch.diagnose(opened, ch.tokenize_beats(ch.read_ecg(folder / "r1.hea")))
    assert (said.tasks, said.labels) == (("lvef",), ("LOW",)) and np.isfinite(said.logits).all()
    with pytest.raises(CorpusError, match="has labels of lvef, which are told in lvef"):
        judged(opened, Corpus(corpus), (9,))


def test_a_baseline_that_diverges_writes_nothing(corpus: Path, tmp_path: Path) -> None:
    recipe = BaselineConfig(kind="resnet", watch_folds=(), epochs=2, lr=1e30)
    with pytest.raises(FloatingPointError, match="is nan at step|is inf at step"):
        baseline(tmp_path / "run", corpus, recipe)
    assert not (tmp_path / "run").exists()


def test_of_several_processes_one_trains_a_baseline(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    baseline(tmp_path / "run", corpus, BaselineConfig(kind="random"))
    assert not (tmp_path / "run").exists()


def test_a_probe_reads_a_frozen_encoder(
    corpus: Path, pretrained: Path, finetuned: Path, tmp_path: Path
) -> None:
    recipe = BaselineConfig(kind="probe", tasks=("superdiagnostic",), watch_folds=(), weight_decay=0.01)
    baseline(tmp_path / "a", corpus, recipe, str(pretrained / "checkpoint"))
    baseline(tmp_path / "random", corpus, replace(recipe, kind="random"))
    found = [np.load(tmp_path / name / "predictions.npz")["logits"] for name in ("a", "random")]
    assert np.isfinite(found).all() and not np.allclose(*found)
    told = json.loads(str(np.load(tmp_path / "a" / "predictions.npz")["about"]))
    assert (told["kind"], told["seed"], told["data"]) == ("probe", 0, Corpus(corpus).digest)
    baseline(tmp_path / "alike", corpus, replace(recipe, kind="random"), str(pretrained / "checkpoint"))
    alike = np.load(tmp_path / "alike" / "predictions.npz")["logits"]
    assert not np.allclose(alike, found[0]) and not np.allclose(
        alike, found[1]
    )  # untrained, and of this size
    with pytest.raises(RunError, match="--init"):
        baseline(tmp_path / "b", corpus, recipe)
    with pytest.raises(RunError, match="--init"):
        baseline(tmp_path / "b", corpus, replace(recipe, kind="forest"), str(pretrained / "checkpoint"))
    baseline(tmp_path / "few", corpus, replace(recipe, label_fraction=0.5), str(pretrained / "checkpoint"))
    few = answers(tmp_path / "few", Corpus(corpus), np.array([0]), ["superdiagnostic/NORM"])
    assert few.label_fraction == 0.5
    assert not np.allclose(np.load(tmp_path / "few" / "predictions.npz")["logits"], found[0])
    with pytest.raises(
        CorpusError, match=r"watched on folds \[8\]"
    ):  # an encoder that was watched on what it would be judged on
        baseline(tmp_path / "b", corpus, recipe, str(finetuned / "checkpoint"))
    with pytest.raises(RunError, match="another kind of run"):
        baseline(finetuned, corpus, recipe, str(pretrained / "checkpoint"))
    (tmp_path / "a" / "predictions.npz").write_bytes(b"PK")
    with pytest.raises(CorpusError, match="cannot be read"):
        answers(tmp_path / "a", Corpus(corpus), np.array([0]), ["superdiagnostic/NORM"])


def test_a_teacher_of_all_labels_does_not_teach_a_fraction(corpus: Path, tmp_path: Path) -> None:
    recipe = FinetuneConfig(tasks=("superdiagnostic",), label_fraction=0.25)
    data = Corpus(corpus)
    labels = np.full((len(data), 5), np.nan, dtype=np.float32)
    with pytest.raises(CorpusError, match="learned from other labels than 25 %"):
        learn_from([tmp_path / "forest"], data, [TASKS["superdiagnostic"]], recipe, labels)


def test_a_run_does_not_begin_from_what_has_learned_the_labels_it_is_watched_on(
    corpus: Path, finetuned: Path, tmp_path: Path
) -> None:
    recipe = FinetuneConfig(tasks=("form",), train_folds=(8,), watch_folds=(7,), precision="no")
    with pytest.raises(CorpusError, match=r"learned the labels of folds \[7\]"):
        finetune(tmp_path / "run", corpus, str(finetuned / "checkpoint"), recipe=recipe)
    with pytest.raises(CorpusError, match="learned from 100 % of the labels, this run may from 10 %"):
        finetune(
            tmp_path / "run", corpus, str(finetuned / "checkpoint"),
            recipe=replace(recipe, watch_folds=(), label_fraction=0.1),
        )  # fmt: skip
