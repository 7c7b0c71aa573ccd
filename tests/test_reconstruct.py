"""Hidden beats rebuilt in mV: the visible untouched, the hidden unseen, the error told."""

from dataclasses import replace

import numpy as np
import pytest

from clear_hug.ecg import ECGError
from clear_hug.leads import LEADS
from clear_hug.reconstruct import HIDE, reconstruct
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


@pytest.mark.parametrize("preset", list(HIDE))
def test_a_mask_hides_what_is_there_and_leaves_something(preset, tokens_of):
    for tokens in (tokens_of("normal"), tokens_of("lead_off")):
        hidden = HIDE[preset][1](tokens, 1, 2, 7)
        assert hidden.shape == tokens.valid.shape and hidden.dtype == bool
        assert hidden.any() and not (hidden & ~tokens.valid).any() and (tokens.valid & ~hidden).any()
        assert np.array_equal(hidden, HIDE[preset][1](tokens, 1, 2, 7))
    if "seed" in HIDE[preset][0]:
        assert hidden.sum() / tokens.valid.sum() == pytest.approx(0.8, abs=0.01)
        assert not np.array_equal(hidden, HIDE[preset][1](tokens, 1, 2, 8))
