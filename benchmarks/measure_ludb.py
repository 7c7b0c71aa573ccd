"""P, QRS and T edges against LUDB's annotations: `python -m benchmarks.measure_ludb`.

LUDB marks each lead by itself. A beat's true onset is the earliest over its leads and its true offset the
latest, an outlying lead dropped: one that lies further from the next than `APART`. Two tables, each with the
mean and SD of the error in ms beside the SD that CSE allows (2 SD of its readers' scatter: Willems JL et al.,
The CSE Working Party, Eur Heart J 1985; 6:815-825, as IEC 60601-2-51 uses it):

- by record: the median over the annotated dominant beats, of what was annotated and of what was measured;
- by beat: the edges of the median beat, placed at each dominant beat's R peak, against that beat's own.

LUDB's readers put every edge outside the place where devices put theirs (those stored in DICOM, MUSE, Philips
and SCP files lie within a few ms of ours), always by about the same time: `READERS`, printed, is added first.

neurokit2's delineator (discrete wavelets) marks each beat of each lead; its edge of a beat is
the median over the leads, for its own sake: its earliest and latest lead err by more. Nothing is added to it.
Constants were chosen with all records at hand in view; the table by fifths of the records says how much they
lean on a few.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wfdb

from clear_hug.ecg import ECG
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.measure import Measurements, measure

CSE = {"QRS onset": 6.5, "QRS offset": 11.6, "T end": 30.6, "P onset": 10.2, "P offset": 12.7}  # ms, SD
READERS = {"QRS onset": -12, "QRS offset": 7, "T end": 19, "P onset": -7, "P offset": 13}  # ms
WAVES = {
    "QRS onset": ("N", 0),
    "QRS offset": ("N", 1),
    "T end": ("t", 1),
    "P onset": ("p", 0),
    "P offset": ("p", 1),
}
APART = {
    "N": 0.010,
    "p": 0.010,
    "t": 0.020,
}  # s; LUDB's first and second lead lie nearer in nine of ten beats
MIN_LEADS = 6  # that must have marked a wave
NEAR = 0.15  # s; an annotated peak is the beat's within it
FOLDS = 5


@dataclass(frozen=True)
class Record:
    """One LUDB record: what was measured, and by edge (lead, beat) s, what was annotated at each R peak."""

    name: str
    ecg: ECG
    found: Measurements
    marked: dict[str, np.ndarray]

    @property
    def r_peaks(self) -> np.ndarray:
        return self.found.median.r_peaks if self.found.median else np.empty(0)

    def truth(self, edge: str) -> np.ndarray:
        """(beat,) s from the R peak, of the dominant beats; NaN where LUDB marked none."""
        out = outermost(self.marked[edge], WAVES[edge]) - self.r_peaks
        out[~self.found.median.dominant] = np.nan
        return out

    def measured(self, edge: str) -> float:
        """s from the R peak, of the median beat, as LUDB's readers would mark it"""
        beat = self.found.median
        kind, late = WAVES[edge]
        return float({"N": beat.qrs, "t": beat.t, "p": beat.p}[kind][late]) + READERS[edge] / 1000


def outermost(marked: np.ndarray, wave: tuple[str, int]) -> np.ndarray:
    """(beat,) the earliest onset or latest offset over the leads, an outlying lead dropped."""
    kind, late = wave
    out = np.full(marked.shape[1], np.nan)
    for beat, column in enumerate(marked.T):
        times = np.sort(column[np.isfinite(column)])
        if len(times) >= MIN_LEADS:
            first, second = (times[-1], times[-2]) if late else (times[0], times[1])
            out[beat] = second if abs(first - second) > APART[kind] else first
    return out


def annotated(base: str, r_peaks: np.ndarray) -> dict[str, np.ndarray]:
    """By edge, (lead, beat) s on the trace."""
    marked = {edge: np.full((len(LEADS), len(r_peaks)), np.nan) for edge in WAVES}
    for row, lead in enumerate(LEADS):
        notes = wfdb.rdann(base, lead.lower())
        kinds, times = notes.symbol, notes.sample / notes.fs
        peaks = [k for k, kind in enumerate(kinds) if kind in "pNt"]
        for place, k in enumerate(peaks):
            if kinds[k] != "N" or not len(r_peaks):
                continue
            beat = int(np.abs(r_peaks - times[k]).argmin())
            if abs(r_peaks[beat] - times[k]) > NEAR:
                continue
            around = {"N": k}
            if place and kinds[peaks[place - 1]] == "p":
                around["p"] = peaks[place - 1]
            if place + 1 < len(peaks) and kinds[peaks[place + 1]] == "t":
                around["t"] = peaks[place + 1]
            for edge, (kind, late) in WAVES.items():
                at = around.get(kind, -9) + (1 if late else -1)
                if 0 <= at < len(kinds) and kinds[at] == (")" if late else "("):
                    marked[edge][row, beat] = times[at]
    return marked


