"""Kernel regression on whole beats: it tells what is not linear, and reads what is visible alone."""

from dataclasses import replace

import pytest
import torch

from clear_hug.batch import Beats
from clear_hug.kernel import LeadKernel, whole_beats
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.regression import LeadRegression

V3 = LEADS.index("V3")


def records(n=60, beats=6, seed=0, units_known=True):
    """Leads that go together linearly, but V3, whose sign is that of what V1 and V5 hold of a wave."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(N_LEADS, 3, generator=torch.Generator().manual_seed(9))
    waves = torch.randn(3, 96, generator=torch.Generator().manual_seed(8))
    size = torch.randn(n, 3, generator=generator)
    size = size.sign() * (0.5 + size.abs())
    heart = (
        size[:, :, None, None] * waves[:, None] * (1 + 0.1 * torch.randn(n, 1, beats, 1, generator=generator))
    )
    values = 0.3 * torch.einsum("ls,bsjt->bljt", mixing, heart)
    values[:, V3] = 0.5 * (size[:, :1].sign() * size[:, 1:2].sign())[..., None] * waves[2] * heart.std()
    one, two = values[:, 0], values[:, 1]
    for lead, x in zip(range(2, 6), (two - one, -(one + two) / 2, one - two / 2, two - one / 2), strict=True):
        values[:, lead] = x
    values = values + 0.01 * torch.randn(values.shape, generator=generator)
    return Beats(
        values,
        torch.ones(n, N_LEADS, beats, dtype=torch.bool),
        0.8 * torch.arange(1, beats + 1).float().expand(n, -1),
        torch.ones(n, beats, 96, dtype=torch.bool),
        torch.full((n,), units_known),
    )


def hide(beats, leads=(), which=()):
    hidden = torch.zeros_like(beats.there)
    hidden[:, list(leads)] = True
    hidden[:, :, list(which)] = True
    return hidden


def parts(made):
    for lead in range(N_LEADS):
        for beats in made:
            yield beats, hide(beats, [lead])


@pytest.fixture(scope="module")
def fitted():
    made = [records(200, seed=1), records(200, seed=2, units_known=False)]
    regression, kernel = LeadRegression(), LeadKernel(300)
    regression.fit(made)
    kernel.fit(regression, parts(made))
    return regression, kernel


def told(fitted, beats, hidden):
    """What the regression foretells, and what the kernel adds."""
    seen = beats.hide(hidden)
    scale, _ = seen.lead_scale()
    return fitted[0](seen, scale, hidden)[0], fitted[1](fitted[0], seen, scale, hidden)


@pytest.mark.long
@pytest.mark.parametrize("units_known", [True, False])
def test_what_is_not_linear_is_told_on_records_it_has_not_seen(fitted, units_known):
    beats = records(seed=5, units_known=units_known)
    hidden = hide(beats, [V3])
    linear, added = told(fitted, beats, hidden)
    truth = beats.values if units_known else beats.values / beats.lead_scale()[0][..., None, None]
    power = truth[hidden].square().sum()
    before = 1 - (linear - truth)[hidden].square().sum() / power
    after = 1 - (linear + added - truth)[hidden].square().sum() / power
    assert before < 0.3 and after > 0.8


def test_a_limb_lead_that_others_add_up_to_stays_what_they_say(fitted):
    beats = records(seed=6)
    hidden = hide(beats, [LEADS.index("aVF")])
    _, added = told(fitted, beats, hidden)
    assert added.abs().max() < 0.02 * beats.values.abs().max()


def test_it_adds_where_it_is_asked_and_where_some_lead_shows_the_beat(fitted):
    beats = records(4, seed=6)
    hidden = hide(beats, [V3], [2])
    _, added = told(fitted, beats, hidden)
    assert not added[~hidden].any() and not added[:, :, 2].any()
    assert added[:, V3, 1].any()


def test_what_is_hidden_tells_nothing_and_gains_pass_through(fitted):
    beats = records(seed=6)
    hidden = torch.rand(beats.there.shape, generator=torch.Generator().manual_seed(0)) < 0.6
    shaken = replace(beats, values=torch.where(hidden[..., None], float("nan"), beats.values))
    _, added = told(fitted, beats, hidden)
    assert added.any() and torch.equal(added, told(fitted, shaken, hidden)[1])
    louder = replace(beats, values=10 * beats.values)
    torch.testing.assert_close(told(fitted, louder, hidden)[1], 10 * added, rtol=1e-3, atol=1e-3)


def test_no_gradient_reaches_what_is_hidden(fitted):
    beats = records(2, seed=8)
    values = beats.values.requires_grad_()
    hidden = hide(beats, [V3])
    hidden[:, 9, 3] = True
    told(fitted, beats, hidden)[1][:, V3, 3].sum().backward()
    moved = values.grad.abs().sum(3)
    assert not moved[hidden].any() and moved[:, 6, 3].all()


def test_without_units_each_lead_stands_on_its_own_scale(fitted):
    beats = records(seed=7, units_known=False)
    gain = torch.linspace(0.1, 10, N_LEADS)[None, :, None, None]
    hidden = hide(beats, [V3])
    other = told(fitted, replace(beats, values=gain * beats.values), hidden)[1]
    torch.testing.assert_close(told(fitted, beats, hidden)[1], other, rtol=1e-3, atol=1e-3)


def test_a_lead_that_is_not_there_is_filled_in_as_one_that_is_hidden(fitted):
    """A file of eleven leads is read like twelve of which one is hidden, whoever asks for it."""
    beats = records(3, seed=7)
    without = beats.hide(hide(beats, [0]))
    hidden = hide(beats, [V3])
    of_both = told(fitted, beats, hide(beats, [0, V3]))[1]
    torch.testing.assert_close(told(fitted, without, hidden)[1][:, V3], of_both[:, V3])


def test_samples_outside_the_record_tell_nothing(fitted):
    beats = records(3, seed=7)
    beats.inside[:, 0, :40] = False
    other = replace(beats, values=beats.values.clone())
    other.values[:, :, 0, :40] = 1e3
    hidden = hide(beats, [V3])
    assert torch.equal(told(fitted, beats, hidden)[1], told(fitted, other, hidden)[1])


def test_the_same_records_give_the_same_bits(fitted):
    made = [records(40, seed=1), records(40, seed=2, units_known=False)]
    twice = [LeadKernel(20), LeadKernel(20)]
    for kernel in twice:
        kernel.fit(fitted[0], parts(made), seed=3)
    one, two = (kernel.state_dict() for kernel in twice)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_fewer_beats_than_centres_and_none_in_mv(fitted):
    made = [records(2, seed=1, units_known=False)]
    kernel = LeadKernel(5000)
    kernel.fit(fitted[0], parts(made))
    beats = records(3, seed=3, units_known=False)
    added = told((fitted[0], kernel), beats, hide(beats, [V3]))[1]
    assert added.isfinite().all() and added.any()
    in_mv = replace(beats, units_known=torch.ones(3, dtype=torch.bool))
    assert not told((fitted[0], kernel), in_mv, hide(beats, [V3]))[1].any()


def test_records_that_teach_nothing_leave_it_silent(fitted):
    """Of records with one lead nothing is hidden in part; of a flat one nothing is foretold."""
    alone = records(4, seed=1).hide(hide(records(4), range(1, N_LEADS)))
    kernel = LeadKernel(20)
    kernel.fit(fitted[0], [(alone, hide(alone, [0]))])
    flat = replace(records(2), values=torch.zeros(2, N_LEADS, 6, 96))
    for beats in (records(2), flat):
        added = told((fitted[0], kernel), beats, hide(beats, [V3]))[1]
        assert added.isfinite().all() and not added.any()
    assert all(buffer.isfinite().all() for buffer in kernel.buffers())


@pytest.mark.long
def test_a_lead_that_is_flat_but_for_what_is_hidden_does_not_rule_the_others(fitted):
    made = [records(200, seed=1), records(200, seed=2, units_known=False)]
    for beats in made:
        beats.values[:40, 8:, 1:] = 1e-9
    odd = LeadKernel(300)
    odd.fit(fitted[0], [*parts(made), *((beats, hide(beats, which=[0])) for beats in made)])
    assert all(buffer.isfinite().all() for buffer in odd.buffers())
    assert odd.inner.abs().max() < 100 * fitted[1].inner.abs().max()


def test_flat_beats_have_a_gradient(fitted):
    values = torch.zeros(1, N_LEADS, 6, 96, requires_grad=True)
    beats = replace(records(1), values=values)
    hidden = hide(beats, [V3])
    fitted[1](fitted[0], beats.hide(hidden), torch.ones(1, N_LEADS), hidden).sum().backward()
    assert values.grad.isfinite().all()


def test_without_centres_it_adds_nothing_and_keeps_nothing(fitted):
    kernel = LeadKernel(0)
    beats = records(2)
    assert not told((fitted[0], kernel), beats, hide(beats, [V3]))[1].any()
    assert not kernel.state_dict()


def test_a_beat_that_is_seen_whole_is_not_read(fitted):
    beats = records(2, seed=4)
    wanted = torch.zeros_like(beats.there)
    wanted[:, V3, 1] = True
    seen = beats.hide(wanted)
    whole = whole_beats(fitted[0], seen, seen.lead_scale()[0], wanted)
    assert whole.beat.tolist() == [1, 1] and whole.record.tolist() == [0, 1]
    assert not whole.open[:, torch.arange(N_LEADS) != V3].any() and (whole.open[:, V3] > 0).all()
    torch.testing.assert_close(whole.values.square().mean((1, 2)), torch.ones(2))
