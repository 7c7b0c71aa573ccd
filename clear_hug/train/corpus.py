"""prepare: data sets from their own layouts into memory-mapped shards; Corpus: reading them back.

A shard is a folder a source:

    trace.npy     (sample, 12) float16; 0.67-40 Hz at 100 Hz, mV or the source's unit
    beats.npy     (beat, 4) float64; R peak, window start and stop (s), number of the record
    valid.npy     (beat, 12) bool
    records.csv   a row a record: id, fold, patient, units, age, sex, statements, where it lies
    failures.csv  a row a record that could not be tokenised, with the reason; its labels go with it
"""

from __future__ import annotations

import ast
import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from clear_hug.beats import BeatTokens, Window, condition, cut_tokens, split_windows, tokenize_beats
from clear_hug.ecg import ECG, ECGError, bridge_gaps
from clear_hug.io import find_records, read_ecg
from clear_hug.tasks import Task

# Arrays at hand: signals.npz, key `signals` (record, lead, sample) int16 -> fs, counts a mV (None: unknown).
ARRAYS: dict[str, tuple[float, float | None]] = {
    "ptbxl_normalized": (100.0, None),
    "cinc2011": (500.0, 200.0),
    "cinc2025_chagas": (100.0, 1000.0),
    "brugada_huca": (100.0, 1000.0),
}
ARRAY_ABSENT = -32768  # int16 that marks "no sample"
COLUMNS = (
    "record", "fold", "patient", "age", "sex", "units_known", "statements",
    "duration", "start", "stop", "first_beat", "last_beat", "n_dropped", "digest",
)  # fmt: skip


class CorpusError(ValueError):
    """A data set or shard that cannot be used, in a sentence."""


@dataclass(frozen=True)
class Item:
    """A record to be read: where it lies, and what its data set says of it."""

    record: str
    source: str
    load: Callable[[], ECG]
    fold: int = 0  # 0: the data set has no folds
    patient: str = ""
    statements: tuple[str, ...] | None = None  # None: not labelled


def _ptbxl_rows(folder: Path) -> Iterator[Mapping[str, str]]:
    with (folder / "ptbxl_database.csv").open(newline="") as f:
        yield from csv.DictReader(f)


def _ptbxl_fields(row: Mapping[str, str]) -> dict[str, Any]:
    fold = int(row["strat_fold"])
    patient = row.get("patient_id") or ""
    return {
        "fold": fold,
        "patient": f"ptbxl-{patient}" if patient else "",
        "statements": tuple(ast.literal_eval(row["scp_codes"])),
    }


def _demographics(row: Mapping[str, str]) -> dict[str, Any]:
    age = float(row["age"]) if row.get("age") else None
    if age is not None and age > 120:  # PTB-XL writes 300 for "above 89"
        age = 90.0
    return {"age": age, "sex": {"0": "M", "1": "F"}.get((row.get("sex") or "").split(".")[0])}


def _read_with(path: Path, **fields: Any) -> ECG:
    return replace(read_ecg(path), **fields)


def ptbxl_items(folder: Path) -> list[Item]:
    """PTB-XL's own layout: ptbxl_database.csv, records500/ or records100/."""
    items = []
    for row in _ptbxl_rows(folder):
        names = (row["filename_hr"], row["filename_lr"])
        path = next((p for n in names if (p := folder / f"{n}.hea").exists()), folder / f"{names[0]}.hea")
        load = partial(_read_with, path, **_demographics(row))
        items.append(Item(f"ptbxl/{row['ecg_id']}", folder.name, load, **_ptbxl_fields(row)))
    return items


def _from_array(folder: Path, i: int, record: str, **fields: Any) -> ECG:
    fs, per_mv = ARRAYS[folder.name]
    counts = _signals(folder)[i]
    signal = np.where(counts == ARRAY_ABSENT, np.float32(np.nan), counts.astype(np.float32))
    there = np.flatnonzero(np.isfinite(signal).any(axis=0))
    signal = signal[:, : there[-1] + 1] if there.size else signal
    return ECG(
        (signal / np.float32(per_mv or 200.0)).astype(np.float32),
        fs,
        record,
        units_known=per_mv is not None,
        **fields,
    )


_loaded: dict[Path, NDArray[np.int16]] = {}


def _signals(folder: Path) -> NDArray[np.int16]:
    """The array of a folder, read once a process."""
    if folder not in _loaded:
        _loaded.clear()
        _loaded[folder] = np.load(folder / "signals.npz", allow_pickle=False)["signals"]
    return _loaded[folder]


