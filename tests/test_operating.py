"""Operating points: counts as counted, the threshold asked for, Bayes, and a band that keeps its errors."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit
from streamlit.testing.v1 import AppTest

import clear_hug.train.operating as command
from clear_hug.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import diagnose
from clear_hug.operating import (
    DEFAULT,
    FEWEST,
    KINDS,
    LEVELS,
    MISSED,
    REFER,
    RULED_IN,
    RULED_OUT,
    SENSITIVITY,
    SPECIFICITY,
    UNKNOWN,
    WRONG,
    curve_of,
    operate,
    positives_of,
    predictive,
    rare_labels,
    reweighted,
    tabulate,
)
from clear_hug.train.calibration import OutOfFold
from clear_hug.train.corpus import Corpus
from clear_hug.train.faithfulness import _target
from clear_hug.ui.workspace import MINE


def judged(apart=2.0, n=600, share=0.2, seed=0):
    """(probabilities, truth, parts) of records whose logits lie `apart` SD."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < share
    return expit(rng.normal(size=n) + apart * truth - 1), truth, np.arange(n) % 4


def curve(checkpoint, row, target="superdiagnostic/MI"):
    return curve_of(replace(checkpoint, operating={"labels": {target: row}}), target)


def test_counts_are_those_at_and_above_each_threshold(checkpoint):
    p, truth, parts = judged()
    row = tabulate(p, truth, 0.3, parts)
    for t, found, false in zip(row["thresholds"], row["found"], row["false"], strict=True):
        assert (found, false) == ((p[truth] >= t).sum(), (p[~truth] >= t).sum())
    assert 0.3 in row["thresholds"] and row["found"][0] == row["positives"] == truth.sum()
    assert np.all(np.diff(row["thresholds"]) > 0) and len(row["thresholds"]) < 70


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95, 0.98])
def test_a_point_is_the_highest_of_its_sensitivity_and_the_lowest_of_its_specificity(checkpoint, level):
    p, truth, parts = judged()
    known = curve(checkpoint, tabulate(p, truth, 0.3, parts))
    found, spared = (known.point(kind, level, 0.3) for kind in (SENSITIVITY, SPECIFICITY))
    assert found.sensitivity >= level and spared.specificity >= level
    above = np.unique(p[p > found.threshold])[0]  # the next probability that was seen
    assert (p[truth] > above).mean() < level
    below = np.unique(p[p < spared.threshold])[-1]
    assert (p[~truth] < below).mean() < level
    low, high = found.sensitivity_95
    assert 0 <= low < found.sensitivity < high <= 1
    own = known.point(DEFAULT, level, 0.3)
    assert own.threshold == 0.3 and own.held is None and found.held[1] == truth.sum()


def test_a_threshold_is_judged_on_parts_that_it_was_not_chosen_on():
    p, truth, parts = judged(n=2000)
    right, of = tabulate(p, truth, 0.3, parts)["held"][SENSITIVITY]["0.9"]
    assert of == truth.sum() and abs(right / of - 0.9) < 0.05
    # where a part is another kind of record, the threshold of the others fails there, and that is told
    other = np.where(parts == 0, p / 100, p)
    right, _ = tabulate(other, truth, 0.3, parts)["held"][SENSITIVITY]["0.9"]
    assert right / of < 0.8


def test_too_few_records_offer_no_point(checkpoint):
    p, truth, parts = judged()
    few = truth & (np.cumsum(truth) < FEWEST)
    row = tabulate(p, few, 0.3, parts)
    assert row == {"positives": FEWEST - 1, "negatives": len(p) - FEWEST + 1}
    assert curve(checkpoint, row) is None
    enough = truth & (np.cumsum(truth) <= FEWEST)
    known = curve(checkpoint, tabulate(p, enough, 0.3, parts))
    assert known.point(SENSITIVITY, 0.95, 0.3) and known.point(SENSITIVITY, 0.98, 0.3) is None
    with pytest.raises(ValueError, match=f"expected one of {', '.join(KINDS)}"):
        known.point("youden", 0.9, 0.3)


