"""What linear regression leaves open of a hidden beat, by kernel ridge regression on the beat in all leads.

`LeadRegression` reads other leads sample by sample. How a beat goes through them as a whole - where R grows
from V1 to V6, what shape goes with what axis - tells more, and not linearly. Each beat is completed by the
regression and held against beats of the training records, likewise completed: what the regression had
missed in those that are alike, it misses here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clear_hug.batch import Beats
from clear_hug.leads import N_LEADS
from clear_hug.regression import FARTHEST, UNITS, LeadRegression

READ = 64  # numbers that a beat in twelve leads is read as: its principal components
RANK = 96  # of the coefficients
REACH = 0.7  # squared, of the kernel, as a share of the median squared distance of the centres
RIDGE = 0.5  # beside counts of beats
FLOOR = 1e-4  # added to the diagonal, as a share of its mean
OPEN = 0.02  # a lead of which less is open teaches nothing: it is a sum of others
MOST = 0.95  # quantile of the errors; larger ones teach as much as that
A_RECORD = 2  # beats of it, whenever it is hidden


@dataclass(frozen=True, eq=False)
class Whole:
    """Beats in all twelve leads, completed by the regression, in mV or in units of each lead's scale.

    values : (some, 12, 96), over `power`
    open : (some, 12) root of the share of a token's power that the regression does not foretell; 0 where seen
    power : (some,) root mean square of the completed beat
    record, beat : (some,) where it stands in the batch
    """

    values: Tensor
    open: Tensor
    power: Tensor
    record: Tensor
    beat: Tensor


def whole_beats(regression: LeadRegression, beats: Beats, scale: Tensor, wanted: Tensor) -> Whole:
    """Complete the beats of which some lead is wanted and some lead is there.

    Parameters
    ----------
    regression : fitted
    beats : Beats, the hidden tokens not there
    scale : (batch, 12), of the leads, as `Beats.lead_scale` gives it
    wanted : (batch, 12, beat) bool

    """
    asked = wanted.any(1) & beats.there.any(1)
    absent = ~beats.there & asked[:, None]
    foretold, share = regression(beats, scale, absent)
    seen = torch.where(beats.there[..., None], beats.values.float(), 0.0)
    by_shape = (seen / scale[..., None, None]).clamp(-FARTHEST, FARTHEST)
    seen = torch.where(beats.units_known[:, None, None, None], seen, by_shape)
    record, beat = asked.nonzero(as_tuple=True)
    values = torch.where(beats.inside[:, None], seen + foretold, 0.0)[record, :, beat]
    left = torch.where(absent, 1 - share, 0.0).clamp_min(0).sqrt()[record, :, beat]
    power = values.square().mean((1, 2)).clamp_min(1e-24).sqrt()
    return Whole(values / power[:, None, None], left, power, record, beat)


class LeadKernel(nn.Module):
    """Kernel ridge regression on whole beats, in mV and by shape, and on as many beats as it has centres.

    basis (2, 12 * 96, 64) reads a beat; centres (2, centre, 64 + 12) are the beats that others are held
    against, and what was open of them; `reach` (2,) is the kernel's; inner (2, centre, 96) and outer
    (2, 96, 12 * 96) hold the coefficients. Without centres, or before `fit`, it adds nothing.
    """

    basis: Tensor
    centres: Tensor
    reach: Tensor
    inner: Tensor
    outer: Tensor

    def __init__(self, centres: int, token_samples: int = 96) -> None:
        super().__init__()
        n = N_LEADS * token_samples
        shapes = {
            "basis": (n, READ),
            "centres": (centres, READ + N_LEADS),
            "reach": (),
            "inner": (centres, RANK),
            "outer": (RANK, n),
        }
        for name, shape in shapes.items():  # without centres there is nothing to keep
            self.register_buffer(name, torch.zeros(UNITS, *shape), persistent=centres > 0)
        self.reach.fill_(1)

    def forward(self, regression: LeadRegression, beats: Beats, scale: Tensor, wanted: Tensor) -> Tensor:
        """What to add to what the regression foretells.

        Parameters
        ----------
        regression, beats, scale, wanted : as of `whole_beats`

        Returns
        -------
        (batch, 12, beat, 96) where `wanted`, 0 elsewhere and where no lead shows the beat; in mV where
        units are known, else in units of each lead's scale

        """
        out = beats.values.new_zeros(*wanted.shape, beats.values.shape[-1], dtype=torch.float32)
        if not self.centres.shape[1]:
            return out
        whole = whole_beats(regression, beats, scale, wanted)
        shape = (-1, N_LEADS, beats.values.shape[-1])
        for unit in range(UNITS):
            of = (beats.units_known[whole.record] == (unit == 0)).nonzero()[:, 0]
            told = self._alike(unit, whole.values[of], whole.open[of]) @ self.inner[unit] @ self.outer[unit]
            told = told.view(shape) * (whole.open[of] * whole.power[of, None])[..., None]
            record, beat = whole.record[of], whole.beat[of]
            leads = torch.arange(N_LEADS, device=of.device)
            asked = wanted[record, :, beat]
            out = out.index_put(
                (record[:, None], leads, beat[:, None]), torch.where(asked[..., None], told, 0.0)
            )
        return out

    @torch.no_grad()
    def fit(self, regression: LeadRegression, parts: Iterable[tuple[Beats, Tensor]], seed: int = 0) -> None:
        """Learn from whole records what the regression misses of hidden tokens.

        Parameters
        ----------
        regression : fitted on the same records
        parts : batches of records, and the (batch, 12, beat) bool tokens to hide of them

        In mV it learns from records whose units are known, by shape from all.

        """
        generator = torch.Generator().manual_seed(seed)
        drawn: list[list[tuple[Tensor, Tensor, Tensor, Tensor]]] = [[] for _ in range(UNITS)]
        for beats, hidden in parts:
            known = beats.units_known.nonzero()[:, 0]
            by_shape = replace(beats, units_known=torch.zeros_like(beats.units_known))
            for unit, (some, tokens) in enumerate(((beats.take(known), hidden[known]), (by_shape, hidden))):
                if len(tokens):
                    drawn[unit].append(_missed(regression, some, tokens, generator))
        for unit in range(UNITS):
            if any(len(part[0]) for part in drawn[unit]):
                values, left, errors, asked = (torch.cat(part) for part in zip(*drawn[unit], strict=True))
                drawn[unit].clear()
                self._fit(unit, values.float(), left, errors, asked, generator)

    def _fit(
        self,
        unit: int,
        values: Tensor,
        left: Tensor,
        errors: Tensor,
        asked: Tensor,
        generator: torch.Generator,
    ) -> None:
        """Ridge regression of `errors` (some, 12, 96) over `left` on the likeness to some of the beats."""
        flat = values.flatten(1)
        self.basis[unit] = torch.linalg.eigh(flat.T @ flat)[1][:, -READ:]
        some = torch.randperm(len(values), generator=generator)[: self.centres.shape[1]]
        n = len(some)
        self.centres[unit, :n] = torch.cat([flat[some] @ self.basis[unit], left[some]], 1)
        self.reach[unit] = REACH * _apart(self.centres[unit, :n, :READ])
        alike = values.new_empty(len(values), n)
        for at in torch.arange(len(values)).split(4096):
            alike[at] = self._alike(unit, values[at], left[at])[:, :n]
        among = alike[some].double()
        told = []
        for lead in range(N_LEADS):
            on = (asked[:, lead] & (left[:, lead] > OPEN)).nonzero()[:, 0]
            x, y = alike[on].mul_(left[on, lead, None]), errors[on, lead].float()
            size = y.square().mean(1).sqrt()
            if len(size):
                y = y * (torch.quantile(size, MOST) / size.clamp_min(1e-12)).clamp_max(1)[:, None]
            gram = (x.T @ x).double() + RIDGE * among
            gram.diagonal().add_(FLOOR * gram.diagonal().mean())
            told.append(torch.linalg.solve(gram, (x.T @ y).double()))
        whole = torch.cat(told, 1)  # (centre, 12 * 96)
        gram = (alike.T @ alike).double() / len(alike)
        gram.diagonal().add_(FLOOR * gram.diagonal().mean())
        lower = torch.linalg.cholesky(gram)
        u, s, v = torch.linalg.svd(lower.T @ whole, full_matrices=False)
        rank = min(RANK, len(s))
        inner = torch.linalg.solve_triangular(lower.T, u[:, :rank] * s[:rank], upper=True)
        self.inner[unit, :n, :rank] = inner.float()
        self.outer[unit, :rank] = v[:rank].float()

    def _alike(self, unit: int, values: Tensor, left: Tensor) -> Tensor:
        """(some, centre) from 0 to 1, how much each beat is like each centre."""
        read, centres = values.flatten(1) @ self.basis[unit], self.centres[unit]
        away = _squared(read, centres[:, :READ]) / self.reach[unit]
        return (-away - _squared(left, centres[:, READ:])).exp()


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """(some, other) squared distances."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp_min(0)


