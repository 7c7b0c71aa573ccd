"""prepare: data sets from their own layouts into shards (`train/corpus.py`), in memory-mapped parts.

A part is written aside and then renamed: what is there is whole. Parts already there are kept, so that
a run that was stopped goes on where it was, and any number of processes and machines may share the work.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import multiprocessing
import os
import re
import shutil
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from clear_hug.beats import tokens_and_trace
from clear_hug.datasets import FILES, CorpusError, Item, layout_of, list_records, read_record, set_name
from clear_hug.ecg import ECGError
from clear_hug.io import Asked, without_doubted_voltage
from clear_hug.labels import OWN, read_tasks
from clear_hug.leads import N_LEADS
from clear_hug.tasks import TASKS, told_of, vocabulary_of
from clear_hug.train.corpus import AGAIN, BEAT, COLUMNS, FORMAT, Corpus, part_names, read_plan
from clear_hug.train.reading import cores

PART_RECORDS = 32  # at least, and more in a large source:
MAX_PARTS = 256  # a source; each is two open files while it is read
FAILURE, WARNING = ("record", "reason"), ("record", "warning")
SMALLEST_PEAK = 0.06  # of a trace without a unit: 1,000 times the least that float16 holds to all its bits
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ESTALE)
"""Errors that would fail every record to come: no room, no more open files, a share that went."""
_OF_ITEM = ("record", "fold", "patient", "vocabulary", "statements")
_OLD = ("trace.npy", "trace.raw", "beats.npy", "valid.npy", "records.csv")  # of format 1


def prepare(
    sources: list[Path],
    out: Path = Path("corpus"),
    workers: int | None = None,
    fs: float | None = None,
    unit: str | None = None,
    leads: list[str] | None = None,
    orientation: str | None = None,
) -> None:
    """Read data sets into shards; parts that are already there are kept.

    Under torchrun or `accelerate launch` each process prepares its share of the parts. To read a source
    anew (its failures, or after an update), delete its shard first.

    Args:
        sources: folders of PTB-XL, CPSC2018, Chapman-Shaoxing-Ningbo, MIMIC-IV-ECG or LUDB as published,
            arrays (signals.npz), or any folder of ECG files, with a labels.csv of one's own or without
        out: where the shards go, a folder a source
        workers: processes; the number of cores when not given
        fs: Hz, of every file of folders of ECG files, over what these say
        unit: mV, uV or V, likewise
        leads: of the channels, in the files' order, likewise; -aVR is aVR turned over
        orientation: columns or rows, where the leads of arrays and tables are, likewise
    """
    folders = [Path(os.path.abspath(source)) for source in sources]
    names = [set_name(folder) for folder in folders]
    if twice := {name for name in names if names.count(name) > 1}:
        raise CorpusError(f"two sources are called {twice.pop()}; rename one, a shard is named after it.")
    said = {"fs": fs, "unit": unit, "leads": leads, "orientation": orientation}
    told = {key: value for key, value in said.items() if value is not None}
    _check_told(folders, told)
    rank, ranks = (int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    workers = workers or max(1, cores() // here)
    for source, name in zip(folders, names, strict=True):
        shard = Path(out) / name
        if shard.resolve().is_relative_to(source.resolve()):
            raise CorpusError(
                f"the shard of {name} would lie in its own source; name an --out outside of it."
            )
        try:
            _prepare(source, shard, workers, rank, ranks, told)
        except (OSError, BrokenProcessPool) as error:  # a full disk; a worker killed for its memory
            raise CorpusError(f"{name}: {error}. The parts prepared so far are kept; {AGAIN}.") from error
    if rank == 0:
        _tell_twice(Path(out))


def _check_told(folders: Sequence[Path], told: Mapping[str, Any]) -> None:
    """Refuse what is told of files that cannot be, or of a data set that was published with it."""
    if not told:
        return
    try:
        Asked(**told)
    except ECGError as error:
        raise CorpusError(str(error)) from error
    if not told.get("fs", 1.0) > 0:
        raise CorpusError(f"fs = {told['fs']!r}; expected Hz, above 0.")
    if published := [folder for folder in folders if folder.is_dir() and layout_of(folder) not in FILES]:
        raise CorpusError(
            f"{', '.join(told)} is for folders of ECG files; {published[0].name} is a published data set "
            "that says so itself. Prepare it alone."
        )


def _tell_twice(out: Path) -> None:
    """Say which records stand in two data sets, once all of these are prepared."""
    try:
        twice = Corpus(out).twice
    except CorpusError:  # parts are left to other processes
        return
    if twice:
        print(
            f"{twice} recordings stand in the corpus a second time, by another name or in another data set: "
            "these, and other records of their patients, have the fold of the first, PTB-XL's before all, "
            "whose own folds are as published."
        )


def _prepare(source: Path, shard: Path, workers: int, rank: int, ranks: int, told: Mapping[str, Any]) -> None:
    table = list_records(source)
    if set(table["layout"]) & {"files", "own", "csn", "mimic"}:
        for path in sorted(source.rglob(OWN)):
            if path.parent != source or table["layout"].iloc[0] != "own":
                print(
                    f"{shard.name}: {path.relative_to(source)} is not read. Expected columns record and "
                    "statements, in the folder that is named as the source, which is of no published layout."
                )
    plan = _plan(table, source, told)
    if table["layout"].iloc[0] == "own" and (own := told_of(read_tasks(source).values())):
        plan["tasks"] = own
    _start(shard, plan)
    parts = part_names(plan)
    size = plan["part_records"]
    mine = [k for k in range(rank, len(parts), ranks) if not (shard / parts[k]).is_dir()]
    work = partial(_write_part, source, shard, told)
    lots = ((parts[k], table.iloc[k * size : (k + 1) * size]) for k in mine)
    total = sum(min(size, len(table) - k * size) for k in mine)
    workers = min(workers, len(mine))
    with (
        tqdm(total=total, unit=" ECG", desc=shard.name, disable=not mine) as bar,
        ProcessPoolExecutor(workers, initializer=_end_with_parent) if workers > 1 else nullcontext() as pool,
    ):
        for n in pool.map(work, lots) if pool else map(work, lots):
            bar.update(n)
    missing = [part for part in parts if not (shard / part).is_dir()]
    if missing:
        print(f"{shard.name}: {len(missing)} of {len(parts)} parts are left to other processes.")
        return
    failures, warnings = (
        _gather(shard, parts, name, columns)
        for name, columns in (("failures.csv", FAILURE), ("warnings.csv", WARNING))
    )
    if failures == len(table):
        first = _read_rows(shard / "failures.csv")[0]
        raise CorpusError(
            f"none of the {len(table)} records of {shard.name} could be tokenised; {first['record']}: "
            f"{first['reason']}"
        )
    labelled = _labelled(shard, parts, {*map(vocabulary_of, (*TASKS, *plan.get("tasks", ())))})
    if table["layout"].iloc[0] == "own":
        _check_patients(shard, parts)
    doubtful = f", {warnings} with a warning (warnings.csv)" if warnings else ""
    print(
        f"{shard.name}: {len(table) - failures} records, {labelled}{doubtful}, {failures} failures -> {shard}"
    )


def _check_patients(shard: Path, parts: Sequence[str]) -> None:
    """Refuse labels of one's own that put a patient, whom a header may name, into several folds."""
    folds: dict[str, str] = {}
    for part in parts:
        for row in _read_rows(shard / part / "records.csv"):
            if row["fold"] != "0" and folds.setdefault(row["patient"], row["fold"]) != row["fold"]:
                raise CorpusError(
                    f"{shard.name}: patient {row['patient']} stands in folds {folds[row['patient']]} and "
                    f"{row['fold']}; give all records of a patient one fold in {OWN}, and prepare again."
                )


