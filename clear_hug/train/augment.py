"""What fine-tuning does to a batch, so that few labels go further; every draw from the generator given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clear_hug.batch import Beats
from clear_hug.embed import rhythm_in_tents
from clear_hug.leads import N_LEADS
from clear_hug.train.plant import NARROW, ST, WIDE, plant
from clear_hug.train.settings import RunError, at_least, shares

ALL_BEATS = 100  # more than any stretch that is read at once holds


@dataclass(frozen=True)
class Augmentation:
    """How records are changed.

    Args:
        stretch: at most so many beats of a record, one after another, are read; all from 100 on
        drop_beat: share of the beats that are left out, in all leads
        drop_token: share of the tokens that are left out
        drop_lead: chance that a record loses some leads
        amplitude: SD of the log of a factor on each lead
        withhold: chance that the lead scale is not told
        rhythm_holes: chance that the rhythm is read without the beats that are left out
        mix: chance that a batch's records are mixed with one another, beat by beat
        premature_wide, premature_narrow, st_elevation: shares of the records into which such a change is
            planted, one at most
    """

    stretch: int = 8
    drop_beat: float = 0.15
    drop_token: float = 0.1
    drop_lead: float = 0.2
    amplitude: float = 0.1
    withhold: float = 0.5
    rhythm_holes: float = 0.25
    mix: float = 0.6
    premature_wide: float = 0.1
    premature_narrow: float = 0.05
    st_elevation: float = 0.04

    def __post_init__(self) -> None:
        names = ("drop_beat", "drop_token", "drop_lead", "withhold", "rhythm_holes", "mix")
        shares(self, *names, *(planted := ("premature_wide", "premature_narrow", "st_elevation")))
        at_least(self, stretch=1, amplitude=0)
        if sum(getattr(self, name) for name in planted) > 1:
            raise RunError(f"{', '.join(planted)} are shares of the records and add up to more than 1.")

    @property
    def off(self) -> bool:
        """Records stay as they are."""
        shares = (self.drop_beat, self.drop_token, self.drop_lead, self.withhold, self.rhythm_holes, self.mix)
        return (
            self.stretch >= ALL_BEATS and self.amplitude == 0 and not any((*shares, *self.planted.values()))
        )

    @property
    def planted(self) -> dict[str, float]:
        """Change -> share of the records."""
        return {WIDE: self.premature_wide, NARROW: self.premature_narrow, ST: self.st_elevation}


def augment(
    beats: Beats,
    target: Tensor,
    targets: tuple[str, ...],
    mixes: Tensor,
    how: Augmentation,
    generator: torch.Generator,
) -> tuple[Beats, Tensor, Tensor, Tensor]:
    """Change a batch.

    Parameters
    ----------
    beats : Beats
    target : (batch, label), NaN where it is not known;  targets : (label,) "task/label"
    mixes : (label,) bool; the labels that follow the shape of beats, and so are mixed with it

    Returns
    -------
    beats, target : changed;  told : (batch,) bool, the lead scale is told
    rhythm : (batch, N_RHYTHM) `rhythm_in_tents` of the whole record, its beats that were left out among them;
        of some records without these, and where a beat was planted, of the stretch in which it was

    """
    whole = rhythm_in_tents(beats.seconds, beats.there.any(1))
    beats = _stretch(beats, how.stretch, generator)
    before, timed = beats.seconds, beats.there.any(1)
    holes = _draw(beats, generator, len(target), 1) < how.rhythm_holes
    beats = _leave_out(beats, how, generator)
    beats, target = plant(beats, target, targets, how.planted, generator)
    moved = (beats.seconds != before).any(1, keepdim=True)
    rhythm = torch.where(moved, rhythm_in_tents(beats.seconds, timed), whole)
    rhythm = torch.where(holes, rhythm_in_tents(beats.seconds, beats.there.any(1)), rhythm)
    noise = torch.randn((*beats.there.shape[:2], 1, 1), generator=generator).to(beats.values.device)
    beats = Beats(
        beats.values * (how.amplitude * noise).exp(),
        beats.there,
        beats.seconds,
        beats.inside,
        beats.units_known,
    )
    told = _draw(beats, generator, len(target)) >= how.withhold
    if how.mix > 0:
        beats, target = _mix(beats, target, mixes, how, generator)
    return beats, target, told, rhythm


OF_LEADS = N_LEADS + 1  # random numbers of a record that `some_leads` takes


def some_leads(there: Tensor, drawn: Tensor) -> Tensor:
    """(batch, 12) bool: leads of those that are `there` (batch, 12) to leave out, from one to all but one.

    None of a record of one lead. drawn : (batch, OF_LEADS) from 0 to 1
    """
    score = drawn[:, :N_LEADS].masked_fill(~there, 2.0)
    count = there.sum(1, keepdim=True)
    n = 1 + (drawn[:, N_LEADS:] * (count - 1)).long()
    return (score.argsort(1).argsort(1) < torch.minimum(n, count - 1)) & there


def _draw(beats: Beats, generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator).to(beats.there.device)


def _stretch(beats: Beats, most: int, generator: torch.Generator) -> Beats:
    """A stretch of `most` beats of each record, at a place of its own."""
    n = beats.there.shape[2]
    if n <= most:
        return beats
    count = beats.there.any(1).long() * torch.arange(1, n + 1, device=beats.there.device)
    room = (count.amax(1) - most + 1).clamp_min(1)
    first = (_draw(beats, generator, len(room)) * room).long()
    index = first[:, None] + torch.arange(most, device=first.device)

    def take(x: Tensor, axis: int) -> Tensor:
        shape = [1] * x.ndim
        shape[0], shape[axis] = index.shape
        size = list(x.shape)
        size[axis] = most
        return x.gather(axis, index.view(shape).expand(size))

    return Beats(
        take(beats.values, 2),
        take(beats.there, 2),
        take(beats.seconds, 1),
        take(beats.inside, 1),
        beats.units_known,
    )


def _leave_out(beats: Beats, how: Augmentation, generator: torch.Generator) -> Beats:
    batch, leads, n = beats.there.shape
    hidden = (_draw(beats, generator, batch, 1, n) < how.drop_beat) | (
        _draw(beats, generator, batch, leads, n) < how.drop_token
    )
    loses = _draw(beats, generator, batch, 1, 1) < how.drop_lead
    share = 0.5 * _draw(beats, generator, batch, 1, 1)
    hidden = hidden | (loses & (_draw(beats, generator, batch, leads, 1) < share))
    nothing = ~(beats.there & ~hidden).flatten(1).any(1)
    return beats.hide(hidden & ~nothing[:, None, None])


def _mix(
    beats: Beats, target: Tensor, mixes: Tensor, how: Augmentation, generator: torch.Generator
) -> tuple[Beats, Tensor]:
    """Every record with a share of up to a half of another's beats, R peak on R peak, in lead-scale units.

    Tokens that one of the two lacks are left out; where nothing would be left a record stays as it is.
    When the beats come, and how tall they are, stays the record's own, and so do labels that do not mix.
    """
    batch = len(target)
    other = torch.randperm(batch, generator=generator).to(target.device)
    share = 0.5 * _draw(beats, generator, batch) ** 2
    there = beats.there & beats.there[other]
    on = (_draw(beats, generator, 1) < how.mix) & there.flatten(1).any(1)
    share = torch.where(on, share, 0.0)[:, None]
    scale, _ = beats.lead_scale()
    values = torch.where(beats.there[..., None], beats.values.float(), 0.0)
    foreign = values[other] * (scale / scale[other])[..., None, None]
    wide = share[..., None, None]
    mixed = Beats(
        (1 - wide) * values + wide * foreign,
        torch.where(on[:, None, None], there, beats.there),
        beats.seconds,
        torch.where(on[:, None, None], beats.inside & beats.inside[other], beats.inside),
        beats.units_known,
    )
    share = share * mixes
    return mixed, torch.where(share > 0, (1 - share) * target + share * target[other], target)
