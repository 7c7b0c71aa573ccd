"""How well hidden beats are rebuilt: R2, Pearson r and MAE a lead, beside a linear regression.

Both see the same tokens of the same records. Records with voltage are judged in mV; the scale of a
wholly hidden lead is predicted, never given. Records without voltage have no scale to predict: they
are judged in units of each lead's scale, that is, by shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clear_hug.batch import Beats
from clear_hug.leads import GROUPS, LEADS, N_LEADS
from clear_hug.masked import MaskedCLEAR
from clear_hug.model import CLEAR
from clear_hug.train.corpus import Corpus
from clear_hug.train.linear import LinearLeads, fit_linear
from clear_hug.train.metrics import draw_weights, number, with_interval

HIDDEN_SHARE = 0.8
LIMB = (*GROUPS["limb"], *GROUPS["augmented"])
CHEST = GROUPS["precordial"]
GIVEN_CHEST = LEADS.index("V2")  # the chest lead shown with I and II: it stands between the septum and V3-V4
SHOWN = (LEADS.index("I"), LEADS.index("II"), GIVEN_CHEST)
POOLS = {"limb leads": LIMB, "chest leads": CHEST}
BATCH = 64

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Judged:
    """A model that rebuilds, the records that it is judged on, and those that the regression is fitted on.

    rows, learned : (record,) numbers in the corpus
    """

    clear: CLEAR
    rows: NDArray[np.int64]
    learned: NDArray[np.int64]


def reconstruction_figures(parts: Sequence[Judged], data: Corpus) -> dict[str, Any]:
    """Figures over the records of all parts together, for metrics.json.

    Returns
    -------
    dict : "mV" and "lead scale" -> `records`, `fitted_on` (of each part) and `hidden`: what was hidden ->
        lead (or pool of leads) -> `ours` and `linear` (r2, r, mae), `difference` of R2 with its interval

    """
    out: dict[str, Any] = {}
    for unit, known in (("mV", True), ("lead scale", False)):
        asked = [
            Judged(
                part.clear,
                part.rows[data.units_known[part.rows] == known],
                part.learned[data.units_known[part.learned]] if known else part.learned,
            )
            for part in parts
        ]
        asked = [part for part in asked if part.rows.size and part.learned.size]
        if not asked:
            continue
        sums = [_sums(part.clear, data, part.rows, part.learned, in_mv=known) for part in asked]
        rows = np.concatenate([part.rows for part in asked])
        weights = draw_weights(data.patients[rows])
        hidden = {}
        for kind in sums[0]:
            ours, linear = (np.concatenate(both) for both in zip(*(one[kind] for one in sums), strict=True))
            hidden[kind] = _kind_figures(ours, linear, weights)
        fitted = [int(part.learned.size) for part in asked]
        out[unit] = {
            "records": int(rows.size),
            "fitted_on": fitted[0] if len(fitted) == 1 else fitted,
            "hidden": hidden,
        }
    return out


# What is hidden: (there, rows) -> which tokens


def _at_random(there: Tensor, rows: NDArray[np.int64], clear: CLEAR) -> Tensor:
    masks = MaskedCLEAR(clear, mask_ratio=HIDDEN_SHARE, whole_lead=0, whole_beat=0, seed=1)
    return masks.draw(there, torch.from_numpy(rows), 0)[0]


def _middle_beat(there: Tensor) -> Tensor:
    hidden = torch.zeros_like(there)
    for k, beats in enumerate(there.any(1)):
        some = beats.nonzero()[:, 0]
        if some.numel() > 1:  # of a single beat nothing would be left to see
            hidden[k, :, some[some.numel() // 2]] = True
    return hidden & there


def _leads(there: Tensor, leads: tuple[int, ...]) -> Tensor:
    hidden = torch.zeros_like(there)
    hidden[:, list(leads)] = True
    return hidden & there


RANDOM, BEAT, LEAD, FEW = "80 % at random", "a whole beat", "one lead", "all but I, II, V2"
"""What is hidden. FEW: the chest leads are to be rebuilt, and the limb leads but I and II are not shown."""


def _ways(
    there: Tensor, rows: NDArray[np.int64], clear: CLEAR
) -> Iterator[tuple[str, Tensor, tuple[int, ...]]]:
    """What is hidden, the tokens that are, and the leads that are judged."""
    every = tuple(range(N_LEADS))
    yield RANDOM, _at_random(there, rows, clear), every
    yield BEAT, _middle_beat(there), every
    for lead in every:
        yield LEAD, _leads(there, (lead,)), (lead,)
    others = tuple(lead for lead in every if lead not in SHOWN)
    yield FEW, _leads(there, others), tuple(lead for lead in CHEST if lead not in SHOWN)


@torch.inference_mode()
def rebuild(clear: CLEAR, beats: Beats, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden tokens as the model rebuilds them.

    Returns
    -------
    values : (batch, 12, beat, 96) in units of the lead's scale
    scale : (batch, 12) that scale: of the visible tokens, or predicted where a lead has none
    seen : (batch, 12) bool; the lead has a visible token

    """
    device = next(clear.parameters()).device
    values, scale, seen = clear.rebuild(beats.hide(hidden).to(device), hidden.to(device))
    return (values / scale[..., None, None]).cpu(), scale.cpu(), seen.cpu()


