"""Integrated gradients: they add up, follow the label, and leave the model and the seeds alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import clear_hug as ch
from clear_hug.beats import split_windows
from clear_hug.diagnosis import collate, diagnose
from clear_hug.explain import explain
from clear_hug.gradients import NOISY, integrated_gradients, on_the_trace
from clear_hug.model import FARTHEST_VOLTS


def one(checkpoint, row):
    return np.eye(len(checkpoint.targets))[row]


@pytest.mark.parametrize("kind", ["normal", "lead_off", "long", "high_voltage"])
def test_they_add_up_from_flat_beats_to_the_logit(checkpoint, tokens_of, kind):
    tokens = tokens_of(kind)
    found = integrated_gradients(checkpoint, tokens, one(checkpoint, 1))
    assert found.logit == pytest.approx(diagnose(checkpoint, tokens).logits[1], abs=1e-5)
    assert found.flat + np.nansum(found.values) == pytest.approx(found.logit, abs=1e-4)
    np.testing.assert_array_equal(np.isfinite(found.values).all(axis=2), tokens.valid)
    assert not found.values[:, ~tokens.inside][
        tokens.valid[:, :, None].repeat(96, 2)[:, ~tokens.inside]
    ].any()


def test_the_bound_on_voltage_leaves_nothing_over():
    """Of a record so tall that R and S are bounded, by the weights that ship."""
    ecg = ch.simulate_ecg("high_voltage", seed=2)
    tokens = ch.tokenize_beats(replace(ecg, signal=1.6 * ecg.signal))
    shipped = ch.load_checkpoint()
    (window,) = split_windows(tokens)
    off = collate([window]).r_and_s()[0] - shipped.model.facts.usual
    assert off.max() > FARTHEST_VOLTS
    found = integrated_gradients(shipped, tokens, one(shipped, shipped.row("VCLVH")))
    assert found.flat + np.nansum(found.values) == pytest.approx(found.logit, abs=1e-3)


def test_a_contrast_is_the_difference_of_two(checkpoint, tokens):
    a, b = (integrated_gradients(checkpoint, tokens, one(checkpoint, row)) for row in (0, 3))
    both = integrated_gradients(checkpoint, tokens, one(checkpoint, 0) - one(checkpoint, 3))
    np.testing.assert_allclose(both.values, a.values - b.values, atol=1e-4)


def test_hidden_tokens_have_no_value_and_no_say(checkpoint, tokens):
    hidden = np.zeros_like(tokens.valid)
    hidden[6], hidden[:, 2] = True, True
    found = integrated_gradients(checkpoint, tokens, one(checkpoint, 1), hidden)
    assert np.isnan(found.values[hidden]).all()
    assert found.logit == pytest.approx(diagnose(checkpoint, tokens, hidden).logits[1], abs=1e-5)


@pytest.mark.parametrize("noisy", [0, NOISY])
def test_the_same_each_time_whatever_else_draws_and_nothing_is_left_on_the_model(checkpoint, tokens, noisy):
    weights = {name: value.clone() for name, value in checkpoint.model.state_dict().items()}
    state = torch.get_rng_state()
    first = integrated_gradients(checkpoint, tokens, one(checkpoint, 1), noisy=noisy)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    again = integrated_gradients(checkpoint, tokens, one(checkpoint, 1), noisy=noisy)
    np.testing.assert_array_equal(first.values, again.values)
    for name, value in checkpoint.model.state_dict().items():
        assert torch.equal(value, weights[name])
    for module in checkpoint.model.modules():
        assert not module._forward_hooks and not module._backward_hooks and not module._forward_pre_hooks
    assert all(parameter.grad is None for parameter in checkpoint.model.parameters())


def test_on_the_trace_nothing_is_lost_and_the_r_peak_stands_where_it_was(tokens):
    values = np.where(tokens.valid[..., None] & tokens.inside, 1.0, np.nan)
    values[:, :, 48] = np.where(tokens.valid, 100.0, np.nan)
    painted = on_the_trace(values, tokens)
    assert painted.shape == (12, round(100 * tokens.duration))
    assert np.nansum(painted) == pytest.approx(np.nansum(values), rel=0.02)  # rim of the record
    tall = np.flatnonzero(painted[0] >= 100)
    np.testing.assert_array_equal(tall, np.rint(tokens.r_peaks * 100).astype(int))


def test_levels_are_sums_of_samples_and_a_target_must_be_named_with_gradients(checkpoint, tokens):
    at = {
        level: explain(checkpoint, tokens, "MI", "integrated_gradients", level).values
        for level in ("token", "beat", "lead")
    }
    np.testing.assert_allclose(np.nansum(at["token"], axis=0), at["beat"], atol=1e-9)
    np.testing.assert_allclose(np.nansum(at["token"], axis=1), at["lead"], atol=1e-9)
    found = integrated_gradients(checkpoint, tokens, one(checkpoint, 1))
    same = explain(checkpoint, tokens, "MI", "integrated_gradients", "lead", seen=found)
    np.testing.assert_allclose(same.values, at["lead"], atol=1e-6)
    with pytest.raises(ValueError, match="another target"):
        explain(checkpoint, tokens, "CD", "integrated_gradients", "lead", seen=found)
    with pytest.raises(ValueError, match="name it"):
        explain(checkpoint, tokens, None, "integrated_gradients", "lead", seen=found)
    by_default = explain(checkpoint, tokens, None, "integrated_gradients", "lead")
    assert by_default.target == explain(checkpoint, tokens).target