def array_items(folder: Path) -> list[Item]:
    """signals.npz beside ptbxl_database.csv (labels and folds) or index.csv."""
    if folder.name not in ARRAYS:
        raise CorpusError(f"{folder.name}: fs and unit of signals.npz are unknown; add them to ARRAYS.")
    if (folder / "ptbxl_database.csv").exists():
        return [
            Item(
                f"ptbxl/{row['ecg_id']}",
                folder.name,
                partial(_from_array, folder, i, row["ecg_id"], **_demographics(row)),
                **_ptbxl_fields(row),
            )
            for i, row in enumerate(_ptbxl_rows(folder))
        ]
    with (folder / "index.csv").open(newline="") as f:
        names = [row["record"] for row in csv.DictReader(f)]
    # an index may also name records that lie beside the array as files of their own
    names = [name for name in names if not (folder / f"{name}.hea").exists()]
    n = len(_signals(folder))
    if len(names) != n:
        raise CorpusError(f"{folder.name}: index.csv names {len(names)} records, signals.npz holds {n}.")
    return [
        Item(f"{folder.name}/{name}", folder.name, partial(_from_array, folder, i, name))
        for i, name in enumerate(names)
    ]


def folder_items(folder: Path) -> list[Item]:
    """Any folder of readable ECGs, without labels."""
    return [
        Item(
            f"{folder.name}/{path.relative_to(folder).with_suffix('')}", folder.name, partial(read_ecg, path)
        )
        for path in find_records(folder)
    ]


def source_items(folder: Path) -> list[Item]:
    """All records of a folder, by the layout found there."""
    items: list[Item] = []
    if (folder / "signals.npz").exists():
        items += array_items(folder)
        if (folder / "ptbxl_database.csv").exists():
            return items
    elif (folder / "ptbxl_database.csv").exists():
        return ptbxl_items(folder)
    items += folder_items(folder)
    if not items:
        raise CorpusError(f"{folder} holds no ECG that can be read.")
    return items


@dataclass(frozen=True, eq=False)
class _Prepared:
    item: Item
    ecg: ECG
    tokens: BeatTokens
    trace: NDArray[np.float16]


def _prepare_one(item: Item) -> _Prepared | str:
    try:
        ecg = item.load()
        tokens = tokenize_beats(ecg)
    except (ECGError, OSError) as error:
        return str(error)
    trace = condition(bridge_gaps(ecg.signal, ecg.fs)[0], ecg.fs)
    bound = np.finfo(np.float16).max
    slim = replace(ecg, signal=ecg.signal[:, :1], extra={})  # the digest is in the tokens
    return _Prepared(item, slim, tokens, np.clip(trace.T, -bound, bound).astype(np.float16))


def prepare(sources: list[Path], out: Path = Path("corpus"), workers: int | None = None) -> None:
    """Read data sets into shards.

    Args:
        sources: folders: PTB-XL's layout, arrays (signals.npz), or any folder of ECG files
        out: where the shards go, a folder a source
        workers: processes; the number of cores when not given
    """
    for source in sources:
        source = Path(source)
        if not source.is_dir():
            raise CorpusError(f"{source} is no folder; name a data set's folder.")
        items = source_items(source)
        records, failures = _write_shard(items, Path(out) / source.name, workers or os.cpu_count() or 1)
        print(f"{source.name}: {records} records, {failures} failures -> {Path(out) / source.name}")


def _write_shard(items: Sequence[Item], folder: Path, workers: int) -> tuple[int, int]:
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[Any]] = []
    failures: list[tuple[str, str]] = []
    beats: list[NDArray[np.float64]] = []
    valid: list[NDArray[np.bool_]] = []
    start = first = 0
    with (folder / "trace.raw").open("wb") as raw, ProcessPoolExecutor(workers) as pool:
        results = pool.map(_prepare_one, items, chunksize=16)
        for item, result in tqdm(
            zip(items, results, strict=True), total=len(items), unit=" ECG", desc=folder.name
        ):
            if isinstance(result, str):
                failures.append((item.record, result))
                continue
            tokens, trace = result.tokens, result.trace
            raw.write(np.ascontiguousarray(trace).tobytes())
            number = np.full((tokens.n_beats, 1), len(rows), dtype=np.float64)
            beats.append(np.concatenate([tokens.r_peaks[:, None], tokens.windows, number], axis=1))
            valid.append(tokens.valid.T)
            row = {
                "record": item.record,
                "fold": item.fold,
                "patient": item.patient or item.record,
                "age": result.ecg.age,
                "sex": result.ecg.sex,
                "units_known": int(tokens.units_known),
                "statements": "" if item.statements is None else json.dumps(item.statements),
                "duration": tokens.duration,
                "start": start,
                "stop": start + len(trace),
                "first_beat": first,
                "last_beat": first + tokens.n_beats,
                "n_dropped": tokens.n_dropped,
                "digest": tokens.digest,
            }
            rows.append([row[column] for column in COLUMNS])
            start, first = start + len(trace), first + tokens.n_beats
    if not rows:
        raise CorpusError(f"none of the {len(items)} records of {folder.name} could be tokenised.")
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, 12), np.float16))
    header["shape"] = (start, 12)
    with (folder / "trace.npy").open("wb") as out, (folder / "trace.raw").open("rb") as raw:
        np.lib.format.write_array_header_1_0(out, header)
        while chunk := raw.read(1 << 24):
            out.write(chunk)
    (folder / "trace.raw").unlink()
    np.save(folder / "beats.npy", np.concatenate(beats))
    np.save(folder / "valid.npy", np.concatenate(valid))
    _write_csv(folder / "records.csv", COLUMNS, rows)
    _write_csv(folder / "failures.csv", ("record", "reason"), failures)
    return len(rows), len(failures)


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(header)
        writer.writerows(rows)


