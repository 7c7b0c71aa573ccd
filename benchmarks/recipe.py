"""What each part of the fine-tuning recipe is worth, left out one at a time: `python -m benchmarks.recipe`.

The mini preset, pre-trained without folds 7 to 10 as `checkpoints/small.sh` does, but shorter; each arm is
fine-tuned on folds 1 to 6 by the recipe that ships with one part changed, and judged on folds 7 and 8 as by
`benchmarks.ablations`. Several seeds an arm: each rules the weights, the masks, the order and what is
augmented, and all arms of a seed begin from the same encoder. What has been run is not run again, so several
processes may share the work by `--arms` or `--seeds`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from numpy.typing import NDArray

from benchmarks.ablations import JUDGED, LEARNED, NAMES, PRESET, Split, of_each_task, scores, split_of
from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.train.answers import predict
from clear_hug.train.augment import ALL_BEATS, Augmentation
from clear_hug.train.baselines import BaselineConfig, baseline
from clear_hug.train.corpus import Corpus
from clear_hug.train.finetune import finetune
from clear_hug.train.metrics import draw_weights, drawn_auroc, interval, mean_known
from clear_hug.train.pretrain import PretrainConfig, pretrain
from clear_hug.train.tuning import FinetuneConfig

WHOLE = Augmentation()
PLANTED = ("premature_wide", "premature_narrow", "st_elevation")
STILL = replace(
    WHOLE, stretch=ALL_BEATS, drop_beat=0.0, drop_token=0.0, drop_lead=0.0, amplitude=0.0, mix=0.0
)

ARMS: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no pre-training": {"init": None},
    "no teacher": {"teachers": ()},
    "nothing planted": {"augment": replace(WHOLE, **dict.fromkeys(PLANTED, 0.0))},
    "records not stretched, thinned, scaled or mixed": {"augment": STILL},
    "no intervals beside the labels": {"intervals": 0.0},
    "not steadied against lost leads": {"steady": 0.0, "additive": 0.0},
    "no rebuilding beside": {"rebuild": 0.0},
    "no ridge regression in the head": {"ridge": 0.0},
}
"""Arm -> what is changed of the recipe; `init` and `teachers` stand for those of `finetune`."""
FIRST = next(iter(ARMS))

Floats = NDArray[np.floating[Any]]


def begin(data: Corpus, out: Path, seed: int, epochs: tuple[int, int]) -> tuple[Path, Path]:
    """Folders of an untrained and of a pre-trained checkpoint of a seed."""
    corpus = data.shards[0].parent
    alone, last, raw = out / f"alone-{seed}", out / f"pretrained-{seed}", out / f"raw-{seed}"
    how = PretrainConfig(
        preset=PRESET, leave_out_folds=(*JUDGED, 9, 10), epochs=epochs[0], regression=False, seed=seed
    )
    pretrain(alone, corpus, how, resume=True)
    how = replace(how, epochs=epochs[1], lr=3e-4, warm_up=1.0, regression=True)
    pretrain(last, corpus, how, resume=True, init=str(alone / "checkpoint"))
    if not raw.exists():
        torch.manual_seed(seed)
        clear = CLEAR(PRESETS[PRESET]).eval()
        save_checkpoint(raw, CLEARHUG(clear, HUG(clear.config.width, 0)), ())
    return raw, last / "checkpoint"


def run_arm(split: Split, out: Path, arm: str, seed: int, epochs: int, pre: tuple[int, int]) -> Floats:
    """(judged record, label) logits of an arm's model."""
    kept = out / f"{arm.replace(',', '').replace(' ', '-')}-{seed}.npy"
    if kept.exists():
        return np.load(kept)
    corpus = split.data.shards[0].parent
    teacher = out / "teacher"
    if not (teacher / "predictions.npz").exists():
        how = BaselineConfig("forest", NAMES, LEARNED, (), JUDGED, teach=True)
        baseline(teacher, corpus, how)
    raw, pretrained = begin(split.data, out, seed, pre)
    changed = dict(ARMS[arm])
    init = changed.pop("init", pretrained) or raw
    teachers = changed.pop("teachers", (teacher,))
    recipe = FinetuneConfig(tasks=NAMES, train_folds=LEARNED, watch_folds=(), epochs=epochs, seed=seed)
    run = out / kept.stem
    finetune(run, corpus, str(init), recipe=replace(recipe, **changed), teachers=teachers, resume=True)
    logits = predict(load_checkpoint(run / "checkpoint").model, split.data, split.judged)
    np.save(kept, logits)
    return logits


def drawn(split: Split, logits: Floats, weights: Floats) -> Floats:
    """(draw,) of patients: the mean of the four tasks' macro AUROC."""
    each = of_each_task(split, logits)
    return np.mean(
        [mean_known(drawn_auroc(said, truth, weights[:, some])) for said, truth, some in each], axis=0
    )


def recipe(
    corpus: Path = Path("corpus"),
    out: Path = Path("runs/recipe"),
    seeds: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = tuple(ARMS),
    epochs: int = 8,
    pre: tuple[int, int] = (16, 4),
) -> None:
    """Run what has not been run and print the table, in Markdown.

    Args:
        corpus: folder of prepared shards
        out: folder of the runs
        seeds: each is a model of its own
        arms: which to run
        epochs: of fine-tuning
        pre: epochs of pre-training: without, then with the regression that the decoder starts from
    """
    split = split_of(corpus)
    out.mkdir(parents=True, exist_ok=True)
    said = {
        arm: [run_arm(split, out, arm, seed, epochs, pre) for seed in seeds]
        for arm in dict.fromkeys((FIRST, *arms))
    }
    weights = draw_weights(split.data.patients[split.judged])
    draws = {
        arm: np.mean([drawn(split, logits, weights) for logits in runs], axis=0) for arm, runs in said.items()
    }
    print(split.words(seeds))
    print(
        "| fine-tuned by | super | sub | form | rhythm | mean of four "
        "| less the recipe, 95 % over patients | seed by seed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    whole = np.array([scores(split, logits) for logits in said[FIRST]])
    for arm, runs in said.items():
        each = np.array([scores(split, logits) for logits in runs])
        spread = each.std(axis=0, ddof=1) if len(each) > 1 else np.full(each.shape[1], np.nan)
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(each.mean(axis=0), spread, strict=True)]
        less, of_seeds = "", ""
        if arm != FIRST:
            low, high = interval(draws[arm] - draws[FIRST])
            gaps = (each - whole)[:, -1]
            less = f"{gaps.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            of_seeds = ", ".join(f"{gap:+.3f}" for gap in gaps)
        print(f"| {arm} | {' | '.join(cells)} | {less} | {of_seeds} |")


if __name__ == "__main__":
    auto_cli(recipe, as_positional=False)
