"""What ships: its size, a card that says what was measured, and answers pinned by golden numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydicom.data import get_testdata_file

import clear_hug as ch
from clear_hug.beats import split_windows
from clear_hug.checkpoint import CHECKPOINTS, OUT_OF_FOLD, list_checkpoints
from clear_hug.diagnosis import collate
from clear_hug.reconstruct import hide_at_random, hide_beats
from clear_hug.train.answers import pretraining
from clear_hug.train.card import model_card
from clear_hug.train.rebuilt import CHEST
from tests.real_data import DATA, needs_data

GOLDEN = Path(__file__).parent / "golden" / "waveform_ecg.json"
PARAMETERS = 3_000_000
BYTES = 25_000_000


@pytest.fixture(scope="module")
def shipped():
    return ch.load_checkpoint()


@pytest.fixture(scope="module")
def real():
    """The real 12-lead ECG that pydicom carries: it is on every machine."""
    return ch.tokenize_beats(ch.read_ecg(get_testdata_file("waveform_ecg.dcm", download=False)))


def test_the_default_is_there_and_as_small_as_promised(shipped):
    assert list_checkpoints()[0] == shipped.name == "small"
    assert [task.name for task in shipped.tasks][0] == "superdiagnostic"
    assert sum(p.numel() for p in shipped.model.parameters()) <= PARAMETERS
    files = {path.name: path.stat().st_size for path in (CHECKPOINTS / "small").iterdir()}
    assert set(files) == {
        "model.safetensors", "config.json", "metrics.json", "calibration.json", "README.md",
        "faithfulness.json", "operating.json", "baselines.safetensors", OUT_OF_FOLD,
    }  # fmt: skip
    assert sum(files.values()) < BYTES


def test_fold_9_was_never_learned_from(shipped):
    training = shipped.training
    assert 9 not in training["config"]["train_folds"] and 9 not in training["config"]["watch_folds"]
    stages = pretraining(training)
    assert stages and all(9 in stage["config"]["leave_out_folds"] for stage in stages)
    assert shipped.metrics["folds"] == [9]


def test_the_card_says_what_was_measured(shipped):
    card = (CHECKPOINTS / "small" / "README.md").read_text()
    row = shipped.metrics["tasks"]["superdiagnostic"]
    low, high = row["field"]["macro_auroc_95"]
    assert f"{row['field']['macro_auroc']:.3f} ({low:.3f} to {high:.3f})" in card
    assert {"ResNet", "random frozen encoder"} <= set(row["baselines"])
    for name, other in row["baselines"].items():
        assert name in card and f"{other['difference']:+.3f}" in card
    assert "not a medical device" in card
    assert card.rstrip("\n") == model_card(shipped, shipped.metrics).rstrip("\n")  # generated, never typed


def test_its_explanations_were_put_to_the_proof(shipped):
    kept = shipped.faithfulness
    assert kept["checkpoint"] == shipped.digest and kept["folds"] == [9] and not kept["learned_from_them"]
    assert not {"hug", "ablation", "shapley"} & set(kept["unusable"])
    assert kept["maps"]["hug/lead"]["records"] >= 100


def test_better_than_the_plain_resnet_on_the_same_records(shipped):
    assert shipped.metrics["tasks"]["superdiagnostic"]["baselines"]["ResNet"]["difference"] > 0


def test_answers_are_those_of_the_day_it_was_made(shipped, real):
    golden = json.loads(GOLDEN.read_text())
    answer = ch.diagnose(shipped, real)
    np.testing.assert_allclose(answer.logits, golden["logits"], atol=2e-3)
    np.testing.assert_allclose(real.r_peaks, golden["r_peaks"], atol=1e-6)
    lead = ch.explain(shipped, real, "superdiagnostic/NORM", method="hug", level="lead")
    np.testing.assert_allclose(lead.values, golden["contributions"], atol=2e-3)
    assert abs(lead.residual) < 1e-5


def test_probabilities_follow_the_logits(shipped, real):
    answer = ch.diagnose(shipped, real)
    assert ((answer.probabilities > 0) & (answer.probabilities < 1)).all()
    assert (shipped.platt[:, 0] > 0).all(), "a calibration that turns the order round"


def test_hidden_beats_are_rebuilt_in_millivolt(shipped, real):
    hidden = hide_at_random(real, 0.8, 0)
    rebuilt = ch.reconstruct(shipped, real, hidden)
    assert rebuilt.r2 > 0.75
    one = ch.reconstruct(shipped, real, hide_beats(real, [4]))
    assert one.r2 > 0.75


@needs_data
@pytest.mark.long
def test_the_kernel_rebuilds_chest_leads_of_records_it_has_not_seen(shipped):
    """Of 40 records of fold 9 each chest lead from the other eleven: by both regressions, and by one."""
    folder = Path(DATA) / "ptbxl"
    table = pd.read_csv(folder / "ptbxl_database.csv")
    named = (folder / f"{name}.hea" for name in table.filename_lr[table.strat_fold == 9])
    files = [path for path in named if path.exists()][:40]
    assert len(files) == 40
    clear = shipped.model.clear
    left = torch.zeros(2)
    for file in files:
        tokens = ch.tokenize_beats(ch.read_ecg(file))
        beats = collate(split_windows(tokens))
        for lead in CHEST:
            hidden = torch.zeros_like(beats.there)
            hidden[:, lead] = True
            seen, hidden = beats.hide(hidden), hidden & beats.there
            scale, _ = seen.lead_scale()
            foretold, _ = clear.regression(seen, scale, hidden)
            added = clear.kernel(clear.regression, seen, scale, hidden)
            errors = [(told - beats.values)[hidden].square().sum() for told in (foretold, foretold + added)]
            left += torch.stack(errors)
    assert beats.units_known.all() and left[1] < 0.95 * left[0]


@pytest.mark.parametrize("kind", ["normal", "bradycardia", "long", "lead_off"])
def test_a_simulated_normal_heart_is_called_normal(shipped, tokens_of, kind):
    answer = ch.diagnose(shipped, ch.tokenize_beats(ch.simulate_ecg(kind)))
    first = len(shipped.tasks[0].labels)
    assert answer.labels[int(answer.probabilities[:first].argmax())] == "NORM"
    assert answer.called[shipped.row("superdiagnostic/NORM")]


def test_voltage_is_seen_where_it_is_known(shipped):
    """The same shapes at 2.5 times the voltage raise hypertrophy; withheld, they change nothing."""
    row = shipped.row("HYP")
    quiet = ch.simulate_ecg("high_voltage", noise_mv=0.0)
    plain, tall = (replace(quiet, signal=quiet.signal * gain) for gain in (0.5, 1.25))
    low, high = (ch.diagnose(shipped, ch.tokenize_beats(ecg)).logits[row] for ecg in (plain, tall))
    assert high > low
    unknown = (replace(ecg, units_known=False) for ecg in (plain, tall))
    low, high = (ch.diagnose(shipped, ch.tokenize_beats(ecg)).logits[row] for ecg in unknown)
    assert high == pytest.approx(low, abs=1e-3)