def _labelled(shard: Path, parts: Sequence[str], words: set[str]) -> str:
    """How many of a shard's records have labels, in what words."""
    rows = [row["vocabulary"] for part in parts for row in _read_rows(shard / part / "records.csv")]
    told = [f"{rows.count(word)} labelled in {word}" for word in sorted(words) if word in rows]
    return " and ".join(told) or "none labelled"


def _gather(shard: Path, parts: Sequence[str], name: str, columns: Sequence[str]) -> int:
    """One table of those of all parts; how many records it names."""
    rows = [row for part in parts for row in _read_rows(shard / part / name)]
    aside = shard / (name + _aside())
    _write_rows(aside, columns, rows)
    aside.replace(shard / name)
    return len({row["record"] for row in rows})


def _end_with_parent() -> None:
    """A worker of a process that was killed ends, too."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _plan(table: pd.DataFrame, source: Path, told: Mapping[str, Any]) -> dict[str, Any]:
    """What a shard will hold, from its source's list and what is told: the same in every process and run."""
    content = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
    if told:
        content += json.dumps(told, sort_keys=True).encode()
    size = max(PART_RECORDS, math.ceil(len(table) / MAX_PARTS))
    return {
        "format": FORMAT,
        "records": len(table),
        "part_records": size,
        "parts": math.ceil(len(table) / size),
        "list": hashlib.sha256(bytes([FORMAT]) + content).hexdigest(),
        "source": str(source),
        **({"told": dict(told)} if told else {}),
    }


