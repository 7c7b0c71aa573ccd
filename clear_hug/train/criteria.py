"""What voltage and the QT interval tell of a label, by published criteria: HUG's weights of them.

Most records at hand have no voltage, and what learns from all of them finds in it little of what cardiology
has long written down. So the labels that speak of voltage have its criteria, sums of R and S in mV. The
labelled records in mV weigh these, one or two numbers a label, beside what a model answers that had not
learned from those records. What voltage-blind teachers say is mended by the same, beside nothing. Likewise a
long QT interval is one by its QTc, which a handful of records with that label do not teach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from clear_hug.leads import LEADS, N_LEADS
from clear_hug.model import FARTHEST_VOLTS, Facts
from clear_hug.tasks import Task
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import field_subset

Floats = NDArray[np.float64]
R, S = 0, 1
RIDGE = 1.0  # on the weight of a criterion, a SD of it, and on how far that of the answer is from 1
DIAGNOSES = 10.0  # the same beside an answer, for labels that name a disease: voltage alone does not decide
LEAST_ANSWER = 0.5  # of the answer's weight: one calibration serves records without voltage, too
LEAST = 3  # fewer positives weigh nothing
MOST_EVIDENCE = 4.0  # logits, of voltage for a teacher: records without labels are noise now and then


def _sum(*waves: tuple[str, int]) -> Floats:
    """(12, 2): 1 where a wave of a lead is in the criterion."""
    out = np.zeros((N_LEADS, 2))
    for lead, wave in waves:
        out[LEADS.index(lead), wave] = 1.0
    return out


SOKOLOW = _sum(("V1", S), ("V5", R))
"""Source: Sokolow & Lyon, Am Heart J 1949;37:161, without the choice of V6 where it is taller."""
CORNELL = _sum(("aVL", R), ("V3", S))
"""Source: Casale et al., Circulation 1987;75:565."""
OF_ALL = np.ones((N_LEADS, 2))
"""QRS voltage of all leads, which is what "low" and "high QRS voltages" speak of."""
CRITERIA = {
    "superdiagnostic/HYP": (SOKOLOW, CORNELL),
    "subdiagnostic/LVH": (SOKOLOW, CORNELL),
    "form/VCLVH": (SOKOLOW, CORNELL),
    "form/HVOLT": (OF_ALL,),
    "form/LVOLT": (-OF_ALL,),
}
"""The labels that speak of voltage, and by which criteria; none speaks against its label."""
BY_QTC = ("form/LNGQT",)
"""The labels that a long QTc defines."""


def weigh_criteria(
    data: Corpus,
    rows: NDArray[np.int64],
    tasks: Sequence[Task],
    usual: Floats,
    logits: NDArray[np.float32] | None = None,
) -> Floats:
    """Weigh the criteria of `CRITERIA` by logistic regression on the records of a task that are in mV.

    Parameters
    ----------
    data, tasks : the labels
    rows : (record,) labelled ones
    usual : (12, 2) mV, of `Facts`
    logits : (record, label) of models that had not learned from these records; the criteria are weighed
        beside them, and stand alone without

    Returns
    -------
    weights : (12, 2, label) logits a mV of R and S

    """
    known = data.units_known[rows]
    rows, n_labels = rows[known], sum(len(task.labels) for task in tasks)
    answer = np.zeros((len(rows), n_labels)) if logits is None else logits[known].astype(np.float64)
    found, weights = volts(data, rows, usual), np.zeros((N_LEADS, 2, n_labels))
    for k, target, some, y in _labels(data, rows, tasks):
        if criteria := CRITERIA.get(target):
            x = np.einsum("rlv,clv->rc", found[some], np.array(criteria))
            ridge = RIDGE if logits is None or target.startswith("form/") else DIAGNOSES
            weights[..., k] = np.tensordot(weigh(answer[some, k], x, y, ridge), np.array(criteria), 1)
    return weights


def weigh_qtc(
    data: Corpus, rows: NDArray[np.int64], tasks: Sequence[Task], facts: Facts, logits: NDArray[np.float32]
) -> Floats:
    """(label,) logits a spread of `Facts.qtc`, of the labels in `BY_QTC`; else as `weigh_criteria`."""
    parts = np.split(rows, range(64, len(rows), 64))
    found = np.concatenate([facts.qtc(data.beats(part)).numpy() for part in parts]).astype(np.float64)
    weights = np.zeros(logits.shape[1])
    for k, target, some, y in _labels(data, rows, tasks):
        if target in BY_QTC:
            weights[k] = weigh(logits[some, k].astype(np.float64), found[some, None], y)[0]
    return weights


def _labels(
    data: Corpus, rows: NDArray[np.int64], tasks: Sequence[Task]
) -> Iterator[tuple[int, str, NDArray[np.bool_], Floats]]:
    """Of each label with enough records: its column, its name, its task's records, which of them have it."""
    column = 0
    for task in tasks:
        truth = data.labels([task], rows)
        some = field_subset(task, truth)
        for label, y in zip(task.labels, truth[some].T.astype(np.float64), strict=True):
            if LEAST <= y.sum() < len(y):
                yield column, f"{task.name}/{label}", some, y
            column += 1


def evidence(data: Corpus, rows: NDArray[np.int64], usual: Floats, weights: Floats) -> Floats:
    """(record, label) logits that voltage adds to what a blind teacher says; 0 for records without."""
    out = np.einsum("rlv,lvn->rn", volts(data, rows, usual), weights)
    return out.clip(-MOST_EVIDENCE, MOST_EVIDENCE)


def usual_r_and_s(data: Corpus, rows: NDArray[np.int64]) -> Floats:
    """(12, 2) mean R and S of those of the records that are in mV and have the lead; 0 without any."""
    total, n = np.zeros((N_LEADS, 2)), np.zeros((N_LEADS, 1))
    for row in rows[data.units_known[rows]]:
        beats = data.beats(np.array([row]))
        total += beats.r_and_s()[0].numpy()
        n += beats.there[0].any(1).numpy()[:, None]
    return total / n.clip(1)


def volts(data: Corpus, rows: NDArray[np.int64], usual: Floats) -> Floats:
    """(record, 12, 2) R and S less the usual, as HUG reads them; 0 of what is not there or not in mV."""
    out = np.zeros((len(rows), N_LEADS, 2))
    for k, row in enumerate(rows):
        if data.units_known[row]:
            beats = data.beats(np.array([row]))
            off = (beats.r_and_s()[0].numpy() - usual).clip(-FARTHEST_VOLTS, FARTHEST_VOLTS)
            out[k] = np.where(beats.there[0].any(1).numpy()[:, None], off, 0.0)
    return out


def weigh(answer: Floats, x: Floats, y: Floats, ridge: float = RIDGE) -> Floats:
    """(criterion,) weights of the columns of x (record, criterion) in units of the answer, none below 0."""
    spread = x.std(axis=0).clip(1e-9)
    x = x / spread

    def loss(w: Floats) -> tuple[float, Floats]:
        z = w[0] * answer + x @ w[1:-1] + w[-1]
        off, away = expit(z) - y, np.concatenate([[w[0] - 1], w[1:-1], [0.0]])
        slope = np.concatenate([[answer @ off], x.T @ off, [off.sum()]]) + ridge * away
        return float(np.logaddexp(0, z).sum() - y @ z + ridge / 2 * away @ away), slope

    start = np.array([1.0] + [0.0] * (x.shape[1] + 1))
    bounds = [(LEAST_ANSWER, None), *[(0.0, None)] * x.shape[1], (None, None)]
    w = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    out: Floats = w[1:-1] / spread / w[0]
    return out
