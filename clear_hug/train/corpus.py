"""Corpus: prepared records, one after another over all shards of a folder.

A shard is a folder a source, in parts of some records each, so that memory does not grow with it:

    plan.json          how many records and parts, and a hash of the source's list of records
    failures.csv       a row a record that could not be tokenised, with the reason; its labels go with it
    warnings.csv       what reading gave to doubt of the others: a guessed unit, leads set right; a voltage
                       that may be wrong counts as unknown
    <hash>-<part>/
      trace.npy        (sample, 12) float16; 0.67-40 Hz at 100 Hz, mV or the source's unit
      beats.npy        (beat,) R peak, window start and stop (s), and in which leads there is a token
      lead_scale.npy   (record, 12) float32 mV; NaN for an absent lead or unknown units
      records.csv      a row a record: id, fold, patient, age, sex, units, statements, sizes, content hash
      failures.csv, warnings.csv   of this part
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from clear_hug.batch import Beats
from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens, cut_tokens, windows_of
from clear_hug.datasets import CorpusError
from clear_hug.ecg import window_edges
from clear_hug.leads import N_LEADS
from clear_hug.tasks import TASKS, Task

FORMAT = 4  # of a shard; another one is prepared anew
OPEN_PARTS = 400
BEAT = np.dtype([("r_peak", "<f8"), ("window", "<f8", (2,)), ("valid", "?", (N_LEADS,))])
COLUMNS = ("record", "fold", "patient", "age", "sex", "units_known", "vocabulary", "statements",
           "duration", "n_samples", "n_beats", "n_dropped", "digest", "trace")  # fmt: skip
_TYPES: dict[str, type] = {
    **dict.fromkeys(COLUMNS, str),
    **dict.fromkeys(("fold", "units_known", "n_samples", "n_beats", "n_dropped"), np.int64),
    **dict.fromkeys(("age", "duration"), np.float64),
}
WORDS = {task.vocabulary for task in TASKS.values()}
AGAIN = "run `python -m clear_hug.train prepare` again"


def read_plan(shard: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((shard / "plan.json").read_text())
    except (OSError, ValueError):
        return None
    return plan


def part_names(plan: dict[str, Any]) -> list[str]:
    return [f"{plan['list'][:8]}-{k:03d}" for k in range(plan["parts"])]


class _Rows(Sequence[dict[str, Any]]):
    """Rows of a table as dicts, made when asked for: a dict a record is too much for 800,000."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._columns = {name: table[name].to_numpy() for name in table}
        self._n = len(table)

    def __len__(self) -> int:
        return self._n

    def column(self, name: str) -> NDArray[Any]:
        """(record,) of one field."""
        return self._columns[name]

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self._n))]
        return {name: values[i] for name, values in self._columns.items()}


