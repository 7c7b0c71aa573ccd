"""Sparse attention along the heart's conduction: who may look at whom, and the layer that obeys.

A boolean mask says **True = may attend**; axes are (batch, query, key). A token that is not there
is never attended to, whatever the pattern, and every row sees at least itself.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clear_hug.leads import N_LEADS

PATTERNS: tuple[str, ...] = ("paper", "conduction", "full")
"""What one beat token may see of the other beats: all of them ("paper"), the same beat in the other
leads ("conduction"), or, for comparison only, no structure at all ("full")."""

HAS_TRITON = find_spec("triton") is not None


class Among(NamedTuple):
    """Which tokens others look at: so many from one of each record on; those beside see themselves alone.

    start : (batch,) long;  many : how many
    """

    start: Tensor
    many: int


class Layout(NamedTuple):
    """Which lead and beat each slot of a token sequence stands for.

    lead : (batch, token) long;  beat : (batch, token) long, -1 for a lead token
    there : (batch, token) bool; False = masked, padded, absent or left out
    """

    lead: Tensor
    beat: Tensor
    there: Tensor


def token_layout(there: Tensor) -> Layout:
    """The full sequence: 12 lead tokens, then the beats in (lead, beat) order.

    there : (batch, 12, beat) bool
    """
    batch, leads, beats = there.shape
    device = there.device
    rows = torch.arange(leads, device=device)
    lead = torch.cat([rows, rows.repeat_interleave(beats)]).expand(batch, -1)
    beat = torch.cat([rows.new_full((leads,), -1), torch.arange(beats, device=device).repeat(leads)])
    return Layout(lead, beat.expand(batch, -1), torch.cat([there.any(2), there.flatten(1)], dim=1))


def encoder_mask(layout: Layout, pattern: str) -> Tensor:
    """(batch, query, key): c[l] sees B_l; b[l,j] sees c[l] and, by pattern, other beats."""
    return _mask(layout, pattern, hidden=None)


def decoder_mask(layout: Layout, pattern: str = "paper") -> Tensor:
    """(batch, query, key): a hidden b[l,j] sees c[l] and B^j, a visible one c[l] and all visible.

    Hidden tokens are those of `layout` that are not there; nobody but themselves sees them.
    """
    return _mask(layout, pattern, hidden=~layout.there)


def _mask(layout: Layout, pattern: str, hidden: Tensor | None) -> Tensor:
    lead, beat, there = layout
    itself = torch.eye(lead.shape[1], dtype=torch.bool, device=lead.device)
    if pattern == "full":
        return there[:, None, :] | itself
    same_lead = lead[:, :, None] == lead[:, None, :]
    same_beat = beat[:, :, None] == beat[:, None, :]
    query, key = (beat >= 0)[:, :, None], (beat >= 0)[:, None, :]
    if pattern == "conduction":
        between = same_beat
    elif hidden is not None:
        between = same_beat | ~hidden[:, :, None]
    else:
        between = torch.ones_like(same_beat)
    to_lead = query & ~key & same_lead
    to_beats = (~query & same_lead) | (query & between)
    return to_lead | (to_beats & key & there[:, None, :]) | itself


def compact(layout: Layout) -> tuple[Layout, Tensor]:
    """Leave out the beat tokens that are not there, so that their cost is not paid.

    Lead tokens always stay, first, and the rest keeps its (lead, beat) order. Records of a batch
    that hold fewer tokens than the longest keep some that are not there, as masked padding.

    Returns
    -------
    layout : of the kept;  index : (batch, kept) of the full sequence

    """
    keep = layout.there.clone()
    keep[:, :N_LEADS] = True
    index = places(keep)
    if index.shape == keep.shape:
        return layout, index
    return Layout(*(torch.gather(part, 1, index) for part in layout)), index


def places(keep: Tensor) -> Tensor:
    """(batch, most): which tokens to `keep` (batch, token), in order, and then others, to fill up.

    One at least: not every device multiplies what is empty.
    """
    batch, n = keep.shape
    most = max(1, int(keep.sum(1).max()))
    if most == n:
        return torch.arange(n, device=keep.device).expand(batch, -1)
    return torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)[:, :most]


def take(x: Tensor, index: Tensor) -> Tensor:
    """(batch, kept, width): the tokens `index` (batch, kept) of x (batch, token, width)."""
    return torch.gather(x, 1, index[..., None].expand(-1, -1, x.shape[-1]))


class Norm(nn.LayerNorm):
    """LayerNorm that gives what it was given: bf16 of bf16, summed in fp32 all the same."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(
                x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps
            )