class Corpus:
    """Prepared records, one after another over all shards of a folder; read lazily.

    Attributes
    ----------
    records : list of dict, a row of records.csv each
    fold : (record,) int; 0 without folds
    labelled : (record,) bool
    patients : (record,) str; the record's own name where the patient is unknown
    units_known : (record,) bool
    n_beats : (record,) int

    """

    def __init__(self, folder: str | Path, sources: Sequence[str] | None = None) -> None:
        folder = Path(folder)
        shards = sorted(p.parent for p in folder.glob("*/records.csv"))
        if sources is not None:
            missing = set(sources) - {s.name for s in shards}
            if missing:
                raise CorpusError(f"{folder} holds no shard {', '.join(sorted(missing))}; run prepare first.")
            shards = [s for s in shards if s.name in sources]
        if not shards:
            raise CorpusError(f"{folder} holds no shard; run `python -m clear_hug.train prepare` first.")
        self.shards = shards
        self.records: list[dict[str, Any]] = []
        self._arrays = []
        for number, shard in enumerate(shards):
            try:
                arrays = tuple(
                    np.load(shard / f"{n}.npy", mmap_mode="r") for n in ("trace", "beats", "valid")
                )
            except (OSError, ValueError) as error:
                raise CorpusError(f"shard {shard.name} is torn: {error}; run prepare again.") from error
            self._arrays.append(arrays)
            with (shard / "records.csv").open(newline="") as f:
                self.records += [{**row, "shard": number} for row in csv.DictReader(f)]
        column = self._column
        self.fold = np.array([int(v) for v in column("fold")])
        self.units_known = np.array([v == "1" for v in column("units_known")])
        self.statements = [tuple(json.loads(v)) if v else None for v in column("statements")]
        self.labelled = np.array([s is not None for s in self.statements])
        self.patients = np.array(column("patient"))
        self.n_beats = np.array([int(r["last_beat"]) - int(r["first_beat"]) for r in self.records])
        self.source = np.array([shards[r["shard"]].name for r in self.records])

    def _column(self, name: str) -> list[str]:
        return [record[name] for record in self.records]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def digest(self) -> str:
        """sha256 over the digests of all records, in order: the data hash of a run."""
        return hashlib.sha256("".join(self._column("digest")).encode()).hexdigest()

    def trace(self, i: int) -> NDArray[np.float32]:
        """(12, sample) conditioned trace of record i."""
        row = self.records[i]
        trace = self._arrays[row["shard"]][0][int(row["start"]) : int(row["stop"])]
        return np.ascontiguousarray(trace.T).astype(np.float32)

    def tokens(self, i: int) -> BeatTokens:
        """The beat tokens of record i."""
        row = self.records[i]
        _, beats, valid = self._arrays[row["shard"]]
        a, b = int(row["first_beat"]), int(row["last_beat"])
        mine = np.asarray(beats[a:b])
        return cut_tokens(
            self.trace(i),
            mine[:, 0],
            mine[:, 1:3],
            np.asarray(valid[a:b]).T,
            units_known=row["units_known"] == "1",
            duration=float(row["duration"]),
            n_dropped=int(row["n_dropped"]),
            digest=row["digest"],
            record_id=row["record"],
        )

    def window(self, i: int, epoch: int = 0) -> Window:
        """One window of record i, another one each epoch where it has several."""
        windows = split_windows(self.tokens(i))
        return windows[epoch % len(windows)]

    def labels(self, tasks: Sequence[Task], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(row, label) 0/1 over all tasks; a statement that is not made counts as its absence."""
        return np.array(
            [
                [x for task in tasks for x in task.encode(self.statements[i] or ())]
                for i in rows
            ],
            dtype=np.float32,
        )  # fmt: skip
