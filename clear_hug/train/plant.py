"""Changes planted into records while a model learns, whose labels follow from what is planted.

A few dozen records hold a premature beat or a moved ST segment, and each its own few shapes: planted ones
come in every shape, place and size. What else is known of a record stays, unless the change speaks of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from clear_hug.batch import Beats
from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES
from clear_hug.simulate import DIPOLE_TO_LEADS, move_leads
from clear_hug.tasks import of_superclass

R_PEAK = TOKEN_SAMPLES // 2
TYPICAL = (0.12, 0.16, 0.11, 0.14, 0.09, 0.12, 0.16, 0.24, 0.25, 0.24, 0.23, 0.18)
"""mV; median SD of each lead over records in mV: the size of what is planted where voltage is unknown."""
TERRITORIES = (
    ("V1", "V2", "V3", "V4"),
    ("V2", "V3", "V4"),
    ("V3", "V4", "V5", "V6"),
    ("V1", "V2", "V3"),
    ("V4", "V5", "V6"),
    ("II", "III", "aVF"),
    ("I", "aVL", "V5", "V6"),
    ("I", "aVL"),
)
"""Leads that look at one wall of the heart."""


WIDE, NARROW, ST = "premature wide beat", "premature narrow beat", "ST elevation"


@dataclass(frozen=True)
class Planted:
    """What a change says of a record: labels of a task that hold, that do not, and that it leaves open."""

    holds: tuple[str, ...] = ()
    not_so: tuple[str, ...] = ()
    leaves_open: tuple[str, ...] = ()


_NONE = Planted()


def _st(task: str, *holds: str) -> Planted:
    """A raised ST segment is not normal, and whether it is an infarction it leaves open."""
    return Planted(holds, ("NORM",), of_superclass(task, "MI", "STTC"))


SAYS: dict[str, dict[str, Planted]] = {
    "superdiagnostic": {WIDE: _NONE, NARROW: _NONE, ST: _st("superdiagnostic")},
    "subdiagnostic": {WIDE: _NONE, NARROW: _NONE, ST: _st("subdiagnostic")},
    "form": {WIDE: Planted(("PVC",)), NARROW: Planted(("PAC",)), ST: Planted(("STE_",))},
    "rhythm": {WIDE: _NONE, NARROW: _NONE, ST: _NONE},
    "diagnostic": {WIDE: _NONE, NARROW: _NONE, ST: _st("diagnostic")},
    "all": {WIDE: Planted(("PVC",)), NARROW: Planted(("PAC",)), ST: _st("all", "STE_")},
    "cpsc2018": {  # a record is normal or has one of the others
        WIDE: Planted(("PVC",), ("SNR",)),
        NARROW: Planted(("PAC",), ("SNR",)),
        ST: Planted(("STE",), ("SNR",), ("STD",)),
    },
    "csn": {
        WIDE: Planted(("VPB",)),
        NARROW: Planted(("APB",)),
        ST: Planted(("STTU",), (), ("STTC", "STE", "MI", "ERV", "TWC")),
    },
}
"""Task -> change -> what the change says of its labels; a task that is not here is planted nothing."""


def plant(
    beats: Beats,
    target: Tensor,
    targets: tuple[str, ...],
    shares: Mapping[str, float],
    generator: torch.Generator,
) -> tuple[Beats, Tensor]:
    """Plant at most one change into each record.

    Parameters
    ----------
    beats : Beats
    target : (batch, label), NaN where it is not known;  targets : (label,) "task/label"
    shares : WIDE, NARROW or ST -> share of the records that get it

    """
    coin = torch.rand(len(target), generator=generator)
    start = 0.0
    for name, share in shares.items():
        on = (coin >= start) & (coin < start + share)
        start += share
        if not on.any():
            continue
        rows = on.nonzero()[:, 0].to(target.device)
        some = Beats(**{field: getattr(beats, field)[rows] for field in beats.__dataclass_fields__})
        changed, done = _CHANGED[name](some, generator)
        rows = rows[done]
        for field in beats.__dataclass_fields__:
            whole = getattr(beats, field).clone()
            whole[rows] = getattr(changed, field)[done].to(whole.dtype)
            beats = replace(beats, **{field: whole})
        target = _labelled(target, rows, targets, name)
    return beats, target


def _labelled(target: Tensor, rows: Tensor, targets: tuple[str, ...], change: str) -> Tensor:
    target = target.clone()
    for column, (task, label) in enumerate(name.split("/", 1) for name in targets):
        says = SAYS[task][change]
        if label in says.holds or label in says.not_so:
            target[rows, column] = float(label in says.holds)
        elif label in says.leaves_open:
            target[rows, column] = torch.nan
    return target


def _gain(beats: Beats) -> Tensor:
    """(batch, 12) how large a millivolt is in the record: 1, or what its leads' SD lets one guess."""
    scale, _ = beats.lead_scale()
    typical = torch.tensor(TYPICAL, device=scale.device)
    return torch.where(beats.units_known[:, None], torch.ones_like(scale), scale / typical)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _earlier(beats: Beats, generator: torch.Generator) -> tuple[Beats, Tensor, Tensor]:
    """One beat of each record comes early, and the windows of its neighbours end where they meet.

    Returns
    -------
    beats; which : (batch,) the early beat; done : (batch,) False where no beat has one before it

    """
    there = beats.there.any(1)
    able = there.clone()
    able[:, 0] = False
    able[:, 1:] &= there[:, :-1]
    score = torch.rand(able.shape, generator=generator).to(there.device)
    which = torch.where(able, score, -1.0).argmax(1)
    rows = torch.arange(len(which), device=which.device)
    before, own = beats.seconds[rows, which - 1], beats.seconds[rows, which]
    early = _uniform(generator, 0.2, 0.45, len(which)).to(own) * (own - before)
    done = able.any(1) & (own - early - before > 0.3)
    seconds = beats.seconds.clone()
    seconds[rows, which] = own - early
    middle = (before + own - early) / 2
    axis = (torch.arange(TOKEN_SAMPLES, device=own.device) - R_PEAK) / TOKEN_FS
    inside = beats.inside.clone()
    inside[rows, which - 1] &= before[:, None] + axis < middle[:, None]
    inside[rows, which] &= (own - early)[:, None] + axis >= middle[:, None]
    values = torch.where(inside[:, None], beats.values, 0.0)
    return replace(beats, seconds=seconds, inside=inside, values=values), which, done


