"""Training runs, read from their folders: what was run, how far it is, its log and its figures.

A folder is a run where run.json or log.jsonl is in it. Only JSON is read, and nothing is written: a run
may go on while it is looked at. What is torn or missing is passed over, and said so in `notes`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILES = ("run.json", "log.jsonl", "checkpoint/metrics.json")  # all that is read of a run
DEPTH = 3  # folders within folders that are searched for runs
SILENT_AFTER = timedelta(minutes=10)
SILENT_EPOCHS = 3  # ... and so many epochs' time: evaluation between two epochs is not told of
EPOCH = "epoch"  # the log's column of epochs


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """A run as its folder tells of it.

    name : of the folder, below the one that was searched;  folder : the run's
    stage : pretrain, finetune, ...; "" where it is not told
    state : running, finished, failed, or unknown; as written, see `silent`
    started, updated : in UTC; None where not told
    epoch, epochs : epochs done, epochs to do;  step, steps : of the optimizer; 0 where not told
    rate : ECG/s;  seconds_left : s; None where not told
    error : why it failed, in a sentence
    config : "recipe.lr" and the like -> value, named as on the command line
    log : column -> (row,) float64, NaN where a row lacks it; `EPOCH` is among them, rising
    metrics : metrics.json of its checkpoint; {} before it is evaluated
    notes : what was passed over, in sentences
    """

    name: str
    folder: Path
    stage: str
    state: str
    started: datetime | None
    updated: datetime | None
    epoch: int
    epochs: int
    step: int
    steps: int
    rate: float | None
    seconds_left: float | None
    error: str
    config: Mapping[str, Any]
    log: Mapping[str, NDArray[np.float64]]
    metrics: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the log's curves, the main one first."""
        names = [name for name in self.log if name != EPOCH]
        rank = {"watch": 0, "probe": 1, "train": 2}
        first = {"probe": "r2", "train": "loss"}

        def key(name: str) -> tuple[int, bool]:
            group, _, what = name.partition("/")
            return rank.get(group, 3), what != first.get(group)

        return sorted(names, key=key)

    def last(self, column: str) -> float | None:
        """The last known value of a curve."""
        values = self.log.get(column, np.empty(0))
        known = values[np.isfinite(values)]
        return float(known[-1]) if known.size else None

    def silent(self, now: datetime) -> bool:
        """It says that it runs, and has not written for longer than several epochs take."""
        if self.state != "running" or self.updated is None:
            return False
        epoch = timedelta(0)
        if self.started and self.epoch:
            epoch = (self.updated - self.started) / self.epoch
        return now - self.updated > max(SILENT_AFTER, SILENT_EPOCHS * epoch)

    def state_words(self, now: datetime) -> str:
        """The state for people: a run that is not heard of is not called running."""
        if self.updated is not None and self.silent(now):
            return f"silent since {self.updated:%Y-%m-%d %H:%M} UTC"
        return self.state

    def alive(self, now: datetime) -> bool:
        """It runs and is heard of: there will be more to read."""
        return self.state == "running" and not self.silent(now)


def runs_folder() -> Path:
    """The folder that CLEAR_HUG_RUNS names, or ./runs."""
    return Path(os.environ.get("CLEAR_HUG_RUNS") or "runs")


def find_runs(folder: str | Path) -> dict[str, Path]:
    """Name -> folder of each run in `folder`, which may be a run itself; {} where there is none."""
    folder = Path(folder)
    if _is_run(folder):
        return {folder.resolve().name: folder}
    found = {}
    for place, below, _ in os.walk(folder):
        path = Path(place)
        if path != folder and _is_run(path):
            found[path.relative_to(folder).as_posix()] = path
            below.clear()
        elif len(path.relative_to(folder).parts) >= DEPTH:
            below.clear()
        below.sort()
    return found


def passed_over(folder: str | Path) -> list[str]:
    """The folders beside the runs that are none, in a sentence each."""
    folder, runs = Path(folder), find_runs(folder)
    if _is_run(folder) or not folder.is_dir():
        return []
    tops = {name.split("/")[0] for name in runs}
    said = []
    for path in sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in tops):
        if os.path.isfile(path / "predictions.npz"):
            said.append(f"{path.name} holds the predictions of a baseline, which keeps no log.")
        else:
            said.append(f"{path.name} is no run: it holds neither run.json nor log.jsonl.")
    return said


def list_runs(folder: str | Path) -> dict[str, TrainingRun]:
    """Name -> every run in `folder`, the newest first."""
    return newest_first(read_run(path, name) for name, path in find_runs(folder).items())


def newest_first(runs: Iterable[TrainingRun]) -> dict[str, TrainingRun]:
    """Runs by name, the one that was begun last first."""
    never = datetime.min.replace(tzinfo=UTC)
    ordered = sorted(runs, key=lambda run: run.started or run.updated or never, reverse=True)
    return {run.name: run for run in ordered}


