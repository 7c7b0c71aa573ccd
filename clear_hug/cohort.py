"""Many records at once: what is kept of each, in what order they stand, and which are alike.

`describe` asks the model about one record; `make_cohort` makes a `Cohort` of many. An index keeps what is
described of a folder (`index`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens, split_windows, tokens_and_trace
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import BATCH, hide, probabilities, run
from clear_hug.ecg import ECG, ECGError, freeze, gaps_between, mean_rate
from clear_hug.io import find_records
from clear_hug.known import Known, person_of
from clear_hug.leads import LEADS
from clear_hug.model import CLEARHUG, Encoded
from clear_hug.quality import assess_quality
from clear_hug.reconstruct import reconstruct
from clear_hug.tasks import TASKS

HIDDEN_SHARE = 0.5  # of a record's tokens, drawn from a fixed seed, that are rebuilt for its novelty
TRACE_COLUMNS = 125  # of a thumbnail; each keeps the lowest and the highest sample of its stretch
TRACE_SECONDS = 10.0
TWICE = re.compile(r"(^|.*/)records(?:100|500)/(.*)_(?:lr|hr)$")  # titles of PTB-XL
UNKNOWN = -1  # truth of a label that nobody has told


@dataclass(frozen=True)
class Entry:
    """A record of a folder.

    key : a hash, for links;  title : its name below the folder, for people;  path : of its file
    """

    key: str
    title: str
    path: Path


def list_entries(folder: str | Path) -> list[Entry]:
    """The records of a folder; a key carries no name, since a file's name may be a patient's."""
    found = []
    for path in find_records(folder):
        below = path.relative_to(folder)
        key = "folder-" + hashlib.sha256(below.as_posix().encode()).hexdigest()[:16]
        found.append(Entry(key, below.with_suffix("").as_posix(), path))
    return found


# One record


@dataclass(frozen=True, eq=False)
class Described:
    """What an index keeps of one record.

    Attributes
    ----------
    logits : (label,) float32, as `diagnose` gives them
    embedding : (width,) float32; the lead tokens relative to the average record's, mean over the leads there
    novelty : mean square of what the model could not foretell of a hidden half, over that of the half itself
    quality : 0 to 1, of `assess_quality`
    trace : (2 * TRACE_COLUMNS,) int8; lowest and highest value of each stretch of a thumbnail, 127 = `peak`
    peak : mV or the record's own unit;  lead : which lead `trace` is
    seconds : length;  beats : number;  rate : beats/min, NaN below two beats
    age : years or None;  sex : "F", "M" or None
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    novelty: float
    quality: float
    trace: NDArray[np.int8]
    peak: float
    lead: str
    seconds: float
    beats: int
    rate: float
    age: float | None
    sex: str | None


def describe(checkpoint: Checkpoint, ecg: ECG, detector: str = "clear") -> Described:
    """What an index keeps of a record.

    Raises
    ------
    ECGError : it holds no beat
    """
    tokens, trace = tokens_and_trace(ecg, detector)
    logits, embedding = embed(checkpoint, tokens)
    row = LEADS.index("II") if tokens.present[LEADS.index("II")] else int(np.argmax(tokens.present))
    heights, peak = _thumbnail(trace[row], 100.0)
    return Described(
        logits,
        embedding,
        novelty_of(checkpoint, tokens),
        assess_quality(ecg).acceptable,
        heights,
        peak,
        LEADS[row],
        ecg.duration,
        tokens.n_beats,
        mean_rate(tokens.r_peaks, gaps_between(ecg, tokens.r_peaks)),
        ecg.age,
        ecg.sex,
    )


