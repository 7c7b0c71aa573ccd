"""A folder in PTB-XL's layout, made of simulated ECGs: what training is tested on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import wfdb

import clear_hug as ch

KINDS = {"normal": ["NORM", "SR"], "premature": ["IVCD", "PVC"], "high_voltage": ["LVH", "SR"]}


def write_wfdb(ecg: ch.ECG, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name, int(ecg.fs), ["mV"] * 12, list(ch.LEADS), ecg.signal.T.astype(float), fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip


def write_folder(folder: Path, n: int = 45) -> Path:
    """Records of three kinds, five a fold; record 7 is flat, record 8 lacks its file."""
    rows = []
    for i in range(n):
        kind = list(KINDS)[i % 3]
        ecg = ch.simulate_ecg(kind, seed=i, fs=100.0)
        if i == 7:
            ecg = ch.ECG(np.zeros((12, 1000), np.float32), 100.0)
        if i != 8:
            write_wfdb(ecg, folder / "records100", f"{i:05d}_lr")
        rows.append({
            "ecg_id": i, "patient_id": float(i // 2), "age": 300 if i == 0 else 50, "sex": i % 2,
            "scp_codes": str(dict.fromkeys(KINDS[kind], 100.0)), "strat_fold": 1 + i // 5,
            "filename_lr": f"records100/{i:05d}_lr", "filename_hr": f"records500/{i:05d}_hr",
        })  # fmt: skip
    with (folder / "ptbxl_database.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