def read_run(folder: str | Path, name: str = "") -> TrainingRun:
    """What a run's folder tells; `name` is the folder's own where not given."""
    folder = Path(folder)
    notes: list[str] = []
    about = _read_object(folder / "run.json", notes, needed="its state and its recipe are unknown")
    log = _read_log(folder / "log.jsonl", notes)
    metrics = _read_object(folder / "checkpoint" / "metrics.json", notes)
    updated = _time(about.get("updated"))
    if updated is None and (folder / "log.jsonl").exists():
        updated = datetime.fromtimestamp((folder / "log.jsonl").stat().st_mtime, UTC)
    recipe = about.get("config")
    recipe = recipe if isinstance(recipe, dict) else {}
    done = int(log[EPOCH][-1]) if log[EPOCH].size else 0
    return TrainingRun(
        name=name or folder.resolve().name,
        folder=folder,
        stage=str(about.get("stage", "")),
        state=str(about.get("state", "unknown")),
        started=_time(about.get("started")),
        updated=updated,
        epoch=max(done, _count(about.get("epoch"))),
        epochs=_count(about.get("epochs")) or _count(recipe.get("epochs")),
        step=_count(about.get("step")),
        steps=_count(about.get("steps")),
        rate=_number(about.get("ecg_per_second")),
        seconds_left=_seconds(about.get("seconds_left")),
        error=str(about.get("error", "")),
        config=_config(about),
        log=log,
        metrics=metrics,
        notes=tuple(notes),
    )


def differences(runs: Sequence[TrainingRun]) -> dict[str, tuple[Any, ...]]:
    """Name of a setting that is not the same in all runs -> its value in each, None where it has none."""
    names = dict.fromkeys(name for run in runs for name in run.config)
    values = {name: tuple(run.config.get(name) for run in runs) for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def age_words(age: timedelta) -> str:
    """A stretch of time in its largest unit: "12 s", "3 min", "5 h", "2 days"."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size, most in (("s", 1, 100), ("min", 60, 100 * 60), ("h", 3600, 48 * 3600)):
        if seconds < most:
            return f"{seconds // size} {unit}"
    return f"{seconds // 86400} days"


def _is_run(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in ("run.json", "log.jsonl"))  # False if not allowed


def _read_object(path: Path, notes: list[str], needed: str = "") -> dict[str, Any]:
    """A JSON object; {} with a note where it is torn, or is not there and `needed`."""
    try:
        found = _parse(path.read_bytes())
    except FileNotFoundError:
        if needed:
            notes.append(f"{path.name} is not there: {needed}.")
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read ({error})" + (f": {needed}." if needed else "."))
        return {}
    if not isinstance(found, dict):
        notes.append(f"{path.name} holds no object" + (f": {needed}." if needed else "."))
        return {}
    return found


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _read_log(path: Path, notes: list[str]) -> dict[str, NDArray[np.float64]]:
    """Columns of the log; of an epoch that stands there twice, the later row counts."""
    rows: dict[int, dict[str, float]] = {}
    torn = 0
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:  # no epoch is done yet
        lines = []
    except OSError as error:
        notes.append(f"{path.name} cannot be read ({error}).")
        lines = []
    for line in lines:
        if not line.strip():
            continue
        try:
            row = _parse(line)
            epoch = row.pop("epoch" if "epoch" in row else "step")  # as runs of before 0.19 call it
            if _number(epoch) is None or epoch != int(epoch):
                raise ValueError("it is no epoch")
            numbers = {name: _number(value) for name, value in row.items()}
        except (ValueError, KeyError, AttributeError, TypeError):
            torn += 1
            continue
        rows[int(epoch)] = {name: np.nan if value is None else value for name, value in numbers.items()}
    if torn:
        notes.append(f"{path.name}: {torn} line{'' if torn == 1 else 's'} passed over, torn or half written.")
    epochs = sorted(rows)
    names = dict.fromkeys(name for epoch in epochs for name in rows[epoch])
    log = {name: np.array([rows[epoch].get(name, np.nan) for epoch in epochs]) for name in names}
    log = {name: values for name, values in log.items() if np.isfinite(values).any()}
    return {**log, EPOCH: np.array(epochs, dtype=np.float64)}


def _config(about: Mapping[str, Any]) -> dict[str, Any]:
    """run.json's settings in one flat table."""
    flat: dict[str, Any] = {}
    for key, title in (("config", "recipe"), ("engine", "engine"), ("versions", "version of")):
        part = about.get(key)
        if isinstance(part, dict):
            between = " " if key == "versions" else "."
            flat |= {f"{title}{between}{name}": value for name, value in part.items()}
    origin = ("init_digest", "teachers", "pupils")
    single = ("sources", "records", "data", "labels", *origin, "device", "precision", "processes", "revision")
    return flat | {name: about[name] for name in single if name in about}


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if np.isfinite(float(value)) else None
    except OverflowError:
        return None


def _seconds(value: Any) -> float | None:
    """Of the time that is left; None for what is no time, or longer than a year."""
    number = _number(value)
    return number if number is not None and 0 <= number <= 366 * 86_400 else None


def _count(value: Any) -> int:
    number = _number(value)
    return int(number) if number is not None and number > 0 else 0


def _time(value: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(value))
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
