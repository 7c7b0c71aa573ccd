"""What a run answers for records of a corpus: by its checkpoint, or as a baseline kept it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.beats import split_windows
from clear_hug.checkpoint import Checkpoint, load_checkpoint
from clear_hug.diagnosis import collate, pick_device
from clear_hug.model import CLEARHUG
from clear_hug.train.corpus import Corpus, CorpusError


def predict(
    model: CLEARHUG, data: Corpus, rows: NDArray[np.int64], batch_size: int = 64, told: bool = True
) -> NDArray[np.float32]:
    """(row, label) logits, the mean over each record's windows, in fp32.

    told : whether the lead scale is told where it is known
    """
    model.eval()
    device = next(model.parameters()).device
    out = []
    with torch.inference_mode():
        for i in range(0, len(rows), batch_size):
            windows = [split_windows(data.tokens(int(r))) for r in rows[i : i + batch_size]]
            beats = collate([w for one in windows for w in one]).to(device)
            scale_told = torch.full((len(beats.units_known),), told, device=device)
            logits = model(beats, scale_told=scale_told).float().cpu().numpy()
            ends = np.cumsum([len(one) for one in windows])[:-1]
            out += [part.mean(axis=0) for part in np.split(logits, ends)]
    return np.array(out)


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits of a run, and the folds that it learned from and was watched on.

    logits : (row, label), NaN for records that the run kept no answer for
    """

    logits: NDArray[np.float32]
    train_folds: tuple[int, ...]
    watch_folds: tuple[int, ...]


def answers(run: Path, data: Corpus, rows: NDArray[np.int64], targets: Sequence[str]) -> Answers:
    """What `run` (of `baseline` or `finetune`, or a checkpoint folder) says of `rows` for `targets`.

    Raises
    ------
    CorpusError : it holds no answers, not its folds, or not all targets

    """
    kept = run / "predictions.npz"
    if kept.exists():
        try:
            with np.load(kept) as saved:
                folds = tuple(saved["train_folds"].tolist()), tuple(saved["watch_folds"].tolist())
                names, records = saved["targets"].tolist(), saved["records"].tolist()
                table = saved["logits"]
        except (OSError, KeyError, ValueError) as error:
            raise CorpusError(f"{kept} cannot be read ({error}); run `baseline` again.") from error
        place = {record: k for k, record in enumerate(records)}
        at = np.array([place.get(data.records[i]["record"], -1) for i in rows], dtype=np.int64)
        logits = np.where(at[:, None] >= 0, table[at], np.nan).astype(np.float32)
    else:
        opened = load_checkpoint(run / "checkpoint" if (run / "checkpoint").is_dir() else run)
        folds, names = folds_of(opened), list(opened.targets)
        logits = predict(opened.model.to(pick_device()), data, rows)
    if missing := [target for target in targets if target not in names]:
        raise CorpusError(f"{run} does not answer {', '.join(missing)}; train it on the same tasks.")
    return Answers(logits[:, [names.index(target) for target in targets]], *folds)


def folds_of(checkpoint: Checkpoint) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The folds that a checkpoint learned its labels from, and those that it was watched on."""
    recipe = checkpoint.training.get("config", {})
    return tuple(recipe.get("train_folds", ())), tuple(recipe.get("watch_folds", ()))


def pretraining(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a checkpoint's `training` tells of the pre-training of its encoder, the first run first."""
    before = training.get("init")
    if not before:
        return []
    return pretraining(before) + ([before] if before.get("stage") == "pretrain" else [])
