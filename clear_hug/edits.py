"""R peaks that a reader added, moved or removed by hand: what stands now, and what it was made from.

An `EditedPeaks` is frozen, and each change gives a new one: undo is to go back to the one before. It keeps
the detector's own marks, so that what was changed can always be counted, shown and taken back.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.ecg import ECG, ECGError, bandpass, bridge_gaps, freeze
from clear_hug.qrs import DETECTORS
from clear_hug.words import NOTICE

SCHEMA, SCHEMA_VERSION = "clear-hug-r-peaks", 1  # the version is raised when an older reader could err
APART = 0.1  # s; no heart beats twice within it
SNAP = 0.08  # s on each side in which an R peak is looked for
AROUND = 1.5  # s on each side that say how large the QRS of a lead is
SNAP_BAND = (2.0, 40.0)  # Hz: the whole QRS, no baseline
ADDED = -1  # the origin of a mark that the detector did not set

Samples = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class EditedPeaks:
    """R peaks of one record as they stand.

    Attributes
    ----------
    samples : (beat,) int64, sample numbers at `fs`, rising
    origin : (beat,) int64, the detector's mark that each was; -1 where it was added by hand
    found : (mark,) int64, all marks of the detector
    fs : Hz;  n_samples : of the record
    record : digest of the ECG;  detector : a key of `clear_hug.qrs.DETECTORS`
    """

    samples: Samples
    origin: Samples
    found: Samples
    fs: float
    n_samples: int
    record: str
    detector: str

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """(beat,) s."""
        out: NDArray[np.float64] = self.samples / self.fs
        return out

    @property
    def added(self) -> NDArray[np.bool_]:
        """(beat,) True where the detector set no mark."""
        out: NDArray[np.bool_] = self.origin == ADDED
        return out

    @property
    def moved(self) -> NDArray[np.bool_]:
        """(beat,) True where the detector's mark stood elsewhere."""
        out: NDArray[np.bool_] = ~self.added & (self.origin != self.samples)
        return out

    @property
    def removed(self) -> Samples:
        """Marks of the detector that are gone, as sample numbers."""
        return np.setdiff1d(self.found, self.origin)

    @property
    def changed(self) -> bool:
        return not np.array_equal(self.samples, self.found)

    @property
    def summary(self) -> str:
        """"2 added, 1 removed"."""  # fmt: skip
        counts = {"added": self.added.sum(), "moved": self.moved.sum(), "removed": self.removed.size}
        return ", ".join(f"{n} {what}" for what, n in counts.items() if n) or "nothing changed"

    @cached_property
    def digest(self) -> str:
        """Of the R peaks alone: the same ones give the same tokens, whoever set them."""
        return hashlib.sha256(self.samples.astype("<i8").tobytes()).hexdigest()


def start_from(ecg: ECG, detector: str, r_peaks: NDArray[np.float64]) -> EditedPeaks:
    """The detector's marks, `r_peaks` (beat,) in s, before anything is changed."""
    found = np.unique(np.rint(r_peaks * ecg.fs).astype(np.int64))
    return EditedPeaks(found, found, found, ecg.fs, ecg.n_samples, ecg.digest, detector)


def add_peak(peaks: EditedPeaks, sample: int) -> EditedPeaks:
    """One R peak more. Raises ECGError: outside the record, or too near to another."""
    _check(peaks, sample, peaks.samples)
    lost = sample in peaks.removed  # a mark that was removed is put back
    at = int(np.searchsorted(peaks.samples, sample))
    return replace(
        peaks,
        samples=np.insert(peaks.samples, at, sample),
        origin=np.insert(peaks.origin, at, sample if lost else ADDED),
    )


def move_peak(peaks: EditedPeaks, beat: int, sample: int) -> EditedPeaks:
    """R peak `beat` (row) at another sample, between its neighbours. Raises ECGError as `add_peak`."""
    _check(peaks, sample, np.delete(peaks.samples, beat))
    if np.searchsorted(np.delete(peaks.samples, beat), sample) != beat:
        raise ECGError("An R peak is not moved past its neighbour: remove it, and add one there.")
    samples = peaks.samples.copy()
    samples[beat] = sample
    return replace(peaks, samples=samples)


def remove_peak(peaks: EditedPeaks, beat: int) -> EditedPeaks:
    """Without R peak `beat` (row)."""
    return replace(peaks, samples=np.delete(peaks.samples, beat), origin=np.delete(peaks.origin, beat))


def _check(peaks: EditedPeaks, sample: int, others: Samples) -> None:
    if not 0 <= sample < peaks.n_samples:
        last = (peaks.n_samples - 1) / peaks.fs
        raise ECGError(
            f"{sample / peaks.fs:.3f} s lies outside the record, which runs from 0 to {last:.3f} s."
        )
    if others.size:
        nearest = int(others[np.abs(others - sample).argmin()])
        if abs(nearest - sample) < APART * peaks.fs:
            raise ECGError(
                f"{sample / peaks.fs:.3f} s lies within {1000 * APART:.0f} ms of the R peak at "
                f"{nearest / peaks.fs:.3f} s: move or remove that one."
            )


