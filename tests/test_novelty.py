"""Where a record did what the rest of it did not foretell: the error held against its lead's own."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.ground_truth import _marked, rate_of
from benchmarks.novelty import Found, lines, premature, seek
from clear_hug.beats import tokenize_beats
from clear_hug.checkpoint import load_checkpoint
from clear_hug.leads import LEADS
from clear_hug.novelty import LEAST_BEATS, LIMIT, MOST, Novelty, novelty, score_of, surprise_of
from clear_hug.reconstruct import reconstruct_each
from clear_hug.simulate import simulate_ecg

V3 = LEADS.index("V3")


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint()


@pytest.fixture(scope="module")
def found(checkpoint, tokens_of):
    return novelty(checkpoint, tokens_of("premature"))


def test_it_is_the_error_of_each_token_hidden_alone(checkpoint, tokens_of, found):
    tokens = tokens_of("premature")
    ours, linear = reconstruct_each(checkpoint, tokens, doubt=0.0)
    np.testing.assert_array_equal(found.rebuilt.rmse, ours.rmse)
    np.testing.assert_array_equal(found.linear.rmse, linear.rmse)
    np.testing.assert_array_equal(found.surprise, surprise_of(tokens, ours.rmse))
    np.testing.assert_array_equal(found.score, score_of(found.surprise))
    with pytest.raises(ValueError, match="read-only"):
        found.score[0] = 0


def test_a_lead_of_noise_or_of_another_voltage_surprises_no_more_than_others(tokens):
    """Surprise is free of each lead's unit; only what differs from the lead's own usual error counts."""
    rng = np.random.default_rng(0)
    rmse = rng.uniform(0.04, 0.06, tokens.valid.shape)
    rmse[V3, 5] = 0.6
    plain = surprise_of(tokens, rmse)
    gain = 10.0 ** rng.uniform(-2, 2, 12)
    values = (tokens.values * gain[:, None, None]).astype(np.float32)
    np.testing.assert_allclose(
        surprise_of(replace(tokens, values=values), rmse * gain[:, None]), plain, rtol=1e-3
    )
    assert np.nanargmax(plain) == V3 * tokens.n_beats + 5
    noisy = rmse.copy()
    noisy[0] *= 50  # a lead that is off throughout
    np.testing.assert_allclose(np.median(surprise_of(tokens, noisy), axis=1), 0, atol=1e-9)
    assert np.nanmax(surprise_of(tokens, noisy)[0]) < 5


def test_an_exact_sum_of_leads_is_not_surprising_by_its_rounding(tokens):
    rmse = np.full(tokens.valid.shape, 1e-7)
    rmse[0, 3] = 1e-5
    assert np.abs(surprise_of(tokens, rmse)).max() < 0.01


def test_no_lead_decides_for_a_beat_alone():
    surprise = np.zeros((12, 5))
    surprise[0, 1] = 1000.0
    surprise[:, 3] = 2.0
    surprise[:, 4] = -5.0
    score = score_of(surprise)
    assert score.tolist() == [0, MOST / 12, 0, 2.0, 0]
    surprise[:, 2] = np.nan
    assert np.isnan(score_of(surprise)[2])


def test_beats_are_listed_from_the_most_surprising(found):
    score = found.score[found.order]
    assert (np.diff(score) <= 0).all() and sorted(found.order) == list(range(len(found.score)))
    made = Novelty(found.rebuilt, found.linear, found.surprise, np.array([0.1, np.nan, 9.0, LIMIT, 2.9]))
    assert made.order == [2, 3, 4, 0] and made.most_surprising == [2, 3]
    assert made.stands_out.tolist() == [False, False, True, True, False]
    surprise = np.zeros_like(found.surprise)
    surprise[[2, 7, 5, 1], 0] = 8.0, 9.0, 4.0, 5.0
    made = Novelty(found.rebuilt, found.linear, surprise, score_of(surprise))
    assert made.leads_of(0) == [7, 2, 1] and made.leads_of(1) == []


def test_few_beats_give_errors_and_no_score(checkpoint, tokens):
    n = LEAST_BEATS - 1
    few = replace(tokens, valid=tokens.valid & (np.arange(tokens.n_beats) < n))
    found = novelty(checkpoint, few)
    assert np.isfinite(found.rebuilt.rmse[few.valid]).all()
    assert np.isnan(found.score).all() and not found.order and not found.most_surprising
    assert f"takes {LEAST_BEATS} of them" in found.why and f"only {n}" in found.why
    one = replace(tokens, valid=np.arange(tokens.valid.size).reshape(tokens.valid.shape) == 20)
    assert "none could be hidden" in novelty(checkpoint, one).why


def test_one_lead_alone_has_its_own_novelty(checkpoint, tokens):
    alone = replace(tokens, valid=tokens.valid & (np.arange(12) == 1)[:, None])
    found = novelty(checkpoint, alone)
    assert np.isfinite(found.score).all() and np.isnan(found.surprise[0]).all() and not found.why


def short(seed, n_pvc):
    """Seven beats or so, one of them premature and wide from anywhere, or none."""
    rng = np.random.default_rng(seed)
    heart = {
        "seed": int(rng.integers(2**31)),
        "seconds": 6.0,
        "heart_rate": rng.uniform(60, 90),
        "axis": rng.uniform(-40, 40),
        "noise_mv": rng.uniform(0.004, 0.02),
        "wander_mv": rng.uniform(0.005, 0.05),
    }
    where = {"pvc_axis": rng.uniform(-150, 60), "pvc_width": rng.uniform(0.7, 1.25)}
    return simulate_ecg(**heart, n_pvc=n_pvc, **where)


@pytest.mark.long
def test_the_planted_beat_is_the_most_surprising(shipped):
    """The floor: a premature wide beat of any axis and width, over hearts, rates and noise."""
    top = []
    for seed in range(8):
        ecg = short(seed, 1)
        tokens = tokenize_beats(ecg)
        planted = ecg.truth["r_peaks"][ecg.truth["beats"][0]]
        top.append(abs(tokens.r_peaks[novelty(shipped, tokens).order[0]] - planted) < 0.1)
    assert sum(top) >= 7, top


@pytest.mark.slow
def test_without_a_planted_beat_hardly_any_stands_out(shipped):
    out = [novelty(shipped, tokenize_beats(short(seed, 0))).stands_out for seed in range(3)]
    assert np.concatenate(out).sum() <= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_floor_over_many_seeds(shipped):
    """As the benchmark finds them, on seeds of its own: 10 s, one to three planted beats."""
    found = []
    for record in premature(seed=3, n=40):
        tokens = tokenize_beats(record.changed)
        found.append(seek(shipped, tokens, _marked(tokens, record)))
    assert sum(one.top["ours"] for one in found) >= 36
    assert sum(one.others[0] for one in found) <= 0.06 * sum(one.others[1] for one in found)


def test_the_figures_of_the_benchmark_are_rates():
    some = [
        Found({"ours": True, "linear": False}, 0.1, (1, 2), (0, 9), 2.0),
        Found({"ours": True, "linear": True}, 0.3, (1, 1), (3, 9), 4.0),
    ]
    said = lines(some)
    assert str(rate_of([True, True], [0.1, 0.3])) in said[0] and "ours" in said[0]
    assert "0.500" in said[1] and "2 of 3" in said[2] and "3 of 18" in said[3] and "3.00 s" in said[4]
    assert lines([]) == ["no record"]
