"""MaskedCLEAR: whose mask is whose, how much is hidden, and what the loss scores."""

from dataclasses import replace

import pytest
import torch

from clear_hug.leads import N_LEADS
from clear_hug.masked import MaskedCLEAR, masked_loss
from clear_hug.model import (
    CLEAR,
    PRESETS,
)
from tests.hidden_tokens import fill, holes, pad


@pytest.fixture(scope="module")
def masked():
    torch.manual_seed(0)
    return MaskedCLEAR(CLEAR(PRESETS["tiny"]), mask_ratio=0.75, whole_lead=0.3, whole_beat=0.1, seed=7).eval()


def test_a_mask_belongs_to_its_record_whatever_the_batch(masked, random_beats):
    beats = random_beats(8, 5)
    there = beats.there.clone()
    there[2, 4], there[3, :, 2], there[5, :, 4] = False, False, False
    records = torch.arange(8) + 100
    hidden, told = masked.draw(there, records, epoch=3)
    order = torch.tensor([5, 2, 7, 0])
    padded = torch.cat([there[order], torch.zeros(4, N_LEADS, 3, dtype=torch.bool)], 2)
    again, told_again = masked.draw(padded, records[order], epoch=3)
    assert torch.equal(again[:, :, :5], hidden[order]) and not again[:, :, 5:].any()
    assert torch.equal(told_again, told[order])
    assert not (hidden & ~there).any()


def test_masks_differ_by_seed_epoch_and_record(masked, random_beats):
    there = random_beats(1, 8).there
    draws = [
        MaskedCLEAR(masked.clear, seed=seed).draw(there, torch.tensor([record]), epoch)[0]
        for seed, epoch, record in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]
    assert len({draw.numpy().tobytes() for draw in draws}) == 4


@pytest.mark.parametrize("ratio", [0.1, 0.75, 0.99])
def test_the_masked_share_is_the_ratio_and_something_stays_visible(masked, random_beats, ratio):
    wrapper = MaskedCLEAR(masked.clear, mask_ratio=ratio)
    for n in (1, 2, 11):
        there = random_beats(40, n).there.clone()
        there[0] = False
        there[0, 4, 0] = True  # a record of one token: nothing can be hidden
        hidden, _ = wrapper.draw(there, torch.arange(40), 0)
        total, gone = there.flatten(1).sum(1), hidden.flatten(1).sum(1)
        assert (gone < total).all()
        expected = torch.minimum((ratio * total).round(), total - 1)
        assert torch.equal(gone.float(), expected.float())


def test_some_masks_are_whole_leads_some_whole_beats_and_half_tell_the_scale(masked, random_beats):
    hidden, told = masked.draw(random_beats(1, 11).there.expand(400, -1, -1), torch.arange(400), 0)
    lead, beat = hidden.all(2).any(1).float().mean(), hidden.all(1).any(1).float().mean()
    assert 0.25 < lead < 0.65 and 0.08 < beat < 0.65
    assert 0.4 < told.float().mean() < 0.6


@pytest.mark.parametrize("ratio", [0, 1, -0.1, float("nan")])
def test_an_impossible_ratio_is_refused(masked, ratio):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        MaskedCLEAR(masked.clear, mask_ratio=ratio)


def test_the_loss_scores_the_hidden_samples_and_nothing_else(masked, random_beats):
    beats = random_beats(2, 6)
    there = beats.there.clone()
    there[0, 5], there[1, :, 5] = False, False
    beats = replace(beats, there=there)
    records = torch.tensor([3, 9])
    loss = masked(beats, records, 0)
    assert all(torch.isfinite(value) for value in loss.values())
    dirty = fill(beats, ~there, torch.tensor(float("nan")))
    seconds = beats.seconds.clone()
    seconds[1, 5] = float("nan")
    for same in (dirty, replace(dirty, seconds=seconds), pad(beats, 2)):
        for name, value in masked(same, records, 0).items():
            torch.testing.assert_close(value, loss[name], atol=1e-5, rtol=1e-5)
    outside = torch.where(beats.inside[:, None, :, :, None].squeeze(-1), beats.values, 0.0)
    assert torch.equal(outside, beats.values)
    hidden, told = masked.draw(there, records, 0)
    worse = masked_loss(masked.clear, fill(beats, hidden, 3 * beats.values), hidden, told)
    assert worse["mse"] > loss["mse"]


def test_every_parameter_learns(random_model, random_beats):
    torch.manual_seed(0)
    model = random_model().train()
    beats = random_beats(4, 6)
    units = replace(beats, units_known=torch.tensor([True, True, False, True]))
    hidden = holes(units)
    loss = masked_loss(model.clear, units, hidden, torch.tensor([True, False, True, True]))["loss"]
    (loss + model(units).square().sum()).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert not dead
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()


def test_few_leads_are_hidden_whole_and_all_else_is_seen(masked, random_beats):
    beats = random_beats(1, 6)
    there = beats.there.expand(200, -1, -1).clone()
    there[:, 5], there[:100, 0, 2] = False, False
    records = torch.arange(200)
    few, told = MaskedCLEAR(masked.clear, few_leads=1.0, seed=7).draw(there, records, 0)
    assert torch.equal(few, few.any(2, keepdim=True) & there)
    assert set(few.any(2).sum(1).tolist()) == {1, 2, 3}
    assert few.any(2).any(0).sum() == N_LEADS - 1
    many, told_too = MaskedCLEAR(masked.clear, seed=7).draw(there, records, 0)
    assert torch.equal(told, told_too)
    some, _ = MaskedCLEAR(masked.clear, few_leads=0.5, seed=7).draw(there, records, 0)
    as_few = (some == few).flatten(1).all(1)
    assert ((some == many).flatten(1).all(1) | as_few).all() and 60 < as_few.sum() < 140
    alone = torch.zeros_like(there[:1])
    alone[:, 3] = True
    hidden, _ = MaskedCLEAR(masked.clear, few_leads=1.0).draw(alone, records[:1], 0)
    assert (alone & ~hidden).any()  # of a lone lead something stays visible


@pytest.mark.parametrize("mv, weight", [(0.2, 1.0), (0.4, 4.0), (0.1, 0.25), (8.0, 25.0), (0.01, 0.05)])
def test_errors_count_in_mv_where_voltage_is_known(masked, random_beats, mv, weight):
    beats = random_beats(1, 6)
    hidden = torch.zeros_like(beats.there)
    hidden[:, 2, 1:4], hidden[:, 7, :2] = True, True
    scale, _ = beats.hide(hidden).lead_scale()
    beats = replace(beats, values=beats.values * (mv / scale)[..., None, None])
    withheld = torch.tensor([False])
    for known, factor in ((True, weight), (False, 1.0)):
        record = replace(beats, units_known=torch.tensor([known]))
        plain = masked_loss(masked.clear, record, hidden, withheld)
        in_mv = masked_loss(masked.clear, record, hidden, withheld, in_mv=True)
        torch.testing.assert_close(in_mv["mse"], factor * plain["mse"], rtol=1e-4, atol=0)
        assert in_mv["scale"] == plain["scale"]


@pytest.mark.parametrize("narrow", [False, True])
def test_a_record_of_one_token_has_a_finite_loss(masked, random_beats, narrow):
    beats = random_beats(1, 1)
    there = torch.zeros_like(beats.there)
    there[0, 4, 0] = True
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        loss = masked(replace(beats, there=there), torch.tensor([0]), 0)
    assert all(torch.isfinite(value) for value in loss.values())
