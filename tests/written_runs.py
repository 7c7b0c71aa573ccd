"""A folder of training runs as the training writes them, for tests of what reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

LABELS = ("NORM", "MI", "STTC", "CD", "HYP")


def write_run(
    folder: Path,
    stage: str = "pretrain",
    state: str = "finished",
    epochs: int = 8,
    done: int | None = None,
    began: float = 3600.0,
    written: float = 5.0,
    config: dict | None = None,
    **about: object,
) -> Path:
    """run.json and log.jsonl of a run that began and was last written so many seconds ago."""
    done = epochs if done is None else done
    now = datetime.now(UTC)
    folder.mkdir(parents=True)
    told = {
        "stage": stage,
        "config": {"epochs": epochs, "lr": 1e-3, "seed": 0, **(config or {})},
        "engine": {"accumulate": 1},
        "records": 100,
        "state": state,
        "error": "",
        "started": (now - timedelta(seconds=began)).isoformat(timespec="seconds"),
        "updated": (now - timedelta(seconds=written)).isoformat(timespec="seconds"),
        "epoch": done,
        "epochs": epochs,
        "step": 10 * done,
        "steps": 10 * epochs,
        "ecg_per_second": 43.0,
        "seconds_left": 90.0,
    }
    (folder / "run.json").write_text(json.dumps(told | about))
    rows = [json.dumps(log_row(stage, epoch)) + "\n" for epoch in range(1, done + 1)]
    (folder / "log.jsonl").write_text("".join(rows))
    return folder


def log_row(stage: str, epoch: int) -> dict[str, float]:
    learned = 1 - np.exp(-epoch / 3)
    row = {"epoch": epoch, "lr": 1e-3 / epoch, "train/loss": 1 - 0.7 * learned}
    if stage == "pretrain":
        return row | {"train/mse": 1 - 0.7 * learned, "train/r2": 0.8 * learned, "probe/r2": 0.87 * learned}
    return row | {"watch/superdiagnostic": 0.5 + 0.43 * learned}


def write_metrics(folder: Path, above: float = 0.0, folds: tuple[int, ...] = (9,)) -> None:
    """metrics.json of the run's checkpoint; the last label has no interval and is not counted."""
    labels = {}
    for i, label in enumerate(LABELS):
        value = 0.95 - 0.02 * i + above
        bounds = [round(value - 0.04, 4), round(value + 0.03, 4)] if label != LABELS[-1] else [None, None]
        labels[label] = {"positives": 40 - 9 * i, "auroc": round(value, 4), "auroc_95": bounds}
    field = {
        "records": 100,
        "counted": list(LABELS[:-1]),
        "macro_auroc": 0.92 + above,
        "macro_auroc_95": [0.9 + above, 0.94 + above],
        "labels": labels,
    }
    metrics = {"folds": list(folds), "data": "d" * 64, "tasks": {"superdiagnostic": {"field": field}}}
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "metrics.json").write_text(json.dumps(metrics))


def write_runs(folder: Path) -> Path:
    """Two fine-tunings that were evaluated and a pre-training, all finished; the newest is `second`."""
    write_run(folder / "pretrain", began=9000, written=7000)
    write_metrics(write_run(folder / "first", "finetune", began=6000, written=5000))
    second = write_run(folder / "second", "finetune", began=3000, written=2000, config={"lr": 5e-4})
    write_metrics(second, above=0.01)
    return folder
