"""Few labels: a share of them, whole patients at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_fraction(
    rows: NDArray[np.int64],
    labels: NDArray[np.float32],
    patients: NDArray[np.str_],
    fraction: float,
    seed: int = 0,
    stratified: bool = True,
) -> NDArray[np.int64]:
    """A share of the labelled rows, whole patients at a time: 1 or 10 % of the labels to learn from.

    A smaller share lies within a larger one of the same seed.

    Parameters
    ----------
    rows : (row,)
    labels : (row, label) 0/1;  patients : (row,), both of these rows
    fraction : 0 < fraction <= 1; patients are taken until they hold this share of the rows
    stratified : keep the labels' shares, rare ones first: as many labels as the share has room for
        have a positive in it. Otherwise patients are drawn at random

    Returns
    -------
    (some,) of the rows, in their order
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction = {fraction}; expected above 0, and 1 at most.")
    names, patient = np.unique(patients, return_inverse=True)
    n_rows = np.bincount(patient)
    order = np.random.default_rng(seed).permutation(len(names))
    if stratified:
        has = np.zeros((len(names), labels.shape[1]), dtype=bool)
        np.logical_or.at(has, patient, labels > 0)
        order = order[_stratify(has[order])]
    taken = int(np.searchsorted(np.cumsum(n_rows[order]), fraction * len(rows) - 1e-9)) + 1
    return np.asarray(rows)[np.isin(patient, order[:taken])]


def _stratify(has: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(patient,) an order any beginning of which holds the labels (patient, label) in about their shares."""
    count = has.sum(axis=0)
    rarest_first = np.argsort(count, kind="stable")
    rarest_first = rarest_first[count[rarest_first] > 0]
    # a patient stands for the rarest label it has, and the k-th of n for that label comes at (k + 1/2) / n
    stratum = np.full(len(has), -1)
    for label in rarest_first[::-1]:
        stratum[has[:, label]] = label
    at = np.empty(len(has))
    for label in np.unique(stratum):
        mine = np.flatnonzero(stratum == label)
        at[mine] = (np.arange(mine.size) + 0.5) / mine.size
    covered = np.zeros(has.shape[1], dtype=bool)
    for turn, label in enumerate(rarest_first):
        if not covered[label]:
            one = int(np.argmax(has[:, label] & (stratum == label)))
            at[one] = turn - len(rarest_first)  # before all others
            covered |= has[one]
    return np.argsort(at, kind="stable")
