"""How well hidden beats are rebuilt on more records than a fold holds: `python -m benchmarks.rebuilding`.

R2 by the rules of the model card (`clear_hug/train/rebuilt.py`). Of checkpoints, each is judged on the folds
that it watched and did not learn from, the linear regression beside it fitted on those that it learned from:
for choices, since its encoder may have been pre-trained on them. Without any, the regression that a decoder
starts from is judged alone, fitted anew for each pair of folds on all records but these: nothing in it has
seen what it is judged on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jsonargparse
import numpy as np
import torch

from clear_hug.checkpoint import load_checkpoint
from clear_hug.leads import LEADS
from clear_hug.model import CLEAR, PRESETS
from clear_hug.train.answers import folds_of
from clear_hug.train.corpus import Corpus
from clear_hug.train.pretrain import fit_regression
from clear_hug.train.rebuilt import CHEST, LEAD, POOLS, Judged, reconstruction_figures

FOLDS = tuple(range(1, 9))
PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8))
NEVER = (9, 10)


def rebuilding(checkpoints: tuple[str, ...] = (), corpus: Path = Path("corpus")) -> None:
    """Print R2 in mV and by shape, ours and that of a linear regression; of single chest leads the gap too.

    Args:
        checkpoints: shipped ones' names, or folders; none for the regression alone
        corpus: folder of prepared shards
    """
    data = Corpus(corpus)
    parts = list(_of_checkpoints(checkpoints, data) if checkpoints else _regression_alone(data))
    for unit, found in reconstruction_figures(parts, data).items():
        print(f"{unit}, {found['records']} records: R2, ours and the ordinary regression's")
        for hidden, leads in found["hidden"].items():
            some = ((name, leads[name]) for name in POOLS if name in leads)
            told = (f"{name} {one['ours']['r2']:.3f} / {one['linear']['r2']:.3f}" for name, one in some)
            print(f"  {hidden}: {', '.join(told)}")
        for name in (LEADS[lead] for lead in CHEST):
            one = found["hidden"][LEAD][name]
            low, high = one["difference_95"]
            print(
                f"  {LEAD}, {name}: {one['ours']['r2']:.3f} / {one['linear']['r2']:.3f}, "
                f"{one['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
            )


def _of_checkpoints(names: tuple[str, ...], data: Corpus) -> Iterator[Judged]:
    for name in names:
        opened = load_checkpoint(name)
        learned, watched = (np.flatnonzero(np.isin(data.fold, folds)) for folds in folds_of(opened))
        if not learned.size or not watched.size:
            raise SystemExit(
                f"{name} learned from or watched no record at hand; name one that watched folds."
            )
        left_out = opened.training.get("decoder", {}).get("config", {}).get("leave_out_folds", ())
        if seen := sorted(set(folds_of(opened)[1]) - set(left_out)):
            raise SystemExit(
                f"the decoder of {name} may have learned from folds {seen}, which it would be judged on: "
                "train it with --recipe.leave_out_folds."
            )
        yield Judged(opened.model.clear, watched, learned)


def _regression_alone(data: Corpus) -> Iterator[Judged]:
    for pair in PAIRS:
        clear = CLEAR(PRESETS["tiny"]).eval()
        for parameter in clear.to_samples.parameters():
            torch.nn.init.zeros_(parameter)  # the decoder adds nothing
        fit_regression(clear, data, np.flatnonzero(~np.isin(data.fold, (*pair, *NEVER))), seed=0)
        others = [fold for fold in FOLDS if fold not in pair]
        watched, learned = (np.flatnonzero(np.isin(data.fold, folds)) for folds in (pair, others))
        yield Judged(clear, watched, learned)


if __name__ == "__main__":
    jsonargparse.CLI(rebuilding, as_positional=False)
