"""What a record tells beside its waves, as vectors: when its beats come, its rhythm, how tall it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TYPICAL_SCALE = 0.2  # mV; SD of a lead of an ordinary ECG: the origin of the log-scale axis


class Timing(nn.Module):
    """When a beat comes: its R-peak time and the RR intervals around it, as one vector."""

    PERIODS = (0.5, 20.0)  # s; shortest and longest wave of the encoding
    omega: Tensor

    def __init__(self, width: int, waves: int = 16) -> None:
        super().__init__()
        short, long = self.PERIODS
        periods = short * (long / short) ** (torch.arange(waves) / (waves - 1))
        self.register_buffer("omega", 2 * math.pi / periods, persistent=False)
        self.time = nn.Linear(2 * waves, width)
        self.rr = nn.Sequential(nn.Linear(5, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, seconds: Tensor, there: Tensor) -> Tensor:
        """(batch, beat, width) from R-peak times (batch, beat) s; an interval needs both its beats."""
        angle = torch.where(there, seconds, 0.0).float()[..., None] * self.omega
        gap, both = _log_intervals(seconds.float(), there)
        gap = torch.where(both, gap, 0.0)
        known = both.float()
        edge = known.new_zeros(known.shape[0], 1)
        before, known_before = torch.cat([edge, gap], 1), torch.cat([edge, known], 1)
        after, known_after = torch.cat([gap, edge], 1), torch.cat([known, edge], 1)
        change = (after - before) * known_before * known_after
        rr = torch.stack([before, known_before, after, known_after, 4 * change], dim=-1)
        return self.time(torch.cat([angle.sin(), angle.cos()], -1)) + self.rr(rr)


TYPICAL_RR = 0.8  # s; 75 beats/min
N_NUMBERS = 5  # of the rhythm, beside two flags: that there is a rate, and that there are several intervals
TENTS = tuple(k / 2 for k in range(-5, 6))  # tops of the tents over each number, each as wide as two steps
N_RHYTHM = N_NUMBERS * (1 + len(TENTS))


def rhythm(seconds: Tensor, there: Tensor) -> Tensor:
    """Rate and irregularity of the whole record, from R-peak times (batch, beat) s.

    From the logarithms of the RR intervals whose two beats are both there: their mean (against 0.8 s),
    spread, mean change from one to the next, and how far the shortest and the longest stand off.

    Returns
    -------
    (batch, 7) the five numbers, each of about unit size over ordinary records; whether there is a rate, and
    whether there are two intervals in a row, without which only the first number means anything

    """
    gap, known = _log_intervals(_wide(seconds), there)  # small differences of large numbers
    gap = torch.where(known, gap - math.log(TYPICAL_RR), 0.0)
    n = known.sum(1, keepdim=True)
    mean = gap.sum(1, keepdim=True) / n.clamp_min(1)
    off = torch.where(known, gap - mean, 0.0)
    spread = off.square().sum(1, keepdim=True) / n.clamp_min(1)
    pairs = known[:, 1:] & known[:, :-1]
    change = torch.where(pairs, gap[:, 1:] - gap[:, :-1], 0.0).abs().sum(1, keepdim=True)
    change = change / pairs.sum(1, keepdim=True).clamp_min(1)
    edge = off.new_zeros(len(off), 1)  # so that a record of one beat has a shortest interval too
    off = torch.cat([off, edge], 1)
    shortest, longest = off.amin(1, keepdim=True), off.amax(1, keepdim=True)
    rate, several = (n > 0).float(), pairs.any(1, keepdim=True).float()
    # a floor of 2 % of an interval under the spreads
    irregular = [(x + 4e-4).log() / 2 + 3 for x in (spread, change.square())]
    parts = [4 * mean, *(several * x for x in irregular), 4 * shortest, 4 * longest, rate, several]
    return torch.cat(parts, 1).float()


def rhythm_in_tents(seconds: Tensor, there: Tensor) -> Tensor:
    """(batch, N_RHYTHM) the numbers of `rhythm`, and how near each lies to each of `TENTS`; NaN: not known.

    A sinus arrhythmia is neither the calmest nor the most restless of rhythms: what is linear in the numbers
    cannot tell it, what is linear in these can.
    """
    told = rhythm(seconds, there)
    number, rate, several = told.split([N_NUMBERS, 1, 1], dim=1)
    tops = torch.tensor(TENTS, device=told.device)
    near = (1 - 2 * (number.clamp(TENTS[0], TENTS[-1])[..., None] - tops).abs()).clamp_min(0)
    known = torch.cat([rate, several.expand(-1, N_NUMBERS - 1)], 1) > 0
    number = torch.where(known, number, torch.nan)
    return torch.cat([number, torch.where(known[..., None], near, torch.nan).flatten(1)], 1)


class Rhythm(nn.Module):
    """`rhythm` as one vector for the lead tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(N_NUMBERS + 2, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, seconds: Tensor, there: Tensor) -> Tensor:
        """(batch, width) from R-peak times (batch, beat) s."""
        return self.embed(rhythm(seconds, there))


def _wide(x: Tensor) -> Tensor:
    """In float64, where the device knows it."""
    try:
        return x.double()
    except TypeError:
        return x.float()


def _log_intervals(seconds: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, beat - 1) log of the RR intervals in s, and whether both beats of each are there."""
    seconds = torch.where(there, seconds, 0.0)  # a slot that is not there may hold anything
    both = there[:, 1:] & there[:, :-1]
    return (seconds[:, 1:] - seconds[:, :-1]).clamp(0.2, 4.0).log(), both


class LeadScale(nn.Module):
    """The lead scale as a vector for the lead token: log mV, or a learned "unknown"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.known = nn.Sequential(nn.Linear(1, 64), nn.GELU(), nn.Linear(64, width))
        self.unknown = nn.Parameter(torch.zeros(width))

    def forward(self, scale: Tensor, known: Tensor) -> Tensor:
        log = (scale / TYPICAL_SCALE).log().clamp(-4, 4)
        return torch.where(known[..., None], self.known(log[..., None]), self.unknown)
