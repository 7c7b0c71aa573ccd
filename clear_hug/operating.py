"""Operating points: what calling a label from some probability on would miss, and call falsely.

A checkpoint's operating.json holds, for each label, how many records with and without it stood at and above
each of some probabilities. Each record was answered by a model of the same recipe that had not learned from
it, so that the counts are of new patients. A label with too few of them offers no operating point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import freeze

VERSION = 1  # of operating.json
FEWEST = 20  # records with the label, and without it; fewer carry no operating point
LEVELS = (0.80, 0.90, 0.95, 0.98)  # sensitivities and specificities to choose from
DEFAULT, SENSITIVITY, SPECIFICITY = "default", "sensitivity", "specificity"
KINDS = (DEFAULT, SENSITIVITY, SPECIFICITY)
MISSED = 0.05  # of those with the label, that ruling out may miss; of those without, that ruling in may call
WRONG = 0.25  # of those ruled in, or out, that may be wrong
RULED_OUT, REFER, RULED_IN, UNKNOWN = "ruled out", "refer", "ruled in", "too few to say"
# What is kept of a curve: every 5 %, and closer at the ends, where rare labels are told.
KEPT = np.unique(
    np.concatenate([np.linspace(0, 1, 21), LEVELS, [0.925, 0.975, 0.985, 0.99, 0.9925, 0.995, 0.9975, 0.999]])
)

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Point:
    """A label called at and above `threshold`, a probability.

    found, positives : records with the label that are called, and all of them
    false, negatives : records without it that are called, and all of them
    held : (right, of) where the threshold was chosen on other records than those it was judged on, else None
    """

    threshold: float
    found: int
    positives: int
    false: int
    negatives: int
    held: tuple[int, int] | None = None

    @property
    def sensitivity(self) -> float:
        return self.found / self.positives

    @property
    def specificity(self) -> float:
        return 1 - self.false / self.negatives

    @property
    def sensitivity_95(self) -> tuple[float, float]:
        return wilson(self.found, self.positives)

    @property
    def specificity_95(self) -> tuple[float, float]:
        return wilson(self.negatives - self.false, self.negatives)

    def predictive(self, prevalence: float) -> tuple[float, float]:
        """Positive and negative predictive value where a share `prevalence` has the label; NaN for none."""
        positive, negative = predictive(
            np.array(self.sensitivity), np.array(self.specificity), np.array(prevalence)
        )
        return float(positive), float(negative)


@dataclass(frozen=True, eq=False)
class Curve:
    """What is known of one label.

    thresholds : (point,) ascending probabilities
    found, false : (point,) records with and without the label at and above each
    positives, negatives : how many there are
    held : kind -> level -> (right, of), see `Point`
    """

    thresholds: Floats
    found: Counts
    false: Counts
    positives: int
    negatives: int
    held: Mapping[str, Mapping[str, Sequence[int]]]

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def prevalence(self) -> float:
        return self.positives / (self.positives + self.negatives)

    @property
    def sensitivity(self) -> Floats:
        return self.found / self.positives

    @property
    def specificity(self) -> Floats:
        return 1 - self.false / self.negatives

    def point(self, kind: str, level: float, default: float) -> Point | None:
        """The operating point asked for; None where there are too few records to hold it.

        Parameters
        ----------
        kind : of `KINDS`;  level : the sensitivity, or specificity, that it has at least
        default : the checkpoint's own threshold
        """
        if kind == DEFAULT:
            return self._point(int(np.abs(self.thresholds - default).argmin()))
        if kind not in KINDS:
            raise ValueError(f"kind = {kind!r}; expected one of {', '.join(KINDS)}.")
        high = kind == SENSITIVITY
        of, n = (self.sensitivity, self.positives) if high else (self.specificity, self.negatives)
        enough = np.flatnonzero(of >= level - 1e-9)
        if (1 - level) * n < 1 - 1e-9 or not enough.size:
            return None
        held = self.held.get(kind, {}).get(f"{level:g}")
        return self._point(int(enough[-1 if high else 0]), (int(held[0]), int(held[1])) if held else None)

    def _point(self, i: int, held: tuple[int, int] | None = None) -> Point:
        counts = int(self.found[i]), self.positives, int(self.false[i]), self.negatives
        return Point(float(self.thresholds[i]), *counts, held=held)

    def band(self, prevalence: float | None = None) -> tuple[float, float]:
        """The probabilities between which the model is unsure: (ruled out below, ruled in from).

        Ruling out below a probability misses at most `MISSED` of those with the label, and at most `WRONG`
        of those ruled out have it; ruling in from a probability calls at most `MISSED` of those without it,
        and at most `WRONG` of those ruled in have it not. 0 and infinity where no probability does. Where
        the two meet there is no band: both are the middle.

        prevalence : that those shares are told at; None = as in the records
        """
        share = np.array(self.prevalence if prevalence is None else prevalence)
        right_in, right_out = predictive(self.sensitivity, self.specificity, share)
        out = np.flatnonzero((self.sensitivity >= 1 - MISSED) & (right_out >= 1 - WRONG))
        enough = self.found + self.false >= FEWEST  # a share of fewer says little
        into = np.flatnonzero((self.specificity >= 1 - MISSED) & (right_in >= 1 - WRONG) & enough)
        low = float(self.thresholds[out[-1]]) if out.size else 0.0
        high = float(self.thresholds[into[0]]) if into.size else np.inf
        return (low, high) if low <= high else ((low + high) / 2, (low + high) / 2)


def wilson(right: int, of: int) -> tuple[float, float]:
    """95 % interval of a share."""
    low, high = binomtest(right, of).proportion_ci(method="wilson")
    return float(low), float(high)


def predictive(sensitivity: Floats, specificity: Floats, prevalence: Floats) -> tuple[Floats, Floats]:
    """Positive and negative predictive value (Bayes); NaN where nobody is called, or everybody is."""
    hit, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    spared, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return hit / (hit + false), spared / (spared + missed)


def reweighted(probability: Any, learned: float, prevalence: float) -> Any:
    """Probabilities that hold where a share `learned` has the label, where a share `prevalence` has it."""
    with_label = probability * prevalence / learned
    without = (1 - probability) * (1 - prevalence) / (1 - learned)
    return with_label / (with_label + without)


def curve_of(checkpoint: Checkpoint, target: str) -> Curve | None:
    """The curve of a label; None where the checkpoint has none, or too few records to tell one."""
    row = checkpoint.operating.get("labels", {}).get(checkpoint.targets[checkpoint.row(target)], {})
    if "thresholds" not in row:
        return None
    return Curve(
        thresholds=np.array(row["thresholds"], dtype=np.float64),
        found=np.array(row["found"], dtype=np.int64),
        false=np.array(row["false"], dtype=np.int64),
        positives=int(row["positives"]),
        negatives=int(row["negatives"]),
        held=row.get("held", {}),
    )


def positives_of(checkpoint: Checkpoint, target: str) -> int | None:
    """How many records with the label were looked at; None where the checkpoint does not say."""
    row = checkpoint.operating.get("labels", {}).get(checkpoint.targets[checkpoint.row(target)])
    return int(row["positives"]) if row else None


@dataclass(frozen=True)
class Rare:
    """A label that is too rare in training to be called, and what is known of it all the same.

    target : "task/label"
    positives, records : records with the label that its probability was judged on, and all of them
    ratio : of the probability to that share; NaN where no record had the label
    """

    target: str
    probability: float
    positives: int
    records: int

    @property
    def prevalence(self) -> float:
        return self.positives / self.records if self.records else 0.0

    @property
    def ratio(self) -> float:
        return self.probability / self.prevalence if self.positives else np.nan


def rare_labels(diagnosis: Diagnosis, checkpoint: Checkpoint) -> list[Rare]:
    """The labels without a threshold, those furthest above their share of the records first."""
    found = []
    for i in np.flatnonzero(diagnosis.rare):
        target = checkpoint.targets[i]
        row = checkpoint.operating.get("labels", {}).get(target, {})
        positives, others = int(row.get("positives", 0)), int(row.get("negatives", 0))
        found.append(Rare(target, float(diagnosis.probabilities[i]), positives, positives + others))
    return sorted(found, key=lambda one: -np.nan_to_num(one.ratio, nan=-1.0))


@dataclass(frozen=True, eq=False)
class Operated:
    """A diagnosis at an operating point.

    diagnosis : with the thresholds of that point; a label without one keeps its own, or none (NaN)
    points : (label,) Point or None
    bands : (label, 2) probabilities that the model is unsure between; NaN where that is not known
    """

    diagnosis: Diagnosis
    points: tuple[Point | None, ...]
    bands: Floats

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def states(self) -> tuple[str, ...]:
        """(label,) ruled out, refer, ruled in, or too few to say."""
        return tuple(
            UNKNOWN if np.isnan(low) else RULED_OUT if p < low else REFER if p < high else RULED_IN
            for p, (low, high) in zip(self.diagnosis.probabilities, self.bands, strict=True)
        )


def operate(
    diagnosis: Diagnosis, checkpoint: Checkpoint, kind: str = DEFAULT, level: float = 0.95
) -> Operated:
    """A diagnosis with the thresholds of an operating point; see `Curve.point`."""
    thresholds = checkpoint.call_from
    points: list[Point | None] = []
    bands = np.full((len(thresholds), 2), np.nan)
    for i, target in enumerate(checkpoint.targets):
        curve = curve_of(checkpoint, target)
        point = curve.point(kind, level, float(thresholds[i])) if curve else None
        points.append(point)
        if curve:
            bands[i] = curve.band()
        if point and kind != DEFAULT:
            thresholds[i] = point.threshold
    return Operated(replace(diagnosis, thresholds=thresholds), tuple(points), bands)


# How it is made


def tabulate(
    probabilities: Floats, truth: NDArray[np.bool_], default: float, parts: NDArray[np.int64]
) -> dict[str, Any]:
    """The row of one label in operating.json.

    Parameters
    ----------
    probabilities : (record,) of models that had not learned from the record;  truth : (record,) bool
    default : the checkpoint's threshold
    parts : (record,) which part of the records each belongs to: a threshold chosen on the other parts is
        judged on it
    """
    n, others = int(truth.sum()), int((~truth).sum())
    row: dict[str, Any] = {"positives": n, "negatives": others}
    if min(n, others) < FEWEST:
        return row
    at = [0.0, default]
    for share in KEPT:
        at += [_threshold(probabilities, truth, SENSITIVITY, share)]
        at += [_threshold(probabilities, truth, SPECIFICITY, share)]
    thresholds = np.unique([float(f"{t:.6g}") if t != default else t for t in at])
    found, false = (_above(probabilities[some], thresholds) for some in (truth, ~truth))
    row |= {"thresholds": thresholds.tolist(), "found": found.tolist(), "false": false.tolist()}
    held: dict[str, dict[str, list[int]]] = {}
    for kind, some in ((SENSITIVITY, truth), (SPECIFICITY, ~truth)):
        for level in LEVELS:
            right = 0
            for part in np.unique(parts):
                mine = parts == part
                t = _threshold(probabilities[~mine], truth[~mine], kind, level)
                called = probabilities[mine & some] >= t
                right += int((called if kind == SENSITIVITY else ~called).sum())
            held.setdefault(kind, {})[f"{level:g}"] = [right, int(some.sum())]
    return row | {"held": held}


def _above(values: Floats, thresholds: Floats) -> Counts:
    return values.size - np.searchsorted(np.sort(values), thresholds, side="left")


def _threshold(probabilities: Floats, truth: NDArray[np.bool_], kind: str, level: float) -> float:
    """The highest threshold of that sensitivity at least, or the lowest of that specificity.

    It lies midway between two probabilities that were seen, so that neither falls to the other side.
    """
    seen = np.unique(probabilities)
    between = np.concatenate([seen[:1] / 2, (seen[1:] + seen[:-1]) / 2, [(seen[-1] + 1) / 2]])
    if kind == SENSITIVITY:
        reached = _above(probabilities[truth], between) >= level * truth.sum() - 1e-9
        return float(between[np.flatnonzero(reached)[-1]]) if reached.any() else 0.0
    spared = (~truth).sum() - _above(probabilities[~truth], between)
    return float(between[np.flatnonzero(spared >= level * (~truth).sum() - 1e-9)[0]])
