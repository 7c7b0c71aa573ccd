"""Masked attention of short sequences on a GPU, each head of a record by one program. Needs Triton.

A record is some dozens of tokens: all keys of a head lie in one tile, so that scores never leave the chip,
and the gradient takes them anew from queries and keys alone. Ready-made attention is made for long sequences,
and fills its tiles with nothing here. `attention.Attention` uses it where it can; the results are the same
but for rounding.

Source: the tiling of Dao, "FlashAttention-2", arXiv 2307.08691, without its loop over keys.
"""

from __future__ import annotations

import functools
import warnings

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 8192  # numbers of a tile of keys at most; they and their gradient stand in registers
HEADS = 2048  # of a batch, one by one, at least: of fewer torch's own attention is started faster
ROWS = 64  # queries at a time
WARPS = 4
LENGTHS = ["n_asks", "n_asked", "keys", "mask_b", "mask_q"]
"""What differs from batch to batch: nothing is compiled anew for it."""
LOG2_E = 1.4426950408889634


def fits(dtype: torch.dtype, heads: int, keys: int, width: int) -> bool:
    """Whether so many heads (over a batch) of `width` numbers are worth it, and their keys fit in a tile."""
    return dtype is torch.bfloat16 and heads >= HEADS and keys <= TILE // _power(width)


@torch.compiler.assume_constant_result
def works(device: int) -> bool:
    """Whether Triton works on this machine: it needs a C compiler. Where it does not, that is said once."""
    return _works(device)


@functools.cache
def _works(device: int) -> bool:
    try:
        x = torch.zeros(1, 256, 96, dtype=torch.bfloat16, device=device)
        start = torch.zeros(1, dtype=torch.long, device=device)
        for begin, packed in ((None, x), (start, x), (None, x.view(1, 64, 384)[..., :288].contiguous())):
            y = attend(None, packed, None, 1, begin)
            _gradient(y, None, packed, None, 1, begin, packed.shape[1])
    except torch.OutOfMemoryError:
        raise  # that says nothing of Triton
    except Exception as error:
        warnings.warn(
            f"Triton does not work here ({error}); attention is torch's own, and slower.", stacklevel=2
        )
        return False
    return True


def attend(
    asks: Tensor | None,
    packed: Tensor,
    mask: Tensor | None,
    heads: int,
    start: Tensor | None = None,
    keys: int | None = None,
) -> Tensor:
    """(batch, query, width) what the queries find under a mask.

    Parameters
    ----------
    asks : (batch, query, width), queries of the first tokens; None where `packed` holds those of all
    packed : (batch, token, 2 width) keys and values of all, or 3 width, queries before them; head by head
    mask : (batch, query, token) bool, True = may attend; None = all may
    start, keys : (batch,) int and how many; a token is seen by another only if it is one of so many from
        `start` on, and all others by themselves. None: any is

    """
    keys = packed.shape[1] if keys is None else keys
    asks = None if asks is None else asks.contiguous()
    return _attend(asks, packed.contiguous(), mask, heads, start, keys)


@triton.jit
def _scores(
    asks, all_keys, mask, rows, cols, n_asks, n_asked, mask_q, mask_k, scale, last, MASKED: tl.constexpr
):
    """Of some rows, in powers of two."""
    s = tl.dot(asks, tl.trans(all_keys)) * scale
    may = (cols < last)[None, :]
    if MASKED:
        asking = (rows < n_asks)[:, None]
        seen = tl.load(mask + rows[:, None] * mask_q + cols[None, :] * mask_k, asking & may, other=0)
        may = may & ((seen != 0) | ~asking)  # rows beyond the last may, so that nothing is divided by none
    return tl.where(may, s, -float("inf"))