class Corpus:
    """Prepared records, one after another over all shards of a folder; read lazily.

    Attributes
    ----------
    shards : list of folders, one a source
    records : a dict a record, a row of records.csv each
    fold : (record,) int; 1 to 10, 0 where the source has no folds (see `clear_hug.datasets`); one and
        the same for a recording that several sources hold
    statements : list of tuples, None for a record without labels
    vocabulary : (record,) str; what they are written in, "" without labels
    labelled : (record,) bool; there are labels of some task (see `labelled_for`): a device's report is none
    twice : how many records stand in the corpus a second time, by their trace
    recording : (record,) uint64; the same for the same trace, whatever its name
    patients : (record,) str; the record's own name where the patient is unknown
    units_known : (record,) bool
    n_beats : (record,) int
    source : (record,) str; the shard's name
    data_set : (record,) str; what its name begins with: one for the same set in several shards

    """

    def __init__(self, folder: str | Path, sources: Sequence[str] | None = None) -> None:
        folder = Path(folder)
        marks = ("plan.json", "trace.npy")  # the second is of an older version, which is told so
        shards = sorted({path.parent for mark in marks for path in folder.glob(f"*/{mark}")})
        if sources is not None:
            missing = set(sources) - {s.name for s in shards}
            if missing:
                raise CorpusError(f"{folder} holds no shard {', '.join(sorted(missing))}; run prepare first.")
            shards = [s for s in shards if s.name in sources]
        if not shards:
            raise CorpusError(f"{folder} holds no shard; run `python -m clear_hug.train prepare` first.")
        self.shards = shards
        self._parts: list[Path] = []
        self._open: dict[int, tuple[NDArray[np.float16], NDArray[np.void]]] = {}
        tables, digests = [], []
        for shard in shards:
            for part in _part_folders(shard):
                table = _read_table(part)
                if not len(table):
                    continue
                digests.append(np.array(table.pop("digest"), dtype="S64"))
                tables.append(table.assign(source=shard.name, part=len(self._parts)))
                self._parts.append(part)
        if not tables:
            raise CorpusError(f"no record of {folder} could be tokenised; see failures.csv in its shards.")
        table = pd.concat(tables, ignore_index=True)
        self._part = table.pop("part").to_numpy()
        parts = table[["n_samples", "n_beats"]].groupby(self._part)
        self._start = (parts.cumsum() - table[["n_samples", "n_beats"]]).to_numpy()
        self._digests = np.concatenate(digests)
        table["fold"] = _one_fold(table)
        self.recording = table.pop("trace").to_numpy(dtype=np.uint64)
        self.twice = len(table) - len(np.unique(self.recording))
        codes, texts = pd.factorize(table["statements"])
        told = [tuple(json.loads(text)) if text else None for text in texts]
        self.statements = [told[code] for code in codes]
        self.fold = table["fold"].to_numpy()
        self.vocabulary = np.array(table["vocabulary"], dtype=str)
        self.labelled = np.isin(self.vocabulary, list(WORDS))
        self.patients = table["patient"].to_numpy(dtype=object)
        self.units_known = table["units_known"].to_numpy() == 1
        self.n_beats = table["n_beats"].to_numpy()
        self._duration = table["duration"].to_numpy()
        self.source = np.array(table["source"], dtype=str)
        self.data_set = np.array(table["record"].str.split("/", n=1).str[0], dtype=str)
        table["statements"] = pd.Categorical.from_codes(codes, texts)  # each text once
        self.records = _Rows(table)

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}  # another process opens its own

    @property
    def digest(self) -> str:
        """sha256 over the digests of all records, in order: the data hash of a run."""
        return hashlib.sha256(self._digests.tobytes()).hexdigest()

    def of_sets(self, data_sets: Sequence[str]) -> NDArray[np.bool_]:
        """(record,) True for the records of some data sets; of all when none is named.

        Raises
        ------
        CorpusError : one is not there
        """
        there = set(self.data_set.tolist())
        if missing := sorted(set(data_sets) - there):
            raise CorpusError(
                f"the corpus holds no data set {missing[0]}; expected some of {', '.join(sorted(there))}."
            )
        return np.isin(self.data_set, list(data_sets or there))

    def failures(self, source: str) -> int:
        """How many records of a shard could not be tokenised."""
        shard = next(shard for shard in self.shards if shard.name == source)
        return len(pd.read_csv(shard / "failures.csv")) if (shard / "failures.csv").exists() else 0

    def digest_of(self, i: int) -> str:
        """sha256 of record i, as `BeatTokens.digest`."""
        return self._digests[i].decode()

    @property
    def labels_digest(self) -> str:
        """sha256 over what is said of all records: names, folds, patients and statements."""
        told = zip(
            self.records.column("record"),
            self.fold,
            self.patients,
            self.vocabulary,
            self.statements,
            strict=True,
        )
        content = hashlib.sha256()
        for row in told:
            content.update(repr(tuple(map(str, row))).encode())
        return content.hexdigest()

    @cached_property
    def in_challenges(self) -> dict[int, str]:
        """Row of a record of the challenges -> its name in the set that it was published in."""
        found = ((i, published_name(name)) for i, name in enumerate(self.records.column("record")))
        return {i: name for i, name in found if name}

    @cached_property
    def names(self) -> frozenset[str]:
        """Of all records."""
        return frozenset(self.records.column("record").tolist())

    @cached_property
    def lead_scale(self) -> NDArray[np.float32]:
        """(record, 12) mV, over the whole record; NaN for an absent lead or unknown units."""
        return np.concatenate([np.load(part / "lead_scale.npy") for part in self._parts])

    def _arrays(self, i: int) -> tuple[NDArray[np.float16], NDArray[np.void]]:
        """Trace and beats of record i's part."""
        part = int(self._part[i])
        if part not in self._open:
            if len(self._open) >= OPEN_PARTS:
                self._open = {}
            self._open[part] = _map_part(self._parts[part])
        return self._open[part]

    def trace(self, i: int) -> NDArray[np.float32]:
        """(12, sample) conditioned trace of record i."""
        start = int(self._start[i, 0])
        trace = self._arrays(i)[0][start : start + int(self.records[i]["n_samples"])]
        self._check_finite(trace, i)
        return np.ascontiguousarray(trace.T).astype(np.float32)

    def _check_finite(self, values: NDArray[np.float16], i: int) -> None:
        if not _finite(values):
            record, part = self.records[i]["record"], self._parts[int(self._part[i])]
            raise CorpusError(
                f"{record} holds values that are no numbers: {part.parent.name}/{part.name} is damaged; "
                f"delete the part's folder, and {AGAIN}."
            )

    def tokens(self, i: int) -> BeatTokens:
        """The beat tokens of record i."""
        row = self.records[i]
        start = int(self._start[i, 1])
        beats = np.asarray(self._arrays(i)[1][start : start + int(row["n_beats"])])
        return cut_tokens(
            self.trace(i),
            beats["r_peak"],
            beats["window"],
            beats["valid"].T,
            units_known=bool(self.units_known[i]),
            duration=float(row["duration"]),
            n_dropped=int(row["n_dropped"]),
            digest=self.digest_of(i),
            record_id=row["record"],
        )

    def beats(self, rows: NDArray[np.int64], epoch: int = 0) -> Beats:
        """One window of each record, another one each epoch where it has several, padded to the longest.

        As `collate` makes it of `split_windows`, many times as fast; its values are float16, as they lie on
        the disk.
        """
        found = [self._window(int(i), epoch) for i in rows]
        n = np.array([len(beats) for _, _, beats, _ in found])
        beats = np.frombuffer(b"".join(beats.tobytes() for _, _, beats, _ in found), BEAT)
        record, first = np.repeat(np.arange(n.size), n), np.cumsum(n) - n
        beat = np.arange(n.sum()) - first[record]
        centre, (begin, end) = _samples(beats["r_peak"]), _samples(beats["window"]).T
        sample = centre[:, None] - TOKEN_SAMPLES // 2 + np.arange(TOKEN_SAMPLES)
        within = (sample >= begin[:, None]) & (sample < end[:, None])
        cut = np.empty((len(beats), TOKEN_SAMPLES, N_LEADS), np.float16)
        for (trace, shift, _, _), at, many in zip(found, first, n, strict=True):
            _cut_runs(trace, shift + sample[at : at + many, 0], cut[at : at + many])
        if not _finite(cut):
            for i, at, many in zip(rows, first, n, strict=True):
                self._check_finite(cut[at : at + many][within[at : at + many]], int(i))
        cut[~within] = 0
        valid = beats["valid"]
        for lead in np.flatnonzero(~valid.all(0)):
            cut[~valid[:, lead], :, lead] = 0
        shape = (n.size, n.max())
        values = np.zeros((n.size, N_LEADS, n.max(), TOKEN_SAMPLES), np.float16)
        for i, (at, many) in enumerate(zip(first, n, strict=True)):
            values[i, :, :many] = cut[at : at + many].transpose(2, 0, 1)
        there, inside = np.zeros((*shape, N_LEADS), bool), np.zeros((*shape, TOKEN_SAMPLES), bool)
        seconds = np.zeros(shape, np.float32)
        there[record, beat], inside[record, beat] = valid, within
        seconds[record, beat] = beats["r_peak"] - np.repeat([start for *_, start in found], n)
        return Beats(
            torch.from_numpy(values),
            torch.from_numpy(there).transpose(1, 2).contiguous(),
            torch.from_numpy(seconds),
            torch.from_numpy(inside),
            torch.from_numpy(self.units_known[rows]),
        )

    def _window(self, i: int, epoch: int) -> tuple[NDArray[np.float16], int, NDArray[np.void], float]:
        """The trace of record i's part, where the record begins in it, and a window's beats and start, s."""
        trace, every = self._arrays(i)
        first_sample, first_beat = self._start[i]
        beats, start = every[first_beat : first_beat + self.n_beats[i]], 0.0
        edges = window_edges(float(self._duration[i]))
        if edges.size > 2:
            windows = windows_of(beats["r_peak"], beats["valid"].T, edges)
            which, mine = windows[epoch % len(windows)]
            beats, start = beats[mine], float(edges[which])
        return trace, int(first_sample), beats, start

    def labelled_for(self, tasks: Sequence[Task]) -> NDArray[np.bool_]:
        """(record,) True where the statements are in the words of all tasks."""
        told = np.ones(len(self), dtype=bool)
        for task in tasks:
            told &= self.vocabulary == task.vocabulary
        return told

    def none_labelled(
        self, tasks: Sequence[Task], folds: Sequence[int], data_sets: Sequence[str] = ()
    ) -> str:
        """A sentence on why no record of some folds (and data sets) has labels of some tasks."""
        asked, some = {task.vocabulary for task in tasks}, self.of_sets(data_sets)
        there = {
            str(word): sorted(set(self.fold[some & (self.vocabulary == word)].tolist()))
            for word in set(self.vocabulary[some].tolist())
        }
        told = [
            f"{word}, folds {', '.join(map(str, there[word]))}" for word in sorted(there) if word in WORDS
        ]
        names = ", ".join(task.name for task in tasks)
        where = ", ".join(data_sets) or self.shards[0].parent
        both = "; two vocabularies cannot be learned at once" if len(asked) > 1 else ""
        return (
            f"no record of folds {list(folds)} of {where} has labels of {names}, which are told "
            f"in {' and '.join(sorted(asked))}{both}. Labelled there: {'; '.join(told) or 'none'}."
        )

    def labels(self, tasks: Sequence[Task], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(row, label) 0/1 over all tasks; a statement that is not made counts as its absence.

        Raises
        ------
        CorpusError : a record that is not labelled, or in other words than a task's
        """
        rows = np.asarray(rows)
        for task in tasks:
            if (strange := rows[self.vocabulary[rows] != task.vocabulary]).size:
                record, words = self.records[strange[0]]["record"], self.vocabulary[strange[0]]
                raise CorpusError(
                    f"{record} has {f'statements in {words}' if words else 'no labels'}; task {task.name} "
                    f"is told in {task.vocabulary}. Take the rows of labelled_for(tasks)."
                )
        known: dict[Any, list[int]] = {}
        for said in {self.statements[i] for i in rows}:
            known[said] = [x for task in tasks for x in task.encode(said or ())]
        n_labels = sum(len(task.labels) for task in tasks)
        return np.array([known[self.statements[i]] for i in rows], dtype=np.float32).reshape(-1, n_labels)


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


def _finite(values: NDArray[np.float16]) -> bool:
    """No NaN and no infinity: as integers these are the largest of either sign, which is told fastest so."""
    if not values.size:
        return True
    return bool(values.view(np.int16).max() < 0x7C00 and values.view(np.uint16).max() < 0xFC00)


def _cut_runs(trace: NDArray[np.float16], starts: NDArray[np.int64], out: NDArray[np.float16]) -> None:
    """Into `out` (run, 96, 12) what stands in a trace from each of `starts` on; anything beyond its ends."""
    last = len(trace) - TOKEN_SAMPLES
    if starts.min() >= 0 and starts.max() <= last:
        runs = np.lib.stride_tricks.as_strided(
            trace, (last + 1, TOKEN_SAMPLES, N_LEADS), (trace.strides[0], *trace.strides)
        )
        out[:] = runs[starts]
    else:
        out[:] = trace[(starts[:, None] + np.arange(TOKEN_SAMPLES)).clip(0, len(trace) - 1)]


def _samples(seconds: Any) -> NDArray[np.int64]:
    """The samples of a trace that stand nearest to times in s."""
    return np.rint(seconds * TOKEN_FS).astype(np.int64)


def _one_fold(table: pd.DataFrame) -> NDArray[np.int64]:
    """(record,) folds: a recording that stands in several places has that of the first, PTB-XL's before all.

    It is known by its trace, or as PTB-XL's in the challenges, HR00001 and so on: what is kept to judge must
    not be learned from there. PTB-XL's own folds stay as they are published.
    """
    fold, ptbxl = table["fold"], table["record"].str.fullmatch(r"ptbxl/\d+")
    official = ptbxl & (table["vocabulary"] == "SCP")
    told = table[fold > 0].assign(after=~official).sort_values("after", kind="stable")
    first = told.drop_duplicates("trace").set_index("trace")["fold"]
    found = table["trace"].map(first).fillna(fold)
    by_name = told.drop_duplicates("record").set_index("record")["fold"]
    named = table["record"].map(published_name)
    return fold.where(official, named.map(by_name).fillna(found)).to_numpy(dtype=np.int64)


def published_name(record: str) -> str | None:
    """What a record of the challenges (HR00001, JS00001) is called in PTB-XL or CSN; None for any other."""
    found = re.search(r"/(HR|JS)(\d{5})$", record)
    if not found or record.startswith(("ptbxl/", "csn/")):
        return None
    letters, number = found.groups()
    return f"ptbxl/{int(number)}" if letters == "HR" else f"csn/JS{number}"


def _part_folders(shard: Path) -> list[Path]:
    """The parts of a shard, in order; an old or unfinished one is refused."""
    plan = read_plan(shard)
    if plan is None or plan.get("format") != FORMAT:
        raise CorpusError(f"shard {shard.name} is of an older version, or torn; {AGAIN}.")
    parts = [shard / name for name in part_names(plan)]
    if missing := [part for part in parts if not part.is_dir()]:
        raise CorpusError(f"shard {shard.name} lacks {len(missing)} of its {len(parts)} parts; {AGAIN}.")
    return parts


def _read_table(part: Path) -> pd.DataFrame:
    """records.csv of a part, held against the sizes of its arrays."""
    try:
        table = pd.read_csv(
            part / "records.csv", dtype=_TYPES, float_precision="round_trip",
            keep_default_na=False, na_values={"age": [""]},
        )  # fmt: skip
        table["trace"] = np.array([int(trace[:16], 16) for trace in table["trace"]], dtype=np.uint64)
        if len(table):
            trace, beats = _map_part(part)
            if (len(trace), len(beats)) != (table["n_samples"].sum(), table["n_beats"].sum()):
                raise ValueError("its arrays are not as long as its records")
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"shard {part.parent.name} is torn: {part.name}: {error}; delete the part's folder, and {AGAIN}."
        ) from error
    return table


def _map_part(part: Path) -> tuple[NDArray[np.float16], NDArray[np.void]]:
    trace, beats = (np.asarray(np.load(part / f"{n}.npy", mmap_mode="r")) for n in ("trace", "beats"))
    return trace, beats
