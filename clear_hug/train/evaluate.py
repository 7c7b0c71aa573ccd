"""evaluate: the figures of a checkpoint on folds it did not learn from, and its model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import collate, probabilities
from clear_hug.leads import LEADS
from clear_hug.model import MaskedCLEAR, masked_loss
from clear_hug.tasks import Task
from clear_hug.train.card import model_card
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.finetune import predict
from clear_hug.train.metrics import auroc, bootstrap, figures, macro


def evaluate(
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    folds: tuple[int, ...] = (9,),
    baselines: dict[str, Path] = {},  # noqa: B006
    write: bool = False,
) -> None:
    """Print the figures of a checkpoint; with --write, keep them in it and write its model card.

    Args:
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        folds: PTB-XL folds that the checkpoint did not learn from
        baselines: name to the run folder of a baseline predicted on the same folds
        write: keep metrics.json and the model card in the checkpoint
    """
    opened = load_checkpoint(checkpoint)
    tuned = opened.training.get("config", {})
    learned = {*tuned.get("train_folds", ()), *tuned.get("watch_folds", ())}
    if set(folds) & learned:
        raise CorpusError(
            f"{opened.name} learned from, or was chosen on, folds {sorted(set(folds) & learned)}."
        )
    before = (opened.training.get("init") or {}).get("config")
    seen = before is not None and not set(folds) <= set(before["leave_out_folds"])
    data = Corpus(corpus)
    rows = np.flatnonzero(np.isin(data.fold, folds) & data.labelled_for(opened.tasks))
    if not rows.size:
        raise CorpusError(f"no labelled record in folds {folds} of {corpus}.")
    metrics: dict[str, Any] = {
        "command": _command(opened.name, baselines),
        "folds": list(folds),
        "pretrained_on_them": seen,
        "data": data.digest,
        "tasks": {},
    }
    logits = predict(opened.model, data, rows)
    withheld = predict(opened.model, data, rows, told=False)
    start = 0
    for task in opened.tasks:
        stop = start + len(task.labels)
        part = slice(start, stop)
        metrics["tasks"][task.name] = _task_figures(
            opened, data, task, part, rows, logits[:, part], withheld[:, part], baselines
        )
        start = stop
    metrics["scale_flag"] = _scale_flag(data, opened.tasks, rows)
    metrics["reconstruction"] = _reconstruction(opened, data, rows)
    print(json.dumps(metrics, indent=1))
    if write:
        folder = Path(checkpoint) if Path(checkpoint).is_dir() else Path("checkpoints") / checkpoint
        card = model_card(opened, metrics)
        save_checkpoint(
            folder,
            opened.model,
            opened.tasks,
            platt=opened.platt,
            thresholds=opened.thresholds,
            training=opened.training,
            metrics=metrics,
            card=card,
        )


def _command(name: str, baselines: dict[str, Path]) -> str:
    command = f"python -m clear_hug.train evaluate --checkpoint {name}"
    if baselines:
        command += f" --baselines '{json.dumps({key: str(run) for key, run in baselines.items()})}'"
    return command


def _task_figures(
    opened: Checkpoint,
    data: Corpus,
    task: Task,
    part: slice,
    rows: NDArray[np.int64],
    logits: NDArray[np.float32],
    withheld: NDArray[np.float32],
    baselines: dict[str, Path],
) -> dict[str, Any]:
    truth = data.labels([task], rows)
    patients = data.patients[rows]
    sliced = Checkpoint(opened.model, opened.name, (task,), opened.platt[part], opened.thresholds[part])
    thresholds = sliced.thresholds
    field: NDArray[np.bool_] = np.any(truth, axis=1)  # the field's subset: at least one of the task's labels
    raw = data.units_known[rows]

    def on(some: NDArray[np.bool_], scores: NDArray[np.float32]) -> dict[str, Any]:
        p = probabilities(sliced, scores[some])
        return figures(scores[some], p, thresholds, truth[some], task.labels, patients[some])

    subsets = {
        "field": (field, logits),
        "all_records": (np.ones(len(rows), dtype=bool), logits),
        "raw": (field & raw, logits),
        "raw_scale_withheld": (field & raw, withheld),
        "no_voltage": (field & ~raw, logits),
    }
    out: dict[str, Any] = {key: on(some, scores) for key, (some, scores) in subsets.items() if some.any()}
    out["baselines"] = {}
    names = [data.records[i]["record"] for i in rows]
    targets = [f"{task.name}/{label}" for label in task.labels]
    for name, run in baselines.items():
        with np.load(Path(run) / "predictions.npz") as saved:
            where = {record: i for i, record in enumerate(saved["records"].tolist())}
            columns = [saved["targets"].tolist().index(target) for target in targets]
            missing = [record for record in names if record not in where]
            if missing:
                raise CorpusError(f"baseline {name} has no prediction for {len(missing)} records.")
            other = saved["logits"][[where[record] for record in names]][:, columns]
        out["baselines"][name] = _against(logits[field], other[field], truth[field], patients[field])
    return out


def _against(
    ours: NDArray[np.float32],
    other: NDArray[np.float32],
    truth: NDArray[np.float32],
    patients: NDArray[np.str_],
) -> dict[str, Any]:
    """Macro AUROC of a baseline, and ours minus it over the same draws of patients."""

    def pair(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        a, b = macro(auroc(ours[rows], truth[rows])), macro(auroc(other[rows], truth[rows]))
        return np.array([b, a - b])

    low, high = bootstrap(pair, patients)
    value, difference = pair(np.arange(len(truth)))
    return {
        "macro_auroc": round(float(value), 4),
        "macro_auroc_95": [round(float(low[0]), 4), round(float(high[0]), 4)],
        "difference": round(float(difference), 4),
        "difference_95": [round(float(low[1]), 4), round(float(high[1]), 4)],
    }


def _scale_flag(data: Corpus, tasks: tuple[Task, ...], rows: NDArray[np.int64]) -> dict[str, float | None]:
    """AUROC of "the voltage is known" alone for each label: what the flag itself would tell."""
    out: dict[str, float | None] = {}
    flag = data.units_known[rows].astype(np.float64)[:, None]
    for task in tasks:
        truth = data.labels([task], rows)
        for i, label in enumerate(task.labels):
            value = auroc(flag, truth[:, i : i + 1])[0]
            out[f"{task.name}/{label}"] = round(float(value), 4) if np.isfinite(value) else None
    return out


def _reconstruction(opened: Checkpoint, data: Corpus, rows: NDArray[np.int64]) -> dict[str, Any]:
    """R2 of hidden samples, in units of each lead's scale: 80 % hidden at random, a beat, each lead."""
    clear = opened.model.clear
    sums: dict[str, list[float]] = {}
    with torch.inference_mode():
        for i in range(0, len(rows), 64):
            now = rows[i : i + 64]
            beats = collate([data.window(int(r)) for r in now])
            masks = MaskedCLEAR(clear, mask_ratio=0.8, whole_lead=0, whole_beat=0, seed=1)
            random, _ = masks.draw(beats.there, torch.from_numpy(now), 0)
            beat = torch.zeros_like(random)
            for k in range(len(now)):
                n = int(beats.there[k].any(0).sum())
                beat[k, :, n // 2] = beats.there[k, :, n // 2]
            kinds = {"random 80 %": random, "a whole beat": beat}
            for lead, name in enumerate(LEADS):
                hidden = torch.zeros_like(random)
                hidden[:, lead] = beats.there[:, lead]
                kinds[f"lead {name} from the other eleven"] = hidden
            told = torch.ones(len(now), dtype=torch.bool)
            for name, hidden in kinds.items():
                usable = hidden.flatten(1).any(1)
                if not usable.any():
                    continue
                out = masked_loss(clear, beats, hidden, told)
                weight = float(hidden.sum())
                total = sums.setdefault(name, [0.0, 0.0])
                total[0] += float(out["r2"]) * weight
                total[1] += weight
    return {name: round(value / weight, 4) for name, (value, weight) in sums.items()}
