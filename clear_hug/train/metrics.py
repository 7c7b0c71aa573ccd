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
    binary_recall,
    binary_specificity,
)

from clear_hug.tasks import TASKS, Task

Floats = NDArray[np.floating[Any]]
BOOTSTRAPS = 1000
FEW = 5  # positives below which no threshold is drawn from them
ECE_BINS = 10
INTERVAL_FROM = 5  # positives, and negatives; fewer, drawn again and again, look surer than they are
FIGURES = ("auroc", "average_precision", "f1", "sensitivity", "specificity", "ece")


def field_subset(task: Task, truth: Floats) -> NDArray[np.bool_]:
    """(record,) those that the field judges a task on: with at least one of its labels (record, label).

    In a label set of one's own each record is told to have labels or none: these are all judged.
    """
    return np.asarray(np.any(truth, axis=1) | (task.name not in TASKS))


def auroc(scores: Floats, truth: Floats) -> NDArray[np.float64]:
    """(label,) AUROC; NaN for a label that is always or never there.

    Parameters
    ----------
    scores, truth : (record, label)

    """
    return _each(_unit(scores), truth, binary_auroc)


def _each(
    scores: Floats, truth: Floats, figure: Callable[..., torch.Tensor], **settings: int
) -> NDArray[np.float64]:
    """(label,) `figure(scores, truth)`; NaN for a label that is always or never there."""
    values = torch.from_numpy(np.ascontiguousarray(scores.T, dtype=np.float64))
    target = torch.from_numpy(np.ascontiguousarray(truth.T)).long()
    positives = truth.sum(axis=0)
    out = np.full(truth.shape[1], np.nan)
    for i in np.flatnonzero((positives > 0) & (positives < len(truth))):
        out[i] = float(figure(values[i], target[i], **settings))
    return out


def _unit(scores: Floats) -> Floats:
    """Scores into 0..1 keeping their order: torchmetrics reads anything else as logits, in float32."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def macro(values: Floats) -> float:
    return float(mean_known(np.asarray(values)))


def mean_known(values: Floats) -> NDArray[np.float64]:
    """Mean over the last axis of what is not NaN; NaN where nothing is known."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=-1, dtype=np.float64)
    n = known.sum(axis=-1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


# The bootstrap: every draw of patients is a row of weights, so that all draws are one sum of products.


def draw_weights(
    patients: Sequence[str] | NDArray[np.str_], rounds: int = BOOTSTRAPS, seed: int = 0
) -> NDArray[np.float64]:
    """(round, record) how often each record is drawn when patients are drawn with replacement."""
    names, inverse = np.unique(np.asarray(patients), return_inverse=True)
    n = len(names)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rounds)
    return times[:, inverse].astype(np.float64)


def interval(draws: Floats) -> NDArray[np.float64]:
    """(2, ...) 2.5th and 97.5th percentile over the first axis; NaN where no draw has a value."""
    out = np.full((2, *draws.shape[1:]), np.nan)
    known = np.isfinite(draws).any(axis=0)
    if known.any():
        out[:, known] = np.nanpercentile(draws[:, known], [2.5, 97.5], axis=0)
    return out