def _narrow(beats: Beats, generator: torch.Generator) -> tuple[Beats, Tensor]:
    """A beat of the usual shape comes early, and the rhythm starts anew from it, wholly or in part."""
    changed, which, done = _earlier(beats, generator)
    rows = torch.arange(len(which), device=which.device)
    early = (beats.seconds - changed.seconds)[rows, which]
    share = torch.rand(len(which), generator=generator).to(early)
    after = torch.arange(beats.seconds.shape[1], device=early.device) > which[:, None]
    return replace(changed, seconds=changed.seconds - after * (share * early)[:, None]), done


def _wide(beats: Beats, generator: torch.Generator) -> tuple[Beats, Tensor]:
    """A beat comes early and wide, from anywhere in the ventricles, its T wave against its QRS complex."""
    n = len(beats.units_known)
    changed, which, done = _earlier(beats, generator)
    rows = torch.arange(n, device=which.device)
    shape = _wide_beat(n, generator).to(beats.values.device) * _gain(beats)[..., None]
    # what one beat differs from the next by is noise: without it a planted beat would be told by its calm
    noise = 0.7 * (beats.values[rows, :, which] - beats.values[rows, :, which - 1])
    # the pause after it leaves its window room up to the end of the token
    inside = changed.inside.clone()
    inside[rows, which, R_PEAK:] = True
    values = changed.values.clone()
    values[rows, :, which] = (shape + noise).to(values.dtype) * inside[rows, which][:, None]
    return replace(changed, values=values, inside=inside), done


def _wide_beat(n: int, generator: torch.Generator) -> Tensor:
    """(n, 12, 96) mV: three broad waves along one direction of the dipole, and a T wave."""
    spread = _uniform(generator, 0.030, 0.055, n, 1)
    centre = spread * torch.tensor([-1.0, 0.0, 1.0]) + _uniform(generator, -0.012, 0.012, n, 3)
    width = _uniform(generator, 0.018, 0.032, n, 3)
    main = torch.nn.functional.normalize(torch.randn(n, 1, 3, generator=generator), dim=-1)
    part = torch.stack([_uniform(generator, low, 1.0, n) for low in (0.2, 0.8, 0.2)], dim=1)
    vectors = part[..., None] * (main + 0.35 * torch.randn(n, 3, 3, generator=generator))
    t_centre, t_width = _uniform(generator, 0.26, 0.36, n, 1), _uniform(generator, 0.045, 0.075, n, 1)
    t_vector = -_uniform(generator, 0.2, 0.6, n, 1, 1) * vectors.mean(1, keepdim=True)
    axis = (torch.arange(TOKEN_SAMPLES) - R_PEAK) / TOKEN_FS
    centre, width = torch.cat([centre, t_centre], 1), torch.cat([width, t_width], 1)
    waves = torch.exp(-0.5 * ((axis - centre[..., None]) / width[..., None]) ** 2)
    dipole = torch.einsum("nwd,nws->nds", torch.cat([vectors, t_vector], 1), waves)
    leads = torch.einsum("ld,nds->nls", torch.from_numpy(DIPOLE_TO_LEADS).float(), dipole)
    return leads * _uniform(generator, 0.8, 3.0, n, 1, 1) / leads.abs().amax((1, 2), keepdim=True)


def _elevated(beats: Beats, generator: torch.Generator) -> tuple[Beats, Tensor]:
    """The ST segment of some neighbouring leads is raised in every beat; the others move as they must."""
    n = len(beats.units_known)
    walls = torch.tensor(np.array([move_leads(dict.fromkeys(leads, 1.0)) for leads in TERRITORIES])).float()
    height = _uniform(generator, 0.12, 0.45, n, 1)
    moved = height * walls[torch.randint(len(walls), (n,), generator=generator)]
    rr = torch.where(beats.there.any(1)[:, 1:], beats.seconds.diff(dim=1), torch.nan).nanmedian(1).values
    rr = rr.nan_to_num(0.8).clamp(0.4, 1.4).cpu()[:, None]
    axis = (torch.arange(TOKEN_SAMPLES) - R_PEAK) / TOKEN_FS
    j_point = _uniform(generator, 0.04, 0.06, n, 1)
    slope = 1 + _uniform(generator, -1.5, 2.5, n, 1) * (axis - 0.15)
    plateau = ((axis - j_point) / 0.006).sigmoid() * (
        (0.29 * rr.sqrt() - axis) / (0.025 * rr.sqrt())
    ).sigmoid()
    plateau = plateau * slope
    plateau = (
        plateau - plateau.sum(1, keepdim=True) / TOKEN_FS / rr
    )  # a trace without its mean, as tokens are
    change = moved.to(beats.values.device)[..., None] * plateau.to(beats.values.device)[:, None]
    change = change * _gain(beats)[..., None]
    values = beats.values + change[:, :, None] * beats.inside[:, None]
    return replace(beats, values=values), beats.there.flatten(1).any(1)


_CHANGED = {
    WIDE: _wide,
    NARROW: _narrow,
    ST: _elevated,
}
