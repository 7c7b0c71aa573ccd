"""Explanations of the shipped checkpoint against what is known: a floor for each figure of the benchmark."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ground_truth import (
    KINDS,
    PVC,
    RUNS,
    Case,
    Rate,
    cases,
    chance_of_leads,
    labelled,
    lines,
    ludb_records,
    moved,
    out_of_fold,
    planted,
    pvc_records,
    seen,
    support,
    top_beat,
    top_beats,
)
from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import load_checkpoint
from clear_hug.explain import explain
from clear_hug.leads import LEADS
from clear_hug.measure import measure_beats
from clear_hug.train.corpus import Corpus
from tests.real_data import DATA, needs_data

SEED, N = 606, 60  # of no other test, nor of the benchmark
CORPUS = Path("corpus")
needs_runs = pytest.mark.skipif(
    not CORPUS.is_dir() or not all((run / "checkpoint").is_dir() for run in RUNS),
    reason="needs the corpus and the runs of checkpoints/small.sh",
)


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint()


@pytest.fixture(scope="module")
def found(shipped):
    return list(cases(shipped, planted(SEED, N), beat_maps=("shapley/beat", "ablation/beat")))


@pytest.mark.slow
def test_most_planted_changes_move_the_answer(found):
    assert moved(found).value >= 0.5, "\n".join(lines(found))


@pytest.mark.slow
def test_the_changed_beat_is_the_top_beat(found):
    rates = seen([case for case in found if case.kind == "premature beat"])
    assert rates, "no premature beat moved the answer"
    for name, rate in rates.items():
        assert rate.value >= 0.95 > 2 * rate.chance, f"{name}: {rate}"


@pytest.mark.slow
def test_the_changed_leads_are_the_top_leads(found):
    rates = seen([case for case in found if case.kind != "premature beat"])
    assert rates, "no change in the leads moved the answer"
    exact, left_out = rates["hug/lead"], rates["ablation/lead less the map without"]
    assert exact.value >= 0.9 > 2 * exact.chance, f"exact contributions: {exact}"
    assert left_out.interval[0] > left_out.chance, f"left out one by one: {left_out}"


@pytest.mark.slow
def test_the_planted_beats_are_those_that_rr_and_shape_tell():
    hits = []
    for record in planted(SEED, N):
        ecg = record.changed
        tokens = tokenize_beats(ecg, r_peaks=ecg.truth["r_peaks"])
        hits.append(tuple(np.flatnonzero(measure_beats(tokens).ectopic)) == record.beats)
    assert np.mean(hits) >= 0.95


def test_a_planted_change_is_all_that_differs_and_is_drawn_from_the_seed():
    first, again, other = (list(planted(seed, 10)) for seed in (1, 1, 2))
    assert [r.changed.digest for r in first] == [r.changed.digest for r in again]
    assert not {r.changed.digest for r in first} & {r.changed.digest for r in other}
    assert {r.kind for r in first} == set(KINDS)
    for record in first:
        assert record.plain.truth["beats"] == record.plain.truth["leads"] == ()
        assert bool(record.beats) == (record.kind == "premature beat") != bool(record.leads)
        same = (record.plain.signal == record.changed.signal).all(axis=1)
        if record.leads:
            assert set(np.array(LEADS)[~same]) == set(record.leads)


def test_rates_have_wilsons_interval_and_chance():
    low, high = Rate(9, 10).interval
    assert (low, high) == pytest.approx((0.596, 0.982), abs=1e-3)
    assert str(Rate(9, 10, 0.25)) == "0.900 (0.596 to 0.982), 9 of 10; chance 0.250"
    assert math.isnan(Rate(0, 0).value)
    assert chance_of_leads(1) == pytest.approx(3 / 12)
    assert chance_of_leads(3) == pytest.approx(1 / 220)
    assert chance_of_leads(5) == pytest.approx(10 / 220)


def test_only_records_that_moved_are_asked_and_a_miss_counts():
    said = [
        Case("premature beat", PVC, 0.3, {"a": True}, 0.1, 0),
        Case("premature beat", PVC, -0.2, {"a": False}, 0.3, 1),
        Case("premature beat", PVC, 0.02, {}, 0.2, 0),
    ]
    assert (moved(said).hits, moved(said).n) == (2, 3)
    rate = seen(said)["a"]
    assert (rate.hits, rate.n, rate.chance) == (1, 2, pytest.approx(0.2))
    text = "\n".join(lines(said))
    assert "moved in 0.667" in text and "1 planted beats got no R mark" in text and "1 of 2" in text


@pytest.mark.data
@needs_data
def test_ludbs_ventricular_extrasystoles(shipped):
    real = top_beats(
        ((shipped, tokens) for tokens in ludb_records(Path(DATA) / "ludb", "ventricular extrasystole")),
        ("shapley/beat",),
    )
    rate = real.rates["shapley/beat"]
    if not rate.n:
        pytest.skip(
            f"{real.records} records with ventricular extrasystoles at hand, none with an ectopic beat"
        )
    assert rate.value >= 0.85


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.data
@needs_runs
def test_the_top_beat_of_real_records_with_pvc_is_ectopic():
    floors = {"shapley/beat": 0.85, "ablation/beat": 0.8}
    real = top_beats(pvc_records(RUNS, Corpus(CORPUS)), tuple(floors))
    assert real.records >= 70 and real.without <= 8
    for name, floor in floors.items():
        rate = real.rates[name]
        assert rate.value >= floor and rate.interval[0] > rate.chance, f"{name}: {rate}"


@pytest.mark.data
@needs_runs
@pytest.mark.parametrize(("label", "own"), [("IMI", 0), ("AMI", 1)])
def test_infarction_is_told_from_the_leads_that_face_it(label, own):
    data = Corpus(CORPUS)
    checkpoint, rows = next(out_of_fold(RUNS[:1], data))
    target = f"subdiagnostic/{label}"
    some = rows[labelled(data, rows, target)][:20]
    shares = np.array([support(checkpoint, data.tokens(int(row)), target) for row in some])
    alike = (3 / 12, 4 / 12)
    assert shares.mean(axis=0)[own] > alike[own] and shares.mean(axis=0)[1 - own] < alike[1 - own]


def test_a_token_map_is_summed_over_the_leads(checkpoint, tokens_of):
    tokens = tokens_of("premature", 4)
    values = explain(checkpoint, tokens, "NORM", "ablation", "token").values
    top = int(np.nansum(values, axis=0).argmax())
    assert top_beat(checkpoint, tokens, "NORM", "ablation/token") == top
    bottom = int(np.nansum(values, axis=0).argmin())
    assert top_beat(checkpoint, tokens, "NORM", "ablation/token", sign=-1.0) == bottom
