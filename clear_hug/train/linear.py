"""Linear regression over leads: what our rebuilt beats are held against.

At each sample of a beat, a hidden lead is predicted from the leads that are visible there and from
every lead's mean visible beat (the lead's other beats at the same distance from their R peaks). One
covariance of these 24 numbers gives the regression for every pattern of what is visible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clear_hug.leads import N_LEADS

RIDGE = 1e-4  # smallest variance in any direction, as a share of the mean: six of the twelve leads are sums
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LinearLeads:
    """Mean (24,) and covariance (24, 24): a beat in the twelve leads, then the twelve mean beats."""

    mean: Floats
    covariance: Floats

    def rebuild(self, values: Floats, visible: Bools, inside: Bools) -> Floats:
        """(record, 12, beat, 96) every token as predicted from the visible ones.

        Parameters
        ----------
        values : (record, 12, beat, 96) in the unit that was fitted; what is not visible is not read
        visible : (record, 12, beat) bool;  inside : (record, beat, 96) bool

        """
        z, known = _observe(values, visible, visible, inside)
        z = np.where(known[..., None], z - self.mean[:, None], 0.0)
        both = known[..., :, None] & known[..., None, :]
        gram = np.where(both, self.covariance, np.eye(2 * N_LEADS) * ~known[..., None])
        cross = np.where(known[..., None], self.covariance[:, :N_LEADS], 0.0)
        weights = np.linalg.solve(gram, cross)
        out: Floats = weights.swapaxes(-1, -2) @ z + self.mean[:N_LEADS, None]
        return out.swapaxes(1, 2)


def fit_linear(parts: Iterable[tuple[Floats, Bools, Bools, Bools]]) -> LinearLeads:
    """Fit on records that are whole, their mean beats taken over the tokens left visible.

    Parameters
    ----------
    parts : batches of values (record, 12, beat, 96), there and visible (record, 12, beat), inside
        (record, beat, 96); hide here as much as will be hidden when a record is rebuilt

    """
    n = 2 * N_LEADS
    count, first, second = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for values, there, visible, inside in parts:
        z, known = _observe(values, there, visible, inside)
        some = (known[..., None] & inside[:, :, None]).swapaxes(2, 3).reshape(-1, n).astype(np.float64)
        z = z.swapaxes(2, 3).reshape(-1, n) * some
        count += some.T @ some
        first += z.T @ some  # [i, j]: sum of i where j is known too
        second += z.T @ z
    if not count.diagonal().all():
        raise ValueError("a linear baseline needs every lead in the records it is fitted on.")
    mean = first.diagonal() / count.diagonal()
    moved = second - first * mean[None] - first.T * mean[:, None] + count * np.outer(mean, mean)
    values, vectors = np.linalg.eigh(moved / np.maximum(count, 1))
    floor = RIDGE * values.mean()
    return LinearLeads(mean, (vectors * np.maximum(values, floor)) @ vectors.T)


def _observe(values: Floats, there: Bools, visible: Bools, inside: Bools) -> tuple[Floats, Bools]:
    """(record, beat, 24, 96) the tokens that are there and the mean of each lead's other visible ones.

    And (record, beat, 24) bool, which of them are known.
    """
    weight = (visible[..., None] & inside[:, None]).astype(np.float64)
    seen = np.where(weight > 0, values, 0.0)
    others = seen.sum(axis=2, keepdims=True) - seen
    n = weight.sum(axis=2, keepdims=True) - weight
    mean = others / np.maximum(n, 1)
    tokens = np.where(there[..., None] & inside[:, None], values, 0.0)
    left = visible.sum(axis=2, keepdims=True) - visible > 0
    z = np.concatenate([tokens, mean], axis=1).swapaxes(1, 2)
    return z, np.concatenate([there, left], axis=1).swapaxes(1, 2)
