"""What is fitted on answers to records that a model had not learned from: Platt maps and criteria."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import pick_device
from clear_hug.model import CLEARHUG
from clear_hug.tasks import Task
from clear_hug.train.answers import FITTED, FITTED_SETS, folds_of, of_share, predict
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.criteria import weigh_criteria, weigh_qtc
from clear_hug.train.metrics import best_thresholds, fit_platt

_FREE = ("train_folds", "watch_folds", "seed")  # what runs of one recipe may differ in


def criteria(run: Path, others: tuple[Path, ...], corpus: Path = Path("corpus")) -> None:
    """Weigh the criteria of voltage and QTc of a run's checkpoint by what other runs of its recipe answer.

    Args:
        run: a run of `finetune` that watched folds; its checkpoint is calibrated anew
        others: runs that each watched folds of their own, which they did not learn from
        corpus: folder of prepared shards
    """
    data, opened = Corpus(corpus), load_checkpoint(run / "checkpoint")
    _, watched = folds_of(opened)
    watch = np.flatnonzero(np.isin(data.fold, watched) & data.labelled_for(opened.tasks))
    if not watch.size:
        raise CorpusError(f"{run} watched no labelled record of {corpus} to be calibrated on.")
    recipe = opened.training.get("config", {})
    for other in others:
        _check_recipe(other, load_checkpoint(other / "checkpoint"), recipe)
    found = set_criteria(opened.model, data, opened.tasks, others, watched)
    now = calibrate(opened.model, data, opened.tasks, watch, watched, ())
    fitted = sorted({*found.folds, *now.folds})
    sets = sorted(set(data.data_set[np.concatenate([found.rows, now.rows])].tolist()))
    told = {"criteria_from": found.words, "calibrated_on": now.words, FITTED: fitted, FITTED_SETS: sets}
    save_checkpoint(
        run / "checkpoint",
        opened.model,
        opened.tasks,
        platt=now.platt,
        thresholds=now.thresholds,
        training={**opened.training, **told},
    )


def check_calibration(
    runs: Sequence[Path], tasks: tuple[Task, ...], recipe: Mapping[str, Any], judged: Sequence[int] = ()
) -> list[dict[str, str]]:
    """Raise what `set_criteria` would, before a run has taken its hours; each run's name and digest.

    recipe : of the run that is calibrated; the others must share it but for folds and seed
    """
    folds: list[int] = []
    told: list[dict[str, str]] = []
    for run in runs:
        opened, watched = _of_calibration(run, tasks, folds)
        _check_recipe(run, opened, recipe)
        folds += watched
        told.append({"run": Path(run).name, "digest": opened.digest})
    _check_judged(folds, judged)
    return told


def _check_recipe(run: Path, opened: Checkpoint, recipe: Mapping[str, Any]) -> None:
    theirs = {"label_fraction": 1.0, "stratified": True, **opened.training.get("config", {})}
    shared = [key for key in theirs if key in recipe and key not in _FREE]
    odd = [key for key in shared if json.dumps(theirs[key]) != json.dumps(recipe[key])]
    if odd:
        first = odd[0]
        raise CorpusError(
            f"{run} is of another recipe ({first} = {theirs[first]}, here {recipe[first]}); calibrate on "
            "runs of the same, which differ in folds and seed alone."
        )


def _check_judged(folds: Sequence[int], judged: Sequence[int]) -> None:
    if both := set(folds) & set(judged):
        raise CorpusError(f"folds {sorted(both)} would be judged by weights fitted on them; name other runs.")


def _of_calibration(run: Path, tasks: tuple[Task, ...], taken: Sequence[int]) -> tuple[Checkpoint, list[int]]:
    """A run's checkpoint, and the folds that it watched and that none before has taken."""
    opened = load_checkpoint(Path(run) / "checkpoint")
    learned, watched = folds_of(opened)
    if opened.tasks != tasks:
        raise CorpusError(f"{run} answers other tasks; calibrate on runs of the same.")
    if not watched or set(watched) & {*learned, *taken}:
        raise CorpusError(
            f"{run} watched folds {list(watched)} and learned from {list(learned)}; calibrate on runs that "
            "each watched folds of their own, which they did not learn from."
        )
    return opened, list(watched)