def records(folder: Path) -> Iterator[Record]:
    for header in sorted(folder.rglob("*.hea"), key=lambda path: int(path.stem)):
        ecg = read_ecg(header)
        found = measure(ecg)
        peaks = found.median.r_peaks if found.median else np.empty(0)
        yield Record(header.stem, ecg, found, annotated(str(header.with_suffix("")), peaks))


def neurokit(record: Record) -> dict[str, np.ndarray]:
    """By edge, (beat,) s from the R peak, of the dominant beats."""
    import neurokit2

    names = {
        "QRS onset": "ECG_R_Onsets",
        "QRS offset": "ECG_R_Offsets",
        "T end": "ECG_T_Offsets",
        "P onset": "ECG_P_Onsets",
        "P offset": "ECG_P_Offsets",
    }
    fs, peaks = record.ecg.fs, record.r_peaks
    found = {edge: np.full((len(LEADS), len(peaks)), np.nan) for edge in WAVES}
    at = np.rint(peaks * fs).astype(int)
    for row, lead in enumerate(record.ecg.signal):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                cleaned = neurokit2.ecg_clean(lead.astype(float), sampling_rate=int(fs))
                _, waves = neurokit2.ecg_delineate(cleaned, at, sampling_rate=int(fs), method="dwt")
            except Exception:  # it raises a different error for each lead that it cannot read
                continue
        for edge, name in names.items():
            times = np.asarray(waves[name], dtype=float)
            if len(times) == len(peaks):
                found[edge][row] = times / fs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            edge: np.where(record.found.median.dominant, np.nanmedian(times, axis=0) - peaks, np.nan)
            for edge, times in found.items()
        }


def middle(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def words(errors: np.ndarray) -> str:
    """Number, mean and SD of errors in s, in ms."""
    known = 1000 * errors[np.isfinite(errors)]
    return f"{len(known):5} {known.mean():+6.1f} ± {known.std():4.1f}" if len(known) else f"{0:5}"


def by_record(held: list[Record], edge: str) -> np.ndarray:
    """(record,) s"""
    return np.array([r.measured(edge) - middle(r.truth(edge)) for r in held])


def by_beat(held: list[Record], edge: str) -> np.ndarray:
    """(beat,) s"""
    return np.concatenate([r.measured(edge) - r.truth(edge) for r in held])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CLEAR_HUG_DATA"), help="holds ludb/")
    parser.add_argument(
        "--no-neurokit", action="store_true", help="without the baseline, which takes a minute or two"
    )
    asked = parser.parse_args()
    if asked.data is None:
        parser.error("name the folder that holds ludb/ with --data or CLEAR_HUG_DATA")
    held = [r for r in records(Path(asked.data) / "ludb") if r.found.median]
    others = [] if asked.no_neurokit else [neurokit(r) for r in held]
    print("error in ms, n mean ± SD, measured less annotated")
    print(f"{'':10} {'CSE SD':>7} {'added':>6} {'by record':^20} {'by beat':^20}", end="")
    print(f" {'neurokit2 by record':^20} {'by beat':^20}" if others else "")
    for edge, allowed in CSE.items():
        print(
            f"{edge:10} {allowed:7.1f} {READERS[edge]:6} "
            f"{words(by_record(held, edge)):20} {words(by_beat(held, edge)):20}",
            end="",
        )
        if others:
            truths = [r.truth(edge) for r in held]
            records_ = [middle(o[edge]) - middle(t) for o, t in zip(others, truths, strict=True)]
            beats = np.concatenate([o[edge] - t for o, t in zip(others, truths, strict=True)])
            print(f" {words(np.array(records_)):20} {words(beats):20}", end="")
        print()
    print(f"\nby record, SD in ms of each of {FOLDS} fifths of the records")
    for edge in CSE:
        errors = 1000 * by_record(held, edge)
        print(f"{edge:10} " + " ".join(f"{np.nanstd(errors[k::FOLDS]):6.1f}" for k in range(FOLDS)))
    has_p = np.array([np.isfinite(r.truth("P onset")).any() for r in held])
    found_p = np.array([np.isfinite(r.found.p) for r in held])
    print(f"\nP found in {(has_p & found_p).sum()} of {has_p.sum()} records with P annotated,", end=" ")
    print(f"and in {(~has_p & found_p).sum()} of {(~has_p).sum()} without")


if __name__ == "__main__":
    main()
