"""Einthoven's and Goldberger's identities: which limb lead is out of place, turned over, or misscaled.

With all six limb leads there are four equations for two unknowns, so that one slip shows, and so does
what would set it right. An exchange of electrodes obeys all four: only shapes can tell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
# Rows: what each lead is as a multiple of (I, II).
_OF_I_II = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
SEEN = 400  # samples
OFF = 0.15  # of the leads' own size: filters and rounding of real devices stay below it


def misfit(rows: NDArray[np.float64], leads: tuple[str, ...]) -> float:
    """How far limb leads are from obeying the identities, as a share of their size (0: to the letter).

    Parameters
    ----------
    rows : (lead, sample) without offset;  leads : their names, three or more of `LIMB`
    """
    return _misfit(rows @ rows.T, leads)


@cache
def _left(leads: tuple[str, ...]) -> NDArray[np.float64]:
    """(lead, lead) what no I and II can explain of these leads."""
    basis = _OF_I_II[[LIMB.index(lead) for lead in leads]]
    return np.eye(len(leads)) - basis @ np.linalg.pinv(basis)


def _misfit(power: NDArray[np.float64], leads: tuple[str, ...]) -> float:
    """The same from the leads' products (lead, lead): a hundred orders are tried on one pass over samples."""
    left = _left(leads)
    total = float(np.trace(power))
    return float(np.sqrt(max(0.0, np.trace(left @ power @ left)) / total)) if total > 0 else 0.0


def limb_check(signals: Mapping[str, NDArray[np.float32]]) -> tuple[str, dict[str, str]]:
    """What is wrong among the limb leads, in a sentence ("" if they fit), and the one change that rights it.

    Parameters
    ----------
    signals : lead -> (sample,) mV, as recorded

    Returns
    -------
    said, leads : the second as `read_ecg(leads=...)` takes it; empty where no change or several would do
    """
    leads = tuple(lead for lead in LIMB if lead in signals)
    if len(leads) < 3:
        return "", {}
    step = max(1, signals[leads[0]].size // SEEN)  # the identities hold at each sample: some are enough
    rows = np.stack([signals[lead][::step] for lead in leads])
    there = np.isfinite(rows).all(axis=0)
    if there.sum() < 50:
        return "", {}
    rows = rows[:, there].astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    if (np.ptp(rows, axis=1) == 0).any():
        return "", {}
    power: NDArray[np.float64] = np.asarray(rows @ rows.T, np.float64)
    off = _misfit(power, leads)
    if off <= OFF:
        return "", {}
    cures = _cures(power, leads) if len(leads) >= 4 or set(leads) == {"I", "II", "III"} else []
    said = f"The limb leads contradict one another (II = I + III and its kin are off by {off:.0%})"
    if len(cures) == 1:
        words, leads_are = cures[0]
        return f"{said}; they agree if {words}. To set it right: leads={leads_are}.", leads_are
    return f"{said}: a lead may be misnamed, turned over or wrongly scaled.", {}


def _cures(power: NDArray[np.float64], leads: tuple[str, ...]) -> list[tuple[str, dict[str, str]]]:
    """Single changes that make the leads agree: (words, the file's name -> the lead)."""
    found: list[tuple[str, dict[str, str]]] = []
    for i, lead in enumerate(leads):
        sign = np.ones(len(leads))
        sign[i] = -1
        if _misfit(power * np.outer(sign, sign), leads) <= OFF / 2:
            found.append((f"{lead} is turned over", {lead: f"-{lead}"}))
    for i, k in combinations(range(len(leads)), 2):
        order = list(range(len(leads)))
        order[i], order[k] = k, i
        if _misfit(power[np.ix_(order, order)], leads) <= OFF / 2:
            a, b = leads[i], leads[k]
            found.append((f"{a} and {b} are exchanged", {a: b, b: a}))
    return found
