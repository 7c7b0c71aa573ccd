"""Who may look at whom: the masks against their definition, and gradients against the masks."""

import pytest
import torch

from clear_hug.attention import (
    PATTERNS,
    Attention,
    Block,
    Layout,
    compact,
    decoder_mask,
    encoder_mask,
    take,
    token_layout,
)
from clear_hug.leads import N_LEADS

BEATS = 4


def some_there(batch=2, seed=0):
    """Holes, one lead absent, one beat absent, a padded slot at the end of the second record."""
    there = torch.rand(batch, N_LEADS, BEATS, generator=torch.Generator().manual_seed(seed)) < 0.6
    there[0, 3], there[0, :, 1], there[-1, :, -1] = False, False, False
    return there


def may_attend(pattern, decoder, q, k, there):
    """The definition, one query and one key at a time; a token is (lead, beat or None)."""
    if q == k:
        return True
    (q_lead, q_beat), (k_lead, k_beat) = q, k
    if pattern == "full":
        return bool(there[k_lead].any() if k_beat is None else there[k_lead, k_beat])
    if k_beat is None:  # a lead token is seen by the beats of its lead alone
        return q_beat is not None and q_lead == k_lead
    if not there[k_lead, k_beat]:
        return False
    if q_beat is None:
        return q_lead == k_lead
    if pattern == "conduction" or (decoder and not there[q_lead, q_beat]):
        return q_beat == k_beat
    return True


MASKS = [(pattern, decoder) for pattern in PATTERNS for decoder in (False, True)]


def mask_of(pattern, decoder, layout):
    return (decoder_mask if decoder else encoder_mask)(layout, pattern)


@pytest.mark.parametrize(("pattern", "decoder"), MASKS)
def test_masks_are_those_of_the_definition(pattern, decoder):
    there = some_there()
    mask = mask_of(pattern, decoder, token_layout(there))
    slots = [(lead, None) for lead in range(N_LEADS)]
    slots += [(lead, beat) for lead in range(N_LEADS) for beat in range(BEATS)]
    for record in range(len(there)):
        expected = [[may_attend(pattern, decoder, q, k, there[record]) for k in slots] for q in slots]
        assert torch.equal(mask[record], torch.tensor(expected))


@pytest.mark.parametrize(("pattern", "decoder"), MASKS)
def test_nobody_sees_what_is_not_there_and_everyone_sees_itself(pattern, decoder):
    there = some_there()
    mask = mask_of(pattern, decoder, token_layout(there))
    n = mask.shape[1]
    assert mask.diagonal(dim1=1, dim2=2).all()
    off = mask & ~torch.eye(n, dtype=torch.bool)
    assert not off[:, :, N_LEADS:].any(1)[~there.flatten(1)].any()
    assert not torch.equal(mask, torch.ones_like(mask))


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("pattern", "decoder"), MASKS)
def test_gradients_are_exactly_zero_where_no_path_of_attention_leads(pattern, decoder, depth):
    """After `depth` layers a token depends on those that it reaches in as many steps, and on no other."""
    torch.manual_seed(0)
    there = some_there(batch=1)
    mask = mask_of(pattern, decoder, token_layout(there))
    blocks = [Block(16, 2, 32).eval() for _ in range(depth)]
    x = torch.randn(1, mask.shape[1], 16, requires_grad=True)
    y = x
    for block in blocks:
        y, _ = block(y, mask)
    reach = (torch.linalg.matrix_power(mask[0].double(), depth) > 0).tolist()
    blocked = 0
    for q in [0, 3, *range(N_LEADS, mask.shape[1], 5)]:
        (gradient,) = torch.autograd.grad(y[0, q, 0], x, retain_graph=True)
        touched = (gradient[0] != 0).any(-1)
        assert touched.tolist() == reach[q], f"query {q}"
        blocked += (~touched).sum()
    assert blocked > 0


def test_compact_keeps_what_is_there_in_order():
    there = some_there()
    layout = token_layout(there)
    n = layout.there.shape[1]
    x = torch.arange(2 * n).view(2, n, 1).float()
    kept, index = compact(layout)
    small = take(x, index)
    most = int(there.flatten(1).sum(1).max())
    assert small.shape[1] == N_LEADS + most < n
    for record in range(2):
        truly = there[record].flatten().nonzero()[:, 0] + N_LEADS
        wanted = torch.cat([torch.arange(N_LEADS), truly])
        assert torch.equal(index[record, : wanted.numel()], wanted)
        assert not kept.there[record, wanted.numel() :].any()
    torch.testing.assert_close(small, torch.gather(x, 1, index[..., None]))
    for part, full in zip(kept, layout, strict=True):
        assert torch.equal(part, torch.gather(full, 1, index))


def test_compact_leaves_a_full_sequence_alone():
    layout = token_layout(torch.ones(2, N_LEADS, BEATS, dtype=torch.bool))
    kept, index = compact(layout)
    assert kept is layout and torch.equal(index[1], torch.arange(layout.there.shape[1]))


@pytest.mark.parametrize(("pattern", "decoder"), MASKS)
def test_weights_on_request_change_nothing_and_are_zero_where_forbidden(pattern, decoder):
    torch.manual_seed(1)
    mask = mask_of(pattern, decoder, token_layout(some_there()))
    layer = Attention(16, 4)
    x = 3 * torch.randn(2, mask.shape[1], 16)
    plain, nothing = layer(x, mask)
    asked, weights = layer(x, mask, weights=True)
    assert nothing is None and weights.shape == (2, 4, *mask.shape[1:])
    torch.testing.assert_close(asked, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]))
    assert torch.equal((weights > 0), mask[:, None].expand_as(weights))


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize(("pattern", "decoder"), MASKS)
def test_first_tokens_alone_hear_what_they_hear_among_all(pattern, decoder, weights):
    torch.manual_seed(1)
    mask = mask_of(pattern, decoder, token_layout(some_there()))
    block, x = Block(16, 4, 32).eval(), torch.randn(2, mask.shape[1], 16)
    every, looked = block(x, mask, weights)
    some, looked_some = block(x, mask, weights, first=N_LEADS)
    torch.testing.assert_close(some, every[:, :N_LEADS], atol=1e-6, rtol=0)
    if weights:
        torch.testing.assert_close(looked_some, looked[:, :, :N_LEADS], atol=1e-6, rtol=0)


def test_without_a_mask_all_see_all():
    torch.manual_seed(1)
    layer, x = Attention(8, 2), torch.randn(1, 5, 8)
    torch.testing.assert_close(layer(x, None)[0], layer(x, torch.ones(1, 5, 5, dtype=torch.bool))[0])


def test_the_layout_names_lead_and_beat_of_each_slot():
    there = some_there()
    lead, beat, seen = layout = token_layout(there)
    assert isinstance(layout, Layout)
    assert beat[0, :N_LEADS].eq(-1).all() and lead[0, :N_LEADS].tolist() == list(range(N_LEADS))
    for slot in range(N_LEADS, lead.shape[1]):
        assert seen[:, slot].tolist() == there[:, lead[0, slot], beat[0, slot]].tolist()
    assert torch.equal(seen[:, :N_LEADS], there.any(2))
