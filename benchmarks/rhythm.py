"""What the RR intervals alone tell of the labels of the rhythm. `python -m benchmarks.rhythm`.

The labelled records of PTB-XL's folds 1 to 8 in the corpus, each pair of folds by a regression on the
others: what HUG's weights of the rhythm begin at (`clear_hug/train/rhythm.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from clear_hug.tasks import TASKS
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import auroc
from clear_hug.train.rhythm import by_rhythm, rhythms

PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))


def rhythm(corpus: Path = Path("corpus")) -> None:
    """Print AUROC over the records with a label of the rhythm, and counts.

    Args:
        corpus: folder of prepared shards
    """
    data, task = Corpus(corpus), TASKS["rhythm"]
    labelled = data.labelled_for([task])
    told, truth = [], []
    for pair in PAIRS:
        rows = np.flatnonzero(labelled & np.isin(data.fold, pair))
        others = np.flatnonzero(labelled & np.isin(data.fold, sum(PAIRS, ())) & ~np.isin(data.fold, pair))
        told.append(by_rhythm(data, others, data.labels([task], others)).logits(rhythms(data, rows)))
        truth.append(data.labels([task], rows))
    logits, y = np.concatenate(told), np.concatenate(truth)
    some = y.any(axis=1)
    for label, value, n in zip(task.labels, auroc(logits[some], y[some]), y.sum(axis=0), strict=True):
        if n:
            print(f"{label}: AUROC {value:.3f}, {int(n)} of {int(some.sum())} records")


if __name__ == "__main__":
    auto_cli(rhythm, as_positional=False)