def embed(checkpoint: Checkpoint, tokens: BeatTokens) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits (label,) and embedding (width,) of a record in one pass; the means over its windows."""
    windows = split_windows(tokens)
    nothing = np.zeros_like(tokens.valid)

    def work(model: CLEARHUG, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, places = [], []
        for i in range(0, len(windows), BATCH):
            encoded = model.encode(hide(windows[i : i + BATCH], nothing).to(device))
            with torch.autocast(device.type, enabled=False):
                logits.append(model.hug(encoded.lead_tokens, encoded.lead_there).float())
                places.append(embeddings(model, encoded))
        both = (torch.cat(parts).double().mean(0).float().cpu().numpy() for parts in (logits, places))
        return next(both), next(both)

    return run(checkpoint, work)[0]


def embeddings(model: CLEARHUG, encoded: Encoded) -> torch.Tensor:
    """(window, width) the lead tokens relative to the average record's, mean over the leads there."""
    there = encoded.lead_there[..., None]
    off = torch.where(there, encoded.lead_tokens.float() - model.hug.reference, 0.0)
    return off[..., : model.hug.width].sum(1) / there.sum(1).clamp_min(1)


def novelty_of(checkpoint: Checkpoint, tokens: BeatTokens) -> float:
    """1 - R2 of a hidden half of the tokens, the same half each time; NaN where it cannot be hidden."""
    there = np.flatnonzero(tokens.valid)
    drawn = np.random.default_rng(0).choice(there, int(HIDDEN_SHARE * there.size), replace=False)
    hidden = np.zeros(tokens.valid.size, dtype=bool)
    hidden[drawn] = True
    try:
        return 1 - reconstruct(checkpoint, tokens, hidden.reshape(tokens.valid.shape)).r2
    except ECGError:  # a window of which nothing was left
        return float("nan")


def _thumbnail(trace: NDArray[np.float32], fs: float) -> tuple[NDArray[np.int8], float]:
    """(2 * TRACE_COLUMNS,) int8 heights of the first `TRACE_SECONDS`, and what 127 stands for."""
    shown = trace[: int(TRACE_SECONDS * fs)]
    columns = np.array_split(shown, min(TRACE_COLUMNS, shown.size))
    ends = np.array([(part.min(), part.max()) for part in columns], dtype=np.float64)
    peak = float(np.abs(ends).max()) or 1.0
    heights = np.zeros((TRACE_COLUMNS, 2), dtype=np.int8)
    heights[: len(ends)] = np.rint(127 * ends / peak)
    return heights.ravel(), peak


# Many records


