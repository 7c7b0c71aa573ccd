"""What voltage tells of hypertrophy, for teachers that cannot see it.

A teacher reads each lead over its own SD, because most records at hand have no voltage; of records in
mV it would teach that voltage means nothing. Two published criteria, weighed on the labelled records that
have voltage, are added to what it says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clear_hug.leads import LEADS
from clear_hug.tasks import Task
from clear_hug.train.corpus import Corpus

MEANT = ("superdiagnostic/HYP", "subdiagnostic/LVH")
"""Labels that the two criteria speak of."""
PLAUSIBLE = (0.3, 10.0)  # mV; a sum of two waves outside says that the gain is wrong or the lead noise
QRS = slice(20, 60)  # samples of a token around its R peak, at 100 Hz
RIDGE = 1.0
LEAST = 10  # fewer positives with voltage weigh nothing


def voltage_evidence(
    data: Corpus, learned: NDArray[np.int64], told: NDArray[np.int64], tasks: Sequence[Task]
) -> NDArray[np.float64]:
    """(record, label) log odds to add to a voltage-blind answer for the records `told`.

    By logistic regression on the logarithms of both criteria over the records `learned` that are in mV,
    less the log odds of the label there. 0 for other labels and for records without plausible voltage.
    """
    names = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    out = np.zeros((len(told), len(names)))
    learned = learned[data.units_known[learned]]
    truth = data.labels(tasks, learned)
    x, there = criteria(data, learned)
    asked, answered = criteria(data, told)
    for name in MEANT:
        if name not in names or truth[there, names.index(name)].sum() < LEAST:
            continue
        y = truth[there, names.index(name)].astype(np.float64)
        weights, mean = _logistic(x[there], y)
        low, high = np.quantile(x[there], [0.01, 0.99], axis=0)  # nothing is told beyond what was learned
        odds = np.log(y.mean() / (1 - y.mean()))
        answer = (asked.clip(low, high) - mean) @ weights[:-1] + weights[-1] - odds
        out[:, names.index(name)] = np.where(answered, answer, 0.0)
    return out


def criteria(data: Corpus, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(record, 2) log of Sokolow-Lyon (S in V1 + R in V5 or V6) and Cornell (R in aVL + S in V3), in mV.

    And (record,) whether both could be read: the record is in mV, has the leads, and both are plausible.
    Source: Sokolow & Lyon, Am Heart J 1949;37:161; Casale et al., Circulation 1987;75:565.
    """
    out, there = np.zeros((len(rows), 2)), np.zeros(len(rows), dtype=bool)
    row = {lead: LEADS.index(lead) for lead in ("aVL", "V1", "V3", "V5", "V6")}
    for k, i in enumerate(rows):
        tokens = data.tokens(int(i))
        if not tokens.units_known or not tokens.valid[list(row.values())].any(axis=1).all():
            continue
        sums = []
        beat = {lead: np.median(tokens.values[at][tokens.valid[at]], axis=0)[QRS] for lead, at in row.items()}
        sums = [
            -beat["V1"].min() + max(beat["V5"].max(), beat["V6"].max()),
            beat["aVL"].max() - beat["V3"].min(),
        ]
        there[k] = PLAUSIBLE[0] <= min(sums) and max(sums) <= PLAUSIBLE[1]
        out[k] = np.log(np.maximum(sums, PLAUSIBLE[0]))
    return out, there


def _logistic(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the centred columns and the intercept, with a ridge on the former; and the centre."""
    mean = x.mean(axis=0)
    x = np.column_stack([x - mean, np.ones(len(x))])
    penalty = np.diag([RIDGE] * (x.shape[1] - 1) + [0.0])
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ weights))
        slope = x.T @ (p - y) + penalty @ weights
        weights -= np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + penalty, slope)
    return weights, mean
