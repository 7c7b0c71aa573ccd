"""What teachers tell of records without labels: a checkpoint's or a baseline's probabilities for labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from clear_hug.datasets import NO_FOLD
from clear_hug.tasks import Task, targets_of
from clear_hug.train.answers import answers, learned_by
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.tuning import FinetuneConfig

LEAST_TAUGHT = 5  # positives that a teacher has learned from; of a label with fewer it knows nothing


def learn_from(
    teachers: Sequence[Path],
    data: Corpus,
    tasks: Sequence[Task],
    recipe: FinetuneConfig,
    labels: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Write what the teachers say into `labels` (record, label); the records that they speak of."""
    targets = targets_of(tasks)
    # a recording of another fold, which stands here without its labels, is kept to judge
    unlabelled = np.flatnonzero(~data.labelled & np.isin(data.fold, (NO_FOLD, *recipe.train_folds)))
    said = []
    for run in teachers:
        if recipe.label_fraction < 1 and _share(_recipe_of(Path(run))) != _share(asdict(recipe)):
            raise CorpusError(
                f"teacher {run} learned from other labels than {100 * recipe.label_fraction:g} % of them by "
                f"seed {recipe.seed}, which are all that its pupil may; teach by a run of the same share."
            )
        told = answers(Path(run), data, unlabelled, targets)
        if told.train_folds is None:
            raise CorpusError(f"teacher {run} does not tell what it learned from; name a run.")
        if not set(told.train_folds) <= set(recipe.train_folds):
            raise CorpusError(
                f"teacher {run} learned from folds {sorted(told.train_folds)}, its pupil may from "
                f"{list(recipe.train_folds)} alone: it would tell of folds that are judged."
            )
        said.append(expit(told.logits))
    if not said:
        return np.array([], dtype=np.int64)
    mean = np.mean(said, axis=0)
    spoken = np.isfinite(mean).all(axis=1)
    rows = unlabelled[spoken]
    if not rows.size:
        raise CorpusError("no record without labels is told of by every teacher; use --recipe.teach true.")
    taught = [task.name in (recipe.taught or recipe.tasks) for task in tasks]
    columns = np.flatnonzero(np.repeat(taught, [len(task.labels) for task in tasks]))
    labels[np.ix_(rows, columns)] = mean[np.ix_(spoken, columns)]
    return rows


def told_by(teachers: Sequence[Path]) -> list[dict[str, Any]]:
    """Which labels the teachers, and those they began from, learned; for a checkpoint's `taught_by`."""
    return [
        {
            "vocabulary": one.vocabulary,
            "data_sets": sorted(one.data_sets),
            "train_folds": list(one.train_folds),
            "watch_folds": list(one.watch_folds),
        }
        for run in teachers
        for one in learned_by(Path(run))
    ]


def _recipe_of(run: Path) -> Mapping[str, Any]:
    """The recipe of a run of `finetune` or its checkpoint; {} of a baseline, which took all labels."""
    for path, keys in (("run.json", ("config",)), ("config.json", ("training", "config"))):
        try:
            found = json.loads((run / path).read_text())
            for key in keys:
                found = found[key]
            return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def _share(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    """What settles which labels are learned from."""
    folds = tuple(recipe.get("train_folds", ()))
    return (folds, *(recipe.get(name) for name in ("label_fraction", "seed", "stratified")))