def test_predictive_values_and_probabilities_follow_bayes(checkpoint):
    p, truth, parts = judged(n=4000)
    known = curve(checkpoint, tabulate(p, truth, 0.3, parts))
    point = known.point(DEFAULT, 0.95, 0.3)
    positive, negative = point.predictive(known.prevalence)
    assert positive == pytest.approx(truth[p >= 0.3].mean())
    assert negative == pytest.approx(1 - truth[p < 0.3].mean())
    rarer, _ = point.predictive(0.01)
    assert rarer < positive and np.isnan(float(predictive(np.array(0.0), np.array(1.0), np.array(0.1))[0]))
    some = np.linspace(0.01, 0.99, 9)
    np.testing.assert_allclose(reweighted(some, 0.2, 0.2), some)
    np.testing.assert_allclose(reweighted(reweighted(some, 0.2, 0.02), 0.02, 0.2), some)
    assert (reweighted(some, 0.2, 0.02) < some).all() and (reweighted(some, 0.2, 0.5) > some).all()
    # probabilities of records drawn anew at another prevalence are right on average once weighted anew
    rng = np.random.default_rng(1)
    z = rng.normal(size=200_000)
    exact = expit(2 * z - 1)  # the truth's own probability
    has = rng.random(z.size) < exact
    keep = has | (rng.random(z.size) < 0.1)
    told = reweighted(exact[keep], has.mean(), has[keep].mean())
    assert told.mean() == pytest.approx(has[keep].mean(), abs=0.01)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("apart", [1.5, 3.0])
def test_the_band_keeps_its_errors(checkpoint, apart, share):
    p, truth, parts = judged(apart, 4000, share)
    known = curve(checkpoint, tabulate(p, truth, 0.3, parts))
    low, high = known.band()
    out, into = p < low, p >= high
    assert (out & truth).sum() <= MISSED * truth.sum()
    assert (into & ~truth).sum() <= MISSED * (~truth).sum()
    if out.any():
        assert truth[out].mean() <= WRONG
    if into.any():
        assert (~truth[into]).mean() <= WRONG


def test_a_model_that_knows_more_refers_less(checkpoint):
    def referred(apart):
        p, truth, parts = judged(apart, 4000)
        low, high = curve(checkpoint, tabulate(p, truth, 0.3, parts)).band()
        return ((p >= low) & (p < high)).mean()

    assert referred(0.5) > referred(2.0) > referred(3.0) and referred(8.0) == 0
    p, truth, parts = judged(0.0, 4000)
    assert np.isinf(curve(checkpoint, tabulate(p, truth, 0.3, parts)).band()[1]), "noise rules nothing in"
    known = curve(checkpoint, tabulate(*judged(2.0, 4000)[:2], 0.3, judged(2.0, 4000)[2]))
    assert known.band(0.001)[1] > known.band()[1], "in rarer disease a call must be surer"


def with_points(checkpoint):
    labels = {}
    for i, target in enumerate(checkpoint.targets[:-1]):
        p, truth, parts = judged(seed=i)
        labels[target] = tabulate(p, truth, float(checkpoint.thresholds[i]), parts)
    labels[checkpoint.targets[-1]] = {"positives": 3, "negatives": 597}
    return replace(checkpoint, operating={"labels": labels})


def test_a_diagnosis_at_an_operating_point(checkpoint, tokens):
    answer, told = diagnose(checkpoint, tokens), with_points(checkpoint)
    same = operate(answer, told)
    np.testing.assert_array_equal(same.diagnosis.called[:-1], answer.called[:-1])
    moved = operate(answer, told, SENSITIVITY, 0.95)
    for point, t in zip(moved.points[:-1], moved.diagnosis.thresholds[:-1], strict=True):
        assert point.threshold == t and point.sensitivity >= 0.95
    assert moved.points[-1] is None and np.isnan(moved.diagnosis.thresholds[-1])
    assert moved.states[-1] == UNKNOWN and positives_of(told, told.targets[-1]) == 3
    np.testing.assert_array_equal(moved.diagnosis.probabilities, answer.probabilities)
    low, high = moved.bands[0]
    for p, state in ((low / 2, RULED_OUT), ((low + high) / 2, REFER), (min(1.0, high), RULED_IN)):
        at = replace(moved, diagnosis=replace(answer, probabilities=np.full(5, p)))
        assert at.states[0] == state


