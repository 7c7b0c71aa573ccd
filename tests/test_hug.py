"""HUG alone: affine, its contributions complete, an absent lead of no consequence."""

import pytest
import torch

from clear_hug.hug import HUG, N_BESIDE, N_OF_RECORD
from clear_hug.leads import GROUPS, LEADS, N_LEADS


def lead_tokens(batch=4, width=32 + N_BESIDE, seed=0):
    return torch.randn(batch, N_LEADS, width, generator=torch.Generator().manual_seed(seed))


THERE = {
    "all": [],
    "V1 absent": ["V1"],
    "augmented absent": ["aVR", "aVL", "aVF"],
    "II alone": [lead for lead in LEADS if lead != "II"],
    "nothing": list(LEADS),
}


def which(absent, batch=4):
    there = torch.ones(batch, N_LEADS, dtype=torch.bool)
    there[:, [LEADS.index(lead) for lead in absent]] = False
    return there


@pytest.mark.parametrize("absent", THERE.values(), ids=THERE)
@pytest.mark.parametrize("per_lead", [True, False])
def test_hug_contributions_add_up_to_the_logits(random_model, per_lead, absent):
    hug, x, there = random_model(per_lead=per_lead).hug, lead_tokens(), which(absent)
    logits, parts = hug(x, there), hug.contributions(x, there)
    assert parts.shape == (4, 7, N_LEADS, 5)
    torch.testing.assert_close(hug.bias() + parts.sum((1, 2)), logits, atol=1e-5, rtol=0)
    assert (parts[:, :, ~there[0]] == 0).all()
    for g, rows in enumerate(GROUPS.values()):  # a group acts on its own path, its two pairs and the top
        for path, members in enumerate([{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}]):
            if g not in members:
                assert (parts[:, path, list(rows)] == 0).all()
    if not absent:
        assert (parts.sum(1).abs().amax((0, 2)) > 1e-3).all()  # every lead has a say
        assert (parts.abs().amax((0, 2, 3)) > 1e-3).all()  # and every path


@pytest.mark.parametrize("per_lead", [True, False])
def test_hug_is_affine_in_the_lead_tokens(random_model, per_lead):
    hug, there = random_model(per_lead=per_lead).hug, which(["V1"])
    x, y = lead_tokens(seed=1), lead_tokens(seed=2)
    mixed = hug(0.3 * x + 0.7 * y, there)
    torch.testing.assert_close(mixed, 0.3 * hug(x, there) + 0.7 * hug(y, there), atol=1e-5, rtol=0)


def test_what_an_absent_lead_holds_is_of_no_consequence(random_model):
    hug, x, there = random_model().hug, lead_tokens(), which(["V1", "II"])
    dirty = torch.where(there[..., None], x, float("nan"))
    assert torch.equal(hug(dirty, there), hug(x, there))
    assert torch.equal(hug.contributions(dirty, there), hug.contributions(x, there))


def test_an_absent_lead_leaves_the_mean_of_its_group(random_model):
    """With one shared map, a lead that holds what its group-mates hold can go unnoticed."""
    hug = random_model(per_lead=False).hug
    with torch.no_grad():
        hug.reference.zero_()
        hug.straight.zero_()  # each lead's own, whatever the maps
        hug.voltage.zero_()  # the same
        hug.rhythm.zero_()  # the mean over the leads, which here hold what no record's would
        hug.qtc.zero_()  # the same
    x = lead_tokens()
    x[:, 6:] = x[:, 6:7]
    torch.testing.assert_close(hug(x, which([])), hug(x, which(["V2", "V5"])), atol=1e-5, rtol=0)


def test_level_1_tells_leads_apart_only_with_a_map_each(random_model):
    there, x = which([]), lead_tokens()
    swapped = x[:, [0, 1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11]]  # V1 and V2
    for per_lead in (True, False):
        hug = random_model(per_lead=per_lead).hug
        with torch.no_grad():
            hug.reference.zero_()
            hug.straight.zero_()
            hug.voltage.zero_()
        same = torch.allclose(hug(x, there), hug(swapped, there), atol=1e-5)
        assert same is not per_lead


@pytest.mark.parametrize("per_lead", [True, False])
def test_centring_moves_the_bias_and_no_logit_of_a_whole_record(per_lead):
    torch.manual_seed(0)
    hug = HUG(32, 5, per_lead)
    with torch.no_grad():
        hug.head.weight.mul_(100)
        hug.level_1_bias.normal_()
        hug.reference.normal_()
        hug.straight.normal_(std=0.1)
        hug.voltage.normal_()
        hug.rhythm.normal_()
    x, there = lead_tokens(), which([])
    logits, bias = hug(x, there), hug.bias()
    hug.centre(x.mean(0))
    torch.testing.assert_close(hug(x, there), logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(hug.bias(), logits.mean(0), atol=1e-5, rtol=0)
    assert (hug.bias() - bias).abs().max() > 1e-2
    torch.testing.assert_close(
        hug.contributions(x, there).sum((1, 2)).mean(0), torch.zeros(5), atol=1e-5, rtol=0
    )


def test_rhythm_and_qtc_count_as_much_however_many_leads_there_are(random_model):
    hug = random_model().hug
    with torch.no_grad():
        hug.straight.zero_()
        hug.voltage.zero_()
        hug.level_1.zero_()
    x = lead_tokens()
    x[..., -N_OF_RECORD:] = x[:, :1, -N_OF_RECORD:]
    hug.reference[:, -N_OF_RECORD:] = 0
    for absent in THERE.values():
        if len(absent) < N_LEADS:
            there = which(absent)
            torch.testing.assert_close(hug(x, there), hug(x, which([])))
            parts = hug.contributions(x, there).sum(1)[:, there[0]]
            torch.testing.assert_close(parts, parts[:, :1].expand_as(parts))
    assert (hug(x, which([])) - hug.bias()).abs().min() > 1e-2
