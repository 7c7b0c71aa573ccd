"""Figures: intervals that cover, a linear baseline that is exact where leads are sums, cards without NaN."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from scipy.stats import norm
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_f1_score,
    binary_recall,
    binary_specificity,
)

import clear_hug as ch
from clear_hug.beats import split_windows
from clear_hug.checkpoint import BASELINES, load_checkpoint, save_checkpoint, save_measured
from clear_hug.datasets import list_records
from clear_hug.diagnosis import collate
from clear_hug.known import known
from clear_hug.labels import is_snomed
from clear_hug.leads import LEADS
from clear_hug.tasks import TASKS
from clear_hug.train import rebuilt
from clear_hug.train.answers import keep_answers, kept_answers, learned_labels, learned_rows
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.elsewhere import LUDB, SNOMED, Means, elsewhere_figures
from clear_hug.train.evaluate import baseline_answers, evaluate, judged, measure
from clear_hug.train.linear import fit_linear
from clear_hug.train.metrics import (
    FIGURES,
    auroc,
    best_thresholds,
    draw_weights,
    drawn_auroc,
    drawn_figures,
    figures,
    fit_platt,
    interval,
    paired,
)
from clear_hug.train.prepare import prepare

# AUROC and its kin


def scored(n=60, labels=3, seed=0):
    """Scores with ties, calibrated-looking probabilities and truths; the last label is never there."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((n, labels)) < 0.4).astype(np.float32)
    truth[:, -1] = 0
    scores = np.round(rng.normal(size=(n, labels)) + truth, 1).astype(np.float32)
    return scores, 1 / (1 + np.exp(-scores.astype(np.float64))), truth


