"""QRS detectors against LUDB's annotated peaks in lead II: `python -m benchmarks.qrs_ludb`.

LUDB leaves a record's first and last beats unannotated, so marks more than 150 ms outside the
annotated span count neither way. One mark answers for one annotated peak.
"""

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wfdb

from clear_hug.ecg import resample
from clear_hug.qrs import DETECTORS, detect_qrs

TOLERANCES = (0.05, 0.15)  # s


@dataclass(frozen=True)
class Record:
    name: str
    signal: np.ndarray  # (12, sample) mV
    fs: float
    peaks: np.ndarray  # (beat,) s, lead II
    span: tuple[float, float]  # s, first and last annotation of lead II


@dataclass(frozen=True)
class Score:
    """Counts over all records, and the errors of the marks that found their beat."""

    records: int
    beats: int
    marks: int
    hits: dict[float, int]  # by tolerance in s
    errors: np.ndarray  # s, mark minus annotation, within the widest tolerance
    seconds: float

    def sensitivity(self, tolerance: float) -> float:
        return self.hits[tolerance] / self.beats

    def precision(self, tolerance: float) -> float:
        return self.hits[tolerance] / max(1, self.marks)


def ludb_records(folder: Path) -> Iterator[Record]:
    for header in sorted(folder.rglob("*.hea"), key=lambda path: int(path.stem)):
        base = str(header.with_suffix(""))
        record, notes = wfdb.rdrecord(base), wfdb.rdann(base, "ii")
        peaks = np.array([s for s, kind in zip(notes.sample, notes.symbol, strict=True) if kind == "N"])
        span = notes.sample[0] / record.fs, notes.sample[-1] / record.fs
        yield Record(header.stem, record.p_signal.T, record.fs, peaks / record.fs, span)


def pair(truth: Sequence[float], marks: Sequence[float], tolerance: float) -> list[float]:
    """Errors (s) of the pairs within the tolerance, each beat and each mark used once, in order."""
    errors, i, j = [], 0, 0
    while i < len(truth) and j < len(marks):
        error = marks[j] - truth[i]
        if abs(error) <= tolerance + 1e-9:
            errors.append(error)
            i, j = i + 1, j + 1
        elif error > 0:
            i += 1
        else:
            j += 1
    return errors


def score(records: Iterator[Record], fs: float, method: str) -> Score:
    n = beats = n_marks = 0
    hits = dict.fromkeys(TOLERANCES, 0)
    errors: list[float] = []
    seconds = 0.0
    for record in records:
        signal = resample(record.signal, record.fs, fs)
        start = time.process_time()
        marks = detect_qrs(signal, fs, method) / fs
        seconds += time.process_time() - start
        first, last = record.span
        marks = marks[(marks >= first - max(TOLERANCES)) & (marks <= last + max(TOLERANCES))]
        for tolerance in TOLERANCES:
            hits[tolerance] += len(pair(record.peaks, marks, tolerance))
        errors += pair(record.peaks, marks, max(TOLERANCES))
        n, beats, n_marks = n + 1, beats + len(record.peaks), n_marks + len(marks)
    return Score(n, beats, n_marks, hits, np.array(errors), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLEAR_HUG_DATA"), help="holds ludb/")
    data = parser.parse_args().data
    if data is None:
        parser.error("name the folder that holds ludb/ with --data or CLEAR_HUG_DATA")
    records = list(ludb_records(Path(data) / "ludb"))
    detect_qrs(records[0].signal, 500, "neurokit")  # its import is not its speed
    print(
        f"{'Hz':>4} {'detector':9} {'beats':>6} {'marks':>6}   {'Se/PPV 50 ms':^15} {'Se/PPV 150 ms':^15}",
        end="",
    )
    print(f" {'median':>7} {'mean abs':>9} {'CPU':>10}")
    for fs in (100, 500):
        for method in DETECTORS:
            s = score(iter(records), fs, method)
            rates = [f"{100 * s.sensitivity(t):6.2f} /{100 * s.precision(t):6.2f}" for t in TOLERANCES]
            late, off = 1000 * np.median(s.errors), 1000 * np.abs(s.errors).mean()
            print(f"{fs:4} {method:9} {s.beats:6} {s.marks:6}   {rates[0]:15} {rates[1]:15}", end="")
            print(f" {late:+4.0f} ms {off:6.1f} ms {1000 * s.seconds / s.records:6.1f} ms")


if __name__ == "__main__":
    main()
