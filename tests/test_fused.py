"""The kernels of a GPU: what they find and learn is what the mask allows.

Where there is no GPU, Triton's interpreter runs them (`conftest.py`). Where Triton is not installed there is
nothing to test; `.ci/run` installs it.
"""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from clear_hug.diagnosis import pick_device

pytest.importorskip("triton")
from clear_hug import attention, fused  # noqa: E402
from clear_hug.masked import MaskedCLEAR, masked_loss  # noqa: E402
from clear_hug.model import CLEAR, PRESETS  # noqa: E402

DEVICE = pick_device()
OFF = 1e-5 if DEVICE.type == "cpu" else 2e-2  # a GPU multiplies in tf32


def plain(asks, packed, mask, heads):
    """The same by torch."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in fused._parts(asks, packed))
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None])
    return y.transpose(1, 2).flatten(2)


def inputs(n, first, heads, width):
    """Queries of the first tokens apart, or of all with the rest; random numbers."""
    torch.manual_seed(n)
    packed = torch.randn(3, n, (3 if first is None else 2) * heads * width, device=DEVICE)
    asks = None if first is None else torch.randn(3, first, heads * width, device=DEVICE)
    return [None if x is None else x.requires_grad_() for x in (asks, packed)]


def assert_alike(asks, packed, mask, heads, start=None, keys=None):
    y, expected = fused.attend(asks, packed, mask, heads, start, keys), plain(asks, packed, mask, heads)
    torch.testing.assert_close(y, expected, atol=OFF, rtol=OFF)
    of_y = torch.randn_like(y)
    learned = [x for x in (asks, packed) if x is not None]
    for a, b in zip(*(torch.autograd.grad(out, learned, of_y) for out in (y, expected)), strict=True):
        torch.testing.assert_close(a, b, atol=OFF, rtol=OFF)


def some_mask(n, first):
    mask = (torch.rand(3, n, n) < 0.4) | torch.eye(n, dtype=torch.bool)
    return mask[:, :first].to(DEVICE)


@pytest.mark.parametrize(
    ("n", "first", "heads", "width"),
    [(20, None, 2, 24), (70, 30, 2, 32), (130, None, 1, 16), (33, 17, 2, 96)],
)
def test_it_finds_and_learns_what_torch_does(n, first, heads, width):
    asks, packed = inputs(n, first, heads, width)
    assert_alike(asks, packed, some_mask(n, first), heads)
    assert_alike(asks, packed, None, heads)


@pytest.mark.parametrize(("n", "first"), [(90, None), (90, 70), (20, 9)])
def test_tokens_that_stand_apart_see_themselves_and_what_is_seen(n, first):
    """As in the decoder: of what is hidden nobody sees anything but itself."""
    asks, packed = inputs(n, first, 2, 32)
    keys, start = (
        n // 3,
        torch.tensor([0, n // 2, n - n // 6], device=DEVICE),
    )  # the last reaches beyond the end
    at = torch.arange(n, device=DEVICE)
    seen = (at >= start[:, None]) & (at < start[:, None] + keys)
    mask = (some_mask(n, None) & seen[:, None]) | torch.eye(n, dtype=torch.bool, device=DEVICE)
    assert_alike(asks, packed, mask[:, :first], 2, start, keys)


def test_what_is_forbidden_learns_nothing():
    asks, packed = inputs(24, None, 2, 16)
    mask = torch.eye(24, dtype=torch.bool, device=DEVICE).repeat(3, 1, 1)
    mask[:, :6, :6] = True
    y = fused.attend(asks, packed, mask, 2)
    (learned,) = torch.autograd.grad(y[:, :6].sum(), packed)
    assert learned[:, :6].any() and not learned[:, 6:].any()


def test_the_operator_is_one_that_torch_can_compile():
    asks, packed = inputs(20, 9, 2, 16)
    mask, start = some_mask(20, 9), torch.zeros(3, dtype=torch.long, device=DEVICE)
    torch.library.opcheck(fused._attend, (asks, packed, mask, 2, start, 20))
    torch.library.opcheck(fused._attend, (None, inputs(20, None, 2, 16)[1], None, 2, None, 20))


def test_lengths_that_differ_are_not_compiled_one_by_one():
    torch._dynamo.reset()
    seen = []

    def backend(graph, _):
        seen.append(graph)
        return graph.forward

    @torch.compile(dynamic=True, backend=backend)
    def ask(x):
        return 2 * x if fused.fits(x.dtype, 4096 * x.shape[0], x.shape[1], 24) else x

    for n in range(20, 60):
        assert ask(torch.ones(2, n, dtype=torch.bfloat16))[0, 0] == 2
    assert len(seen) <= 2
    assert not fused.fits(torch.float32, 4096, 20, 24)
    assert not fused.fits(torch.bfloat16, 4096, 20 * 1024, 24) and not fused.fits(torch.bfloat16, 8, 20, 24)


def test_where_triton_does_not_work_it_is_said_and_torch_serves(monkeypatch):
    def fail(*_):
        raise RuntimeError("no C compiler")

    fused._works.cache_clear()
    monkeypatch.setattr(fused, "attend", fail)
    with pytest.warns(UserWarning, match="torch's own, and slower"):
        assert not fused.works(0)
    fused._works.cache_clear()


@pytest.mark.parametrize("pattern", attention.PATTERNS)
def test_a_model_learns_the_same_by_it(random_model, random_beats, monkeypatch, pattern):
    clear = random_model(replace(PRESETS["tiny"], pattern=pattern)).clear.requires_grad_(True).to(DEVICE)
    beats = random_beats(6, 6).to(DEVICE)
    masks = MaskedCLEAR(clear, 0.7, whole_lead=0.3, whole_beat=0.2, few_leads=0.4, seed=3)
    hidden, told = masks.draw(beats.there, torch.arange(6), 0)
    monkeypatch.setattr(fused, "works", lambda _: True)
    asked = []

    def learned(here):
        monkeypatch.setattr(attention, "_on_a_gpu", lambda _: here)
        monkeypatch.setattr(fused, "fits", lambda *sizes: asked.append(sizes) or True)
        clear.zero_grad()
        loss = masked_loss(clear, beats, hidden, told)["loss"]
        loss.backward()
        return loss, {name: p.grad.clone() for name, p in clear.named_parameters() if p.grad is not None}

    monkeypatch.setattr(attention, "HAS_TRITON", True)
    (loss, gradient), (expected, plain_gradient) = learned(True), learned(False)
    blocks = len(clear.blocks) + len(clear.decoder_blocks)
    assert len(asked) == blocks, "every layer asked, once"
    torch.testing.assert_close(loss, expected, atol=OFF, rtol=OFF)
    assert gradient.keys() == plain_gradient.keys()
    for name, value in gradient.items():
        size = plain_gradient[name].abs().max()
        torch.testing.assert_close(
            value, plain_gradient[name], atol=float(10 * OFF * size + 1e-6), rtol=1e-3, msg=name
        )


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch's own tracing
def test_compiled_blocks_take_batches_of_any_length(random_beats, monkeypatch):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    clear = CLEAR(PRESETS["tiny"]).to(DEVICE)
    for block in [*clear.blocks, *clear.decoder_blocks]:
        block.compile(dynamic=True, backend=backend)
    monkeypatch.setattr(attention, "_on_a_gpu", lambda _: True)
    monkeypatch.setattr(attention, "HAS_TRITON", True)
    monkeypatch.setattr(fused, "fits", lambda *_: True)
    monkeypatch.setattr(fused, "_works", lambda _: True)
    masks = MaskedCLEAR(clear, 0.7, whole_lead=0, whole_beat=0)
    for batch, n in ((4, 6), (3, 7), (5, 9), (2, 12)):
        beats = random_beats(batch, n).to(DEVICE)
        hidden, told = masks.draw(beats.there, torch.arange(batch), 0)
        masked_loss(clear, beats, hidden, told)["loss"].backward()
    assert len(graphs) <= 3, "the encoder's blocks, the decoder's, and its last, which fewer tokens ask"
    torch._dynamo.reset()