def test_auroc_is_the_share_of_ordered_pairs():
    scores, _, truth = scored()
    expected = []
    for s, t in zip(scores.T[:2], truth.T[:2], strict=True):
        pairs = s[t == 1][:, None] - s[t == 0][None]
        expected.append((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    found = auroc(scores, truth)
    np.testing.assert_allclose(found[:2], expected, atol=1e-6)
    assert np.isnan(found[2])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_draw_of_weights_is_the_same_as_repeated_records(seed):
    """Every figure of the bootstrap equals torchmetrics' on the records as they were drawn."""
    scores, p, truth = scored(seed=seed)
    thresholds = np.array([0.5, 0.6, 0.5])
    weights = np.random.default_rng(seed).integers(0, 4, (5, len(truth))).astype(float)
    drawn = drawn_figures(scores, p, thresholds, truth, weights)
    assert np.isnan(drawn[:, :, 2]).all()
    for k, row in enumerate(weights):
        rows = np.repeat(np.arange(len(truth)), row.astype(int))
        for i in (0, 1):
            said, y = torch.from_numpy(p[rows, i]), torch.from_numpy(truth[rows, i]).long()
            called = torch.from_numpy((p[rows, i] >= thresholds[i]).astype(float))
            expected = [
                binary_auroc(said, y), binary_average_precision(said, y), binary_f1_score(called, y),
                binary_recall(called, y), binary_specificity(called, y),
                binary_calibration_error(said, y, n_bins=10),
            ]  # fmt: skip
            np.testing.assert_allclose(drawn[:, k, i], expected, atol=1e-6, err_msg=str(FIGURES))


def test_the_bootstrap_draws_patients_not_records():
    patients = np.repeat(["a", "b", "c"], [50, 49, 1])
    weights = draw_weights(patients, rounds=200)
    for name in "abc":
        mine = weights[:, patients == name]
        assert (mine == mine[:, :1]).all()
    times = weights[:, [0, 50, 99]]
    assert (times.sum(axis=1) == 3).all() and times.max() == 3


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    truth = np.repeat([0.0, 1.0], [80, 40])[:, None]
    true = norm.cdf(1 / np.sqrt(2))  # of two normal distributions one SD apart
    covered = 0
    for seed in range(200):
        scores = rng.normal(size=truth.shape) + truth
        weights = draw_weights(np.arange(120).astype(str), rounds=300, seed=seed)
        low, high = interval(drawn_auroc(scores, truth, weights))[:, 0]
        covered += low <= true <= high
    assert 180 <= covered <= 198


def test_a_label_without_positives_is_told_and_breaks_nothing():
    scores, p, truth = scored()
    patients = np.arange(len(truth)).astype(str)
    counted = np.array([True, False, True])
    out = figures(scores, p, np.full(3, 0.5), truth, "abc", patients, counted)
    json.dumps(out, allow_nan=False)
    assert out["labels"]["c"]["positives"] == 0 and out["labels"]["c"]["auroc"] is None
    assert out["counted"] == ["a"] and out["macro_auroc"] == out["labels"]["a"]["auroc"]
    assert out["every_label"]["labels"] == 2
    both = [out["labels"][name]["auroc"] for name in "ab"]
    assert out["every_label"]["macro_auroc"] == pytest.approx(np.mean(both), abs=1e-4)
    for row in (out["labels"]["a"], out["labels"]["b"]):
        for name in FIGURES:
            low, high = row[f"{name}_95"]
            assert low <= row[name] <= high, name
    few = truth.copy()
    few[np.flatnonzero(few[:, 0])[4:], 0] = 0  # four positives are left
    row = figures(scores, p, np.full(3, 0.5), few, "abc", patients, counted)["labels"]["a"]
    assert row["auroc"] is not None and row["auroc_95"] == [None, None]
    nothing = figures(scores, p, np.full(3, 0.5), truth, "abc", patients, np.zeros(3, bool))
    json.dumps(nothing, allow_nan=False)
    assert nothing["macro_auroc"] is None


def test_a_pair_is_compared_over_the_same_draws():
    scores, _, truth = scored(200)
    patients, counted = np.arange(200).astype(str), np.ones(3, bool)
    same = paired(scores, [scores], truth, patients, counted)
    assert same["difference"] == 0 and same["difference_95"] == [0, 0]
    worse = paired(scores, [scores, -scores], truth, patients, counted)  # the mean of two runs is 0.5
    assert worse["macro_auroc"] == pytest.approx(0.5, abs=1e-4) and worse["difference_95"][0] > 0
    assert paired(scores, [scores], truth, patients, np.zeros(3, bool))["every_label"]["difference"] == 0


def test_platt_and_thresholds_mend_what_is_off():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(4000, 1)) * 2
    truth = (rng.random((4000, 1)) < 1 / (1 + np.exp(-(0.5 * z - 1)))).astype(np.float32)
    slope, intercept = fit_platt(z, truth)[0]
    assert slope == pytest.approx(0.5, abs=0.06) and intercept == pytest.approx(-1, abs=0.12)
    scores = np.repeat([[0.1], [0.2], [0.7], [0.8]], 3, axis=0)
    threshold = best_thresholds(scores, (scores > 0.5).astype(int))[0]
    assert 0.2 < threshold <= 0.7


def test_the_threshold_is_that_of_the_best_f1_of_calibrated_probabilities() -> None:
    rng = np.random.default_rng(4)
    p = rng.beta(0.4, 4, size=(20_000, 1))
    truth = (rng.random(p.shape) < p).astype(np.float32)
    threshold = best_thresholds(p, truth)[0]

    def f1(t: float) -> float:
        called = p >= t
        return 2 * (called * truth).sum() / (called.sum() + truth.sum())

    assert f1(threshold) == pytest.approx(max(f1(t) for t in np.linspace(0.02, 0.9, 45)), abs=0.01)


def test_a_label_too_rare_to_calibrate_keeps_about_what_it_has() -> None:
    z = np.random.default_rng(2).normal(-5, 1, size=(400, 2))
    truth = np.zeros((400, 2), dtype=np.float32)
    truth[z[:, 1].argmax(), 1] = 1
    platt = fit_platt(z, truth)
    assert np.abs(platt - [1, 0]).max() < 1.5 and (platt[:, 0] > 0.5).all()
    probabilities = 1 / (1 + np.exp(-(platt[:, 0] * z + platt[:, 1])))
    assert list(best_thresholds(probabilities, truth)) == [0.5, 0.5]


# A linear regression over leads


@pytest.fixture(scope="module")
def records(tokens_of):
    """Windows of 12 simulated records, as one batch."""
    kinds = ("normal", "premature", "high_voltage", "bradycardia")
    return collate([split_windows(tokens_of(kinds[i % 4], seed=i))[0] for i in range(12)])


@pytest.fixture(scope="module")
def fitted(records):
    there = records.there.numpy()
    return fit_linear([(records.values.numpy().astype(float), there, there, records.inside.numpy())])


def rebuilt_by(fitted, records, hidden):
    """The regression's tokens and R2 over the hidden ones."""
    values, visible = records.values.numpy().astype(float), records.there.numpy() & ~hidden
    out = fitted.rebuild(values, visible, records.inside.numpy())
    where = (hidden & records.there.numpy())[..., None] & records.inside.numpy()[:, None]
    where = np.broadcast_to(where, values.shape)
    return out, 1 - ((out - values)[where] ** 2).sum() / (values[where] ** 2).sum()


@pytest.mark.parametrize("lead", LEADS[:6])
def test_limb_leads_are_exact_sums_for_the_regression(fitted, records, lead):
    hidden = np.zeros(records.there.shape, bool)
    hidden[:, LEADS.index(lead)] = True
    assert rebuilt_by(fitted, records, hidden)[1] > 0.999


def test_the_regression_is_no_worse_than_least_squares_from_eleven_leads(fitted, records):
    values, lead = records.values.numpy().astype(float), LEADS.index("V3")
    where = records.inside.numpy() & records.there.numpy().all(axis=1)[..., None]
    x = values.transpose(0, 2, 3, 1)[where]
    others = np.delete(x, lead, axis=1)
    fit = others @ np.linalg.lstsq(others, x[:, lead])[0]
    hidden = np.zeros(records.there.shape, bool)
    hidden[:, lead] = True
    least_squares = 1 - ((fit - x[:, lead]) ** 2).sum() / (x[:, lead] ** 2).sum()
    assert rebuilt_by(fitted, records, hidden)[1] > least_squares - 1e-3


def test_a_whole_hidden_beat_is_read_from_the_other_beats(fitted, records):
    hidden = np.zeros(records.there.shape, bool)
    hidden[:, :, 3] = True
    normal = replace(records, there=records.there & (torch.arange(12) % 4 == 0)[:, None, None])
    assert rebuilt_by(fitted, normal, hidden)[1] > 0.8


def test_what_is_hidden_is_not_read_by_the_regression(fitted, records):
    hidden = np.random.default_rng(0).random(records.there.shape) < 0.8
    shaken = records.values.clone()
    shaken[torch.from_numpy(hidden)] *= 10
    out, _ = rebuilt_by(fitted, records, hidden)
    again, _ = rebuilt_by(fitted, replace(records, values=shaken), hidden)
    np.testing.assert_array_equal(out, again)
    assert np.isfinite(out).all()


def test_the_regression_needs_every_lead(records):
    there = records.there.numpy().copy()
    there[:, 4] = False
    with pytest.raises(ValueError, match="every lead"):
        fit_linear([(records.values.numpy().astype(float), there, there, records.inside.numpy())])


# A corpus, a checkpoint, and all of it

KINDS = {"normal": ["NORM", "SR"], "premature": ["IVCD", "SARRH"], "high_voltage": ["LVH"]}
BOTH = (TASKS["superdiagnostic"], TASKS["rhythm"])


def write_wfdb(ecg, folder, name, comments=()):
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, int(ecg.fs), ["mV"] * 12, list(LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, comments=list(comments), write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """110 records of three kinds: folds 1-8 with voltage, 9 half without (as arrays at hand are)."""
    folder = tmp_path_factory.mktemp("data") / "ptbxl"
    rows = []
    for i in range(110):
        kind = list(KINDS)[i % 3]
        write_wfdb(ch.simulate_ecg(kind, seed=i, fs=100.0), folder / "records100", f"{i:05d}_lr")
        rows.append({
            "ecg_id": i, "patient_id": float(i // 2), "age": "" if i % 7 == 0 else 20 + i % 70, "sex": i % 2,
            "scp_codes": str(dict.fromkeys(KINDS[kind], 100.0)), "strat_fold": min(1 + i // 10, 9),
            "filename_lr": f"records100/{i:05d}_lr", "filename_hr": f"records500/{i:05d}_hr",
        })  # fmt: skip
    with (folder / "ptbxl_database.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path_factory.mktemp("corpus")
    prepare([folder], out, workers=1)
    for path in (out / "ptbxl").glob("*/records.csv"):
        with path.open(newline="") as f:
            kept = list(csv.DictReader(f))
        for row in kept:
            odd = int(row["record"].split("/")[1]) % 2
            row["units_known"] = str(int(not (row["fold"] == "9" and odd)))
        with path.open("w", newline="") as f:
            writer = csv.DictWriter(f, list(kept[0]))
            writer.writeheader()
            writer.writerows(kept)
    return out


def answering(random_model, tasks, seed, folder, **training):
    return save_checkpoint(
        folder,
        random_model("tiny", sum(len(t.labels) for t in tasks), seed=seed),
        tasks,
        training={
            "config": {
                "tasks": [t.name for t in tasks],
                "train_folds": [1, 2, 3, 4, 5, 6, 7],
                "watch_folds": [8],
                **training,
            }
        },
    )


@pytest.fixture(scope="module")
def answers(random_model, tmp_path_factory):
    """A checkpoint of random weights for two tasks, said to have learned from folds 1-7."""
    return answering(random_model, BOTH, 0, tmp_path_factory.mktemp("runs") / "answers")


@pytest.fixture(scope="module")
def metrics(answers, corpus):
    opened, data = load_checkpoint(answers), Corpus(corpus)
    rows = judged(opened, data, (9,))
    return measure(opened, data, rows, baseline_answers({"itself": answers}, opened, data, rows))


@pytest.mark.long
def test_evaluate_prints_the_card_and_writes_it(answers, corpus, random_model, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)
    recipe = BaselineConfig(kind="random", tasks=("rhythm", "superdiagnostic"), test_folds=(8, 9))
    baseline(tmp_path / "random", corpus, recipe)
    other = answering(random_model, BOTH, 1, tmp_path / "scratch" / "checkpoint")
    copy = tmp_path / "copy"
    opened = load_checkpoint(answers)
    save_checkpoint(copy, opened.model, opened.tasks, training=opened.training)
    capsys.readouterr()
    runs = {"random encoder": tmp_path / "random", "from scratch": [other.parent, other]}
    evaluate(str(copy), corpus, (9,), runs, write=True)
    card = capsys.readouterr().out.rstrip("\n")
    assert card == (copy / "README.md").read_text().rstrip("\n")
    kept = load_checkpoint(copy).metrics
    for task in ("superdiagnostic", "rhythm"):
        field = kept["tasks"][task]["field"]
        low, high = field["macro_auroc_95"]
        assert f"{field['macro_auroc']:.3f} ({low:.3f} to {high:.3f})" in card
        assert set(kept["tasks"][task]["baselines"]) == set(runs)
        assert f"{kept['tasks'][task]['baselines']['from scratch']['difference']:+.3f}" in card
    assert "from scratch, mean of 2 runs" in card and "nan" not in card.lower().split()
    assert "research" in card and "Not measured: no records of another data set" in card
    shutil.rmtree(tmp_path / "random"), shutil.rmtree(tmp_path / "scratch")
    evaluate(str(copy), corpus, (9,))  # anyone, without the runs
    assert capsys.readouterr().out.rstrip("\n") == card
    save_measured(str(copy), opened)  # as `operating` and `faithfulness` do
    assert (copy / BASELINES).exists()


@pytest.mark.long
def test_kept_baselines_speak_of_the_records_they_answered(answers, corpus, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)
    opened, data = load_checkpoint(answers), Corpus(corpus)
    copy = tmp_path / "copy"
    save_checkpoint(copy, opened.model, opened.tasks, training=opened.training)
    rows = judged(opened, data, (9,))
    np.testing.assert_array_equal(rows, np.flatnonzero((data.fold == 9) & data.labelled_for(opened.tasks)))
    said = baseline_answers({"itself": answers}, opened, data, rows)
    records = [data.records[i]["record"] for i in rows]
    file = keep_answers({"a": said["itself"] * 2, "b": said["itself"]}, records[::-1], opened.targets[::-1])
    (copy / BASELINES).write_bytes(file)
    kept = kept_answers(copy / BASELINES)
    assert [(name, len(runs)) for name, runs in kept.items()] == [("a", 2), ("b", 1)]
    turned = baseline_answers(kept, opened, data, rows)["b"][0]
    np.testing.assert_array_equal(turned.logits, said["itself"][0].logits[::-1, ::-1])
    assert turned.train_folds == (1, 2, 3, 4, 5, 6, 7) and turned.watch_folds == (8,)

    (copy / BASELINES).write_bytes(keep_answers({"a": said["itself"]}, ["x", *records[1:]], opened.targets))
    evaluate(str(copy), corpus, (9,))
    out = capsys.readouterr()
    assert "did not answer all records and labels that are judged" in out.err and "| baseline" not in out.out
    elsewhere = {"a": [replace(run, train_folds=(1, 2)) for run in said["itself"]]}
    (copy / BASELINES).write_bytes(keep_answers(elsewhere, records, opened.targets))
    evaluate(str(copy), corpus, (9,))  # learned from other folds: not beside it, and no error
    out = capsys.readouterr()
    assert "learned from other folds" in out.err and "| baseline" not in out.out
    with pytest.raises(CorpusError, match="no record of folds"):
        evaluate(str(copy), corpus, (10,), {"itself": answers})
    (copy / BASELINES).write_bytes(file[:-9])
    with pytest.raises(CorpusError, match="baselines.safetensors cannot be read"):
        evaluate(str(copy), corpus, (9,))


@pytest.mark.long
def test_the_figures_hold_no_nan_and_every_subset(metrics, corpus):
    json.dumps(metrics, allow_nan=False)
    data = Corpus(corpus)
    judged = int((data.fold == 9).sum())
    row = metrics["tasks"]["rhythm"]
    assert row["all_records"]["records"] == judged
    assert row["field"]["records"] == row["raw"]["records"] + row["no_voltage"]["records"] < judged
    assert row["counted"] == ["SR", "SARRH"] and row["positives_in_training"]["SR"] >= 20
    assert row["field"]["labels"]["TRIGU"]["auroc"] is None
    assert metrics["tasks"]["superdiagnostic"]["counted"] == ["NORM", "CD", "HYP"]
    assert sum(b["answers"] for b in row["calibration"]) == 2 * judged
    groups = metrics["tasks"]["superdiagnostic"]["subgroups"]
    assert groups["women"]["records"] + groups["men"]["records"] == judged
    assert groups["age not told"]["records"] > 0
    assert metrics["tasks"]["superdiagnostic"]["baselines"]["itself"]["difference_95"] == [0, 0]


@pytest.mark.long
def test_a_checkpoint_that_learned_from_nothing_is_judged_too(random_model, corpus, tmp_path):
    folder = answering(random_model, BOTH[:1], 0, tmp_path / "bare", train_folds=[], watch_folds=[])
    opened, data = load_checkpoint(folder), Corpus(corpus)
    out = measure(opened, data, judged(opened, data, (9,)))
    assert out["tasks"]["superdiagnostic"]["field"]["macro_auroc"] is None
    assert out["tasks"]["superdiagnostic"]["field"]["every_label"]["macro_auroc"] > 0
    evaluate(str(folder), corpus, (9,))


@pytest.mark.long
def test_evaluate_refuses_what_would_not_be_fair(answers, random_model, corpus, tmp_path):
    for fold in (7, 8):  # trained on, watched
        with pytest.raises(CorpusError, match="learned from"):
            evaluate(str(answers), corpus, (fold,))
    cheat = answering(random_model, BOTH, 0, tmp_path / "cheat", watch_folds=[9])
    narrow = answering(random_model, BOTH[:1], 0, tmp_path / "narrow")
    fewer = answering(random_model, BOTH, 0, tmp_path / "fewer", train_folds=[1, 2])
    tenth = answering(random_model, BOTH, 0, tmp_path / "tenth", label_fraction=0.1)
    for run, why in (
        (cheat, "themselves"), (narrow, "rhythm/SR"), (fewer, "on the same"), (tenth, "10 % of the labels"),
    ):  # fmt: skip
        with pytest.raises(CorpusError, match=why):
            evaluate(str(answers), corpus, (9,), {"other": run})
    recipe = BaselineConfig(kind="random", tasks=("superdiagnostic", "rhythm"), test_folds=(8,))
    baseline(tmp_path / "random", corpus, recipe)
    with pytest.raises(CorpusError, match="no prediction"):
        evaluate(str(answers), corpus, (9,), {"other": tmp_path / "random"})


# Reconstruction


def test_rebuilding_is_the_apps_own_arithmetic(checkpoint, tokens):
    hidden = np.random.default_rng(0).random(tokens.valid.shape) < 0.5
    hidden[7] = True  # a whole lead: its scale is predicted
    shown = ch.reconstruct(checkpoint, tokens, hidden)
    beats = collate(split_windows(tokens))
    mask = torch.from_numpy(hidden)[None] & beats.there
    values, scale, seen = rebuilt.rebuild(checkpoint.model.clear, beats, mask)
    ours = (values * scale[..., None, None] * beats.inside[:, None])[0].numpy()
    np.testing.assert_allclose(ours[shown.hidden], shown.values[shown.hidden], atol=1e-5)
    assert not seen[0, 7] and seen[0].sum() == 11
    louder = replace(beats, values=torch.where(mask[..., None], beats.values * 10, beats.values))
    assert torch.equal(rebuilt.rebuild(checkpoint.model.clear, louder, mask)[1], scale)


def test_a_perfect_reconstruction_has_r2_1_and_no_error(checkpoint, corpus, monkeypatch):
    def perfect(clear, beats, hidden):
        scale, seen = beats.hide(hidden).lead_scale()
        own = beats.lead_scale()[0]
        scale = torch.where(seen, scale, own)
        return beats.values / scale[..., None, None], scale, seen

    monkeypatch.setattr(rebuilt, "rebuild", perfect)
    data = Corpus(corpus)
    rows, learned = np.flatnonzero(data.fold == 9)[:8], np.flatnonzero(data.fold < 4)
    out = rebuilt.reconstruction_figures([rebuilt.Judged(checkpoint.model.clear, rows, learned)], data)
    assert set(out) == {"mV", "lead scale"}
    for unit in out.values():
        assert [len(leads) for leads in unit["hidden"].values()] == [14, 14, 14, 6]
        for leads in unit["hidden"].values():
            for row in leads.values():
                assert row["ours"]["r2"] == pytest.approx(1, abs=1e-4)
                assert row["ours"]["r"] == pytest.approx(1, abs=1e-4) and row["ours"]["mae"] < 1e-4
                assert row["difference"] == pytest.approx(1 - row["linear"]["r2"], abs=2e-4)
    single = out["mV"]["hidden"]["one lead"]
    assert all(single[lead]["linear"]["r2"] > 0.999 for lead in LEADS[:6])


def test_parts_are_judged_together(checkpoint, corpus):
    data, clear = Corpus(corpus), checkpoint.model.clear
    rows, learned = np.flatnonzero(data.fold == 9)[:8], np.flatnonzero(data.fold < 4)
    whole = rebuilt.reconstruction_figures([rebuilt.Judged(clear, rows, learned)], data)
    parts = [rebuilt.Judged(clear, some, learned) for some in (rows[:3], rows[3:])]
    for unit, found in rebuilt.reconstruction_figures(parts, data).items():
        assert found["records"] == whole[unit]["records"]
        assert found["fitted_on"] in ([whole[unit]["fitted_on"]] * 2, whole[unit]["fitted_on"])
        for kind, leads in found["hidden"].items():
            for lead, row in leads.items():
                one = whole[unit]["hidden"][kind][lead]
                assert row["difference"] == pytest.approx(one["difference"], abs=2e-4), (unit, kind, lead)


def test_both_are_judged_on_the_same_hidden_tokens(metrics, corpus):
    mv = metrics["reconstruction"]["mV"]["hidden"]
    assert set(mv["all but I, II, V2"]) == {"V1", "V3", "V4", "V5", "V6", "chest leads"}
    data = Corpus(corpus)
    judged = np.flatnonzero((data.fold == 9) & data.units_known)
    v3 = LEADS.index("V3")
    samples = sum(t.inside[t.valid[v3]].sum() for t in (data.tokens(int(i)) for i in judged))
    assert mv["one lead"]["V3"]["samples"] == mv["all but I, II, V2"]["V3"]["samples"] == samples


# Another hospital


def test_every_label_that_is_mapped_is_one_of_ours():
    for meanings in (SNOMED, LUDB):
        for target in meanings:
            task, label = target.split("/", 1)
            assert label in TASKS[task].labels, target


def test_a_statement_means_a_label_or_not_or_leaves_it_open():
    means = Means(any=("stemi*", "scar"), unclear=("undefined*",))
    assert [means(s) for s in (["x", "stemi: septal"], ["x"], [])] == [1, 0, 0]
    assert np.isnan(means(["undefined ischemia"])) and means(["scar", "undefined ischemia"]) == 1
    normal = Means(only=("rhythms: sinus*", "axis: *"))
    assert [normal(s) for s in (["rhythms: sinus rhythm", "axis: left"], ["axis: left", "LVH"], [])] == [
        1,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "code, means, leaves_open",
    [
        ("28189009", "subdiagnostic/_AVB superdiagnostic/CD", "form/LPR"),  # Mobitz II as CSN writes it
        ("426183003", "subdiagnostic/_AVB superdiagnostic/CD", "form/LPR"),  # as the challenges do
        ("251266004", "rhythm/PACE", ""),  # ventricular pacing
        ("251268003", "rhythm/PACE", ""),  # atrial pacing
        ("314208002", "rhythm/AFIB", ""),  # rapid atrial fibrillation
        ("195080001", "", "rhythm/AFIB rhythm/AFLT"),  # fibrillation and flutter
        ("282825002", "", "rhythm/AFIB"),  # paroxysmal atrial fibrillation
        ("251147008", "", "form/LVOLT"),  # low voltage in the limb leads
        ("195126007", "superdiagnostic/HYP", "subdiagnostic/LAO/LAE subdiagnostic/RAO/RAE"),
        ("251166008", "", "rhythm/SVTAC"),  # AV nodal reentrant tachycardia
        ("251182009", "form/PVC", ""),  # in pairs
        ("251173003", "", "form/PAC"),  # atrial bigeminy
        ("704997005", "form/STD_ superdiagnostic/STTC", ""),  # inferior ST depression
    ],
)
def test_what_the_challenges_may_mean_by_a_label_does_not_count_as_its_absence(code, means, leaves_open):
    """Codes of dx_mapping_unscored.csv (Challenge of 2021) and of CSN's ConditionNames_SNOMED-CT.csv."""
    said = {target: one([code]) for target, one in SNOMED.items()}
    assert is_snomed(code)
    assert set(means.split()) <= {target for target, value in said.items() if value == 1}
    assert set(leaves_open.split()) <= {target for target, value in said.items() if np.isnan(value)}


def test_other_hospitals_are_read_from_their_own_words(answers, tmp_path):
    for i in range(12):
        sinus = i % 2
        ecg = ch.simulate_ecg("normal" if sinus else "premature", seed=i, fs=100.0)
        code = "426783006" if sinus else "427172004,164889003"
        write_wfdb(ecg, tmp_path / "cinc2021", f"JS{i:05d}", [f"Dx: {code}"])
        write_wfdb(ecg, tmp_path / "ludb" / "data", str(i))
    write_wfdb(ch.simulate_ecg("normal", fs=100.0), tmp_path / "cinc2021", "E00001", ["Dx: 164890007"])
    flat = ch.ECG(np.zeros((12, 1000), np.float32), 100.0)
    write_wfdb(flat, tmp_path / "cinc2021", "Q0001", ["Dx: 164889003"])
    with (tmp_path / "ludb" / "ludb.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["ID", "Sex", "Age", "Rhythms"])
        writer.writerows(
            [[i, "F\n", "50\n", "Sinus rhythm" if i % 2 else "Atrial fibrillation"] for i in range(12)]
        )
        writer.writerow([99, "F", "50", "Sinus rhythm"])  # a record that is held elsewhere
    prepare([tmp_path / "cinc2021", tmp_path / "ludb"], tmp_path / "corpus", workers=1)
    opened, data = load_checkpoint(answers), Corpus(tmp_path / "corpus")
    out = elsewhere_figures(opened, data)
    assert out["cinc2021"]["records"] == 13 and out["cinc2021"]["failed"] == 1
    assert out["ludb"]["records"] == 12 and not out["ludb"]["failed"] and not out["ludb"]["learned"]
    assert not out["ludb"]["taught"]
    taught = replace(opened, training={**opened.training, "pupils": 5, "sources": ["ludb"]})
    assert elsewhere_figures(taught, data)["ludb"]["taught"]
    assert not elsewhere_figures(taught, data)["cinc2021"]["taught"]  # it has labels of its own
    silent = replace(opened, tasks=(TASKS["csn"],))
    assert elsewhere_figures(silent, data) == {}  # nothing that these statements would mean
    labels = out["cinc2021"]["labels"]
    # the one record of collection E states a flutter alone: it says nothing about the others' labels
    assert labels["rhythm/AFIB"]["records"] == 12 and labels["rhythm/AFIB"]["positives"] == 6
    assert labels["rhythm/AFLT"] == {"records": 1, "positives": 1}
    assert labels["rhythm/AFIB"]["auroc"] == out["ludb"]["labels"]["rhythm/AFIB"]["auroc"]
    json.dumps(out, allow_nan=False)


def test_ptbxls_records_in_a_challenge_are_left_out_where_they_were_learned(random_model, corpus, tmp_path):
    """The challenges hold PTB-XL by other names; its folds are known where it stands in the corpus itself."""
    for i in (7, 85):  # of fold 1, which was learned, and of fold 9
        ecg = ch.simulate_ecg("normal", seed=100 + i, fs=100.0)
        write_wfdb(ecg, tmp_path / "cinc2021", f"HR{i:05d}", ["Dx: 426783006"])
    write_wfdb(
        ch.simulate_ecg("normal", seed=999, fs=100.0), tmp_path / "cinc2021", "JS00001", ["Dx: 426783006"]
    )
    folder = answering(random_model, BOTH, 0, tmp_path / "answers")
    opened = load_checkpoint(folder)
    prepare([tmp_path / "cinc2021"], tmp_path / "alone", workers=1)
    alone = elsewhere_figures(opened, Corpus(tmp_path / "alone"))["cinc2021"]
    assert (alone["records"], alone["learned"]) == (1, 2)
    beside = tmp_path / "beside"
    shutil.copytree(corpus, beside)
    prepare([tmp_path / "cinc2021"], beside, workers=1)
    both = elsewhere_figures(opened, Corpus(beside))["cinc2021"]
    assert (both["records"], both["learned"]) == (2, 1)
    fitted = replace(opened, training={**opened.training, "fitted_folds": [9]})
    assert elsewhere_figures(fitted, Corpus(beside))["cinc2021"]["learned"] == 2
    json.dumps(both, allow_nan=False)


def test_a_hospital_of_its_own_is_judged_on_all_its_folds(random_model, source, tmp_path):
    """Folds are those of a data set: what was learned of PTB-XL's says nothing of another's."""
    hospital = tmp_path / "hospital"
    hospital.mkdir()
    rows = [["record", "statements", "fold"]]
    for i in range(12):
        write_wfdb(ch.simulate_ecg("normal", seed=50 + i, fs=100.0), hospital, f"a{i}", [])
        rows.append([f"a{i}", "NORM SR" if i % 2 else "CLBBB SR", str(1 + i % 10)])
    with (hospital / "labels.csv").open("w", newline="") as f:
        csv.writer(f).writerows(rows)
    out = tmp_path / "corpus"
    prepare([source, hospital], out, workers=1)
    data, every = Corpus(out), tuple(range(1, 11))
    for told in ({"data_sets": ["ptbxl"]}, {"sources": ["ptbxl"]}):  # the second: a checkpoint of before 0.18
        folder = answering(random_model, BOTH, 0, tmp_path / "run")
        opened = load_checkpoint(folder)
        opened = replace(opened, training={**opened.training, **told})
        with pytest.raises(CorpusError, match=r"learned from, .* folds \[1, 2, 3, 4, 5, 6, 7, 8\] of ptbxl"):
            judged(opened, data, every)
        found = judged(opened, data, every, ("hospital",))
        assert set(data.data_set[found].tolist()) == {"hospital"} and found.size == 12
        shutil.rmtree(folder)
    own = replace(opened, training={**opened.training, "data_sets": ["hospital"], "fitted_folds": [9]})
    for fold, why in ((1, "learned from"), (8, "chosen on"), (9, "calibrated on")):
        with pytest.raises(CorpusError, match=why):
            judged(own, data, (fold,), ("hospital",))
    assert judged(own, data, (10,), ("hospital",)).size == 1
    with pytest.raises(CorpusError, match="no data set nowhere; expected some of hospital, ptbxl"):
        judged(own, data, (10,), ("nowhere",))


def hospital_of(folder, seeds, fold=None, kind="normal", said="NORM SR", name="a{}"):
    """A folder of one's own: simulated records by seed, all with the same statements."""
    folder.mkdir()
    rows = [["record", "statements", "fold"]]
    for i in seeds:
        write_wfdb(ch.simulate_ecg(kind, seed=i, fs=100.0), folder, name.format(i))
        rows.append([name.format(i), said, fold or ""])
    with (folder / "labels.csv").open("w", newline="") as f:
        csv.writer(f).writerows(rows)
    return folder


def test_a_recording_that_was_learned_is_left_out_wherever_it_stands(random_model, source, tmp_path, capsys):
    """The same recordings in a hospital's folder are not judged as if they were never learned from."""
    copies = tmp_path / "copies"
    hospital_of(copies, [0, 3, 50, 51, 52])  # the first two are PTB-XL's records 0 and 3, of fold 1
    prepare([source, copies], tmp_path / "corpus", workers=1)
    data, every = Corpus(tmp_path / "corpus"), tuple(range(1, 11))
    opened = load_checkpoint(answering(random_model, BOTH, 0, tmp_path / "run"))
    opened = replace(opened, training={**opened.training, "data_sets": ["ptbxl"]})
    capsys.readouterr()
    found = judged(opened, data, every, ("copies",))
    assert data.records.column("record")[found].tolist() == ["copies/a50", "copies/a51", "copies/a52"]
    assert "2 recordings are left out" in capsys.readouterr().err
    before = {"config": opened.training["config"], "data_sets": ["copies"]}
    for told in (
        {"init": before},
        {"taught_by": [{"vocabulary": "SCP", "data_sets": ["copies"], "train_folds": [*every]}]},
        {"fitted_folds": [*every], "fitted_data_sets": ["copies"]},
    ):
        other = replace(opened, training={**opened.training, **told})
        with pytest.raises(CorpusError, match="of copies; judge it on others"):
            judged(other, data, every, ("copies",))
    only = [row for row in range(len(data)) if data.records[row]["record"] in ("copies/a0", "copies/a3")]
    assert learned_rows(learned_labels(opened.training), data)[only].all()


def test_a_baseline_that_began_from_the_judged_is_refused(random_model, source, tmp_path):
    hospital_of(tmp_path / "mine", range(50, 56))
    prepare([source, tmp_path / "mine"], tmp_path / "corpus", workers=1)
    data, every = Corpus(tmp_path / "corpus"), tuple(range(1, 11))
    opened = load_checkpoint(answering(random_model, BOTH, 0, tmp_path / "run"))
    opened = replace(opened, training={**opened.training, "data_sets": ["ptbxl"]})
    rows = judged(opened, data, every, ("mine",))
    before = {"config": {**opened.training["config"], "train_folds": list(every)}, "data_sets": ["mine"]}
    run = save_checkpoint(
        tmp_path / "other", opened.model, opened.tasks, training={**opened.training, "init": before}
    )
    with pytest.raises(CorpusError, match="themselves"):
        baseline_answers({"other": run}, opened, data, rows)


def test_collections_are_those_of_the_challenges_alone(random_model, tmp_path):
    """How a hospital names its files says nothing of who is asked for a label."""
    folder = tmp_path / "mine"
    for i in range(12):
        code = "426783006" if i % 2 else "164889003"
        write_wfdb(
            ch.simulate_ecg("normal", seed=i, fs=100.0), folder, f"{'xy'[i % 2]}{i:03d}", [f"Dx: {code}"]
        )
    prepare([folder], tmp_path / "corpus", workers=1)
    opened = load_checkpoint(answering(random_model, BOTH, 0, tmp_path / "run"))
    row = elsewhere_figures(opened, Corpus(tmp_path / "corpus"))["mine"]["labels"]["rhythm/AFIB"]
    assert (row["records"], row["positives"]) == (12, 6) and "auroc" in row


def test_a_fold_without_labels_is_told_of_the_data_sets_asked_for(random_model, source, tmp_path):
    hospital_of(tmp_path / "mine", range(50, 53), fold=2)
    prepare([source, tmp_path / "mine"], tmp_path / "corpus", workers=1)
    opened = load_checkpoint(answering(random_model, BOTH, 0, tmp_path / "run"))
    with pytest.raises(CorpusError, match=r"folds \[9\] of mine has .* Labelled there: SCP, folds 2\.$"):
        judged(opened, Corpus(tmp_path / "corpus"), (9,), ("mine",))


@pytest.mark.long
def test_a_hospital_is_judged_far_from_the_records_that_were_learned(random_model, tmp_path, capsys):
    """Which labels count, and what they had in training, is told by the checkpoint."""
    hospital = tmp_path / "hospital"
    hospital.mkdir()
    rows = [["record", "statements"]]
    for i in range(12):
        write_wfdb(ch.simulate_ecg("normal", seed=50 + i, fs=100.0), hospital, f"a{i}", [])
        rows.append([f"a{i}", "NORM SR" if i % 2 else "CLBBB SARRH"])
    with (hospital / "labels.csv").open("w", newline="") as f:
        csv.writer(f).writerows(rows)
    prepare([hospital], tmp_path / "corpus", workers=1)
    opened = load_checkpoint(answering(random_model, BOTH, 0, tmp_path / "run"))
    told = {"data_sets": ["ptbxl"], "positives": {"superdiagnostic/NORM": 30, "superdiagnostic/CD": 20}}
    folder = save_checkpoint(
        tmp_path / "told", opened.model, opened.tasks, training={**opened.training, **told}
    )
    capsys.readouterr()
    evaluate(str(folder), tmp_path / "corpus", tuple(range(1, 11)))
    card = capsys.readouterr().out
    assert "## Figures on hospital, fold 1, 2" in card and "never learned from" in card
    assert "| NORM | normal ECG | 30 | 6 |" in card
    assert "Not measured: no records beside the judged ones" in card


# Answers of other models


def test_a_table_of_answers_stands_beside_ours(answers, corpus, tmp_path):
    opened, data = load_checkpoint(answers), Corpus(corpus)
    rows = judged(opened, data, (9,))
    names = data.records.column("record")[rows]
    scores = np.arange(rows.size * len(opened.targets), dtype=float).reshape(rows.size, -1)
    path = tmp_path / "other.csv"

    def write(head, lines):
        with path.open("w", newline="") as f:
            csv.writer(f).writerows([head, *lines])

    head = ["date/time", "record", *opened.targets]
    lines = [["x", name, *row] for name, row in zip(names, scores, strict=True)]
    write(head, lines[::-1])
    (said,) = baseline_answers({"other": path}, opened, data, rows)["other"]
    np.testing.assert_array_equal(said.logits, scores.astype(np.float32))
    assert said.train_folds is None
    for bad, why in (
        (lines[1:], "no prediction for 1 records"),
        ([*lines, lines[0]], "stands twice"),
        ([[*lines[0][:-1], "high"], *lines[1:]], "line 2: rhythm/.* is 'high'; expected a number"),
        ([lines[0][:-1], *lines[1:]], "expected a number"),
    ):
        write(head, bad)
        with pytest.raises(CorpusError, match=why):
            baseline_answers({"other": path}, opened, data, rows)
    write(head[:-1], [line[:-1] for line in lines])
    with pytest.raises(CorpusError, match="does not answer rhythm/"):
        baseline_answers({"other": path}, opened, data, rows)
    write(["name", "value"], [["a", 1]])
    with pytest.raises(CorpusError, match="expected a column record"):
        baseline_answers({"other": path}, opened, data, rows)
    with pytest.raises(CorpusError, match="cannot be read"):
        baseline_answers({"other": tmp_path / "none.csv"}, opened, data, rows)


@pytest.mark.data
def test_the_challenge_and_ludb_at_hand_are_mapped(tmp_path):
    if not (data := os.environ.get("CLEAR_HUG_DATA")):
        pytest.skip("CLEAR_HUG_DATA does not name the folder of real ECGs")
    ludb = list_records(Path(data) / "ludb")
    assert len(ludb) == 100 and set(ludb["vocabulary"]) == {"LUDB"}
    said = [json.loads(one) for one in ludb["statements"]]
    assert all(said) and sum(LUDB["rhythm/AFIB"](one) for one in said) == 7
    codes = [known(path).statements for path in (Path(data) / "cinc2021").glob("*.hea")]
    assert len(codes) == 84 and all(codes) and sum(SNOMED["rhythm/AFIB"](one) for one in codes) == 3