@triton.jit(do_not_specialize=LENGTHS)
def _forward(
    q, k, v, mask, start, y, n_asks, n_asked, keys, heads, width, scale,
    q_b, q_n, k_b, k_n, mask_b, mask_q, mask_k, y_b, y_n,
    MASKED: tl.constexpr, ALONE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    of = tl.program_id(0).to(tl.int64)
    b, h = of // heads, of % heads
    first, wide = 0, tl.arange(0, WIDE)
    if ALONE:
        first = tl.load(start + b).to(tl.int32)
    last = min(first + keys, n_asked)
    cols = first + tl.arange(0, COLS)
    q, k, v = q + b * q_b + h * width, k + b * k_b + h * width, v + b * k_b + h * width
    y, mask = y + b * y_b + h * width, mask + b * mask_b
    is_wide = (wide < width)[None, :]
    here = (cols < last)[:, None] & is_wide
    all_keys = tl.load(k + cols[:, None] * k_n + wide[None, :], here, other=0)
    values = tl.load(v + cols[:, None] * k_n + wide[None, :], here, other=0)
    for begin in range(0, n_asks, ROWS):
        rows = begin + tl.arange(0, ROWS)
        there = (rows < n_asks)[:, None] & is_wide
        asks = tl.load(q + rows[:, None] * q_n + wide[None, :], there, other=0)
        s = _scores(asks, all_keys, mask, rows, cols, n_asks, n_asked, mask_q, mask_k, scale, last, MASKED)
        most = tl.max(s, 1)
        if ALONE:
            at = rows[:, None] * k_n + wide[None, :]
            own = tl.sum(asks.to(tl.float32) * tl.load(k + at, there, other=0).to(tl.float32), 1) * scale
            own = tl.where((rows < first) | (rows >= last), own, -float("inf"))
            most = tl.maximum(most, own)
        p = tl.exp2(s - most[:, None])
        total = tl.sum(p, 1)
        if ALONE:
            of_own = tl.exp2(own - most)
            total += of_own
        found = tl.dot(p.to(values.dtype), values)
        if ALONE:
            found += of_own[:, None] * tl.load(v + at, there, other=0).to(tl.float32)
        found = found / total[:, None]
        tl.store(y + rows[:, None] * y_n + wide[None, :], found.to(values.dtype), there)


@triton.jit(do_not_specialize=LENGTHS)
def _backward(
    q, k, v, mask, start, dy, dq, dk, dv, n_asks, n_asked, keys, heads, width, scale, slope,
    q_b, q_n, k_b, k_n, mask_b, mask_q, mask_k, dy_b, dy_n, dq_b, dq_n, dk_b, dk_n,
    MASKED: tl.constexpr, ALONE: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    of = tl.program_id(0).to(tl.int64)
    b, h = of // heads, of % heads
    first, wide = 0, tl.arange(0, WIDE)
    if ALONE:
        first = tl.load(start + b).to(tl.int32)
    last = min(first + keys, n_asked)
    cols = first + tl.arange(0, COLS)
    q, k, v = q + b * q_b + h * width, k + b * k_b + h * width, v + b * k_b + h * width
    dq, dk, dv = dq + b * dq_b + h * width, dk + b * dk_b + h * width, dv + b * dk_b + h * width
    dy, mask = dy + b * dy_b + h * width, mask + b * mask_b
    is_wide = (wide < width)[None, :]
    here = (cols < last)[:, None] & is_wide
    all_keys = tl.load(k + cols[:, None] * k_n + wide[None, :], here, other=0)
    values = tl.load(v + cols[:, None] * k_n + wide[None, :], here, other=0)
    of_keys = tl.zeros([COLS, WIDE], tl.float32)
    of_values = tl.zeros([COLS, WIDE], tl.float32)
    end = n_asks
    if ALONE:
        end = n_asked  # who asks nothing and is asked by none learns nothing: that is to be written too
    for begin in range(0, end, ROWS):
        rows = begin + tl.arange(0, ROWS)
        there = (rows < n_asks)[:, None] & is_wide
        asks = tl.load(q + rows[:, None] * q_n + wide[None, :], there, other=0)
        of_y = tl.load(dy + rows[:, None] * dy_n + wide[None, :], there, other=0)
        s = _scores(asks, all_keys, mask, rows, cols, n_asks, n_asked, mask_q, mask_k, scale, last, MASKED)
        most = tl.max(s, 1)
        if ALONE:
            at = rows[:, None] * k_n + wide[None, :]
            key = tl.load(k + at, there, other=0).to(tl.float32)
            own = tl.sum(asks.to(tl.float32) * key, 1) * scale
            alone = (rows < first) | (rows >= last)
            own = tl.where(alone, own, -float("inf"))
            most = tl.maximum(most, own)
        p = tl.exp2(s - most[:, None])
        total = tl.sum(p, 1)
        if ALONE:
            of_own = tl.exp2(own - most)
            total += of_own
            of_own = of_own / total
        p = p / total[:, None]
        of_p = tl.dot(of_y, tl.trans(values))
        mean = tl.sum(p * of_p, 1)
        if ALONE:
            value = tl.load(v + at, there, other=0).to(tl.float32)
            of_own_p = tl.sum(of_y.to(tl.float32) * value, 1)
            mean += of_own * of_own_p
        of_s = (p * (of_p - mean[:, None]) * slope).to(asks.dtype)
        of_values += tl.dot(tl.trans(p.to(of_y.dtype)), of_y)
        of_keys += tl.dot(tl.trans(of_s), asks)
        of_asks = tl.dot(of_s, all_keys)
        if ALONE:
            of_own_s = of_own * (of_own_p - mean) * slope
            of_asks += of_own_s[:, None] * key
            outside = (alone & (rows < n_asked))[:, None] & is_wide
            at = rows[:, None] * dk_n + wide[None, :]
            tl.store(dk + at, (of_own_s[:, None] * asks.to(tl.float32)).to(asks.dtype), outside)
            tl.store(dv + at, (of_own[:, None] * of_y.to(tl.float32)).to(asks.dtype), outside)
        tl.store(dq + rows[:, None] * dq_n + wide[None, :], of_asks.to(asks.dtype), there)
    tl.store(dk + cols[:, None] * dk_n + wide[None, :], of_keys.to(all_keys.dtype), here)
    tl.store(dv + cols[:, None] * dk_n + wide[None, :], of_values.to(values.dtype), here)


def _power(n: int) -> int:
    """The next power of two that a tile may have."""
    return max(16, triton.next_power_of_2(n))


def _parts(asks: Tensor | None, packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, (batch, token, width) each."""
    *own, k, v = packed.chunk(3 if asks is None else 2, -1)
    return (own[0] if asks is None else asks), k, v


def _common(q: Tensor, k: Tensor, mask: Tensor | None, start: Tensor | None, heads: int, keys: int):
    """What both kernels take: sizes, strides, and the shapes of tiles."""
    width = q.shape[-1] // heads
    strides = (0, 0, 0) if mask is None else mask.stride()
    sizes = (q.shape[1], k.shape[1], keys, heads, width)
    tiles = {
        "MASKED": mask is not None,
        "ALONE": start is not None,
        "ROWS": ROWS,
        "COLS": _power(keys),
        "WIDE": _power(width),
        "num_warps": WARPS,
        "num_stages": 1,
    }
    return sizes, (*q.stride()[:2], *k.stride()[:2], *strides), tiles


@torch.library.custom_op("clear_hug::attend", mutates_args=())
def _attend(
    asks: Tensor | None, packed: Tensor, mask: Tensor | None, heads: int, start: Tensor | None, keys: int
) -> Tensor:
    q, k, v = _parts(asks, packed)
    y = q.new_empty(q.shape)
    sizes, strides, tiles = _common(q, k, mask, start, heads, keys)
    seen = q if mask is None else mask.view(torch.uint8)
    _forward[(len(q) * heads,)](
        q, k, v, seen, q if start is None else start, y,
        *sizes, sizes[-1] ** -0.5 * LOG2_E, *strides, *y.stride()[:2], **tiles,
    )  # fmt: skip
    return y


@_attend.register_fake
def _(asks, packed, mask, heads, start, keys):
    q, _, _ = _parts(asks, packed)
    return q.new_empty(q.shape)


@torch.library.custom_op("clear_hug::attend_backward", mutates_args=())
def _gradient(
    dy: Tensor,
    asks: Tensor | None,
    packed: Tensor,
    mask: Tensor | None,
    heads: int,
    start: Tensor | None,
    keys: int,
) -> tuple[Tensor, Tensor]:
    """The gradients of `asks` (of nothing where that is None) and of `packed`."""
    q, k, v = _parts(asks, packed)
    dy = dy.contiguous()
    of_asks, of_packed = _like(asks, packed)
    dq, dk, dv = _parts(None if asks is None else of_asks, of_packed)
    sizes, strides, tiles = _common(q, k, mask, start, heads, keys)
    seen = q if mask is None else mask.view(torch.uint8)
    slope = sizes[-1] ** -0.5
    _backward[(len(q) * heads,)](
        q, k, v, seen, q if start is None else start, dy, dq, dk, dv,
        *sizes, slope * LOG2_E, slope, *strides,
        *dy.stride()[:2], *dq.stride()[:2], *dk.stride()[:2], **tiles,
    )  # fmt: skip
    return of_asks, of_packed


@_gradient.register_fake
def _(dy, asks, packed, mask, heads, start, keys):
    return _like(asks, packed)


def _like(asks: Tensor | None, packed: Tensor) -> tuple[Tensor, Tensor]:
    return packed.new_empty(0 if asks is None else asks.shape), packed.new_empty(packed.shape)


def _keep(ctx, inputs, output):
    asks, packed, mask, ctx.heads, start, ctx.keys = inputs
    ctx.save_for_backward(asks, packed, mask, start)


def _back(ctx, dy):
    asks, packed, mask, start = ctx.saved_tensors
    of_asks, of_packed = _gradient(dy, asks, packed, mask, ctx.heads, start, ctx.keys)
    return (None if asks is None else of_asks), of_packed, None, None, None, None


_attend.register_autograd(_back, setup_context=_keep)
