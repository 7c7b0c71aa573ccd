"""What the rhythm alone tells of the labels that speak of it: where HUG's weights of the rhythm start from.

A few passes over a few thousand records do not get there: they left sinus arrhythmia at .81 of AUROC out of
fold, which a logistic regression on these numbers alone tells at .94.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from clear_hug.embed import rhythm_in_tents
from clear_hug.train.corpus import Corpus

RIDGE = 0.5  # on each squared weight, where a record's cross-entropy counts 1
LEAST = 1e-3  # no label is thought rarer than that to begin with
STEPS = 200  # of L-BFGS, at most


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
    x = (x - usual).nan_to_num()
    weights = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.logit(y.mean(0).clamp(LEAST, 1 - LEAST)).requires_grad_()
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        missed = F.binary_cross_entropy_with_logits(x @ weights + bias, y, reduction="sum")
        loss = missed + RIDGE * weights.square().sum()
        loss.backward()
        return loss

    if labels.shape[1]:
        optimizer.step(closure)
    least = float(torch.logit(torch.tensor(LEAST)))
    bias = bias.detach().clamp_min(least)
    return ByRhythm(*(part.float().numpy() for part in (usual, weights.detach(), bias)))
