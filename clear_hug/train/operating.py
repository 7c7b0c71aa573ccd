"""operating: operating points of a checkpoint, and the limits of its input, from what was kept from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_measured
from clear_hug.diagnosis import probabilities
from clear_hug.gate import input_measures, limits_of
from clear_hug.operating import FEWEST, LEVELS, SENSITIVITY, SPECIFICITY, VERSION, tabulate
from clear_hug.train.answers import folds_of, learned_from
from clear_hug.train.calibration import out_of_fold
from clear_hug.train.corpus import Corpus, CorpusError


def operating(
    calibration: list[Path],
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    write: bool = False,
) -> None:
    """Tell what a checkpoint's labels miss and call falsely at other thresholds, and what its input was like.

    Args:
        calibration: runs of the same recipe that each watched folds they did not learn from, as in `finetune`
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        write: keep operating.json in the checkpoint
    """
    opened = load_checkpoint(checkpoint)
    found = measure(opened, Corpus(corpus), calibration)
    print("\n".join(_lines(found)))
    if write:
        save_measured(checkpoint, opened, operating=found)


def measure(opened: Checkpoint, data: Corpus, calibration: Sequence[Path]) -> dict[str, Any]:
    """Everything, ready for operating.json; see `operating`."""
    answers = out_of_fold(data, opened.tasks, calibration)
    learned, watched = folds_of(opened)
    if strange := set(answers.folds) - {*learned, *watched}:
        raise CorpusError(
            f"{opened.name} is judged on folds {sorted(strange)} elsewhere; name runs that watched folds of "
            f"{sorted({*learned, *watched})}."
        )
    p, truth = probabilities(opened, answers.logits), answers.truth > 0
    rows = learned_from(opened, data)
    blank = replace(opened, operating={})
    measured = [input_measures(blank, data.tokens(int(i))) for i in tqdm(rows, desc="input", unit=" ECG")]
    return {
        "version": VERSION,
        "command": f"python -m clear_hug.train operating --checkpoint {opened.name} "
        f"--calibration '{json.dumps([str(run) for run in calibration])}'",
        "checkpoint": opened.digest,
        "data": data.digest,
        "folds": sorted(answers.folds),
        "records": len(p),
        "fewest": FEWEST,
        "labels": {
            target: tabulate(p[:, i], truth[:, i], float(opened.thresholds[i]), answers.parts)
            for i, target in enumerate(opened.targets)
        },
        "input": limits_of(measured),
    }


def _lines(found: dict[str, Any]) -> list[str]:
    """What is printed: how many labels have points, and what those reach on folds they were not chosen on."""
    with_points = {name: row for name, row in found["labels"].items() if "held" in row}
    lines = [
        f"{found['records']} records of folds {found['folds']}; {len(with_points)} of {len(found['labels'])} "
        f"labels have {found['fewest']} records with it and without it, and so operating points."
    ]
    for kind in (SENSITIVITY, SPECIFICITY):
        for level in LEVELS:
            told = [row["held"][kind][f"{level:g}"] for row in with_points.values()]
            shares = [right / of for right, of in told if (1 - level) * of >= 1 - 1e-9]
            if shares:
                lines.append(
                    f"{kind} {level:.0%} asked: {np.mean(shares):.1%} on folds the threshold was not chosen "
                    f"on (mean of {len(shares)} labels; {min(shares):.1%} to {max(shares):.1%})"
                )
    return lines