def test_a_label_too_rare_to_judge_a_threshold_is_never_called(checkpoint, tokens):
    told = with_points(checkpoint)
    answer = diagnose(told, tokens)
    certain = replace(answer, probabilities=np.ones(5))
    assert answer.rare.tolist() == certain.rare.tolist() == [False] * 4 + [True]
    assert certain.called.tolist() == [True] * 4 + [False]
    for kind in KINDS:
        for level in LEVELS:
            assert not operate(certain, told, kind, level).diagnosis.called[-1]
    assert np.isnan(told.call_from[-1]) and np.isfinite(told.thresholds).all(), "the calibration stays"
    # a checkpoint that was not asked calls by its thresholds as they are
    np.testing.assert_array_equal(checkpoint.call_from, checkpoint.thresholds)
    assert not diagnose(checkpoint, tokens).rare.any() and not rare_labels(answer, checkpoint)[0].records


def test_rare_labels_stand_by_how_far_they_lie_above_their_share(checkpoint, tokens):
    few = dict(zip(checkpoint.targets, (2, 0, 10, 1, 5), strict=True))
    told = replace(
        checkpoint,
        operating={"labels": {t: {"positives": n, "negatives": 1000 - n} for t, n in few.items()}},
    )
    answer = replace(diagnose(told, tokens), probabilities=np.array([0.004, 0.9, 0.2, 0.0005, 0.01]))
    found = rare_labels(answer, told)
    assert [one.target.split("/")[1] for one in found] == ["STTC", "NORM", "HYP", "CD", "MI"]
    assert [one.ratio for one in found[:-1]] == pytest.approx([20, 2, 2, 0.5])
    assert np.isnan(found[-1].ratio) and found[-1].positives == 0, "never seen: no ratio, and last"
    assert all(one.records == 1000 and one.prevalence == few[one.target] / 1000 for one in found)


def test_the_shipped_checkpoint_calls_what_it_has_enough_records_of():
    shipped = load_checkpoint()
    some = [positives_of(shipped, target) for target in shipped.targets]
    np.testing.assert_array_equal(np.isfinite(shipped.call_from), np.array(some) >= FEWEST)
    assert np.isnan(shipped.call_from[shipped.row("form/HVOLT")])


def test_a_checkpoint_without_the_file_has_default_thresholds_only(checkpoint, tokens):
    answer = diagnose(checkpoint, tokens)
    plain = operate(answer, checkpoint, SPECIFICITY, 0.9)
    np.testing.assert_array_equal(plain.diagnosis.thresholds, answer.thresholds)
    assert set(plain.states) == {UNKNOWN} and set(plain.points) == {None}
    assert positives_of(checkpoint, checkpoint.targets[0]) is None