@dataclass(frozen=True, eq=False)
class Cohort:
    """Many records, one row each; a record that could not be read keeps its row, and its numbers are NaN.

    Attributes
    ----------
    keys, titles : (record,) str
    said : (record,) str; why a record could not be read, "" where it could
    targets : (label,) "task/label";  thresholds : (label,), NaN of labels too rare to be called
    probabilities : (record, label) calibrated
    truth : (record, label) int8; 1 and 0 where the label is known, else `UNKNOWN`
    labels : (record,) str; the known labels in words, "" without
    embedding : (record, width) float32
    novelty, quality, age (years), seconds, beats, rate (beats/min) : (record,) float64, NaN where unknown
    sex : (record,) "F", "M" or ""
    traces : (record, 2 * TRACE_COLUMNS) int8;  peaks : (record,);  leads : (record,) str
    """

    keys: NDArray[np.str_]
    titles: NDArray[np.str_]
    said: NDArray[np.object_]
    targets: tuple[str, ...]
    thresholds: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    truth: NDArray[np.int8]
    labels: NDArray[np.object_]
    embedding: NDArray[np.float32]
    novelty: NDArray[np.float64]
    quality: NDArray[np.float64]
    age: NDArray[np.float64]
    seconds: NDArray[np.float64]
    beats: NDArray[np.float64]
    rate: NDArray[np.float64]
    sex: NDArray[np.str_]
    traces: NDArray[np.int8]
    peaks: NDArray[np.float64]
    leads: NDArray[np.str_]

    def __post_init__(self) -> None:
        freeze(self)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def read(self) -> NDArray[np.bool_]:
        """(record,) True where the record could be read."""
        return np.array([not sentence for sentence in self.said], dtype=bool)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Key -> row."""
        return {key: row for row, key in enumerate(self.keys.tolist())}

    def column(self, target: str) -> int:
        return self.targets.index(target)

    def top(self, task: str) -> NDArray[np.int64]:
        """(record,) the column of the most probable label of a task; -1 where the record was not read."""
        columns = np.array([k for k, target in enumerate(self.targets) if target.split("/")[0] == task])
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        found = columns[np.nan_to_num(self.probabilities[:, columns], nan=-1.0).argmax(axis=1)]
        return np.where(self.read, found, -1)

    def uncertainty(self, target: str) -> NDArray[np.float64]:
        """(record,) 1 at the label's threshold, falling to 0 where the probability is 0 or 1.

        NaN for a label without a threshold.
        """
        p, threshold = self.probabilities[:, self.column(target)], self.thresholds[self.column(target)]
        with np.errstate(invalid="ignore", divide="ignore"):
            below, above = p / threshold, (1 - p) / (1 - threshold)
        return np.where(p < threshold, below, above)

    def error(self, target: str) -> NDArray[np.float64]:
        """(record,) |probability - truth|; NaN where the truth is unknown."""
        truth = self.truth[:, self.column(target)]
        return np.where(truth == UNKNOWN, np.nan, np.abs(self.probabilities[:, self.column(target)] - truth))

    def values(self, by: str, target: str) -> NDArray[np.float64]:
        """(record,) the numbers that a key of `SORTS` names."""
        return SORTS[by](self, target)

    def order(
        self, rows: NDArray[np.int64], by: str, target: str, descending: bool = True
    ) -> NDArray[np.int64]:
        """`rows` sorted by a key of `SORTS`; ties by title, and last those that have no such number."""
        value = self.values(by, target)[rows]
        value = np.where(np.isfinite(value), -value if descending else value, np.inf)
        return rows[np.lexsort((rows, value))]

    def neighbours(self, row: int, most: int = 6) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows of the records most like one, and their cosine similarity; the most alike first.

        The same recording at another rate is left out, as the record itself is, and no recording comes twice.
        """
        if not self.read[row]:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        alike = self._directions @ self._directions[row]
        alike[self._recordings == self._recordings[row]] = -np.inf
        alike[~self.read] = -np.inf
        order = np.argsort(-alike, kind="stable")
        _, first = np.unique(self._recordings[order], return_index=True)
        rows = order[np.sort(first)][:most]
        rows = rows[np.isfinite(alike[rows])]
        return rows, alike[rows].astype(np.float64)

    @cached_property
    def _recordings(self) -> NDArray[np.str_]:
        """(record,) what files of one recording have in common: PTB-XL has each at 500 and at 100 Hz."""
        names = [TWICE.sub(r"\1/\2", title) for title in self.titles.tolist()]
        return np.array(names, dtype=np.str_)

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        filled = np.nan_to_num(self.embedding)
        length = np.linalg.norm(filled, axis=1, keepdims=True)
        directions: NDArray[np.float32] = filled / np.maximum(length, 1e-12)
        return directions

    @cached_property
    def map(self) -> tuple[NDArray[np.float32], tuple[float, float]]:
        """(record, 2) place of each record on the two main axes of the embeddings, and each axis's share."""
        places = np.full((len(self), 2), np.nan, dtype=np.float32)
        if not self.read.any():
            return places, (0.0, 0.0)
        places[self.read], shares = project(self.embedding[self.read])
        places.flags.writeable = False
        return places, shares


def _by_name(cohort: Cohort, target: str) -> NDArray[np.float64]:
    return np.arange(len(cohort), dtype=np.float64)


SORTS: dict[str, Callable[[Cohort, str], NDArray[np.float64]]] = {
    "probability": lambda cohort, target: cohort.probabilities[:, cohort.column(target)],
    "uncertainty": lambda cohort, target: cohort.uncertainty(target),
    "error": lambda cohort, target: cohort.error(target),
    "novelty": lambda cohort, target: cohort.novelty,
    "quality": lambda cohort, target: cohort.quality,
    "age": lambda cohort, target: cohort.age,
    "name": _by_name,
}
"""What records are sorted by -> (cohort, target) -> (record,) numbers."""