class Attention(nn.Module):
    """Multi-head self-attention under a boolean mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        weights: bool = False,
        first: int | None = None,
        among: Among | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Parameters
        ----------
        x : (batch, token, width)
        mask : (batch, query, key) bool, True = may attend; None = all may
        weights : also return the (batch, head, query, key) weights; the output is the same
        first : only so many tokens ask, the first ones; None = all. All may be asked
        among : what `mask` is known to obey, where something is known; spares a GPU the rest

        """
        batch, n, width = x.shape
        mask = mask if mask is None or first is None else mask[:, :first]
        asks, packed = self._project(x, first)
        if _on_a_gpu(x) and HAS_TRITON and not weights:
            from clear_hug.fused import attend, fits, works

            start, many = among or (None, n)
            shape = batch * self.heads, many, width // self.heads
            if fits(packed.dtype, *shape) and works(x.device.index):
                return self.out(attend(asks, packed, mask, self.heads, start, many)), None
        if asks is None:
            q, k, v = packed.view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        else:
            q = asks.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            k, v = packed.view(batch, n, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        w = None
        # torch's fused attention has a slow gradient in bf16 on a CPU
        if weights or (torch.is_grad_enabled() and q.dtype is torch.bfloat16 and not x.is_cuda):
            y, w = _in_steps(q, k, v, mask)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else mask[:, None])
        y = self.out(y.transpose(1, 2).reshape(batch, q.shape[2], width))
        return y, w if weights else None

    def _project(self, x: Tensor, first: int | None) -> tuple[Tensor | None, Tensor]:
        """Queries of the first tokens, and keys and values of all; of all together where all ask."""
        if first is None:
            return None, self.qkv(x)
        weight, bias = self.qkv.weight, self.qkv.bias
        own, rest = slice(x.shape[-1]), slice(x.shape[-1], None)
        return F.linear(x[:, :first], weight[own], bias[own]), F.linear(x, weight[rest], bias[rest])


def _on_a_gpu(x: Tensor) -> bool:
    return x.is_cuda


def _in_steps(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention as matrix products, for its weights, or for its gradient in bf16 on a CPU."""
    batch, heads, n, width = q.shape
    flat = (batch * heads, -1, width)
    # products over one axis of heads: the four-dimensional ones are five times as slow in bf16
    scores = (q * width**-0.5).reshape(flat) @ k.reshape(flat).transpose(-1, -2)
    scores = scores.view(batch, heads, n, -1)
    if mask is not None:
        forbidden = torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, float("-inf"))
        scores = scores + forbidden[:, None]
    w = scores.softmax(-1)
    return (w.to(v.dtype).flatten(0, 1) @ v.reshape(flat)).view(q.shape), w


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_1 = Norm(width)
        self.attention = Attention(width, heads)
        self.norm_2 = Norm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, feed_forward), nn.GELU(), nn.Linear(feed_forward, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        weights: bool = False,
        first: int | None = None,
        among: Among | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `Attention.forward`; (batch, first, width) where only the first tokens go on."""
        y, w = self.attention(self.norm_1(x), mask, weights, first, among)
        x = x[:, :first] + self.dropout(y)
        return x + self.dropout(self.feed_forward(self.norm_2(x))), w
