"""average: one checkpoint from several runs of one recipe, by the mean of their weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.train.corpus import Corpus
from clear_hug.train.finetune import calibrate, predict, watched
from clear_hug.train.run import RunError


def average(
    run: Path, runs: tuple[Path, ...], corpus: Path = Path("corpus"), calibration: Path | None = None
) -> None:
    """Average runs that differ by nothing but their seed, and write <run>/checkpoint.

    From one pre-trained encoder they end near one another, so that the mean of their weights answers
    about as the mean of their answers: what one seed learned by chance falls out.

    Args:
        run: folder of the average
        runs: folders of finished runs of `finetune`
        corpus: folder of prepared shards
        calibration: run whose calibration is taken over, where the runs watched no folds
    """
    opened = [load_checkpoint(Path(one) / "checkpoint") for one in runs]
    if len(opened) < 2:
        raise RunError(f"{len(opened)} run to average; name at least two.")
    recipes = [{**one.training["config"], "seed": None} for one in opened]
    for folder, recipe, other in zip(runs, recipes, opened, strict=True):
        if differ := [name for name in recipe if recipe[name] != recipes[0].get(name)]:
            raise RunError(f"{folder} differs from {runs[0]} by {', '.join(differ)}; only seeds may.")
        if other.training["init_digest"] != opened[0].training["init_digest"]:
            raise RunError(f"{folder} began from another checkpoint than {runs[0]}; their mean is no model.")
    first, data = opened[0], Corpus(corpus)
    states = [one.model.state_dict() for one in opened]
    first.model.load_state_dict(
        {name: torch.stack([state[name].double() for state in states]).mean(0).float() for name in states[0]}
    )
    folds = first.training["config"]["watch_folds"]
    watch = np.flatnonzero(np.isin(data.fold, folds) & data.labelled_for(first.tasks))
    if watch.size:
        row = watched(predict(first.model, data, watch), data, first.tasks, watch)
        print(", ".join(f"{name} {value:.4f}" for name, value in row.items()))
    platt, thresholds, words = calibrate(first.model, data, first.tasks, watch, folds, calibration)
    training = {
        **first.training,
        "calibrated_on": words,
        "averaged_seeds": [one.training["config"]["seed"] for one in opened],
    }
    folder = Path(run) / "checkpoint"
    save_checkpoint(folder, first.model, first.tasks, platt=platt, thresholds=thresholds, training=training)
