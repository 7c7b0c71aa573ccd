"""MaskedCLEAR: CLEAR in training, which tokens are hidden of a record, and the loss of rebuilding them.

Every random choice is drawn here, from a seed of the record's own.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from clear_hug.batch import Beats
from clear_hug.embed import TYPICAL_SCALE
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEAR, in_lead_scales, reference_log_scale

VOLTAGE_WEIGHTS = (0.05, 25.0)  # how little and how much a lead's error may weigh in mV²
OF_A_RECORD = 4 + 2 * N_LEADS
"""Random numbers that a record's mask takes beside 13 a beat."""


class MaskedCLEAR(nn.Module):
    """CLEAR in training: owns every random choice, each record's drawn from its own seed.

    mask_ratio : share of a record's tokens that are hidden
    whole_lead, whole_beat : chance that the hidden tokens of a record are whole leads (or beats) first
    few_leads : chance that one to three whole leads are hidden instead, and all else is seen
    """

    def __init__(
        self,
        clear: CLEAR,
        mask_ratio: float = 0.75,
        whole_lead: float = 0.3,
        whole_beat: float = 0.1,
        few_leads: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < mask_ratio < 1:
            raise ValueError(f"mask_ratio = {mask_ratio:g}; expected a share above 0 and below 1.")
        self.clear, self.mask_ratio, self.seed = clear, mask_ratio, seed
        self.whole_lead, self.whole_beat, self.few_leads = whole_lead, whole_beat, few_leads

    def draw(self, there: Tensor, records: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """What to hide, drawn by (seed, epoch, record): the same however records are batched.

        Parameters
        ----------
        there : (batch, 12, beat) bool;  records : (batch,) int, which record each is

        Returns
        -------
        hidden : (batch, 12, beat) bool;  scale_told : (batch,) bool

        """
        device, there = there.device, there.cpu()
        batch, _, most = there.shape
        beats = (there.any(1) * torch.arange(1, most + 1)).amax(1)  # padding must not change the draw
        numbers = torch.zeros(batch, OF_A_RECORD + most * (1 + N_LEADS))
        generator = torch.Generator()
        for row, record, n in zip(numbers.unbind(), records.tolist(), beats.tolist(), strict=True):
            generator.manual_seed(mix(self.seed, epoch, record))
            row[: OF_A_RECORD + n * (1 + N_LEADS)].uniform_(generator=generator)
        kind, coin, few, how_many = numbers[:, :4, None, None].unbind(1)
        lead_score, lead_order = numbers[:, 4:OF_A_RECORD].view(batch, 2, N_LEADS).unbind(1)
        beat_score, score = (
            numbers[:, OF_A_RECORD:].view(batch, most, -1).transpose(1, 2).split([1, N_LEADS], dim=1)
        )
        # half of what is hidden: whole leads (or beats), the rest spread over the others
        half = self.mask_ratio / 2
        by_lead = (kind < self.whole_lead) & (lead_score[..., None] <= half)
        by_beat = (
            (kind < self.whole_lead + self.whole_beat) & (kind >= self.whole_lead) & (beat_score <= half)
        )
        score = torch.where(there, score + 2.0 * (by_lead | by_beat), -1.0)
        n = there.flatten(1).sum(1, keepdim=True)
        top = torch.minimum(n - 1, (self.mask_ratio * n.double()).round())
        hidden = (_rank(score.flatten(1)) < top).view_as(there)
        order = _rank(torch.where(there.any(2), lead_order, -1.0))
        alone = there & (order[..., None] < 1 + (3 * how_many).long())
        left = (there & ~alone).any(2).any(1)[:, None, None]
        hidden = torch.where(left & (few < self.few_leads), alone, hidden)
        return hidden.to(device), (coin < 0.5).flatten().to(device)

    def forward(self, beats: Beats, records: Tensor, epoch: int) -> dict[str, Tensor]:
        """Loss of rebuilding what was hidden, over its real samples only.

        Returns
        -------
        loss, mse (in units of the lead's scale), r2 (of the hidden samples), scale (squared log error)

        """
        hidden, told = self.draw(beats.there, records, epoch)
        return masked_loss(self.clear, beats, hidden, told)


def _rank(score: Tensor) -> Tensor:
    """(batch, n) place of each of the (batch, n) scores in its row, 0 for the highest."""
    order = score.argsort(dim=1, descending=True, stable=True)
    return torch.empty_like(order).scatter_(1, order, torch.arange(score.shape[1]).expand_as(order))


def mix(*numbers: int) -> int:
    """A seed of 63 bits from whole numbers, the same on every machine: their BLAKE2b hash."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def masked_counts(beats: Beats, hidden: Tensor) -> Tensor:
    """(2,) float: hidden samples, and leads whose scale is asked for: what `masked_loss` divides by."""
    samples = (beats.inside.sum(-1)[:, None] * hidden).sum()
    return torch.stack([samples, (hidden.any(2) & beats.units_known[:, None]).sum()]).float()


def masked_loss(
    clear: CLEAR,
    beats: Beats,
    hidden: Tensor,
    told: Tensor,
    whole: Tensor | None = None,
    in_mv: bool = False,
) -> dict[str, Tensor]:
    """The pre-training loss for given hidden tokens; see `MaskedCLEAR.forward`.

    whole : `masked_counts` of the batch that these records are a part of. Each value is then their
        share of the batch's, so that the values of its parts add up, as do their gradients (of r2,
        the mean over the parts).
    in_mv : where voltage is known, count errors in mV, over `TYPICAL_SCALE`, each lead's weight kept within
        `VOLTAGE_WEIGHTS`; else, and elsewhere, in the lead's own scale
    """
    visible = beats.hide(hidden)
    encoded = clear.encode(visible, scale_told=told)
    decoded = clear.decode(visible, encoded, hidden)
    own_scale, _ = beats.lead_scale()
    scale = torch.where(encoded.lead_there, encoded.scale, own_scale)
    weight = (hidden[..., None] & beats.inside[:, None]).float()
    target = torch.where(weight.bool(), beats.values.float() / scale[..., None, None], 0.0)
    target = target.clamp(-20, 20)  # as `in_lead_scales`
    rebuilt = in_lead_scales(decoded.foretold, scale, beats.units_known) + decoded.correction.float()
    if in_mv:
        voltage = (scale / TYPICAL_SCALE).square().clamp(*VOLTAGE_WEIGHTS)
        weight = weight * torch.where(beats.units_known[:, None], voltage, 1.0)[..., None, None]
    error = ((rebuilt - target) ** 2 * weight).sum()
    counts = masked_counts(beats, hidden)
    n, n_asked = (counts if whole is None else whole).clamp_min(1)
    mse = error / n
    total = (target**2 * weight).sum().clamp_min(1e-12)
    asked = hidden.any(2) & beats.units_known[:, None]
    truth = own_scale.log() - reference_log_scale(encoded.scale, encoded.lead_there)
    scale_error = ((decoded.log_scale.float() - truth.clamp(-4, 4)) ** 2 * asked).sum() / n_asked
    return {
        "loss": mse + 0.1 * scale_error,
        "mse": mse.detach(),
        "r2": (1 - (error / total).detach()) * counts[0] / n,
        "scale": scale_error.detach(),
    }
