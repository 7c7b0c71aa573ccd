"""Ours against plain baselines on folds 1 to 8, each pair of folds by models that had not learned from it.

`python -m benchmarks.out_of_fold`, after `checkpoints/small.sh`: it reads the runs that calibrate the
shipped checkpoint, and ResNets and forests that learned from the same folds. Our encoder was pre-trained
on these folds' signals, without their labels; the forest of the same folds is its teacher on records without
labels. Macro AUROC a pair of folds on each task's field subset over the labels with a positive there, then
the mean over the four pairs; of several seeds the mean of their figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from clear_hug.tasks import TASKS
from clear_hug.train.answers import answers
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc, draw_weights, drawn_auroc, interval, macro, mean_known

NAMES = ("superdiagnostic", "subdiagnostic", "form", "rhythm")


BASELINES = {"plain ResNet": tuple(f"-resnet-{k}" for k in (0, 1)), "forest": ("-teacher",)}
"""Name to what the names of its runs add to ours."""


def out_of_fold(
    corpus: Path = Path("corpus"),
    runs: tuple[Path, ...] = (
        Path("runs/choice"),
        Path("runs/cv12"),
        Path("runs/cv34"),
        Path("runs/cv56"),
    ),
) -> None:
    """Print the table, in Markdown.

    Args:
        corpus: folder of prepared shards
        runs: of `finetune`, each watching folds of its own; those of the baselines stand beside them
    """
    ends = [""] + [end for several in BASELINES.values() for end in several]
    needed = [run.with_name(run.name + end) for run in runs for end in ends]
    if missing := [run for run in needed if not run.is_dir()]:
        sys.exit(f"{missing[0]} and {len(missing) - 1} more runs lack: checkpoints/small.sh trains them.")
    data, tasks = Corpus(corpus), [TASKS[name] for name in NAMES]
    targets = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    every = np.flatnonzero(data.labelled_for(tasks))
    # (task, pair of folds) -> ours, then each baseline: its figure and its draws
    figures: dict[str, list[list[tuple[float, np.ndarray]]]] = {name: [] for name in NAMES}
    n = 0
    for run in runs:
        folds = answers(run, data, every[:1], targets)
        rows = every[np.isin(data.fold[every], folds.watch_folds)]
        said = [[answers(run, data, rows, targets).logits]]
        for ends in BASELINES.values():
            others = [answers(run.with_name(run.name + end), data, rows, targets) for end in ends]
            for other in others:
                assert sorted(other.train_folds) == sorted(folds.train_folds), f"{run}: other folds"
            said.append([other.logits for other in others])
        n, start = n + len(rows), 0
        for task in tasks:
            part = slice(start, start + len(task.labels))
            start = part.stop
            truth = data.labels([task], rows)
            some = truth.any(axis=1)
            weights = draw_weights(data.patients[rows][some], seed=n)  # other draws for each pair of folds
            figures[task.name].append([
                _figure([logits[some, part] for logits in of], truth[some], weights) for of in said
            ])  # fmt: skip
    print(f"{n} records, each by a model that had not learned from its fold")
    print("| task | ours |" + "".join(f" {name} | ours minus it (95 %) |" for name in BASELINES))
    print("|---|---|" + "---|---|" * len(BASELINES))
    for name, pairs in figures.items():
        values = np.array([[value for value, _ in pair] for pair in pairs]).mean(axis=0)
        draws = np.array([[drawn for _, drawn in pair] for pair in pairs]).mean(axis=0)
        line = f"| {name} | {values[0]:.3f} |"
        for value, drawn in zip(values[1:], draws[1:], strict=True):
            low, high = interval(draws[0] - drawn)
            line += f" {value:.3f} | {values[0] - value:+.3f} ({low:+.3f} to {high:+.3f}) |"
        print(line)


def _figure(scores: list[np.ndarray], truth: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Macro AUROC and its draws, each the mean over seeds."""
    return (
        float(np.mean([macro(auroc(one, truth)) for one in scores])),
        np.mean([mean_known(drawn_auroc(one, truth, weights)) for one in scores], axis=0),
    )


if __name__ == "__main__":
    auto_cli(out_of_fold, as_positional=False)