@pytest.mark.parametrize("name", ["pages/4_Diagnosis.py", "pages/8_Cohort.py"])
def test_what_the_file_tells_counts_from_when_it_is_there(name, checkpoint, tmp_path, monkeypatch):
    folder = tmp_path / "own"
    kept = {"platt": checkpoint.platt, "thresholds": checkpoint.thresholds}

    def words(**more):
        save_checkpoint(folder, checkpoint.model, checkpoint.tasks, **kept, **more)
        app = AppTest.from_file(str(Path(__file__).parents[1] / "app.py"), default_timeout=60)
        app.switch_page(name)
        app.session_state[MINE] = ""  # a test has no cookies
        app.query_params["target"], app.query_params["sort"] = checkpoint.targets[0], "uncertainty"
        app.run()
        assert not app.exception and not app.error
        shown = [*app.caption, *app.markdown, *app.expander, *app.info]
        return " ".join(str(getattr(item, "value", "")) + str(getattr(item, "label", "")) for item in shown)

    monkeypatch.setenv("CLEAR_HUG_CHECKPOINT", str(folder))
    monkeypatch.delenv("CLEAR_HUG_DATA", raising=False)
    rare = {target: {"positives": 3, "negatives": 597} for target in checkpoint.targets}
    told = words(operating={"checkpoint": checkpoint.digest, "labels": rare})
    assert "oo rare in training" in told
    plain = words(operating={})  # the same weights and calibration, not measured: called as they are
    assert "oo rare in training" not in plain
    assert ("rare labels are called like any other" in plain) == ("Diagnosis" in name)


def test_maps_are_measured_of_the_same_label_whether_the_file_is_there_or_not(checkpoint, tokens):
    p = diagnose(checkpoint, tokens).probabilities
    likely, next_ = np.argsort(-p)[:2]
    thresholds = np.where(np.arange(5) == next_, p, 1.0)
    plain = replace(checkpoint, thresholds=thresholds)
    rare = {target: {"positives": 3, "negatives": 597} for target in checkpoint.targets}
    told = replace(plain, operating={"labels": rare})
    assert _target(plain, tokens) == _target(told, tokens) == checkpoint.targets[next_]
    nobody = replace(checkpoint, thresholds=np.ones(5))
    assert _target(nobody, tokens) == checkpoint.targets[likely]


def test_the_file_is_kept_with_the_weights_it_speaks_of(checkpoint, tmp_path):
    def save(folder, **more):
        model, tasks = checkpoint.model, checkpoint.tasks
        kept = {"platt": checkpoint.platt, "thresholds": checkpoint.thresholds, **more}
        return load_checkpoint(save_checkpoint(folder, model, tasks, **kept))

    digest = save(tmp_path / "one").digest
    told = save(tmp_path / "one", operating={"checkpoint": digest, "labels": {}})
    assert told.operating["checkpoint"] == digest
    assert save(tmp_path / "one").operating == told.operating, "saved again, and kept"
    assert not save(tmp_path / "one", thresholds=checkpoint.thresholds / 2).operating
    with pytest.raises(
        CheckpointError, match=r"operating.json was measured on other weights.*train operating"
    ):
        save(tmp_path / "two", operating={"checkpoint": "another"})


def test_the_command_tells_points_and_limits(checkpoint, corpus, monkeypatch):
    data = Corpus(corpus)
    recipe = {"tasks": ["superdiagnostic"], "train_folds": [1, 2, 3], "watch_folds": []}
    opened = replace(checkpoint, training={"config": recipe})
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 5)) < [0.5, 0.3, 0.2, 0.1, 0.01]).astype(np.float32)
    logits = (rng.normal(size=(400, 5)) + 2 * truth).astype(np.float32)
    told = OutOfFold(logits, truth, np.arange(400), np.arange(400) % 2, (1, 2), "folds [1, 2]")
    monkeypatch.setattr(command, "out_of_fold", lambda *_: told)
    found = command.measure(opened, data, ["runs/a"])
    assert found["checkpoint"] == checkpoint.digest and found["folds"] == [1, 2]
    assert [("thresholds" in row) for row in found["labels"].values()] == [True] * 4 + [False]
    learned = int((np.isin(data.fold, [1, 2, 3]) & data.labelled_for(checkpoint.tasks)).sum())
    assert found["input"]["beats"]["records"] == learned
    assert "sensitivity 95% asked" in "\n".join(command._lines(found))
    strange = SimpleNamespace(**{**vars(told), "folds": (1, 9)})
    monkeypatch.setattr(command, "out_of_fold", lambda *_: strange)
    with pytest.raises(ValueError, match="folds \\[9\\]"):
        command.measure(opened, data, ["runs/a"])
