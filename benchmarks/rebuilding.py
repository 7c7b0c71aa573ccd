"""How well a decoder rebuilds: `python -m benchmarks.rebuilding --checkpoint runs/x/checkpoint`.

R2 by the rules of the model card (`clear_hug/train/rebuilt.py`) on folds that the checkpoint may have been
chosen on, where `evaluate` refuses: for choices, and for no figure of a release.
"""

from __future__ import annotations

from pathlib import Path

import jsonargparse
import numpy as np

from clear_hug.checkpoint import load_checkpoint
from clear_hug.train.corpus import Corpus
from clear_hug.train.rebuilt import reconstruction_figures

PARTS = ("limb leads", "chest leads")


def rebuilding(
    checkpoint: str,
    corpus: Path = Path("corpus"),
    folds: tuple[int, ...] = (7, 8),
    fitted: tuple[int, ...] = (1, 2, 3, 4, 5, 6),
) -> None:
    """Print R2 in mV and by shape, ours and that of a linear regression.

    Args:
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        folds: PTB-XL folds that are judged
        fitted: those that the regression is fitted on
    """
    data = Corpus(corpus)
    rows, learned = (np.flatnonzero(np.isin(data.fold, some)) for some in (folds, fitted))
    figures = reconstruction_figures(load_checkpoint(checkpoint).model.clear, data, rows, learned)
    for unit, found in figures.items():
        print(f"{unit}, {found['records']} records: R2, ours and the regression's")
        for hidden, leads in found["hidden"].items():
            told = (f"{part} {leads[part]['ours']['r2']:.3f} / {leads[part]['linear']['r2']:.3f}"
                    for part in PARTS if part in leads)  # fmt: skip
            print(f"  {hidden}: {', '.join(told)}")


if __name__ == "__main__":
    jsonargparse.CLI(rebuilding, as_positional=False)