def _curve(scores: Floats, truth: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """(round, threshold) true and false positives at every distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    drawn = weights[:, order]
    hits = np.cumsum(drawn * truth[order], axis=1)[:, ends]
    return hits, np.cumsum(drawn, axis=1)[:, ends] - hits


def _over(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Quotient; NaN where b is 0."""
    return np.where(b > 0, a / np.where(b > 0, b, 1), np.nan)


def _area(hits: Floats, misses: Floats) -> NDArray[np.float64]:
    """(round,) AUROC: the share of ordered pairs, ties for a half."""
    step = np.diff(misses, axis=1, prepend=0)
    below = hits - np.diff(hits, axis=1, prepend=0) / 2
    return _over((step * below).sum(axis=1), hits[:, -1] * misses[:, -1])


def drawn_auroc(scores: Floats, truth: Floats, weights: Floats) -> NDArray[np.float64]:
    """(round, label) AUROC in every draw; NaN where a label is always or never there."""
    columns = zip(scores.T, truth.T, strict=True)
    return np.stack([_area(*_curve(s, t, weights)) for s, t in columns], axis=1)


def drawn_figures(
    scores: Floats, probabilities: Floats, thresholds: Floats, truth: Floats, weights: Floats
) -> NDArray[np.float64]:
    """(figure, round, label) all of FIGURES in every draw; NaN where a label is always or never there."""
    out = np.full((len(FIGURES), len(weights), truth.shape[1]), np.nan)
    for i, (s, p, y) in enumerate(zip(scores.T, probabilities.T, truth.T, strict=True)):
        if not 0 < y.sum() < len(y):
            continue
        hits, misses = _curve(s, y, weights)
        precision = _over(hits, hits + misses)
        gained = np.diff(hits, axis=1, prepend=0)
        called = p >= thresholds[i]
        parts = np.stack([y, called * y, called, np.ones_like(y), ~called & (y == 0)], axis=1)
        positive, found, calls, n, spared = (weights @ parts).T
        bins = _bins(p)
        held = np.eye(ECE_BINS)[bins]
        gap = np.abs(weights @ (held * (p - y)[:, None])).sum(axis=1) / n
        out[:, :, i] = (
            _area(hits, misses),
            _over((gained * np.nan_to_num(precision)).sum(axis=1), positive),
            _over(2 * found, calls + positive),
            _over(found, positive),
            _over(spared, n - positive),
            gap,
        )
    return out


def _bins(p: Floats) -> NDArray[np.int64]:
    """The bin of the calibration error that each probability falls into, as torchmetrics cuts them."""
    edges = np.linspace(0, 1, ECE_BINS + 1)
    return np.clip(np.searchsorted(edges, p, side="right") - 1, 0, ECE_BINS - 1)


def figures(
    logits: Floats,
    probabilities: Floats,
    thresholds: Floats,
    truth: Floats,
    labels: Sequence[str],
    patients: NDArray[np.str_],
    counted: NDArray[np.bool_],
) -> dict[str, Any]:
    """Every figure of a task on some records, ready for metrics.json.

    Parameters
    ----------
    logits, probabilities, truth : (record, label);  thresholds : (label,)
    counted : (label,) bool; the labels that the macro figures are means of

    Returns
    -------
    dict : macro_<figure> over the counted labels that are there, `every_label` over all that are
        there, `labels` one by one; <name>_95 beside each is its interval; None where undefined, or,
        for the interval of a label, below INTERVAL_FROM

    """
    called = (probabilities >= thresholds).astype(np.float64)
    ranks = _unit(logits)
    each = np.stack([
        _each(ranks, truth, binary_auroc),
        _each(ranks, truth, binary_average_precision),
        _each(called, truth, binary_f1_score),
        _each(called, truth, binary_recall),
        _each(called, truth, binary_specificity),
        _each(probabilities, truth, binary_calibration_error, n_bins=ECE_BINS),
    ])  # fmt: skip
    draws = drawn_figures(logits, probabilities, thresholds, truth, draw_weights(patients))
    # a record drawn twice agrees with itself, so that every draw's ECE is too high: moved back to the point
    ece = FIGURES.index("ece")
    draws[ece] = np.maximum(draws[ece] + each[ece] - mean_known(draws[ece].T), 0)
    bounds = np.stack([interval(d) for d in draws])
    positives = truth.sum(axis=0)
    bounds[..., np.minimum(positives, len(truth) - positives) < INTERVAL_FROM] = np.nan
    out: dict[str, Any] = {"records": len(truth), "patients": len(np.unique(patients))}

    def means(some: NDArray[np.bool_], prefix: str) -> dict[str, Any]:
        of: dict[str, Any] = {}
        for k, name in enumerate(FIGURES):
            of |= with_interval(f"{prefix}{name}", macro(each[k, some]), mean_known(draws[k][:, some]))
        return of

    there = np.isfinite(each[0])
    out["counted"] = [label for label, yes in zip(labels, counted & there, strict=True) if yes]
    out |= means(counted, "macro_")
    out["every_label"] = {"labels": int(there.sum()), **means(np.ones_like(counted), "macro_")}
    out["labels"] = {}
    for i, label in enumerate(labels):
        row: dict[str, Any] = {"positives": int(positives[i])}
        for k, name in enumerate(FIGURES):
            row |= {name: number(each[k, i]), f"{name}_95": [number(b) for b in bounds[k, :, i]]}
        out["labels"][label] = row
    return out


def paired(
    ours: Floats,
    runs: Sequence[Floats],
    truth: Floats,
    patients: NDArray[np.str_],
    counted: NDArray[np.bool_],
) -> dict[str, Any]:
    """Macro AUROC of a baseline (the mean over its runs), and ours minus it over the same draws."""
    weights = draw_weights(patients)

    def of(scores: Floats, some: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
        drawn = drawn_auroc(scores[:, some], truth[:, some], weights)
        return macro(auroc(scores[:, some], truth[:, some])), mean_known(drawn)

    def against(some: NDArray[np.bool_]) -> dict[str, Any]:
        if not some.any():
            return {}
        mine, my_draws = of(ours, some)
        theirs = [of(run, some) for run in runs]
        value = float(np.mean([v for v, _ in theirs]))
        draws = np.mean([d for _, d in theirs], axis=0)
        return {
            **with_interval("macro_auroc", value, draws),
            **with_interval("difference", mine - value, my_draws - draws),
        }

    return {**against(counted), "every_label": against(np.ones_like(counted))}


def with_interval(name: str, value: float, draws: Floats) -> dict[str, Any]:
    """{name: value, name_95: [low, high]}, rounded; None where undefined."""
    return {name: number(value), f"{name}_95": [number(bound) for bound in interval(draws)]}


def number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def fit_platt(logits: Floats, truth: Floats, ridge: float = 1.0) -> NDArray[np.float64]:
    """(label, 2) slope and intercept of a Platt map a label, drawn by `ridge` towards the identity.

    A label with few positives or none keeps about the logits that it has.
    """
    rows = []
    for z, y in zip(logits.T.astype(np.float64), truth.T.astype(np.float64), strict=True):

        def loss(p: Floats, z: Floats = z, y: Floats = y) -> float:
            x = p[0] * z + p[1]
            return float((np.logaddexp(0, x) - y * x).sum() + ridge * ((p[0] - 1) ** 2 + p[1] ** 2))

        rows.append(minimize(loss, np.array([1.0, 0.0]), method="BFGS").x)
    return np.array(rows)


def best_thresholds(probabilities: Floats, truth: Floats) -> NDArray[np.float64]:
    """(label,) half of the highest F1 on these records; 0.5 for a label rarely or never there.

    For calibrated probabilities that is the threshold of the highest F1, and it moves less with the
    few positives of a label than the threshold at which these very records reach it. Source: Lipton et
    al., 2014, arXiv 1402.1892.
    """
    out = []
    for p, y in zip(probabilities.T, truth.T, strict=True):
        if y.sum() < FEW:
            out.append(0.5)
            continue
        out.append(max(y[p >= t].sum() / ((p >= t).sum() + y.sum()) for t in np.unique(p)))
    return np.array(out)