def _start(shard: Path, plan: dict[str, Any]) -> None:
    """Make the shard's folder; what lies there of an older format or an older list is removed."""
    shard.mkdir(parents=True, exist_ok=True)
    there = read_plan(shard) or plan
    other = there.get("source", plan["source"]) != plan["source"] and there["list"] != plan["list"]
    if other and Path(there["source"]).exists():
        raise CorpusError(
            f"{shard} was prepared from {there['source']}, not from {plan['source']}; name another --out, or "
            "delete it."
        )
    if (shard / "trace.npy").exists() or (shard / "trace.raw").exists():
        for name in _OLD:
            (shard / name).unlink(missing_ok=True)
    for part in shard.iterdir():
        if re.fullmatch(r"[0-9a-f]{8}-\d{3}(\.aside.*)?", part.name) and part.name[:8] != plan["list"][:8]:
            shutil.rmtree(part, ignore_errors=True)
    if read_plan(shard) != plan:
        (shard / "failures.csv").unlink(missing_ok=True)
        _write_aside(shard / "plan.json", json.dumps(plan))


def _aside() -> str:
    return f".aside-{socket.gethostname()}-{os.getpid()}"


def _write_aside(path: Path, text: str) -> None:
    aside = path.with_name(path.name + _aside())
    aside.write_text(text)
    aside.replace(path)


def _write_part(source: Path, shard: Path, told: Mapping[str, Any], lot: tuple[str, pd.DataFrame]) -> int:
    """Read, tokenise and write the records of one part; returns how many were tried."""
    name, table = lot
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    warnings: list[dict[str, str]] = []
    traces: list[NDArray[np.float16]] = []
    beats: list[NDArray[np.void]] = []
    scales: list[NDArray[np.float32]] = []
    for fields in table.to_dict("records"):
        item = Item(**fields)
        try:
            ecg, item = read_record(source, item, **told)
            ecg = without_doubted_voltage(ecg)
            tokens, trace = tokens_and_trace(ecg)
            narrow = in_float16(trace.T, tokens.units_known)
        except Exception as error:  # whatever ails one record must not stop the others; it is told by name
            if of_machine := _of_machine(error):
                raise of_machine from None
            failures.append({"record": item.record, "reason": str(error) or type(error).__name__})
            continue
        mine = np.empty(tokens.n_beats, BEAT)
        mine["r_peak"], mine["window"], mine["valid"] = tokens.r_peaks, tokens.windows, tokens.valid.T
        traces.append(narrow)
        warnings += [{"record": item.record, "warning": said} for said in ecg.warnings]
        beats.append(mine)
        scales.append(tokens.lead_scale)
        said = {key: getattr(item, key) for key in _OF_ITEM}
        rows.append({
            **said, "age": ecg.age, "sex": ecg.sex or "", "units_known": int(tokens.units_known),
            "duration": tokens.duration, "n_samples": len(traces[-1]), "n_beats": tokens.n_beats,
            "n_dropped": tokens.n_dropped, "digest": tokens.digest,
            "trace": hashlib.sha256(narrow.tobytes()).hexdigest(),
        })  # fmt: skip
    aside = shard / (name + _aside())
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    _save_trace(aside / "trace.npy", traces)
    np.save(aside / "beats.npy", np.concatenate([np.empty(0, BEAT), *beats]))
    np.save(aside / "lead_scale.npy", np.array(scales, np.float32).reshape(-1, N_LEADS))
    _write_rows(aside / "records.csv", COLUMNS, rows)
    _write_rows(aside / "failures.csv", FAILURE, failures)
    _write_rows(aside / "warnings.csv", WARNING, warnings)
    if not (shard / name).is_dir():
        aside.replace(shard / name)
    for left in shard.glob(f"{name}.aside*"):  # of a run that was stopped
        shutil.rmtree(left, ignore_errors=True)
    return len(table)


def _of_machine(error: BaseException | None) -> OSError | None:
    """What an error came of, where that is the machine and no fault of the record."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in MACHINE:
            return OSError(error.errno, os.strerror(error.errno))
        error = error.__cause__ or error.__context__
    return None


def in_float16(trace: NDArray[np.float32], units_known: bool) -> NDArray[np.float16]:
    """A trace to be kept; without a unit, by a power of two where float16 would not hold it.

    Raises
    ------
    ECGError : in mV, and beyond what float16 holds
    """
    most, bound = float(np.abs(trace).max(initial=0.0)), float(np.finfo(np.float16).max)
    if units_known and most > bound:
        raise ECGError(f"deflections reach {most:,.0f} mV: a wrong unit or gain in the file.")
    if not units_known and most > 0 and not SMALLEST_PEAK <= most <= bound:
        trace = trace * np.float32(2.0 ** -round(math.log2(most)))
    return trace.astype(np.float16)


def _write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _save_trace(path: Path, traces: Sequence[NDArray[np.float16]]) -> None:
    """(sample, 12) of all records, one after another, without a second copy in memory."""
    header = np.lib.format.header_data_from_array_1_0(np.empty((0, N_LEADS), np.float16))
    header["shape"] = (sum(len(trace) for trace in traces), N_LEADS)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for trace in traces:
            file.write(np.ascontiguousarray(trace).tobytes())