def project(embedding: NDArray[np.floating]) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """The two principal components of embeddings, of a sign that does not depend on the machine.

    Parameters
    ----------
    embedding : (record, width), finite

    Returns
    -------
    places : (record, 2);  shares : of the variance that each of the two axes shows
    """
    x = np.asarray(embedding, dtype=np.float64)
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    total = float(values.sum()) or 1.0
    shares = np.clip(values[::-1][:2] / total, 0, 1)
    return (x @ axes).astype(np.float32), (float(shares[0]), float(shares[1]))


def make_cohort(checkpoint: Checkpoint, records: Sequence[tuple[str, str, Described | str, Known]]) -> Cohort:
    """A cohort from (key, title, what is described or why it cannot be read, what is known of it)."""
    n, targets = len(records), checkpoint.targets
    read = [(row, found) for row, (_, _, found, _) in enumerate(records) if isinstance(found, Described)]
    rows = [row for row, _ in read]
    numbers = {}
    for name in ("novelty", "quality", "seconds", "beats", "rate", "peak"):
        numbers[name] = np.full(n, np.nan)
        numbers[name][rows] = [getattr(found, name) for _, found in read]
    numbers["peaks"] = numbers.pop("peak")
    logits = np.full((n, len(targets)), np.nan)
    embedding = np.full((n, checkpoint.model.clear.config.width), np.nan, dtype=np.float32)
    traces = np.zeros((n, 2 * TRACE_COLUMNS), dtype=np.int8)
    if read:
        logits[rows] = np.stack([found.logits for _, found in read])
        embedding[rows] = np.stack([found.embedding for _, found in read])
        traces[rows] = np.stack([found.trace for _, found in read])
    age, sex, leads = np.full(n, np.nan), [""] * n, [""] * n
    for row, (_, _, found, told) in enumerate(records):
        own: tuple[float | None, str | None] = (None, None)
        if isinstance(found, Described):
            leads[row], own = found.lead, (found.age, found.sex)
        person = person_of(*own, told)
        age[row], sex[row] = np.nan if person.age is None else person.age, person.sex or ""
    return Cohort(
        keys=np.array([record[0] for record in records], dtype=np.str_),
        titles=np.array([record[1] for record in records], dtype=np.str_),
        said=np.array([found if isinstance(found, str) else "" for _, _, found, _ in records], dtype=object),
        targets=targets,
        thresholds=checkpoint.call_from,
        probabilities=probabilities(checkpoint, logits),
        truth=_truth(checkpoint, [told for _, _, _, told in records]),
        labels=np.array([_words_of(told) for _, _, _, told in records], dtype=object),
        embedding=embedding,
        age=age,
        sex=np.array(sex, dtype=np.str_),
        traces=traces,
        leads=np.array(leads, dtype=np.str_),
        **numbers,
    )


def _truth(checkpoint: Checkpoint, told: Sequence[Known]) -> NDArray[np.int8]:
    """(record, label) 1 and 0 where a record's labels are known for the task, else `UNKNOWN`."""
    column: dict[str, dict[str, int]] = {task.name: {} for task in checkpoint.tasks}
    for k, target in enumerate(checkpoint.targets):
        task, label = target.split("/", 1)
        column[task][label] = k
    asked: dict[str, list[int]] = {task: [] for task in column}
    there: list[tuple[int, int]] = []
    for row, one in enumerate(told):
        for task, labels in one.of(checkpoint.tasks).items():
            asked[task].append(row)
            there += [(row, column[task][label]) for label in labels]
    truth = np.full((len(told), len(checkpoint.targets)), UNKNOWN, dtype=np.int8)
    for task, rows in asked.items():
        truth[np.ix_(rows, list(column[task].values()))] = 0
    if there:
        truth[tuple(np.array(there).T)] = 1
    return truth


def _words_of(told: Known) -> str:
    """The known labels of the finest tasks in a line: statements where a task has them, else none."""
    names = list(told.labels.get("all", ()))
    for task in ("cpsc2018", "csn"):  # whose labels are called alike and are not: AF, ST; in words, therefore
        names += [TASKS[task].descriptions[label] for label in told.labels.get(task, ())]
    names += [label for task in told.labels.keys() - TASKS.keys() for label in told.labels[task]]
    return ", ".join(dict.fromkeys(names))
