"""Beat facts against LUDB's annotated QRS and PTB-XL's PVC label: `python -m benchmarks.beat_facts`.

LUDB marks each lead on its own; a beat's true onset and offset are the medians over the leads. Of the
corpus only folds 1 to 8 are read, and AF is counted apart: early beats are its nature.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import wfdb
from jsonargparse import auto_cli

from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS
from clear_hug.measure import measure_beats
from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus

NEAR = 0.1  # s; an annotated peak is the beat's within it
MIN_LEADS = 10  # that must have marked a beat


@dataclass(frozen=True)
class Edges:
    """Errors in s of the beats whose QRS was found, (beat, 2) onset and offset; how many were not."""

    errors: np.ndarray
    missed: int

    @property
    def duration(self) -> np.ndarray:
        """(beat,) s"""
        return self.errors[:, 1] - self.errors[:, 0]


def ludb(folder: Path) -> Iterator[tuple[BeatTokens, np.ndarray]]:
    """Tokens, and (beat, 2) s annotated onset and offset of the QRS; NaN where LUDB marked none."""
    for header in sorted(folder.rglob("*.hea"), key=lambda path: int(path.stem)):
        tokens = tokenize_beats(read_ecg(header))
        marked = np.full((len(LEADS), tokens.n_beats, 2), np.nan)
        for lead, row in zip(LEADS, marked, strict=True):
            notes = wfdb.rdann(str(header.with_suffix("")), lead.lower())
            kinds, times = np.array(notes.symbol), notes.sample / notes.fs
            peaks = np.flatnonzero(kinds == "N")
            peaks = peaks[(peaks > 0) & (peaks < len(kinds) - 1)]
            peaks = peaks[(kinds[peaks - 1] == "(") & (kinds[peaks + 1] == ")")]
            for k in peaks:
                beat = int(np.abs(tokens.r_peaks - times[k]).argmin())
                if abs(tokens.r_peaks[beat] - times[k]) < NEAR:
                    row[beat] = times[k - 1], times[k + 1]
        known = np.isfinite(marked[..., 0]).sum(axis=0) >= MIN_LEADS
        truth = np.full((tokens.n_beats, 2), np.nan)
        truth[known] = np.nanmedian(marked[:, known], axis=0)
        yield tokens, truth


def edges(folder: Path) -> Edges:
    """How far the measured QRS edges lie from LUDB's."""
    errors = []
    for tokens, truth in ludb(folder):
        found = measure_beats(tokens).qrs + tokens.r_peaks[:, None]
        errors.append((found - truth)[np.isfinite(truth).all(axis=1)])
    every = np.concatenate(errors)
    found = np.isfinite(every).all(axis=1)
    return Edges(every[found], int((~found).sum()))


def beat_facts(data: Path | None = None, corpus: Path | None = Path("corpus"), others: int = 300) -> None:
    """Print both tables.

    Args:
        data: folder that holds ludb/; CLEAR_HUG_DATA by default
        corpus: folder of prepared shards
        others: records without PVC, at most, of each kind
    """
    data = data or (Path(os.environ["CLEAR_HUG_DATA"]) if "CLEAR_HUG_DATA" in os.environ else None)
    if data is None:
        raise SystemExit("name the folder that holds ludb/ with --data or CLEAR_HUG_DATA")
    e = edges(data / "ludb")
    print(f"LUDB: QRS of {len(e.errors)} beats found, of {e.missed} not; error, median (SD), ms")
    for name, errors in (("onset", e.errors[:, 0]), ("offset", e.errors[:, 1]), ("duration", e.duration)):
        print(f"  {name:9} {1000 * np.median(errors):+5.0f} ({1000 * errors.std():.0f})")
    if corpus is None:
        return
    held, tasks = Corpus(corpus), (TASKS["form"], TASKS["rhythm"])
    rows = np.flatnonzero(held.labelled_for(tasks) & (held.fold >= 1) & (held.fold <= 8))
    form, rhythm = (held.labels([task], rows) for task in tasks)
    pvc = form[:, TASKS["form"].labels.index("PVC")] > 0
    af = rhythm[:, TASKS["rhythm"].labels.index("AFIB")] > 0
    for name, some in (("PVC", pvc), ("neither PVC nor AF", ~pvc & ~af), ("AF, no PVC", ~pvc & af)):
        asked = rows[some] if name == "PVC" else rows[some][:others]
        n = sum(bool(measure_beats(held.tokens(int(r))).ectopic.any()) for r in asked)
        print(f"PTB-XL, {name}: ectopic beats found in {n} of {len(asked)} records")


if __name__ == "__main__":
    auto_cli(beat_facts, as_positional=False)
