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

Beside the shards lies intervals.safetensors, what `intervals.py` has measured of their records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
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
from clear_hug.tasks import TASKS, Task, TaskError, alike, own_tasks, told_of
from clear_hug.train.folds import one_fold, published_names
from clear_hug.train.records import Records

FORMAT = 4  # of a shard; another one is prepared anew
OPEN_PARTS = 400
DIGEST = hashlib.sha256().digest_size
DIGESTS = np.dtype(f"S{DIGEST}")
BEAT = np.dtype([("r_peak", "<f8"), ("window", "<f8", (2,)), ("valid", "?", (N_LEADS,))])
COLUMNS = ("record", "fold", "patient", "age", "sex", "units_known", "vocabulary", "statements",
           "duration", "n_samples", "n_beats", "n_dropped", "digest", "trace")  # fmt: skip
_TYPES: dict[str, str] = {
    **dict.fromkeys(COLUMNS, "string[pyarrow]"),
    **dict.fromkeys(("fold", "units_known"), "int16"),
    **dict.fromkeys(("n_samples", "n_beats", "n_dropped"), "int32"),
    **dict.fromkeys(("age", "duration"), "float64"),
}
AGAIN = "run `python -m clear_hug.train prepare` again"


def read_plan(shard: Path) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((shard / "plan.json").read_text())
    except (OSError, ValueError):
        return None
    return plan


def part_names(plan: dict[str, Any]) -> list[str]:
    return [f"{plan['list'][:8]}-{k:03d}" for k in range(plan["parts"])]


class Corpus:
    """Prepared records, one after another over all shards of a folder; read lazily.

    Attributes
    ----------
    shards : list of folders, one a source
    tasks : name -> Task, those that are known anywhere and those of one's own that its sources tell
    records : a dict a record, a row of records.csv each
    fold : (record,) int; 1 to 10, 0 where the source has no folds (see `clear_hug.datasets`); one and
        the same for a recording that several sources hold, and for all records of a patient
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
        self.tasks = {**TASKS, **_own_tasks(shards)}
        self._words = {task.vocabulary for task in self.tasks.values()}
        self._parts: list[Path] = []
        self._open: dict[int, tuple[NDArray[np.float16], NDArray[np.void]]] = {}
        digests, traces, starts = [], [], []

        def tables() -> Iterator[pd.DataFrame]:
            for shard in shards:
                for part in _part_folders(shard):
                    table, digest, trace = _read_table(part)
                    if not len(table):
                        continue
                    digests.append(digest)
                    traces.append(trace)
                    sizes = table[["n_samples", "n_beats"]].to_numpy(dtype=np.int64)
                    starts.append(sizes.cumsum(axis=0) - sizes)
                    self._parts.append(part)
                    yield table.assign(source=shard.name, data_set=table["record"].str.split("/", n=1).str[0])

        self.records = Records(tables())
        if not self._parts:
            raise CorpusError(f"no record of {folder} could be tokenised; see failures.csv in its shards.")
        self._part = np.repeat(np.arange(len(starts), dtype=np.int32), [len(start) for start in starts])
        self._start = np.concatenate(starts)  # in its part: sample, beat
        self._digests, self.recording = np.concatenate(digests), np.concatenate(traces)
        self.twice = len(self.recording) - len(np.unique(self.recording))
        self.fold = one_fold(self.records, self.recording, self.in_challenges)
        self.records.replace("fold", self.fold)
        codes, texts = self.records.words("statements")
        told = [tuple(json.loads(text)) if text else None for text in texts]
        self.statements = [told[code] for code in codes]
        codes, words = self.records.words("vocabulary")
        self.labelled = np.isin(words, list(self._words))[codes]
        self.units_known = self.records.column("units_known") == 1
        self.n_beats = self.records.column("n_beats")
        self._duration = self.records.column("duration")

    def __len__(self) -> int:
        return len(self.records)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}}  # another process opens its own

    @property
    def vocabulary(self) -> NDArray[Any]:
        return self.records.column("vocabulary")

    @property
    def patients(self) -> NDArray[Any]:
        return self.records.column("patient")

    @property
    def source(self) -> NDArray[Any]:
        return self.records.column("source")

    @property
    def data_set(self) -> NDArray[Any]:
        return self.records.column("data_set")

    @property
    def digest(self) -> str:
        """sha256 over the digests of all records, in order: the data hash of a run."""
        return hashlib.sha256(self._digests.tobytes().hex().encode()).hexdigest()

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

    @property
    def digests(self) -> NDArray[np.bytes_]:
        """(record,) `DIGESTS`, each as `digest_of`, in bytes."""
        return self._digests.view(DIGESTS)[:, 0]

    def digest_of(self, i: int) -> str:
        """sha256 of record i, as `BeatTokens.digest`."""
        return self._digests[i].tobytes().hex()

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
        own = sorted(told_of(self.tasks.values()).items())  # their labels in the order of the logits
        content = hashlib.sha256(json.dumps(own).encode() if own else b"")
        for row in told:
            content.update(repr(tuple(map(str, row))).encode())
        return content.hexdigest()

    @cached_property
    def in_challenges(self) -> dict[int, str]:
        """Row of a record of the challenges, which tell no patients -> its name in the set that it is of."""
        return published_names(self.records)

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
        if windows := self._windows(i):
            start, mine = windows[epoch % len(windows)]
            beats = beats[mine]
        return trace, int(first_sample), beats, start

    def _windows(self, i: int) -> list[tuple[float, NDArray[np.int64]]]:
        """Start, s, and beats of each window of record i that has any; [] where it is one window."""
        edges = window_edges(float(self._duration[i]))
        if edges.size <= 2:
            return []
        first = self._start[i, 1]
        beats = self._arrays(i)[1][first : first + self.n_beats[i]]
        found = windows_of(beats["r_peak"], beats["valid"].T, edges)
        return [(float(edges[k]), mine) for k, mine in found]

    def n_windows(self, i: int) -> int:
        """How many windows `beats` reads of record i, one an epoch in turn."""
        return len(self._windows(i)) or 1

    def tasks_of(self, names: Sequence[str]) -> tuple[Task, ...]:
        """The tasks of some names.

        Raises
        ------
        CorpusError : one is not known
        """
        if unknown := [name for name in names if name not in self.tasks]:
            raise CorpusError(
                f"tasks = {list(names)}: {unknown[0]!r} is not known; expected one or more of "
                f"{', '.join(self.tasks)}."
            )
        return tuple(self.tasks[name] for name in names)

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
            f"{word}, folds {', '.join(map(str, there[word]))}"
            for word in sorted(there)
            if word in self._words
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
        CorpusError : a record that is not labelled, or in other words than a task's; a label set of one's own
            that is another one here
        """
        rows = np.asarray(rows)
        for task in tasks:
            if not alike(self.tasks.get(task.name, task), task):
                raise CorpusError(
                    f"{task.name} is another label set in {self.shards[0].parent} than the one asked for: "
                    f"{_labels_of(self.tasks[task.name])}, not {_labels_of(task)}."
                )
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


