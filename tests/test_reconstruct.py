"""Hidden beats rebuilt in mV: the visible untouched, the hidden unseen, the error told."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from clear_hug.ecg import ECGError
from clear_hug.leads import LEADS
from clear_hug.reconstruct import (
    KNOWN,
    as_the_model_sees_it,
    hidden_of,
    hidden_words,
    hide_at_random,
    hide_beats,
    hide_leads,
    lead_errors,
    rebuild_linear,
    reconstruct,
    reconstruct_each,
)
from clear_hug.words import scale_words

V3 = LEADS.index("V3")


@pytest.fixture
def hidden(tokens):
    """Tokens here and there, all of V3, all of beat 4."""
    mask = np.random.default_rng(0).random(tokens.valid.shape) < 0.3
    mask[V3], mask[:, 4] = True, True
    return mask


def test_the_visible_are_untouched_and_the_hidden_are_filled(checkpoint, tokens, hidden):
    r = reconstruct(checkpoint, tokens, hidden)
    np.testing.assert_array_equal(r.values[~hidden], tokens.values[~hidden])
    assert r.values.dtype == np.float32 and np.isfinite(r.values).all()
    inside = np.broadcast_to(tokens.inside, tokens.values.shape)
    assert (r.values[hidden[..., None] & inside] != 0).mean() > 0.99
    assert (r.values[~inside] == 0).all()
    np.testing.assert_array_equal(r.hidden, hidden)
    with pytest.raises(ValueError, match="read-only"):
        r.values[0] = 0


@pytest.mark.parametrize("factor", [10.0, np.nan])
def test_the_hidden_are_not_looked_at(checkpoint, tokens, hidden, factor):
    values = np.where(hidden[..., None], tokens.values * np.float32(factor), tokens.values)
    before, after = (reconstruct(checkpoint, t, hidden) for t in (tokens, replace(tokens, values=values)))
    np.testing.assert_array_equal(before.values, after.values)
    np.testing.assert_array_equal(before.lead_scale, after.lead_scale)
    louder = np.where(hidden[..., None], tokens.values, 10 * tokens.values)
    other = reconstruct(checkpoint, replace(tokens, values=louder), hidden)
    assert not np.allclose(other.values[hidden], before.values[hidden])


def test_errors_are_those_of_each_hidden_token(checkpoint, tokens, hidden):
    r = reconstruct(checkpoint, tokens, hidden)
    assert np.isnan(r.rmse[~hidden]).all() and np.isnan(r.r[~hidden]).all()
    square, truth = [], []
    for lead, beat in np.argwhere(hidden):
        a, b = (x[lead, beat, tokens.inside[beat]].astype(float) for x in (tokens.values, r.values))
        assert r.rmse[lead, beat] == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), rel=1e-6)
        assert r.r[lead, beat] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
        square.append((a - b) ** 2)
        truth.append(a**2)
    share = 1 - np.concatenate(square).sum() / np.concatenate(truth).sum()
    assert r.r2 == pytest.approx(share, rel=1e-6)


def test_a_scale_is_predicted_where_all_of_a_lead_is_hidden_and_only_there(checkpoint, tokens, hidden):
    r = reconstruct(checkpoint, tokens, hidden)
    assert np.flatnonzero(r.scale_predicted.any(axis=1)).tolist() == [V3] and r.scale_predicted[V3].all()
    assert (r.lead_scale > 0).all()
    for lead in np.flatnonzero(~r.scale_predicted.any(axis=1)):
        visible = ~hidden[lead][:, None] & tokens.inside
        assert r.lead_scale[lead] == pytest.approx(tokens.values[lead][visible].std(), rel=1e-4)


def test_in_another_unit_the_rebuilt_come_in_that_unit(checkpoint, tokens, hidden):
    """Units unknown: ten times the record is ten times the reconstruction, guessed scales too."""
    plain = replace(tokens, units_known=False)
    louder = replace(plain, values=10 * tokens.values)
    a, b = (reconstruct(checkpoint, t, hidden) for t in (plain, louder))
    assert not a.units_known
    np.testing.assert_allclose(b.values, 10 * a.values, rtol=1e-3, atol=1e-4)


def test_the_absent_stay_absent(checkpoint, tokens_of):
    tokens = tokens_of("lead_off")
    hidden = np.zeros_like(tokens.valid)
    hidden[:, 2], hidden[V3] = True, True
    r = reconstruct(checkpoint, tokens, hidden)
    assert not r.hidden[V3].any() and r.hidden[V3 - 1, 2]
    assert (r.values[V3] == 0).all() and np.isnan(r.rmse[V3]).all() and np.isnan(r.lead_scale[V3])


def test_with_nothing_hidden_nothing_changes(checkpoint, tokens):
    r = reconstruct(checkpoint, tokens, np.zeros_like(tokens.valid))
    np.testing.assert_array_equal(r.values, tokens.values)
    assert np.isnan(r.rmse).all() and np.isnan(r.r2) and not r.scale_predicted.any()


def test_with_everything_hidden_there_is_a_sentence(checkpoint, tokens, tokens_of):
    with pytest.raises(ECGError, match="every beat is hidden; leave at least one"):
        reconstruct(checkpoint, tokens, np.ones_like(tokens.valid))
    long = tokens_of("long")
    middle = np.broadcast_to((long.r_peaks > 10) & (long.r_peaks < 20), long.valid.shape)
    with pytest.raises(ECGError, match="every beat from 10 to 20 s is hidden"):
        reconstruct(checkpoint, long, middle)


def test_one_visible_token_is_enough(checkpoint, tokens):
    hidden = np.ones_like(tokens.valid)
    hidden[1, 3] = False
    r = reconstruct(checkpoint, tokens, hidden)
    assert np.isfinite(r.values).all() and r.scale_predicted.any(axis=1).sum() == 11
    assert not r.scale_predicted[1].any()


def test_a_long_record_is_rebuilt_window_by_window(checkpoint, tokens_of):
    tokens = tokens_of("long")
    hidden = np.random.default_rng(1).random(tokens.valid.shape) < 0.5
    r = reconstruct(checkpoint, tokens, hidden)
    np.testing.assert_array_equal(r.values[~hidden], tokens.values[~hidden])
    assert np.isfinite(r.rmse[hidden]).all()
    silent = (tokens.r_peaks > 10) & (tokens.r_peaks < 20)  # a stretch without a token weighs nothing
    gone = replace(tokens, valid=tokens.valid & ~silent)
    scale = reconstruct(checkpoint, gone, hidden).lead_scale
    np.testing.assert_allclose(scale, r.lead_scale, rtol=0.3)


def test_a_lead_hidden_in_one_window_of_a_long_record_is_predicted_there_and_only_there(
    checkpoint, tokens_of
):
    tokens = tokens_of("long")
    hidden = np.zeros_like(tokens.valid)
    middle = (tokens.r_peaks >= 10) & (tokens.r_peaks < 20)
    hidden[V3, middle], hidden[0, 1] = True, True
    r = reconstruct(checkpoint, tokens, hidden)
    expected = hidden.copy()
    expected[0] = False  # lead I has other beats in that window
    np.testing.assert_array_equal(r.scale_predicted, expected)
    assert 0 < expected.sum() < tokens.n_beats
    assert "No beat of V3 was visible within 10 s" in scale_words(r)[0]
    louder = np.where(middle[:, None], 10 * tokens.values[V3], tokens.values[V3])  # the truth plays no part
    values = tokens.values.copy()
    values[V3] = louder
    again = reconstruct(checkpoint, replace(tokens, values=values), hidden)
    np.testing.assert_array_equal(again.values[hidden], r.values[hidden])


def test_hidden_of_another_shape_is_refused_in_words(checkpoint, tokens):
    with pytest.raises(ValueError, match="expected .12, beat."):
        reconstruct(checkpoint, tokens, np.zeros((12, 2), bool))


# The linear baseline


def test_the_baseline_is_the_regression_of_the_checkpoint_and_nothing_else(checkpoint, tokens, hidden):
    """With what decoder and kernel add silenced, ours is the baseline; and the two see the same."""
    ours, linear = reconstruct(checkpoint, tokens, hidden), rebuild_linear(checkpoint, tokens, hidden)
    assert np.abs(ours.values - linear.values)[hidden].max() > 0.01
    model = copy.deepcopy(checkpoint.model)
    for parameter in model.clear.to_samples.parameters():
        torch.nn.init.zeros_(parameter)
    model.clear.renew_kernel(0)
    silent = reconstruct(replace(checkpoint, model=model), tokens, hidden)
    np.testing.assert_allclose(silent.values, linear.values, atol=1e-5)
    np.testing.assert_array_equal(linear.hidden, ours.hidden)
    np.testing.assert_array_equal(linear.values[~hidden], tokens.values[~hidden])
    louder = np.where(hidden[..., None], 10 * tokens.values, tokens.values)
    again = rebuild_linear(checkpoint, replace(tokens, values=louder), hidden)
    np.testing.assert_array_equal(again.values[hidden], linear.values[hidden])


def test_the_baseline_is_linear(checkpoint, tokens, hidden):
    """Twice the record in mV is twice the baseline, which is not so of the model."""
    twice = replace(tokens, values=2 * tokens.values, lead_scale=2 * tokens.lead_scale)
    a, b = (rebuild_linear(checkpoint, t, hidden).values for t in (tokens, twice))
    np.testing.assert_allclose(b, 2 * a, rtol=1e-4, atol=1e-5)


def test_the_baseline_comes_in_the_unit_of_the_record(checkpoint, tokens, hidden):
    plain = replace(tokens, units_known=False)
    a, b = (
        rebuild_linear(checkpoint, t, hidden).values
        for t in (plain, replace(plain, values=10 * tokens.values))
    )
    np.testing.assert_allclose(b, 10 * a, rtol=1e-3, atol=1e-4)


# Each token in turn


def test_each_token_in_turn_is_each_token_hidden_alone(checkpoint, tokens_of):
    tokens = tokens_of("lead_off", seconds=4.0)
    told = []
    ours, linear = reconstruct_each(checkpoint, tokens, tick=told.append)
    np.testing.assert_array_equal(ours.hidden, tokens.valid)
    for lead, beat in [(0, 0), (7, 2), (11, tokens.n_beats - 1)]:
        alone = np.zeros_like(tokens.valid)
        alone[lead, beat] = True
        for each, one in ((ours, reconstruct), (linear, rebuild_linear)):
            expected = one(checkpoint, tokens, alone)
            np.testing.assert_allclose(
                each.values[lead, beat], expected.values[lead, beat], rtol=1e-3, atol=1e-4
            )
            assert each.rmse[lead, beat] == pytest.approx(expected.rmse[lead, beat], rel=1e-2)
    assert told == sorted(told) and told[-1] == 1 and len(told) > 1
    assert np.isnan(ours.lead_scale[V3]) and (ours.lead_scale[np.arange(12) != V3] > 0).all()


def test_each_token_in_turn_of_some_beats_and_of_a_long_record(checkpoint, tokens_of):
    tokens = tokens_of("long")
    some = (tokens.r_peaks > 9) & (tokens.r_peaks < 11)
    ours, _ = reconstruct_each(checkpoint, tokens, some)
    np.testing.assert_array_equal(ours.hidden, tokens.valid & some)
    assert np.isfinite(ours.rmse[ours.hidden]).all() and not ours.scale_predicted.any()
    np.testing.assert_array_equal(ours.values[~ours.hidden], tokens.values[~ours.hidden])


def test_a_token_that_is_alone_is_not_hidden_and_one_of_a_lone_lead_has_its_scale_predicted(
    checkpoint, tokens
):
    one = np.zeros_like(tokens.valid)
    one[1, 3] = True
    ours, linear = reconstruct_each(checkpoint, replace(tokens, valid=one))
    assert not ours.hidden.any() and not linear.hidden.any() and np.isnan(ours.r2)
    one[2] = True
    ours, _ = reconstruct_each(checkpoint, replace(tokens, valid=one))
    assert np.argwhere(ours.scale_predicted).tolist() == [[1, 3]]


def test_what_a_tick_raises_ends_it(checkpoint, tokens):
    def stop(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reconstruct_each(checkpoint, tokens, tick=stop)


def test_a_part_of_a_reconstruction_keeps_its_own_errors(checkpoint, tokens, hidden):
    whole = reconstruct(checkpoint, tokens, hidden)
    part = whole.only(tokens, hide_beats(tokens, [4]))
    np.testing.assert_array_equal(part.hidden, hidden & hide_beats(tokens, [4]))
    np.testing.assert_array_equal(part.values[part.hidden], whole.values[part.hidden])
    np.testing.assert_array_equal(part.values[~part.hidden], tokens.values[~part.hidden])
    np.testing.assert_allclose(part.rmse[part.hidden], whole.rmse[part.hidden])


# Errors of leads


def test_errors_of_a_lead_are_over_all_its_hidden_samples(checkpoint, tokens, hidden):
    rebuilt = reconstruct(checkpoint, tokens, hidden)
    errors = lead_errors(tokens, rebuilt)
    for lead in range(12):
        where = hidden[lead][:, None] & tokens.inside
        a, b = (x[lead][where].astype(float) for x in (tokens.values, rebuilt.values))
        assert errors.tokens[lead] == hidden[lead].sum()
        assert errors.r2[lead] == pytest.approx(1 - ((a - b) ** 2).sum() / (a**2).sum(), rel=1e-6)
        assert errors.r[lead] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
        assert errors.mae[lead] == pytest.approx(np.abs(a - b).mean(), rel=1e-6)
    none = lead_errors(tokens, reconstruct(checkpoint, tokens, hide_leads(tokens, ["V1"])))
    assert np.flatnonzero(none.tokens).tolist() == [6] == np.flatnonzero(np.isfinite(none.mae)).tolist()
    nothing = rebuilt.only(tokens, np.zeros_like(hidden))
    assert np.isnan(lead_errors(tokens, nothing).r2).all()


def test_the_trace_that_the_model_sees_holds_the_tokens_in_their_places(simulated, tokens_of):
    for kind in ("normal", "lead_off", "long"):
        ecg, tokens = simulated(kind), tokens_of(kind)
        seen = as_the_model_sees_it(ecg)
        assert seen.fs == 100 and seen.duration == pytest.approx(ecg.duration, abs=0.02)
        for lead, beat in np.argwhere(tokens.valid)[::17]:
            inside = np.flatnonzero(tokens.inside[beat])
            at = int(np.rint(tokens.r_peaks[beat] * 100)) - 48 + inside
            np.testing.assert_array_equal(seen.signal[lead, at], tokens.values[lead, beat, inside])
    signal = simulated().signal.copy()
    signal[3], signal[5, 1000:2000] = np.nan, np.nan
    seen = as_the_model_sees_it(replace(simulated(), signal=signal))
    assert np.isnan(seen.signal[3]).all()
    assert np.isnan(seen.signal[5, 201:399]).all() and np.isfinite(seen.signal[5, 402:]).all()


# What to hide


def test_leads_beats_and_a_share_hide_what_is_there(tokens, tokens_of):
    off = tokens_of("lead_off")
    assert hide_leads(tokens, ["V3", "I"]).sum() == 2 * tokens.n_beats
    assert not hide_leads(off, ["V3"]).any()
    assert hide_beats(off, [2]).sum() == 11 and not hide_beats(off, [99]).any()
    for share in (0.01, 0.4, 0.8):
        mask = hide_at_random(off, share, 7)
        assert not (mask & ~off.valid).any() and (off.valid & ~mask).any()
        assert mask.sum() == pytest.approx(share * off.valid.sum(), abs=1)
        np.testing.assert_array_equal(mask, hide_at_random(off, share, 7))
    assert hide_at_random(off, 0.0, 0).sum() == 1
    assert not np.array_equal(hide_at_random(off, 0.4, 7), hide_at_random(off, 0.4, 8))
    assert all(set(leads) < set(LEADS) for leads in KNOWN.values())


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long"])
def test_a_hidden_set_goes_into_a_link_and_back(kind, tokens_of):
    tokens = tokens_of(kind)
    rng = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.97):
        mask = (rng.random(tokens.valid.shape) < share) & tokens.valid
        mask[1] = tokens.valid[1]
        mask[:, 4] = tokens.valid[:, 4]
        words = hidden_words(tokens, mask)
        back, left_out = hidden_of(tokens, words)
        np.testing.assert_array_equal(back, mask)
        assert not left_out and len(words) < 800
    assert hidden_words(tokens, np.zeros_like(tokens.valid)) == ""


def test_a_hidden_set_is_short_to_write(tokens):
    mask = hide_leads(tokens, ["V3"]) | hide_beats(tokens, [4])
    mask[1, [0, 1, 2, 6]] = True
    assert hidden_words(tokens, mask) == "V3,:5,II:1-3.7"


def test_of_a_hidden_set_what_is_not_in_the_record_is_named(tokens, tokens_of):
    mask, left_out = hidden_of(tokens, "II:2-3,II:900,V9,:0,x:y,, V1:4 ")
    assert np.argwhere(mask).tolist() == [[1, 1], [1, 2], [6, 3]]
    assert left_out == ["II:900", "V9", ":0", "x:y"]
    mask, left_out = hidden_of(tokens_of("lead_off"), "V3,V3:2,I:1")
    assert left_out == ["V3", "V3:2"] and mask.sum() == 1
    assert not hidden_of(tokens, "")[0].any()