def nearest_extremum(ecg: ECG, sample: int) -> int:
    """The sample within 80 ms at which all leads together deflect most.

    That is the root of the mean square over the leads, 2-40 Hz, each over its own size within 1.5 s, so
    that neither the voltage nor one quiet lead decides. `sample` itself where no lead has a signal.
    """
    around, reach = (round(s * ecg.fs) for s in (AROUND, SNAP))
    first, last = max(0, sample - around), min(ecg.n_samples, sample + around + 1)
    piece = ecg.signal[:, first:last]
    filled, absent = bridge_gaps(piece, ecg.fs)
    traces = bandpass(filled.astype(np.float64), ecg.fs, *SNAP_BAND)
    traces[absent] = 0
    size = traces.std(axis=1)
    if not (size > 0).any():
        return sample
    deflection = np.square(traces[size > 0] / size[size > 0, None]).sum(axis=0)
    left = max(0, sample - reach - first)
    return first + left + int(deflection[left : sample + reach + 1 - first].argmax())


# As a file, and in the store


def to_dict(peaks: EditedPeaks) -> dict[str, Any]:
    """All of it, for JSON; each R peak in s and as a sample number, with what was changed."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "notice": NOTICE,
        "record": peaks.record,
        "fs_hz": peaks.fs,
        "n_samples": peaks.n_samples,
        "detector": peaks.detector,
        "edited_by_hand": peaks.summary,
        "r_peaks": [
            {"sample": sample, "seconds": round(sample / peaks.fs, 6), "change": change}
            | ({} if change == "added" else {"from_sample": origin})
            for sample, origin, change in _rows(peaks)
        ],
        "removed": [
            {"sample": sample, "seconds": round(sample / peaks.fs, 6)} for sample in peaks.removed.tolist()
        ],
    }


def _rows(peaks: EditedPeaks) -> list[tuple[int, int, str]]:
    change = np.select([peaks.added, peaks.moved], ["added", "moved"], "")
    return list(zip(peaks.samples.tolist(), peaks.origin.tolist(), change.tolist(), strict=True))


def from_dict(kept: Mapping[str, Any], ecg: ECG) -> EditedPeaks:
    """What `to_dict` made. Raises ECGError: of another record, of a later version, or not whole."""
    if kept.get("schema") != SCHEMA:
        raise ECGError("this file holds no R peaks that were exported here.")
    if kept.get("schema_version") != SCHEMA_VERSION:
        raise ECGError(
            f"these R peaks are of version {kept.get('schema_version')!r}; this app reads {SCHEMA_VERSION}."
        )
    if kept.get("record") != ecg.digest:
        raise ECGError("these R peaks are of another record (its digest differs); open that one first.")
    try:
        rows = [(int(row["sample"]), int(row.get("from_sample", ADDED))) for row in kept["r_peaks"]]
        removed = [int(row["sample"]) for row in kept["removed"]]
        detector = str(kept["detector"])
        samples, origin = (np.array([row[k] for row in rows], dtype=np.int64) for k in (0, 1))
        found = np.array(sorted([*origin[origin != ADDED].tolist(), *removed]), dtype=np.int64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ECGError(f"these R peaks are not whole ({error!r}); export them anew.") from error
    for marks in (samples, found):
        if (np.diff(marks) <= 0).any() or (marks.size and not 0 <= marks[0] <= marks[-1] < ecg.n_samples):
            raise ECGError("these R peaks do not rise from one to the next within the record.")
    if detector not in DETECTORS:
        raise ECGError(
            f"these R peaks name the detector {detector!r}; it is not one of {', '.join(DETECTORS)}."
        )
    return EditedPeaks(samples, origin, found, ecg.fs, ecg.n_samples, ecg.digest, detector)


def peaks_json(peaks: EditedPeaks) -> bytes:
    return (json.dumps(to_dict(peaks), indent=1) + "\n").encode()


def peaks_csv(peaks: EditedPeaks) -> bytes:
    """Comments with what they are of; a row an R peak, then a row for each mark that was removed."""
    out = io.StringIO()
    head = to_dict(peaks)
    for name in ("schema", "schema_version", "notice", "record", "fs_hz", "n_samples", "detector",
                 "edited_by_hand"):  # fmt: skip
        out.write(f"# {name}: {head[name]}\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["beat", "sample", "seconds", "change", "from_sample"])
    for beat, row in enumerate(head["r_peaks"], 1):
        table.writerow([beat, row["sample"], row["seconds"], row["change"], row.get("from_sample", "")])
    for row in head["removed"]:
        table.writerow(["", row["sample"], row["seconds"], "removed", row["sample"]])
    return out.getvalue().encode()


def read_peaks(content: bytes, ecg: ECG) -> EditedPeaks:
    """R peaks from an exported JSON or CSV file. Raises ECGError as `from_dict`."""
    try:
        text = content.decode()
        kept = json.loads(text) if text.lstrip().startswith("{") else _from_csv(text)
    except (ValueError, KeyError, csv.Error, RecursionError) as error:
        raise ECGError("this file holds no R peaks that were exported here.") from error
    return from_dict(kept, ecg)


def _from_csv(text: str) -> dict[str, Any]:
    lines = text.splitlines()
    kept: dict[str, Any] = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    kept["schema_version"] = int(kept["schema_version"])
    kept["removed"] = [row for row in rows if row["change"] == "removed"]
    kept["r_peaks"] = [
        {name: value for name, value in row.items() if value} for row in rows if row["change"] != "removed"
    ]
    return kept
