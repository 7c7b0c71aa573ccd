"""Ours against plain baselines on folds 1 to 8, each pair of folds by models that had not learned from it.

`python -m benchmarks.out_of_fold` reads the answers that the checkpoint keeps; with `--runs_of runs`, after
`checkpoints/small.sh`, those of the runs that calibrated it, and of ResNets and forests that learned from the
same folds. Our encoder was pre-trained on these folds' signals, without their labels; the forest of the same
folds is its teacher on records without labels. Macro AUROC a pair of folds on each task's field subset over
the labels with a positive there, then the mean over the four pairs; of several seeds the mean of their
figures.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from numpy.typing import NDArray

from clear_hug.checkpoint import OUT_OF_FOLD, folder_of, load_checkpoint, save_measured
from clear_hug.train.answers import Answers, answers, keep_answers, kept_answers
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc, draw_weights, drawn_auroc, interval, macro, mean_known

OURS = "ours"
PAIRS = {"choice": (7, 8), "cv12": (1, 2), "cv34": (3, 4), "cv56": (5, 6)}
"""Run to the folds that it left out."""
BESIDE = {OURS: ("",), "plain ResNet": ("-resnet-0", "-resnet-1"), "forest": ("-teacher",)}
"""Name to what the names of its runs add to those of ours."""


def out_of_fold(
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    runs_of: Path | None = None,
    write: bool = False,
    without: tuple[str, ...] = (),
) -> None:
    """Print the table, in Markdown.

    Args:
        checkpoint: a shipped one's name, or a folder: whose tasks are judged, and that keeps the answers
        corpus: folder of prepared shards
        runs_of: folder of the runs of `checkpoints/small.sh`; what the checkpoint keeps when not given
        write: keep the answers of these runs in the checkpoint
        without: labels that are not counted, as `form/LNGQT`
    """
    opened, data = load_checkpoint(checkpoint), Corpus(corpus)
    if strange := sorted(set(without) - set(opened.targets)):
        sys.exit(f"without = {strange[0]}: no label of {opened.name}; expected some of {opened.targets}.")
    folds = [fold for pair in PAIRS.values() for fold in pair]
    rows = np.flatnonzero(data.labelled_for(opened.tasks) & np.isin(data.fold, folds))
    said: Mapping[str, Sequence[Answers]]
    if runs_of:
        said = of_runs(runs_of, data, rows, opened.targets)
    else:
        kept = kept_answers(folder_of(checkpoint) / OUT_OF_FOLD)
        said = {name: [answers(run, data, rows, opened.targets) for run in of] for name, of in kept.items()}
    if not said or any(np.isnan(run.logits).any() for of in said.values() for run in of):
        sys.exit(
            f"{runs_of or opened.name} keeps no answers to all of these records; name the folder of the runs "
            "that checkpoints/small.sh trains with --runs_of."
        )
    if runs_of and write:
        records = data.records.column("record")[rows].tolist()
        save_measured(checkpoint, opened, out_of_fold=keep_answers(said, records, opened.targets))
    others = [name for name in said if name != OURS]
    print(f"{len(rows)} records, each by a model that had not learned from its fold")
    print(f"| task | {OURS} |" + "".join(f" {name} | {OURS} minus it (95 %) |" for name in others))
    print("|---|---|" + "---|---|" * len(others))
    start = 0
    for task in opened.tasks:
        names = opened.targets[start : start + len(task.labels)]
        counted = np.array([name not in without for name in names])
        part, start = start + np.flatnonzero(counted), start + len(names)
        if not counted.any():
            continue
        truth, n, pairs = data.labels([task], rows), 0, []
        for pair in PAIRS.values():
            of = np.isin(data.fold[rows], pair)
            n += int(of.sum())
            some = of & truth.any(axis=1)  # the task's subset, whichever of its labels are counted
            weights = draw_weights(data.patients[rows][some], seed=n)  # other draws for each pair of folds
            pairs.append([
                figure([run.logits[some][:, part] for run in said[name]], truth[some][:, counted], weights)
                for name in (OURS, *others)
            ])  # fmt: skip
        values = np.array([[value for value, _ in pair] for pair in pairs]).mean(axis=0)
        draws = np.array([[drawn for _, drawn in pair] for pair in pairs]).mean(axis=0)
        line = f"| {task.name} | {values[0]:.3f} |"
        for value, drawn in zip(values[1:], draws[1:], strict=True):
            low, high = interval(draws[0] - drawn)
            line += f" {value:.3f} | {values[0] - value:+.3f} ({low:+.3f} to {high:+.3f}) |"
        print(line)


def of_runs(
    folder: Path, data: Corpus, rows: NDArray[np.int64], targets: Sequence[str]
) -> dict[str, list[Answers]]:
    """Name to its answers a seed, each record's by the run that left its folds out.

    rows : labelled records of the folds of `PAIRS`
    """
    needed = [folder / (run + end) for ends in BESIDE.values() for end in ends for run in PAIRS]
    if missing := [run for run in needed if not run.is_dir()]:
        sys.exit(f"{missing[0]} and {len(missing) - 1} more runs lack: checkpoints/small.sh trains them.")
    out: dict[str, list[Answers]] = {}
    learned: dict[str, list[int]] = {}  # by ours, which stands first
    for name, ends in BESIDE.items():
        for end in ends:
            logits = np.full((len(rows), len(targets)), np.nan, np.float32)
            for run, folds in PAIRS.items():
                of = np.isin(data.fold[rows], folds)
                told = answers(folder / (run + end), data, rows[of], targets)
                theirs = sorted(told.train_folds or ())
                if not theirs or set(theirs) & set(folds) or theirs != learned.setdefault(run, theirs):
                    also = f", and those that {run} learned from" if end else ""
                    sys.exit(
                        f"{run + end} learned from folds {theirs}; expected none of {list(folds)}{also}."
                    )
                logits[of] = told.logits
            out.setdefault(name, []).append(Answers(logits, None, (), how=told.how))
    return out


def figure(
    scores: Sequence[NDArray[np.float32]], truth: NDArray[np.float32], weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Macro AUROC and its draws, each the mean over seeds."""
    return (
        float(np.mean([macro(auroc(one, truth)) for one in scores])),
        np.mean([mean_known(drawn_auroc(one, truth, weights)) for one in scores], axis=0),
    )


if __name__ == "__main__":
    auto_cli(out_of_fold, as_positional=False)
