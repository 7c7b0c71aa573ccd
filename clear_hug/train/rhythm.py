"""What the rhythm alone tells of the labels that speak of it: where HUG's weights of the rhythm start from.

A few passes over a few thousand records do not get there: they left sinus arrhythmia at .81 of AUROC out of
fold, which a logistic regression on these numbers alone tells at .94.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.embed import rhythm_in_tents
from clear_hug.train.corpus import Corpus
from clear_hug.train.ridge import LEAST, logistic

RIDGE = 0.5  # on each squared weight, where a record's cross-entropy counts 1


@dataclass(frozen=True, eq=False)
class ByRhythm:
    """Logistic regression of labels on the rhythm.

    usual : (N_RHYTHM,) the mean rhythm;  weights : (N_RHYTHM, label), of what differs from it
    bias : (label,) logits of a record of the usual rhythm
    """

    usual: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, rhythms: NDArray[np.float32]) -> NDArray[np.float32]:
        """(record, label) from `rhythms`; what is not known says nothing."""
        return np.nan_to_num(rhythms - self.usual) @ self.weights + self.bias


def rhythms(data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(row, N_RHYTHM) `rhythm_in_tents` of records, NaN what is not known."""
    told = []
    for i in range(0, len(rows), 64):
        beats = data.beats(rows[i : i + 64])
        told.append(rhythm_in_tents(beats.seconds, beats.there.any(1)).numpy())
    return np.concatenate(told)


def by_rhythm(data: Corpus, rows: NDArray[np.int64], labels: NDArray[np.float32]) -> ByRhythm:
    """Regression of (row, label) `labels` on `rhythm_in_tents`; what is not known of it says nothing."""
    x, y = torch.from_numpy(rhythms(data, rows)).double(), torch.from_numpy(labels).double()
    usual = x.nanmean(0).nan_to_num()
    weights, bias = logistic((x - usual).nan_to_num(), y, RIDGE)
    least = float(torch.logit(torch.tensor(LEAST)))
    return ByRhythm(*(part.float().numpy() for part in (usual, weights, bias.clamp_min(least))))
