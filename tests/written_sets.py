"""Files of data sets as they are published, written from simulated ECGs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import wfdb

import clear_hug as ch

Simulated = Callable[..., ch.ECG]


def write_wfdb(ecg: ch.ECG, path: Path, notes: Sequence[str] = (), data: str = "dat") -> None:
    """A WFDB record; `data="mat"` as the challenges and CSN publish theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        path.name, int(ecg.fs), ["mV"] * 12, list(ch.LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(path.parent), comments=list(notes),
    )  # fmt: skip
    if data == "mat":
        header, name = path.with_suffix(".hea"), path.name
        header.write_text(header.read_text().replace(f"{name}.dat 16 ", f"{name}.mat 16+24 "))
        path.with_suffix(".mat").write_bytes(bytes(24) + path.with_suffix(".dat").read_bytes())
        path.with_suffix(".dat").unlink()


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def failures_of(shard: Path) -> dict[str, str]:
    with (shard / "failures.csv").open() as f:
        return {row["record"]: row["reason"] for row in csv.DictReader(f)}