def _sums(
    clear: CLEAR, data: Corpus, judged: NDArray[np.int64], fitted: NDArray[np.int64], in_mv: bool
) -> dict[str, tuple[Floats, Floats]]:
    """What was hidden -> (record, 12, 8) sums for our figures, and the same for the linear ones."""
    sparse = fit_linear(_whole(data, fitted, in_mv, lambda there, rows: ~_at_random(there, rows, clear)))
    full = fit_linear(_whole(data, fitted, in_mv, lambda there, _: torch.ones_like(there)))
    out: dict[str, tuple[Floats, Floats]] = {}
    for i in range(0, len(judged), BATCH):
        rows = judged[i : i + BATCH]
        beats = data.beats(rows)
        own = _numpy(beats.lead_scale()[0]) if not in_mv else np.ones((len(rows), N_LEADS))
        truth = _numpy(beats.values) / own[..., None, None]
        inside = beats.inside.numpy()
        for kind, hidden, leads in _ways(beats.there, rows, clear):
            pair = out.setdefault(
                kind, (np.zeros((len(judged), N_LEADS, 8)), np.zeros((len(judged), N_LEADS, 8)))
            )
            usable = hidden.flatten(1).any(1) & beats.hide(hidden).there.flatten(1).any(1)
            hidden = hidden & usable[:, None, None]
            values, scale, seen = rebuild(clear, beats, hidden)
            # without voltage the scale of a lead that is wholly hidden is 1 by definition of the unit
            unit = _numpy(scale) / own if in_mv else np.where(seen.numpy(), _numpy(scale) / own, 1.0)
            ours = _numpy(values) * unit[..., None, None]
            linear = _linear(sparse if kind == RANDOM else full, beats, hidden, in_mv)
            linear = linear if in_mv else linear * unit[..., None, None]
            judge = np.zeros(hidden.shape, dtype=bool)
            judge[:, list(leads)] = hidden[:, list(leads)].numpy()
            where = judge[..., None] & inside[:, None]
            for total, guess in zip(pair, (ours, linear), strict=True):
                total[i : i + len(rows)] += _moments(truth, guess, where)
    return out


def _numpy(tensor: Tensor) -> Floats:
    return tensor.numpy().astype(np.float64)


def _whole(
    data: Corpus,
    rows: NDArray[np.int64],
    in_mv: bool,
    visible: Callable[[Tensor, NDArray[np.int64]], Tensor],
) -> Iterator[tuple[Floats, Bools, Bools, Bools]]:
    """Records to fit on, in mV or over each lead's own scale."""
    for i in range(0, len(rows), BATCH):
        now = rows[i : i + BATCH]
        beats = data.beats(now)
        values = _numpy(beats.values)
        if not in_mv:
            values /= _numpy(beats.lead_scale()[0])[..., None, None]
        left = visible(beats.there, now) & beats.there
        yield values, beats.there.numpy(), left.numpy(), beats.inside.numpy()


def _linear(model: LinearLeads, beats: Beats, hidden: Tensor, in_mv: bool) -> Floats:
    """(batch, 12, beat, 96) in mV, or in units of the scale that the visible tokens show."""
    visible = beats.hide(hidden)
    values = _numpy(beats.values)
    if not in_mv:
        values /= _numpy(visible.lead_scale()[0])[..., None, None]
    return model.rebuild(values, visible.there.numpy(), beats.inside.numpy())


def _moments(truth: Floats, guess: Floats, where: Bools) -> Floats:
    """(record, 12, 8) over the judged samples: n, |error|, error2, truth2, guess2, truth, guess, product."""
    t, g = np.where(where, truth, 0.0), np.where(where, guess, 0.0)
    error = g - t
    parts = (where, np.abs(error), error**2, t**2, g**2, t, g, t * g)
    return np.stack([part.sum(axis=(2, 3), dtype=np.float64) for part in parts], axis=-1)


def _kind_figures(ours: Floats, linear: Floats, weights: Floats) -> dict[str, Any]:
    """Lead, or pool of leads, to both figures and their difference."""
    leads = {LEADS[lead]: (lead,) for lead in range(N_LEADS)} | POOLS
    out = {}
    for name, members in leads.items():
        a, b = (s[:, list(members)].sum(axis=1) for s in (ours, linear))
        if not a[:, 0].any():
            continue
        mine, theirs = _r2(a.sum(axis=0)), _r2(b.sum(axis=0))
        my_draws, their_draws = _r2(weights @ a), _r2(weights @ b)
        out[name] = {
            "samples": int(a[:, 0].sum()),
            "ours": _lead_figures(a.sum(axis=0)) | with_interval("r2", float(mine), my_draws),
            "linear": _lead_figures(b.sum(axis=0)),
            **with_interval("difference", float(mine - theirs), my_draws - their_draws),
        }
    return out


def _r2(sums: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 3] > 0, 1 - sums[..., 2] / sums[..., 3], np.nan)


def _lead_figures(sums: Floats) -> dict[str, float | None]:
    """R2 against 0 (where the band-pass puts the base line), Pearson r and mean absolute error."""
    n, absolute, _, truth2, guess2, truth, guess, product = sums
    spread = np.sqrt(max(truth2 - truth**2 / n, 0) * max(guess2 - guess**2 / n, 0))
    r = (product - truth * guess / n) / spread if spread > 0 else np.nan
    return {"r2": number(float(_r2(sums))), "r": number(r), "mae": number(absolute / n)}
