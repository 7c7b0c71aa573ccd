"""The labels by ridge regression on lead tokens, which HUG is averaged with once it is learned.

HUG is learned in a few passes over records that are changed each time. Ridge regression, of records as they
are, has one best answer, and finds it. Both are affine in the same lead tokens, and so is their mean, which
ranks records better than either, most of all for labels that few records have (docs/ablations.md).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from clear_hug.embed import N_RHYTHM
from clear_hug.model import CLEARHUG
from clear_hug.train.corpus import Corpus

RIDGE = 0.1  # on squared weights, in units of the tokens' total variance; a record's cross-entropy counts 1
OF_RHYTHM = 5.0  # the same of what stands for the rhythm, in its own units
LEAST = 1e-3  # no label is thought rarer than that to begin with
STEPS = 300  # of L-BFGS, at most


def average_with_ridge(
    model: CLEARHUG, data: Corpus, rows: NDArray[np.int64], labels: NDArray[np.float32], share: float = 0.5
) -> None:
    """Make HUG the mean of itself and of ridge regression of (row, label) `labels` on its lead tokens.

    A label that all or none of the records have stays HUG's alone, which may know it from changes that were
    planted. What voltage and QTc add is weighed afterwards, beside the mean (`train/criteria.py`).

    share : of the regression in that mean, from 0 to 1
    """
    both = (labels > 0.5).any(axis=0) & (labels < 0.5).any(axis=0)
    if not share or not both.any():
        return
    hug = model.hug
    of_ridge = share * torch.from_numpy(both).to(hug.head.bias)
    tokens, rhythm = _read(model, data, rows)
    weights, of_rhythm, bias = regress(tokens.flatten(1), rhythm, torch.from_numpy(labels))
    with torch.no_grad():
        for own, other in (
            (hug.head.weight.T, 0.0),
            (hug.head.bias, bias.to(of_ridge)),
            (hug.rhythm, of_rhythm.to(of_ridge)),
            (hug.straight, weights.view(hug.straight.shape).to(of_ridge)),
        ):
            own.mul_(1 - of_ridge).add_(of_ridge * other)


def regress(tokens: Tensor, rhythm: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logistic regression of labels (record, label) on tokens (record, number) and rhythm (record, number).

    Returns
    -------
    (number, label) weights of the tokens and of the rhythm, (label,) bias

    """
    x, y = torch.cat([tokens, rhythm], 1).float(), labels.float()
    variance = max(float(tokens.float().var(0, correction=0).sum()), 1e-9)
    ridge = torch.cat([
        torch.full((tokens.shape[1], 1), RIDGE * variance), torch.full((rhythm.shape[1], 1), OF_RHYTHM)
    ])  # fmt: skip
    unit = ridge.sqrt()  # so that every weight costs the same
    weights, bias = logistic(x / unit.T, y, 1.0)
    tokens_weights, of_rhythm = (weights / unit).split([tokens.shape[1], rhythm.shape[1]])
    return tokens_weights, of_rhythm, bias


def logistic(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """(number, label) weights and (label,) bias of y (record, label) on x (record, number).

    ridge : on each squared weight, where a record's cross-entropy counts 1
    """
    weights = torch.zeros(x.shape[1], y.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.logit(y.mean(0).clamp(LEAST, 1 - LEAST)).requires_grad_()
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        missed = F.binary_cross_entropy_with_logits(x @ weights + bias, y, reduction="sum")
        loss = missed + ridge * weights.square().sum()
        loss.backward()
        return loss

    if y.shape[1]:
        optimizer.step(closure)
    return weights.detach(), bias.detach()


@torch.no_grad()
def _read(model: CLEARHUG, data: Corpus, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """(record, 12, width) lead tokens as HUG reads them, and (record, N_RHYTHM) the rhythm."""
    model.eval()
    device, tokens, rhythms = next(model.parameters()).device, [], []
    for i in range(0, len(rows), 64):
        encoded = model.encode(data.beats(rows[i : i + 64]).to(device), leads_only=True)
        there = encoded.lead_there
        centred = model.hug.centred(encoded.lead_tokens, there)
        share = there / there.sum(1, keepdim=True).clamp_min(1)
        tokens.append(centred[..., : model.hug.width].cpu())
        rhythms.append((centred[..., -N_RHYTHM:] * share[..., None]).sum(1).cpu())
    return torch.cat(tokens), torch.cat(rhythms)
