"""What is fitted on answers to records that a model had not learned from: Platt maps and criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.diagnosis import pick_device
from clear_hug.model import CLEARHUG
from clear_hug.tasks import Task
from clear_hug.train.answers import folds_of, predict
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.criteria import weigh_criteria, weigh_qtc
from clear_hug.train.metrics import best_thresholds, fit_platt


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
    told = {"criteria_from": set_criteria(opened.model, data, opened.tasks, others, watched)}
    platt, thresholds, told["calibrated_on"] = calibrate(opened.model, data, opened.tasks, watch, watched, ())
    save_checkpoint(
        run / "checkpoint",
        opened.model,
        opened.tasks,
        platt=platt,
        thresholds=thresholds,
        training={**opened.training, **told},
    )


def check_calibration(runs: Sequence[Path], tasks: tuple[Task, ...], judged: Sequence[int] = ()) -> None:
    """Raise what `set_criteria` would, before a run has taken its hours."""
    folds: list[int] = []
    for run in runs:
        folds += _of_calibration(run, tasks, folds)[1]
    _check_judged(folds, judged)


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
) -> str:
    """Set HUG's weights of voltage and QTc by what `runs` answer without them; where from, in words.

    judged : folds that the model is judged on, which must not be among those of the runs
    """
    found = out_of_fold(data, tasks, runs, criteria=False)
    _check_judged(found.folds, judged)
    usual = model.facts.usual.cpu().double().numpy()
    model.hug.voltage.copy_(torch.from_numpy(weigh_criteria(data, found.rows, tasks, usual, found.logits)))
    model.hug.qtc.copy_(torch.from_numpy(weigh_qtc(data, found.rows, tasks, model.facts, found.logits)))
    return found.words


def calibrate(
    model: CLEARHUG,
    data: Corpus,
    tasks: tuple[Task, ...],
    watch: NDArray[np.int64],
    watch_folds: Sequence[int],
    calibration: Sequence[Path],
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, str]:
    """Platt maps and thresholds from the watched records, or other runs'; and where from, in words."""
    if watch.size:
        logits, truth = predict(model, data, watch), data.labels(tasks, watch)
        words = f"folds {list(watch_folds)}, which it did not learn from"
    elif calibration:
        found = out_of_fold(data, tasks, calibration)
        logits, truth, words = found.logits, found.truth, found.words
    else:
        return None, None, "nothing"
    platt = fit_platt(logits, truth)
    return platt, best_thresholds(expit(platt[:, 0] * logits + platt[:, 1]), truth), words


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
        rows.append(np.flatnonzero(np.isin(data.fold, watched) & data.labelled_for(tasks)))
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
