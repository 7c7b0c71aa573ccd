"""Figures with their uncertainty: AUROC and the rest, 95 % bootstrap intervals by patient, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_f1_score,
)

Floats = NDArray[np.floating[Any]]
BOOTSTRAPS = 1000


def auroc(scores: Floats, truth: Floats) -> NDArray[np.float64]:
    """(label,) AUROC; NaN for a label that is always or never there.

    Parameters
    ----------
    scores, truth : (record, label)

    """
    return _each(scores, truth, binary_auroc)


def _each(
    scores: Floats, truth: Floats, figure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> NDArray[np.float64]:
    """(label,) `figure(scores, truth)`; NaN for a label that is always or never there."""
    ranks = torch.from_numpy(_unit(scores))
    target = torch.from_numpy(truth).long()
    positives = truth.sum(axis=0)
    out = np.full(truth.shape[1], np.nan)
    for i in np.flatnonzero((positives > 0) & (positives < len(truth))):
        out[i] = float(figure(ranks[:, i], target[:, i]))
    return out


def _unit(scores: Floats) -> Floats:
    """Scores into 0..1 keeping their order: torchmetrics reads anything else as logits, in float32."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def macro(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def bootstrap(
    figure: Callable[[NDArray[np.int64]], Floats | float],
    patients: Sequence[str] | NDArray[np.str_],
    rounds: int = BOOTSTRAPS,
    seed: int = 0,
) -> NDArray[np.float64]:
    """(2, ...) 2.5th and 97.5th percentile of `figure(rows)`, patients drawn with replacement."""
    rng = np.random.default_rng(seed)
    names, inverse = np.unique(np.asarray(patients), return_inverse=True)
    members = [np.flatnonzero(inverse == i) for i in range(len(names))]
    drawn = []
    for _ in range(rounds):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        drawn.append(figure(rows))
    values = np.array(drawn, dtype=np.float64)
    out = np.full((2, *values.shape[1:]), np.nan)
    known = np.isfinite(values).any(axis=0)
    out[:, known] = np.nanpercentile(values[:, known], [2.5, 97.5], axis=0)
    return out


def figures(
    logits: Floats,
    probabilities: Floats,
    thresholds: Floats,
    truth: Floats,
    labels: Sequence[str],
    patients: NDArray[np.str_],
) -> dict[str, Any]:
    """Every figure of a task on some records, ready for metrics.json.

    Parameters
    ----------
    logits, probabilities, truth : (record, label);  thresholds : (label,)

    """
    n = truth.shape[1]
    target = torch.from_numpy(truth).long()
    each = auroc(logits, truth)
    scores = torch.from_numpy(np.asarray(probabilities, dtype=np.float64))
    precision = _each(probabilities, truth, binary_average_precision)
    called = torch.from_numpy((probabilities >= thresholds).astype(np.float64))
    f1 = [float(binary_f1_score(called[:, i], target[:, i])) for i in range(n)]
    ece = [
        float(binary_calibration_error(scores[:, i].contiguous(), target[:, i], n_bins=10)) for i in range(n)
    ]
    low, high = bootstrap(lambda rows: np.append(a := auroc(logits[rows], truth[rows]), macro(a)), patients)
    return {
        "records": len(truth),
        "patients": len(np.unique(patients)),
        "macro_auroc": _number(macro(each)),
        "macro_auroc_95": [_number(low[-1]), _number(high[-1])],
        "macro_ece": _number(float(np.mean(ece))),
        "labels": {
            label: {
                "positives": int(truth[:, i].sum()),
                "auroc": _number(each[i]),
                "auroc_95": [_number(low[i]), _number(high[i])],
                "average_precision": _number(precision[i]),
                "f1": _number(f1[i]),
                "ece": _number(ece[i]),
            }
            for i, label in enumerate(labels)
        },
    }


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def fit_platt(logits: Floats, truth: Floats, ridge: float = 1.0) -> NDArray[np.float64]:
    """(label, 2) slope and intercept of a Platt map a label; the slope is drawn towards 1 by `ridge`."""
    rows = []
    for z, y in zip(logits.T.astype(np.float64), truth.T.astype(np.float64), strict=True):

        def loss(p: Floats, z: Floats = z, y: Floats = y) -> float:
            x = p[0] * z + p[1]
            return float((np.logaddexp(0, x) - y * x).sum() + ridge * (p[0] - 1) ** 2)

        rows.append(minimize(loss, np.array([1.0, 0.0]), method="BFGS").x)
    return np.array(rows)


def best_thresholds(probabilities: Floats, truth: Floats) -> NDArray[np.float64]:
    """(label,) the threshold of the highest F1 on these records; 0.5 for a label never there."""
    out = []
    for p, y in zip(probabilities.T, truth.T, strict=True):
        if not y.any():
            out.append(0.5)
            continue
        grid = np.unique(p)
        f1 = [2 * (y * (p >= t)).sum() / ((p >= t).sum() + y.sum()) for t in grid]
        i = int(np.argmax(f1))
        out.append(float((grid[i] + grid[i - 1]) / 2 if i else grid[0]))
    return np.array(out)
