"""Ours against the plain ResNet on folds 1 to 8, each pair of folds by models that had not learned from it.

`python -m benchmarks.out_of_fold`, after `checkpoints/small.sh`: it reads the runs that calibrate the
shipped checkpoint and their teachers, which are plain ResNets learned from the same folds. Our encoder was
pre-trained on these folds' signals, without their labels. Macro AUROC a pair of folds on each task's field
subset over the labels with a positive there, then the mean over the four pairs; of four ResNets the mean
of their figures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from clear_hug.tasks import TASKS
from clear_hug.train.answers import answers
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc, draw_weights, drawn_auroc, interval, macro, mean_known

NAMES = ("superdiagnostic", "subdiagnostic", "form", "rhythm")


def out_of_fold(
    corpus: Path = Path("corpus"),
    runs: tuple[Path, ...] = (
        Path("runs/choice"),
        Path("runs/cv12"),
        Path("runs/cv34"),
        Path("runs/cv56"),
    ),
    resnets: tuple[Path, ...] = (
        Path("runs/choice-teacher"),
        Path("runs/cv12-teacher"),
        Path("runs/cv34-teacher"),
        Path("runs/cv56-teacher"),
    ),
    seeds: tuple[int, ...] = (1, 2, 3, 4),
) -> None:
    """Print the table, in Markdown.

    Args:
        corpus: folder of prepared shards
        runs: of `finetune`, each watching folds of its own
        resnets: of `baseline`, which learned from the same folds, without their -<seed>
        seeds: of the ResNets
    """
    data, tasks = Corpus(corpus), [TASKS[name] for name in NAMES]
    targets = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    figures: dict[str, list[tuple[float, float, np.ndarray, np.ndarray]]] = {name: [] for name in NAMES}
    n = 0
    for run, resnet in zip(runs, resnets, strict=True):
        every = np.flatnonzero(data.labelled_for(tasks))
        ours = answers(run, data, every[:1], targets)
        rows = every[np.isin(data.fold[every], ours.watch_folds)]
        mine = answers(run, data, rows, targets).logits
        theirs = [answers(resnet.with_name(f"{resnet.name}-{k}"), data, rows, targets) for k in seeds]
        for other in theirs:
            assert sorted(other.train_folds) == sorted(ours.train_folds), f"{run}: other folds"
        n, start = n + len(rows), 0
        for task in tasks:
            part = slice(start, start + len(task.labels))
            start = part.stop
            truth = data.labels([task], rows)
            some = truth.any(axis=1)
            weights = draw_weights(data.patients[rows][some], seed=n)  # other draws for each pair of folds

            def of(logits: np.ndarray, part=part, some=some, truth=truth, weights=weights) -> tuple:
                scores = logits[some, part]
                return macro(auroc(scores, truth[some])), mean_known(
                    drawn_auroc(scores, truth[some], weights)
                )

            value, draws = of(mine)
            others = [of(other.logits) for other in theirs]
            figures[task.name].append(
                (value, np.mean([v for v, _ in others]), draws, np.mean([d for _, d in others], axis=0))
            )
    print(f"{n} records, each by a model that had not learned from its fold; {len(seeds)} ResNets")
    print("| task | ours | plain ResNet | ours minus it (95 %) |")
    print("|---|---|---|---|")
    for name, parts in figures.items():
        ours_mean, theirs_mean = (float(np.mean([part[k] for part in parts])) for k in (0, 1))
        draws = np.mean([part[2] - part[3] for part in parts], axis=0)
        low, high = interval(draws)
        print(
            f"| {name} | {ours_mean:.3f} | {theirs_mean:.3f} | {ours_mean - theirs_mean:+.3f} "
            f"({low:+.3f} to {high:+.3f}) |"
        )


if __name__ == "__main__":
    auto_cli(out_of_fold, as_positional=False)
