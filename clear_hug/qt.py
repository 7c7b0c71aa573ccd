"""The QTc of a record as the model reads it: from its beat tokens, whatever their unit.

The median beat over its leads, each over its own scale, is one cycle of the heart; tokens reach to the middle
between two R peaks, and from there the part in front of the R peak goes on. The T wave ends where the tangent
at its steepest fall meets the level in front of the next P wave. `measure` does this on the whole trace, at
its own rate: here it is what 0.96 s around each R peak tell.

Source: Lepeschkin & Surawicz, Circulation 1952;6:378, of the tangent; Bazett, Heart 1920;7:353.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clear_hug.batch import Beats

FS, R_PEAK, SAMPLES = 100, 48, 96  # Hz; the sample of a token at its R peak; samples of a token
ONSET = 0.045  # s; usual time from the beginning of the QRS complex to the R peak
J_POINT = 0.05  # s from the R peak to the end of a usual QRS complex
WIDEST = 0.06  # s; more is not taken off for a wide one
SLOPE = 0.2  # of the steepest of the QRS complex: below it the complex has ended
AROUND = (0.12, 0.18)  # s before and after the R peak in which its slopes are looked at
ST = 0.14  # s after the R peak, from which T waves are looked for
SEEN, OF_RR = 0.47, 0.6  # until when: s, farther no token sees; RR intervals, then the next P wave begins
LEAST = 8  # samples of that
FLAT = 0.1  # lead scales; less is no T wave
LONG = 0.45  # s; of a T wave whose end is not seen this is told, that its QTc is long, or nothing
FARTHEST = 8.0  # lead scales; more counts as that


@torch.no_grad()
def qtc(beats: Beats) -> Tensor:
    """(batch,) s: QT interval by Bazett, less what a wide QRS complex adds; NaN where it is not known.

    It is not without two beats in a row, without a T wave, above about 160/min, and where the end of T is not
    seen and might be usual.
    """
    there = beats.there.any(1)
    seconds = torch.where(there, beats.seconds, 0.0)
    both = there[:, 1:] & there[:, :-1]
    rr = torch.where(both, seconds[:, 1:] - seconds[:, :-1], 0.0).sum(1) / both.sum(1)
    cycle, known = _cycle(beats, rr)
    at = torch.arange(cycle.shape[-1], device=cycle.device)
    first = R_PEAK + round(ST * FS)
    last = R_PEAK + FS * (OF_RR * rr.nan_to_num()).clamp(max=SEEN)
    last = torch.where(known & (at <= last[:, None]), at, 0).amax(1, keepdim=True)
    flat = R_PEAK - (FS * ((1 - OF_RR) * rr.nan_to_num()).clamp(max=SEEN)).long()[:, None]
    flat = (flat + torch.arange(3, device=flat.device))[:, None].expand(-1, cycle.shape[1], -1)
    wave = (cycle - cycle.gather(2, flat).mean(2, keepdim=True)).square().mean(1).sqrt()
    top = torch.where((at >= first) & (at <= last), wave, -1.0).argmax(1, keepdim=True)
    before, after = wave.roll(1, 1), wave.roll(-1, 1)
    slope = torch.where(at == last, wave - before, (after - before) / 2)
    fall, steepest = torch.where((at >= top) & (at <= last), slope, torch.inf).min(1, keepdim=True)
    end = steepest + wave.gather(1, steepest) / (-fall).clamp_min(1e-9)
    end, last = torch.minimum(end, last)[:, 0], last[:, 0]
    found = (ONSET - _of_wide_qrs(cycle) + (end - R_PEAK) / FS) / rr.sqrt()
    unknown = (last - first < LEAST) | (wave.gather(1, top)[:, 0] < FLAT)
    return torch.where(unknown | ((end >= last - 1) & (found < LONG)), torch.nan, found)


def _cycle(beats: Beats, rr: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, 12, 120) median beat in lead scales, and from the middle of RR on the next; where known."""
    inside = beats.there[..., None] & beats.inside[:, None]
    n = inside.sum(2)
    ordered = beats.values.float().masked_fill(~inside, torch.inf).sort(2).values
    beat = ordered.gather(2, ((n - 1).clamp_min(0) // 2)[:, :, None])[:, :, 0]
    scale, _ = beats.lead_scale()
    beat = torch.where(n > 0, beat / scale[..., None], 0.0).clamp(-FARTHEST, FARTHEST)
    enough = (2 * n >= beats.there.sum(2)[..., None]) & (n > 0)
    at = torch.arange(SAMPLES + SAMPLES // 4, device=beat.device)
    samples = (FS * rr).nan_to_num().round().long()[:, None]
    source = torch.where(2 * (at - R_PEAK) < samples, at, at - samples)
    known = (source >= 0) & (source < SAMPLES)
    source = source.clamp(0, SAMPLES - 1)
    known = known & enough.any(1).gather(1, source)
    return beat.gather(2, source[:, None].expand(-1, beat.shape[1], -1)), known


def _of_wide_qrs(cycle: Tensor) -> Tensor:
    """(batch,) s by which the QRS complex ends later than a usual one."""
    before, after = (round(FS * t) for t in AROUND)
    steep = cycle[..., R_PEAK - before : R_PEAK + after].diff(dim=2).square().mean(1).sqrt()
    in_qrs = steep > SLOPE * steep.amax(1, keepdim=True)
    end = torch.where(in_qrs, torch.arange(steep.shape[1], device=steep.device), 0).amax(1)
    return ((end + 1 - before) / FS - J_POINT).clamp(0, WIDEST)
