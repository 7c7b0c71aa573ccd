"""The regression that the decoder starts from: exact where leads are sums, blind to what is hidden."""

from dataclasses import replace

import pytest
import torch

from clear_hug.batch import Beats
from clear_hug.leads import GROUPS, LEADS, N_LEADS
from clear_hug.regression import LeadRegression


def records(batch=40, beats=8, seed=0, units_known=True):
    """Two limb leads and six chest leads that go together, the other four by Einthoven and Goldberger."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(N_LEADS, 3, generator=torch.Generator().manual_seed(9))
    heart = torch.randn(batch, 3, 1, 96, generator=generator)
    heart = heart + 0.3 * torch.randn(batch, 3, beats, 96, generator=generator)
    values = 0.3 * torch.einsum("ls,bsjt->bljt", mixing, heart)
    values = values + 0.03 * torch.randn(values.shape, generator=generator)
    one, two = values[:, 0], values[:, 1]
    for lead, x in {
        "III": two - one,
        "aVR": -(one + two) / 2,
        "aVL": one - two / 2,
        "aVF": two - one / 2,
    }.items():
        values[:, LEADS.index(lead)] = x
    there = torch.ones(batch, N_LEADS, beats, dtype=torch.bool)
    seconds = 0.8 * torch.arange(1, beats + 1).float().expand(batch, -1)
    inside = torch.ones(batch, beats, 96, dtype=torch.bool)
    return Beats(values, there, seconds, inside, torch.full((batch,), units_known))


@pytest.fixture(scope="module")
def fitted():
    model = LeadRegression()
    model.fit([records(seed=1), records(seed=2, units_known=False)])
    return model


def hide(beats, leads=(), which=()):
    hidden = torch.zeros_like(beats.there)
    hidden[:, list(leads)] = True
    hidden[:, :, list(which)] = True
    return hidden


def foretell(model, beats, hidden):
    seen = beats.hide(hidden)
    return model(seen, seen.lead_scale()[0], hidden)[0]


def r2(beats, told, hidden):
    truth = beats.values[hidden]
    return 1 - (told[hidden] - truth).square().sum() / truth.square().sum()


@pytest.mark.parametrize("lead", range(6), ids=LEADS[:6])
def test_a_limb_lead_follows_from_the_others(fitted, lead):
    beats = records(seed=3)
    hidden = hide(beats, [lead])
    assert r2(beats, foretell(fitted, beats, hidden), hidden) > 0.999


def test_it_is_the_least_squares_of_the_same_beat_and_the_own_mean(fitted):
    beats = records(400, seed=4)
    model = LeadRegression()
    model.fit([beats])
    v3 = LEADS.index("V3")
    hidden = torch.zeros_like(beats.there)
    hidden[:, v3, 0] = True
    mean = beats.values[:, v3, 1:].mean(1)
    x = torch.stack(
        [*(beats.values[:, lead, 0] for lead in (0, 1, *GROUPS["precordial"]) if lead != v3), mean]
    )
    x, y = x.flatten(1).T, beats.values[:, v3, 0].flatten()
    best = x @ torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    told = foretell(model, beats, hidden)[:, v3, 0].flatten()
    assert (told - y).square().mean() < 1.02 * (best - y).square().mean()


def test_a_whole_beat_is_told_no_worse_than_by_the_shrunken_mean_of_its_leads_others(fitted):
    beats = records(400, seed=5)
    hidden = hide(beats, which=[3])
    truth = beats.values[:, :, 3]
    mean = beats.values[:, :, [0, 1, 2, 4, 5, 6, 7]].mean(2)
    ratio = (truth * mean).sum((0, 2)) / mean.square().sum((0, 2))
    best = (ratio[:, None] * mean - truth).square().sum()
    told = foretell(fitted, beats, hidden)[:, :, 3]
    assert (told - truth).square().sum() < 1.01 * best
    assert told.square().sum() < truth.square().sum()  # shrunken, as what is not known is


def test_mean_beats_of_other_leads_tell_of_a_beat_that_no_lead_shows(fitted):
    beats = records(seed=5)
    hidden = hide(beats, [LEADS.index("V3")], [3])
    judged = torch.zeros_like(hidden)
    judged[:, LEADS.index("V3"), 3] = True
    assert r2(beats, foretell(fitted, beats, hidden), judged) > 0.7


def test_a_wave_that_reaches_a_lead_later_is_foretold():
    made = records(seed=11)
    v2, v3 = LEADS.index("V2"), LEADS.index("V3")
    values = torch.randn(made.values.shape, generator=torch.Generator().manual_seed(0))
    values[:, v3, :, 2:] = values[:, v2, :, :-2]
    beats = replace(made, values=values)
    model = LeadRegression()
    model.fit([beats])
    hidden = hide(beats, [v3])
    assert r2(beats, foretell(model, beats, hidden), hidden) > 0.9
    assert r2(beats, foretell(model, beats, hide(beats, [v2])), hide(beats, [v2])) > 0.9


def test_of_one_visible_beat_less_is_believed_than_of_many(fitted):
    beats = records(seed=5)
    one, many = hide(beats, which=range(1, 8)), hide(beats, which=[7])
    few = foretell(fitted, beats, one)[:, :, 7].square().mean() / beats.values[:, :, 0].square().mean()
    mean = beats.values[:, :, :7].mean(2).square().mean()
    assert few < foretell(fitted, beats, many)[:, :, 7].square().mean() / mean


def test_what_is_hidden_tells_nothing_and_gains_pass_through(fitted):
    beats = records(seed=6)
    hidden = torch.rand(beats.there.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    told = foretell(fitted, beats, hidden)
    shaken = torch.where(hidden[..., None], float("nan"), beats.values)
    assert torch.equal(told, foretell(fitted, replace(beats, values=shaken), hidden))
    louder = foretell(fitted, replace(beats, values=10 * beats.values), hidden)
    torch.testing.assert_close(louder, 10 * told, rtol=1e-4, atol=1e-4)
    assert not told[~hidden].any()


def test_without_units_each_lead_stands_on_its_own_scale(fitted):
    beats = records(seed=7, units_known=False)
    gain = torch.linspace(0.1, 10, N_LEADS)[None, :, None, None]
    hidden = hide(beats, which=[2])
    told = foretell(fitted, beats, hidden)
    torch.testing.assert_close(
        told, foretell(fitted, replace(beats, values=gain * beats.values), hidden), rtol=1e-4, atol=1e-4
    )


def test_what_is_visible_is_read_and_nothing_else(fitted):
    beats = records(2, seed=8)
    values = beats.values.requires_grad_()
    hidden = torch.zeros_like(beats.there)
    hidden[:, 7, 3] = hidden[:, 9, 3] = hidden[:, 10] = True
    told, _ = fitted(beats.hide(hidden), torch.ones(2, N_LEADS), hidden)
    told[:, 7, 3].sum().backward()
    moved = values.grad.abs().sum(3) > 0
    assert torch.equal(moved, ~hidden)


def test_one_record_of_noise_does_not_rule_the_others(fitted):
    loud = replace(records(1, seed=9), values=1000 * torch.randn(1, N_LEADS, 8, 96))
    model = LeadRegression()
    model.fit([records(seed=1), loud])
    beats = records(seed=3)
    hidden = hide(beats, [LEADS.index("V4")])
    with_it, without = (r2(beats, foretell(m, beats, hidden), hidden) for m in (model, fitted))
    assert with_it > without - 0.05


def test_the_share_it_expects_to_explain_is_the_share_it_explains(fitted):
    beats = records(400, seed=10)
    generator = torch.Generator().manual_seed(1)
    for chance in (0.3, 0.6, 0.9):
        hidden = torch.rand(beats.there.shape, generator=generator) < chance
        seen = beats.hide(hidden)
        told, share = fitted(seen, seen.lead_scale()[0], hidden)
        power = fitted.power[0][None, :, None].expand_as(share)
        expected = (share * power)[hidden].sum() / power[hidden].sum()
        assert r2(beats, told, hidden) == pytest.approx(float(expected), abs=0.05)
        assert not share[~hidden].any()


def test_before_it_is_fitted_it_foretells_nothing():
    beats = records(2)
    assert not foretell(LeadRegression(), beats, hide(beats, [8])).any()
    told = foretell(LeadRegression(), beats, torch.zeros_like(beats.there))
    assert told.shape == beats.values.shape and not told.any()
