"""teach: what an ensemble says of every record, by members that did not learn from its fold.

A few plain ResNets and linear probes on frozen encoders are weak alone and err differently; their mean
is better than any of them. `finetune --teacher` learns from it beside the labels, and from records that
have no label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from clear_hug.checkpoint import load_checkpoint
from clear_hug.model import CLEAR, PRESETS
from clear_hug.tasks import TASKS
from clear_hug.train.baselines import BaselineConfig, lead_token_features, linear_probe, train_resnet
from clear_hug.train.corpus import Corpus


@dataclass(frozen=True)
class TeachConfig:
    """How to build the ensemble.

    Args:
        tasks: label sets
        folds: PTB-XL folds with labels; each is predicted by members that learned from the others
        resnets: how many ResNets a fold
        resnet_epochs: passes of each
        encoders: how many random frozen encoders are probed
        ridge: of the probes
        seed: of the first member
    """

    tasks: tuple[str, ...] = ("superdiagnostic",)
    folds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    resnets: int = 2
    resnet_epochs: int = 8
    encoders: int = 2
    ridge: float = 0.01
    seed: int = 10


def teach(
    run: Path,
    corpus: Path = Path("corpus"),
    init: str | None = None,
    recipe: TeachConfig = TeachConfig(),  # noqa: B008
) -> None:
    """Write <run>/teacher.npz: probabilities (record, label) of the folds and of records without labels.

    Args:
        run: folder of the run
        corpus: folder of prepared shards
        init: a pre-trained checkpoint whose encoder is probed too
        recipe: how
    """
    data = Corpus(corpus)
    tasks = [TASKS[name] for name in recipe.tasks]
    known = np.flatnonzero(np.isin(data.fold, recipe.folds) & data.labelled)
    free = np.flatnonzero((data.fold == 0) & ~data.labelled)
    everything = np.concatenate([known, free])
    labels = data.labels(tasks, known)
    encoders = []
    for i in range(recipe.encoders):
        torch.manual_seed(recipe.seed + i)
        encoders.append(CLEAR(PRESETS["small"]))
    if init:
        encoders.append(load_checkpoint(init).model.clear)
    features = [lead_token_features(clear, data, everything) for clear in encoders]

    said = np.zeros((everything.size, labels.shape[1]))
    for fold in tqdm(recipe.folds, unit=" fold"):
        inside = data.fold[known] == fold
        test = np.concatenate([np.flatnonzero(inside), np.arange(known.size, everything.size)])
        train = np.flatnonzero(~inside)
        rows = {"train": known[train], "watch": known[:0], "test": everything[test]}
        target = torch.from_numpy(labels[train])
        members = []
        for x in features:
            weight, bias = linear_probe(x[train], target, recipe.ridge)
            members.append((x[test] @ weight.T + bias).numpy())
        for i in range(recipe.resnets):
            how = BaselineConfig(epochs=recipe.resnet_epochs, seed=recipe.seed + i)
            members.append(train_resnet(data, rows, labels[train], tasks, how))
        mean = np.mean([1 / (1 + np.exp(-logits.astype(np.float64))) for logits in members], axis=0)
        n = int(inside.sum())
        said[test[:n]] = mean[:n]
        said[test[n:]] += mean[n:] / len(recipe.folds)
    Path(run).mkdir(parents=True, exist_ok=True)
    np.savez(
        Path(run) / "teacher.npz",
        records=[data.records[i]["record"] for i in everything],
        targets=[f"{task.name}/{label}" for task in tasks for label in task.labels],
        probabilities=said.astype(np.float32),
        folds=np.array(recipe.folds),
    )