def have_criteria(runs: Sequence[Path]) -> bool:
    """All of the runs had their criteria weighed by `criteria`."""
    return all("criteria_from" in load_checkpoint(Path(run) / "checkpoint").training for run in runs)


def set_criteria(
    model: CLEARHUG, data: Corpus, tasks: tuple[Task, ...], runs: Sequence[Path], judged: Sequence[int] = ()
) -> OutOfFold:
    """Set HUG's weights of voltage and QTc by what `runs` answer without them, which is handed back.

    judged : folds that the model is judged on, which must not be among those of the runs
    """
    found = out_of_fold(data, tasks, runs, criteria=False)
    _check_judged(found.folds, judged)
    usual = model.facts.usual.cpu().double().numpy()
    model.hug.voltage.copy_(torch.from_numpy(weigh_criteria(data, found.rows, tasks, usual, found.logits)))
    model.hug.qtc.copy_(torch.from_numpy(weigh_qtc(data, found.rows, tasks, model.facts, found.logits)))
    return found


class Calibrated(NamedTuple):
    """Platt maps (label, 2), thresholds (label,), NaN where none; where from, in words; folds and records."""

    platt: NDArray[np.float64] | None
    thresholds: NDArray[np.float64] | None
    words: str
    folds: tuple[int, ...]
    rows: NDArray[np.int64]


def calibrate(
    model: CLEARHUG,
    data: Corpus,
    tasks: tuple[Task, ...],
    watch: NDArray[np.int64],
    watch_folds: Sequence[int],
    calibration: Sequence[Path],
) -> Calibrated:
    """Platt maps and thresholds from the watched records, or other runs'."""
    folds, rows = tuple(watch_folds), watch
    if watch.size:
        logits, truth = predict(model, data, watch), data.labels(tasks, watch)
        words = f"folds {list(watch_folds)}, which it did not learn from"
    elif calibration:
        found = out_of_fold(data, tasks, calibration)
        logits, truth, words, folds, rows = found.logits, found.truth, found.words, found.folds, found.rows
    else:
        return Calibrated(None, None, "nothing", (), rows)
    platt = fit_platt(logits, truth)
    thresholds = best_thresholds(expit(platt[:, 0] * logits + platt[:, 1]), truth)
    return Calibrated(platt, thresholds, words, folds, rows)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What runs said of the folds that each watched and did not learn from, one run after another.

    logits, truth : (record, label)
    rows : (record,) of the corpus;  parts : (record,) which run;  folds : all;  words : the same
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.float32]
    rows: NDArray[np.int64]
    parts: NDArray[np.int64]
    folds: tuple[int, ...]
    words: str


def out_of_fold(
    data: Corpus, tasks: tuple[Task, ...], runs: Sequence[Path], criteria: bool = True
) -> OutOfFold:
    """Logits and labels of the folds that each run watched and did not learn from.

    criteria : with what HUG's weights of voltage and QTc add
    """
    logits: list[NDArray[np.float32]] = []
    rows: list[NDArray[np.int64]] = []
    folds: list[int] = []
    for run in runs:
        opened, watched = _of_calibration(run, tasks, folds)
        learned, _ = folds_of(opened)
        rows.append(
            of_share(opened, data, np.flatnonzero(np.isin(data.fold, watched) & data.labelled_for(tasks)))
        )
        if not criteria:
            opened.model.hug.voltage.zero_()
            opened.model.hug.qtc.zero_()
        logits.append(predict(opened.model.to(pick_device()), data, rows[-1]))
        folds += watched
    words = f"folds {sorted(folds)}, by {len(runs)} models of the same recipe that did not learn from them"
    if len(runs) == 1:
        words = (
            f"folds {sorted(folds)}, by a model of the same recipe that learned from folds {list(learned)}"
        )
    parts = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
    truth = data.labels(tasks, np.concatenate(rows))
    return OutOfFold(np.concatenate(logits), truth, np.concatenate(rows), parts, tuple(folds), words)
