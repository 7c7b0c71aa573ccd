"""What the visible leads tell of a hidden one by linear regression: where the decoder starts from.

A beat is what the beats of its record share and what is its own. Two matrices of second moments tell how
these two go together over leads, and over some samples before and after, for a wave does not reach all
leads at once. From them follows, for whatever is visible, the best linear guess of a hidden beat: from the
same beat in the other leads, and from the mean of each lead's visible beats. `LeadKernel` and the decoder add
what is not linear.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clear_hug.batch import Beats
from clear_hug.leads import N_LEADS

LAGS = (0, -6, -2, 2, 6)  # samples of 10 ms at which the same beat is read in other leads; 0 stands first
N_READ = len(LAGS) * N_LEADS
RIDGE = 1e-4  # added to each second moment, as a share of their mean: six of the twelve leads are sums
FLOOR = 1e-3  # the same where records are weighed
FREEDOM = 4.0  # of the Student t distribution
REWEIGHTED = 4  # times; then the weights stand still
UNITS = 2  # mV, and each lead's own scale
FARTHEST = 20.0  # of those scales; more counts as that: a lead may be all but flat where it is seen


class LeadRegression(nn.Module):
    """Regression of a hidden beat, without an intercept, so that a gain of the record stays a gain.

    `shared` and `own` (2, 60, 60) hold E[x x'] of what the beats of a record share and of what is a
    beat's own, in mV and in units of each lead's own scale, where x are the twelve leads at the first of
    `LAGS`, then at the second, and so on. Zero until `fit`: then nothing is foretold, and the decoder does
    all.
    """

    shared: Tensor
    own: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shared", torch.zeros(UNITS, N_READ, N_READ))
        self.register_buffer("own", torch.zeros(UNITS, N_READ, N_READ))

    @property
    def power(self) -> Tensor:
        """(2, 12) mean square of each lead."""
        return (self.shared + self.own)[:, :N_LEADS, :N_LEADS].diagonal(dim1=1, dim2=2)

    @torch.no_grad()
    def fit(self, batches: Iterable[Beats]) -> None:
        """Estimate the moments from records; in mV from those whose units are known, by shape from all.

        Each record counts by its own power, so that high voltage rules no other record, and the less the
        further its leads stand from what the others' regression allows, as under a Student t distribution:
        an electrode off or a lead of noise tells nothing of how leads go together.
        """
        batches = list(batches)
        for unit in range(UNITS):
            records = [_leads_alone(*_in_unit(beats, unit)) for beats in batches]
            if not sum(one.shape[1] for one in records):
                continue
            weights = _trust(torch.cat(records, 1)).split([one.shape[1] for one in records])
            sums = torch.zeros(2, 2, N_READ, N_READ, dtype=torch.float64)
            for beats, weight in zip(batches, weights, strict=True):
                sums += _of_records(*_in_unit(beats, unit), weight).to(sums)
            beat, others = (total / n.clamp_min(1) for total, n in sums)
            shared = _definite(others)
            self.shared[unit] = shared
            self.own[unit] = _definite(beat - shared)

    def forward(self, beats: Beats, scale: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Foretell the tokens of `wanted` from those that are there.

        Parameters
        ----------
        beats : Beats, the hidden tokens not there
        scale : (batch, 12), of the leads, as `Beats.lead_scale` gives it
        wanted : (batch, 12, beat) bool

        Returns
        -------
        foretold : (batch, 12, beat, 96) where `wanted`, 0 elsewhere: in mV where units are known, else in
            units of each lead's scale
        share : (batch, 12, beat) of the token's power that is to be expected in it, from 0 to 1

        """
        known = beats.units_known[:, None, None, None]
        inside = beats.there[..., None] & beats.inside[:, None]
        seen = torch.where(inside, beats.values.float(), 0.0)
        by_shape = (seen / scale[..., None, None]).clamp(-FARTHEST, FARTHEST)
        seen = torch.where(known, seen, by_shape)
        mean = seen.sum(2) / inside.sum(2).clamp_min(1)  # (batch, 12, 96)
        record, beat = wanted.any(1).nonzero(as_tuple=True)
        weights, share = self._weights(beats, record, beat)
        told = weights @ torch.cat([_read(seen[record, :, beat]), mean[record]], 1)
        asked = wanted[record, :, beat]
        full, shares = torch.zeros_like(seen), seen.new_zeros(wanted.shape)
        at = (record[:, None], torch.arange(N_LEADS, device=beat.device), beat[:, None])
        full = full.index_put(at, torch.where(asked[..., None], told, 0.0))
        return full, shares.index_put(at, torch.where(asked, share, 0.0))

    @torch.no_grad()
    def _weights(self, beats: Beats, record: Tensor, beat: Tensor) -> tuple[Tensor, Tensor]:
        """(some, 12, 72) coefficients for each lead of some beats: of the same beat, and of the mean beats.

        And (some, 12) the share of the power that they explain.
        """
        unit = (~beats.units_known).long()[record]
        shared, own = _in_double(self.shared), _in_double(self.own)
        unit, record, beat = (x.to(own.device) for x in (unit, record, beat))
        visible = beats.there.to(own)
        there = visible[record, :, beat] > 0
        together = (visible @ visible.transpose(1, 2))[record]  # beats in which both leads are seen
        n = together.diagonal(dim1=1, dim2=2)
        # a mean of n beats holds what they share, and an n-th of what is the own of each
        in_mean = there / n.clamp_min(1)
        overlap = together / (n[:, :, None] * n[:, None]).clamp_min(1)
        beside, alone = (x[:, :, :N_LEADS].contiguous() for x in (shared, own))
        with_mean = beside[unit] + alone[unit] * in_mean[:, None]
        of_means = beside[:, :N_LEADS][unit] + alone[:, :N_LEADS][unit] * overlap
        gram = with_mean.new_empty(len(unit), N_READ + N_LEADS, N_READ + N_LEADS)
        gram[:, :N_READ, :N_READ] = (shared + own)[unit]
        gram[:, :N_READ, N_READ:] = with_mean
        gram[:, N_READ:, :N_READ] = with_mean.transpose(1, 2)
        gram[:, N_READ:, N_READ:] = of_means
        diagonal = gram.diagonal(dim1=1, dim2=2)
        power = diagonal[:, :N_LEADS].clone()
        usable = torch.cat([there.repeat(1, len(LAGS)), n > 0], 1)
        asked = gram[:, :, :N_LEADS] * usable[..., None]
        gram *= usable[:, :, None] & usable[:, None, :]
        floor = RIDGE * power.mean(1, keepdim=True).clamp_min(1e-12)
        diagonal += torch.where(usable, floor, 1.0)
        lower, _ = torch.linalg.cholesky_ex(gram)
        solved = torch.linalg.solve_triangular(lower, asked, upper=False)
        solved = torch.linalg.solve_triangular(lower.mT, solved, upper=True)
        share = ((solved * asked).sum(1) / power.clamp_min(1e-12)).clamp(0, 1)
        return solved.transpose(1, 2).to(self.own), share.to(self.own)


def _in_double(x: Tensor) -> Tensor:
    """In float64, on the CPU where its own device knows none."""
    try:
        return x.double()
    except TypeError:
        return x.cpu().double()


def _read(x: Tensor) -> Tensor:
    """(some, 60, 96): (some, 12, 96) at each of `LAGS`, 0 beyond its ends."""
    most, n = max(map(abs, LAGS)), x.shape[-1]
    padded = F.pad(x, (most, most))
    return torch.cat([padded[..., most + lag : most + lag + n] for lag in LAGS], 1)


def _in_unit(beats: Beats, unit: int) -> tuple[Tensor, Tensor]:
    """(record, 12, beat, 96) samples, and where there are any, of the records that are known in a unit.

    In mV (0) over the record's own power, or by shape (1), over the lead's scale.
    """
    scale, _ = beats.lead_scale()
    there = (beats.there[..., None] & beats.inside[:, None]).double()
    values = torch.where(there > 0, beats.values, 0.0).double()
    if unit == 1:
        return values / scale.double()[..., None, None], there
    power = values.square().sum((1, 2, 3)) / there.sum((1, 2, 3)).clamp_min(1)
    values = values / power.clamp_min(1e-12).sqrt()[:, None, None, None]
    return values[beats.units_known], there[beats.units_known]


def _leads_alone(x: Tensor, there: Tensor) -> Tensor:
    """(sum or count, record, 12, 12) second moments of each record."""
    return torch.stack([torch.einsum("rijs,rljs->ril", one, one) for one in (x, there)])


def _trust(records: Tensor) -> Tensor:
    """(record,) how much each counts, by its second moments (sum or count, record, 12, 12)."""
    weight = records.new_ones(records.shape[1])
    for _ in range(REWEIGHTED):
        sums = torch.einsum("r,nril->nil", weight, records)
        moments = sums[0] / sums[1].clamp_min(1)
        own = moments + FLOOR * moments.diagonal().mean() * torch.eye(N_LEADS).to(moments)
        samples = records[1].diagonal(dim1=1, dim2=2).mean(1).clamp_min(1)
        away = torch.einsum("ril,il->r", records[0], torch.linalg.inv(own)) / samples
        weight = (FREEDOM + N_LEADS) / (FREEDOM + away)
    return weight


def _of_records(x: Tensor, there: Tensor, weight: Tensor) -> Tensor:
    """(2, sum or count, 60, 60) moments of a beat with itself, and with the mean of the record's others."""
    others, n = x.sum(2, keepdim=True) - x, there.sum(2, keepdim=True) - there
    both = there * (n > 0)
    by = weight[:, None, None, None] * there
    read = _columns(x)
    weighed = read * weight.float().repeat_interleave(x.shape[2] * x.shape[3])
    pairs = ((read, there), (_columns(others / n.clamp_min(1) * both), both))
    return torch.stack(
        [
            torch.stack(
                [
                    (weighed @ y.T).double(),
                    torch.einsum("rijs,rljs->il", by, seen).repeat(len(LAGS), len(LAGS)),
                ]
            )
            for y, seen in pairs
        ]
    )


def _columns(x: Tensor) -> Tensor:
    """(60, record * beat * 96): each lead at each of `LAGS`, 0 beyond a token's ends."""
    return _read(x.float().transpose(1, 2).flatten(0, 1)).transpose(0, 1).flatten(1)


def _definite(moments: Tensor) -> Tensor:
    """The nearest symmetric matrix without negative eigenvalues: what is estimated need be neither."""
    values, vectors = torch.linalg.eigh((moments + moments.T) / 2)
    return (vectors * values.clamp_min(0)) @ vectors.T
