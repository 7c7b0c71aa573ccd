"""A batch of records as the model reads it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

QRS = slice(38, 58)  # samples of a token in which R and S are looked for; the R peak stands at 48
MOST = 4.0  # mV; more says that the gain is wrong or the lead noise


@dataclass(frozen=True, eq=False)
class Beats:
    """A batch of records as the model reads it; slots that are not there hold anything.

    values : (batch, 12, beat, 96) float, mV or arbitrary
    there : (batch, 12, beat) bool
    seconds : (batch, beat) float, s; R peak within the window of at most about 10 s
    inside : (batch, beat, 96) bool; the samples that lie in the beat's window
    units_known : (batch,) bool; the values are mV
    """

    values: Tensor
    there: Tensor
    seconds: Tensor
    inside: Tensor
    units_known: Tensor

    def to(self, device: torch.device | str) -> Beats:
        return Beats(**{k: getattr(self, k).to(device, non_blocking=True) for k in self.__dataclass_fields__})

    def first(self, n: int) -> Beats:
        """The first n records."""
        return Beats(**{k: getattr(self, k)[:n] for k in self.__dataclass_fields__})

    def take(self, rows: Tensor) -> Beats:
        """Some of the records, by number."""
        return Beats(**{k: getattr(self, k)[rows] for k in self.__dataclass_fields__})

    def hide(self, hidden: Tensor) -> Beats:
        """The same records with the tokens of `hidden` (batch, 12, beat) not there."""
        return replace(self, there=self.there & ~hidden)

    def lead_scale(self) -> tuple[Tensor, Tensor]:
        """SD over the samples of the tokens that are there, and which leads have any.

        Returns
        -------
        scale : (batch, 12) float32, 1 where the lead has no token;  there : (batch, 12) bool

        """
        weight = (self.there[..., None] & self.inside[:, None]).float()
        x = torch.where(weight.bool(), self.values.float(), 0.0)
        n = weight.sum((2, 3))
        mean = x.sum((2, 3)) / n.clamp_min(1)
        variance = ((x - mean[..., None, None]) ** 2 * weight).sum((2, 3)) / n.clamp_min(1)
        there = self.there.any(2)
        return torch.where(there, variance.sqrt().clamp_min(1e-12), 1.0), there

    def r_and_s(self, most: float = MOST) -> Tensor:
        """(batch, 12, 2) R and S: how high a lead goes around its R peaks, and how low; mean over beats, mV.

        Meaningful where the values are mV; 0 where the lead has no token. No sample counts beyond `most`.
        """
        inside = self.there[..., None] & self.inside[:, None]
        x = torch.where(inside, self.values.float(), 0.0)[..., QRS].clamp(-most, most)
        both = torch.stack([x.amax(-1), -x.amin(-1)], -1)
        return both.sum(2) / self.there.sum(2).clamp_min(1)[..., None]
