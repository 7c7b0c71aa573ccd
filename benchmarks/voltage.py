"""What voltage criteria alone tell of the labels that speak of voltage. `python -m benchmarks.voltage`.

The labelled records in mV of PTB-XL's folds 1 to 8 in the corpus, each fold by a regression on the others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus
from clear_hug.train.criteria import CRITERIA, evidence, usual_r_and_s, weigh_criteria
from clear_hug.train.metrics import auroc

FOLDS = range(1, 9)


def voltage(corpus: Path = Path("corpus")) -> None:
    """Print AUROC and counts.

    Args:
        corpus: folder of prepared shards
    """
    data, tasks = Corpus(corpus), [TASKS[name] for name in ("superdiagnostic", "subdiagnostic", "form")]
    labelled = data.labelled_for(tasks) & np.isin(data.fold, FOLDS)
    told, truth = [], []
    for fold in FOLDS:
        rows = np.flatnonzero(labelled & (data.fold == fold) & data.units_known)
        others = np.flatnonzero(labelled & (data.fold != fold))
        usual = usual_r_and_s(data, others)
        told.append(evidence(data, rows, usual, weigh_criteria(data, others, tasks, usual)))
        truth.append(data.labels(tasks, rows))
    logits, y = np.concatenate(told), np.concatenate(truth)
    names = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    for name in CRITERIA:
        k = names.index(name)
        value = auroc(logits[:, [k]], y[:, [k]])[0]
        print(f"{name}: AUROC {value:.2f}, {int(y[:, k].sum())} of {len(y)} records")


if __name__ == "__main__":
    auto_cli(voltage, as_positional=False)