def _labels_of(task: Task) -> str:
    return ", ".join(f"{label} ({words})" for label, words in task.descriptions.items())


def _own_tasks(shards: Sequence[Path]) -> dict[str, Task]:
    """The label sets of one's own that shards are told in, by name."""
    found: dict[str, Task] = {}
    for shard in shards:
        told = (read_plan(shard) or {}).get("tasks")
        try:
            mine = own_tasks(told) if told else {}
        except TaskError as error:
            raise CorpusError(f"shard {shard.name}: {error} It is torn; {AGAIN}.") from error
        for name, task in mine.items():
            if not alike(found.setdefault(name, task), task):
                raise CorpusError(
                    f"{name} is another label set in {shard.name} than in other sources of the corpus; give "
                    f"both the same tasks.json, or one another name, and {AGAIN}."
                )
    return found


def _part_folders(shard: Path) -> list[Path]:
    """The parts of a shard, in order; an old or unfinished one is refused."""
    plan = read_plan(shard)
    if plan is None or plan.get("format") != FORMAT:
        raise CorpusError(f"shard {shard.name} is of an older version, or torn; {AGAIN}.")
    parts = [shard / name for name in part_names(plan)]
    if missing := [part for part in parts if not part.is_dir()]:
        raise CorpusError(f"shard {shard.name} lacks {len(missing)} of its {len(parts)} parts; {AGAIN}.")
    return parts


def _read_table(part: Path) -> tuple[pd.DataFrame, NDArray[np.uint8], NDArray[np.uint64]]:
    """records.csv of a part, held against the sizes of its arrays; its digests (record, 32) and traces."""
    try:
        table = pd.read_csv(
            part / "records.csv", dtype=_TYPES, float_precision="round_trip",
            keep_default_na=False, na_values={"age": [""]},
        )  # fmt: skip
        digests = np.frombuffer(bytes.fromhex("".join(table.pop("digest"))), np.uint8)
        traces = np.array([int(trace[:16], 16) for trace in table.pop("trace")], dtype=np.uint64)
        if len(table):
            trace, beats = _map_part(part)
            if (len(trace), len(beats)) != (table["n_samples"].sum(), table["n_beats"].sum()):
                raise ValueError("its arrays are not as long as its records")
        digests = digests.reshape(len(table), DIGEST)
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(
            f"shard {part.parent.name} is torn: {part.name}: {error}; delete the part's folder, and {AGAIN}."
        ) from error
    return table, digests, traces


def _map_part(part: Path) -> tuple[NDArray[np.float16], NDArray[np.void]]:
    trace, beats = (np.asarray(np.load(part / f"{n}.npy", mmap_mode="r")) for n in ("trace", "beats"))
    return trace, beats
