"""What the visible leads tell of a hidden one by linear regression: where the decoder starts from.

At each sample of a hidden beat b[l, j] the regression reads what the decoder's attention may see: the
same beat in the other leads, and its own lead through the mean of the beats of it that are visible. Its
coefficients follow from two 12 x 12 matrices of second moments for whatever is visible; the decoder
adds what is not linear.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from clear_hug.batch import Beats
from clear_hug.leads import N_LEADS

RIDGE = 1e-4  # added to each second moment, as a share of their mean: six of the twelve leads are sums
FLOOR = 1e-3  # the same where records are weighed
FREEDOM = 4.0  # of the Student t distribution
REWEIGHTED = 4  # times; then the weights stand still


class LeadRegression(nn.Module):
    """Regression of a hidden beat, without an intercept, so that a gain of the record stays a gain.

    `moments` (2, 2, 12, 12) holds, in mV and in units of each lead's own scale, E[x_i x_l] of one beat
    in leads i and l, and E[x_i m_l], where m_l is the mean of the lead's other beats. Zero until `fit`:
    then nothing is foretold, and the decoder does all.
    """

    moments: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("moments", torch.zeros(2, 2, N_LEADS, N_LEADS))

    @torch.no_grad()
    def fit(self, batches: Iterable[Beats]) -> None:
        """Estimate the moments from records; in mV from those whose units are known, by shape from all.

        Each record counts by its own power, so that high voltage rules no other record, and the less the
        further its leads stand from what the others' regression allows, as under a Student t distribution:
        an electrode off or a lead of noise tells nothing of how leads go together.
        """
        found = [_of_records(beats) for beats in batches]
        for unit in range(2):
            records = torch.cat([one[unit] for one in found], dim=2)
            if not records.shape[2]:
                continue
            weight = torch.ones(records.shape[2], dtype=records.dtype, device=records.device)
            for _ in range(REWEIGHTED):
                sums = torch.einsum("r,knril->knil", weight, records)
                moments = sums[:, 0] / sums[:, 1].clamp_min(1)
                own = moments[0] + FLOOR * moments[0].diagonal().mean() * torch.eye(N_LEADS).to(moments)
                samples = records[0, 1].diagonal(dim1=1, dim2=2).mean(1).clamp_min(1)
                away = torch.einsum("ril,il->r", records[0, 0], torch.linalg.inv(own)) / samples
                weight = (FREEDOM + N_LEADS) / (FREEDOM + away)
            self.moments[unit] = moments

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
        seen = torch.where(beats.there[..., None] & beats.inside[:, None], beats.values.float(), 0.0)
        seen = torch.where(known, seen, seen / scale[..., None, None])
        n = (beats.there[..., None] & beats.inside[:, None]).sum(2).clamp_min(1)
        mean = seen.sum(2) / n  # (batch, 12, 96)
        record, lead, beat = wanted.nonzero(as_tuple=True)
        weights, share = self._weights(beats, record, lead, beat)
        told = torch.einsum("wi,wis->ws", weights[:, :N_LEADS], seen[record, :, beat])
        told = told + weights[:, N_LEADS:] * mean[record, lead]
        at = (record, lead, beat)
        return torch.zeros_like(seen).index_put(at, told), seen.new_zeros(wanted.shape).index_put(at, share)

    @torch.no_grad()
    def _weights(self, beats: Beats, record: Tensor, lead: Tensor, beat: Tensor) -> tuple[Tensor, Tensor]:
        """(wanted, 13) coefficients of the twelve leads' same beat and of the own lead's mean beat.

        And (wanted,) the share of the power that they explain.
        """
        moments = self.moments[(~beats.units_known).long()]
        n = beats.there.sum(2)[record, lead].to(moments.dtype)
        own, across = moments[:, 0][record], moments[:, 1].transpose(1, 2)[record, lead]
        mean_self = across.gather(1, lead[:, None])[:, 0]
        power = own.diagonal(dim1=1, dim2=2).gather(1, lead[:, None])[:, 0]
        spread = power - mean_self
        gram = own.new_zeros(len(record), N_LEADS + 1, N_LEADS + 1)
        gram[:, :N_LEADS, :N_LEADS] = own
        gram[:, :N_LEADS, N_LEADS] = gram[:, N_LEADS, :N_LEADS] = across
        gram[:, N_LEADS, N_LEADS] = mean_self + spread.clamp_min(0) / n.clamp_min(1)
        asked = torch.cat([own[torch.arange(len(lead), device=lead.device), lead], mean_self[:, None]], 1)
        usable = torch.cat([beats.there[record, :, beat], n[:, None] > 0], 1)
        floor = RIDGE * own.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
        gram = torch.where(usable[:, :, None] & usable[:, None, :], gram, 0.0)
        gram = gram + torch.diag_embed(torch.where(usable, floor[:, None], 1.0))
        asked = torch.where(usable, asked, 0.0)
        solved = torch.linalg.solve(gram, asked)
        share = ((solved * asked).sum(1) / power.clamp_min(1e-12)).clamp(0, 1)
        return solved, share


def _of_records(beats: Beats) -> tuple[Tensor, Tensor]:
    """(kind, sum or count, record, 12, 12) second moments of each record: in mV over its power, by shape.

    kind : of one beat in two leads, and of one beat and the mean of a lead's other beats
    """
    scale, _ = beats.lead_scale()
    there = (beats.there[..., None] & beats.inside[:, None]).double()
    values = torch.where(there > 0, beats.values, 0.0).double()
    power = values.square().sum((1, 2, 3)) / there.sum((1, 2, 3)).clamp_min(1)
    units = []
    for divisor, rows in (
        (power.clamp_min(1e-12).sqrt()[:, None].expand_as(scale), beats.units_known),
        (scale.double(), torch.ones_like(beats.units_known)),
    ):
        x, known = (values / divisor[..., None, None])[rows], there[rows]
        others, n = x.sum(2, keepdim=True) - x, known.sum(2, keepdim=True) - known
        both = known * (n > 0)
        kinds = [(x, known), (others / n.clamp_min(1) * both, both)]
        units.append(
            torch.stack(
                [
                    torch.stack([torch.einsum("bijs,bljs->bil", a, b) for a, b in ((x, y), (known, seen))])
                    for y, seen in kinds
                ]
            )
        )
    return units[0], units[1]