def _apart(read: Tensor) -> Tensor:
    """The median squared distance between two rows; 1 of a single one."""
    one, other = torch.triu_indices(len(read), len(read), 1)
    if not len(one):
        return read.new_ones(())
    return torch.cdist(read, read).square()[one, other].median().clamp_min(1e-12)


def _missed(
    regression: LeadRegression, beats: Beats, hidden: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Values, open, errors (some, 12, 96), and asked, of some beats a record that are hidden in part."""
    visible = beats.hide(hidden)
    scale, seen = visible.lead_scale()
    partly = hidden.any(1) & visible.there.any(1)
    order = torch.rand(partly.shape, generator=generator).to(partly.device) * partly
    chosen = partly & (order >= order.topk(min(A_RECORD, order.shape[1]), 1).values[:, -1:])
    hidden = hidden & chosen[:, None]
    whole = whole_beats(regression, visible, scale, hidden)
    unit = torch.where(seen, scale, beats.lead_scale()[0])  # of a lead that is wholly hidden: its own
    unit = torch.where(beats.units_known[:, None], 1.0, unit)
    asked = hidden & beats.there
    inside = asked[..., None] & beats.inside[:, None]
    truth = torch.where(inside, beats.values.float(), 0.0) / unit[..., None, None]
    at = whole.record, slice(None), whole.beat
    errors = truth[at] / whole.power[:, None, None] - whole.values
    errors = torch.where(inside[at], errors, 0.0).clamp(-FARTHEST, FARTHEST)
    return whole.values.half(), whole.open, errors.half(), asked[at]  # narrow, for there are many
