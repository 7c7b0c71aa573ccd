"""A checkpoint is a folder: weights as safetensors, all else as JSON; never pickle.

model.safetensors   weights of CLEAR and HUG
config.json         sizes, tasks, how it was trained
calibration.json    a Platt map and an operating threshold a label
metrics.json        what was measured
faithfulness.json   how far its explanations may be believed, where that was measured
operating.json      what its labels miss and call falsely at other thresholds, and what inputs it learned from
baselines.safetensors   what the models it is held against answered to the records it is judged on
out_of_fold.safetensors   what it and those would answer to records that they learned from, had they not
README.md           the model card
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clear_hug.ecg import freeze
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG, CLEARConfig, config_dict
from clear_hug.tasks import TASKS, Task, own_tasks, targets_of, told_of

FORMAT = 6  # of config.json; raised when an older reader could misread it
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
DEFAULT = "small"
FAITHFULNESS = "faithfulness.json"
OPERATING = "operating.json"
BASELINES = "baselines.safetensors"
OUT_OF_FOLD = "out_of_fold.safetensors"


class CheckpointError(ValueError):
    """A checkpoint that cannot be opened, in a sentence that says what is wrong with it."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model ready to use, and what is known of it.

    Attributes
    ----------
    model : CLEARHUG in evaluation mode, shared and never changed
    name : of the folder
    tasks : label sets, in the order of the logits
    platt : (label, 2) float64; probability = sigmoid(platt[:, 0] * logit + platt[:, 1])
    thresholds : (label,) float64, of the calibration; see `call_from`
    training, metrics : what stands in config.json and metrics.json
    digest : sha256 of the weights and the calibration
    faithfulness : what stands in faithfulness.json; empty where it was not measured
    operating : what stands in operating.json; empty where it was not measured

    """

    model: CLEARHUG
    name: str
    tasks: tuple[Task, ...]
    platt: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""
    faithfulness: Mapping[str, Any] = field(default_factory=dict)
    operating: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def targets(self) -> tuple[str, ...]:
        """task/label, one a logit."""
        return targets_of(self.tasks)

    @property
    def description(self) -> dict[str, str]:
        """task/label -> plain words."""
        return {f"{t.name}/{label}": t.descriptions[label] for t in self.tasks for label in t.labels}

    @property
    def call_from(self) -> NDArray[np.float64]:
        """(label,) probability from which a label is called; NaN where too few records tell one.

        operating.json says of how many records each threshold was judged on, and gives no curve to a label
        with too few; a checkpoint without that file has its thresholds as they are.
        """
        told = self.operating.get("labels", {})
        judged = [not told or "thresholds" in told.get(target, {}) for target in self.targets]
        return np.where(judged, self.thresholds, np.nan)

    @cached_property
    def identity(self) -> str:
        """Names the weights, the calibration and what operating.json tells: all that answers follow from."""
        told = json.dumps(self.operating, sort_keys=True, default=str)
        return hashlib.sha256(f"{self.digest} {told}".encode()).hexdigest()

    def row(self, target: str) -> int:
        """The logit that `target` ("task/label", or the label where one task alone has it) names."""
        rows = [i for i, name in enumerate(self.targets) if target in (name, name.split("/", 1)[1])]
        if len(rows) != 1:
            what = "stands in several tasks" if rows else "is not answered by this checkpoint"
            raise ValueError(f"target {target!r} {what}; expected one of {', '.join(self.targets)}.")
        return rows[0]


def list_checkpoints(folder: Path | None = None) -> list[str]:
    """Names of the checkpoints that ship, the default first."""
    found = {p.parent.name for p in (folder or CHECKPOINTS).glob("*/model.safetensors")}
    whole = (name for name in found if not name.startswith("."))  # one that is being written has a dot
    return sorted(whole, key=lambda name: (name != DEFAULT, name))


def save_checkpoint(
    folder: str | Path,
    model: CLEARHUG,
    tasks: tuple[Task, ...],
    *,
    platt: NDArray[np.float64] | None = None,
    thresholds: NDArray[np.float64] | None = None,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    card: str | None = None,
    faithfulness: Mapping[str, Any] | None = None,
    operating: Mapping[str, Any] | None = None,
    baselines: bytes | None = None,
    out_of_fold: bytes | None = None,
) -> Path:
    """Write a checkpoint aside, then move it into place whole.

    faithfulness, operating : None keeps what was measured of the same weights and calibration, if it lies
        there
    baselines, out_of_fold : safetensors files; None keeps the one that lies there
    """
    folder = Path(folder)
    labels = list(targets_of(tasks))
    n = len(labels)
    if model.hug.head.out_features != n:
        raise CheckpointError(f"the model has {model.hug.head.out_features} logits, the tasks {n} labels.")
    platt = np.tile([1.0, 0.0], (n, 1)) if platt is None else platt
    thresholds = np.full(n, 0.5) if thresholds is None else thresholds
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
        save_file(state, aside / "model.safetensors")
        config = {
            "format": FORMAT,
            "clear": config_dict(model.clear.config),
            "hug": {"per_lead": model.hug.per_lead},
            "tasks": [task.name for task in tasks],
            **({"own_tasks": own} if (own := told_of(tasks)) else {}),
            "labels": labels,
            "parameters": sum(p.numel() for p in model.parameters()),
            "sha256": hashlib.sha256((aside / "model.safetensors").read_bytes()).hexdigest(),
            "training": dict(training or {}),
        }
        _write_json(aside / "config.json", config)
        calibration = {
            label: {"slope": float(a), "intercept": float(b), "threshold": float(t)}
            for label, (a, b), t in zip(labels, platt, thresholds, strict=True)
        }
        _write_json(aside / "calibration.json", calibration)
        _write_json(aside / "metrics.json", dict(metrics or {}))
        digest = _digest(aside / "model.safetensors", platt, thresholds)
        for file, measured in ((FAITHFULNESS, faithfulness), (OPERATING, operating)):
            measured = _kept(folder / file, digest) if measured is None else measured
            if measured:
                _write_json(aside / file, dict(measured))
        for file, answers in ((BASELINES, baselines), (OUT_OF_FOLD, out_of_fold)):
            if answers is not None:
                (aside / file).write_bytes(answers)
            elif (folder / file).exists():
                shutil.copyfile(folder / file, aside / file)
        (aside / "README.md").write_text(card or f"# {folder.name}\n\nNot measured yet.\n")
        aside.chmod(0o755)
        for path in aside.iterdir():
            path.chmod(0o644)
            sync(path)
        sync(aside)
        old = aside.with_name(f"{aside.name}-old")  # the old one goes only when the new one stands
        if folder.exists():
            os.replace(folder, old)
        os.replace(aside, folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a folder cannot be opened
    number = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def mend_checkpoint(folder: Path) -> None:
    """Clear away what a save that was cut off left beside `folder`; what it had moved aside goes back."""
    for left in sorted(folder.parent.glob(f".{folder.name}-*")):
        if left.name.endswith("-old") and not folder.exists():
            os.replace(left, folder)
        else:
            shutil.rmtree(left, ignore_errors=True)


def save_measured(name: str, opened: Checkpoint, card: str | None = None, **measured: Any) -> Path:
    """Put what was measured of a checkpoint beside its weights, which stay as they are.

    Parameters
    ----------
    name : as of `load_checkpoint`, which gave `opened`
    card : None keeps the model card
    measured : metrics, faithfulness, operating, baselines or out_of_fold, as of `save_checkpoint`
    """
    folder = folder_of(name)
    return save_checkpoint(
        folder,
        opened.model,
        opened.tasks,
        platt=opened.platt,
        thresholds=opened.thresholds,
        training=opened.training,
        card=card or (folder / "README.md").read_text(encoding="utf-8"),
        **{"metrics": opened.metrics, **measured},
    )


def load_checkpoint(path: str | Path = DEFAULT) -> Checkpoint:
    """Open a checkpoint: the shipped default, another shipped one by name, or a folder.

    Raises
    ------
    CheckpointError : what is missing, torn or of another shape, by name

    """
    folder = folder_of(path)
    if not folder.is_dir():
        known = ", ".join(list_checkpoints()) or "none"
        raise CheckpointError(f"no checkpoint {str(path)!r}; shipped: {known}. Or name a checkpoint folder.")
    config = _read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder.name}: format {config.get('format')!r}; this version reads {FORMAT}. Open it with the "
            "version that wrote it, or train it anew."
        )
    try:
        sets = TASKS | (own_tasks(config["own_tasks"]) if "own_tasks" in config else {})
        tasks = tuple(sets[name] for name in config["tasks"])
        clear = CLEAR(CLEARConfig(**config["clear"]))
        labels = list(targets_of(tasks))
        model = CLEARHUG(clear, HUG(clear.config.width, len(labels), **config["hug"]))
    except (KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder.name}/config.json does not describe a model: {said}.") from error
    if labels != config.get("labels"):
        raise CheckpointError(f"{folder.name}: its labels are not those of {', '.join(config['tasks'])}.")
    weights = folder / "model.safetensors"
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder.name}/model.safetensors cannot be read: {error}.") from error
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    for name in sorted(expected.keys() | state.keys()):
        found = tuple(state[name].shape) if name in state else None
        if found != expected.get(name):
            wanted = expected.get(name) or "nothing"
            raise CheckpointError(f"{folder.name}: tensor {name} is {found or 'missing'}, expected {wanted}.")
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise CheckpointError(f"{folder.name}: tensor {bad[0]} holds values that are not finite.")
    written = config.get("sha256")  # not in one of before 0.18
    if written and written != hashlib.sha256(weights.read_bytes()).hexdigest():
        raise CheckpointError(
            f"{folder.name}/model.safetensors is torn: its weights are not those that were written. Take it "
            "anew from where it came, or go on with its run (--resume)."
        )
    model.load_state_dict(state)
    model.eval().requires_grad_(False)
    calibration = _read_json(folder / "calibration.json")
    try:
        rows = [calibration[label] for label in labels]
        platt = np.array([[row["slope"], row["intercept"]] for row in rows], dtype=np.float64)
        platt = platt.reshape(-1, 2)  # also of none
        thresholds = np.array([row["threshold"] for row in rows], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder.name}/calibration.json lacks {error}.") from error
    for label, numbers in zip(labels, np.column_stack([platt, thresholds]), strict=True):
        if not np.isfinite(numbers).all():
            raise CheckpointError(f"{folder.name}/calibration.json: {label} holds no finite number.")
    digest = _digest(weights, platt, thresholds)
    metrics = _read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    training = config.get("training", {})
    faithfulness, operating = (_measured(folder / file, digest) for file in (FAITHFULNESS, OPERATING))
    return Checkpoint(
        model, folder.name, tasks, platt, thresholds, training, metrics, digest, faithfulness, operating
    )


def folder_of(path: str | Path) -> Path:
    """A folder as it is named, or of a run its checkpoint; else that of a shipped one, there or not."""
    folder = Path(path) if Path(path).is_dir() else CHECKPOINTS / path
    of_run = folder / "checkpoint"
    return of_run if of_run.is_dir() and not (folder / "config.json").exists() else folder


def _measured(path: Path, digest: str) -> dict[str, Any]:
    """A file that may be there, and speaks of the same weights and calibration."""
    found = _read_json(path) if path.exists() else {}
    if found and found.get("checkpoint") != digest:
        raise CheckpointError(
            f"{path.parent.name}/{path.name} was measured on other weights or another calibration; delete "
            f"it, then measure anew with `python -m clear_hug.train {path.stem}`."
        )
    return found


def _digest(weights: Path, platt: NDArray[np.float64], thresholds: NDArray[np.float64]) -> str:
    numbers = (np.asarray(a, dtype=np.float64).tobytes() for a in (platt, thresholds))
    return hashlib.sha256(weights.read_bytes() + b"".join(numbers)).hexdigest()


def _kept(path: Path, digest: str) -> dict[str, Any]:
    """A file of a checkpoint that is being replaced, if it speaks of the same weights."""
    try:
        found = _read_json(path)
    except CheckpointError:  # none, or torn: it goes with the old checkpoint
        return {}
    return found if found.get("checkpoint") == digest else {}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.parent.name}/{path.name} cannot be read: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.parent.name}/{path.name} holds no object.")
    return value
