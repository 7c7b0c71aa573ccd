"""The paper's claims, tested on the records at hand. `python -m benchmarks.ablations --help`.

Each arm pre-trains the mini preset without folds 7 to 10, learns labels from folds 1 to 6 and is judged
on 7 and 8: macro AUROC on the field's subset of each task, over the labels with at least eight positives
there. Several seeds an arm; the seed rules weights, masks, order and which labels are kept. An arm that has
been run is not run again, so several processes may share the work by `--arms` or `--seeds`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.hug import HUG, N_BESIDE
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.tasks import TASKS, Task
from clear_hug.train.answers import predict
from clear_hug.train.baselines import linear_probe
from clear_hug.train.corpus import Corpus
from clear_hug.train.finetune import finetune
from clear_hug.train.fractions import label_fraction
from clear_hug.train.metrics import auroc, macro, paired
from clear_hug.train.pretrain import PretrainConfig, pretrain
from clear_hug.train.tuning import FinetuneConfig

PRESET = "mini"
LEARNED, JUDGED = (1, 2, 3, 4, 5, 6), (7, 8)
JUDGED_FROM = 8  # positives among the judged
RIDGE = 0.01  # of the linear probe, as for the random baseline
NAMES = ("superdiagnostic", "subdiagnostic", "form", "rhythm")

ARMS: dict[str, dict[str, Any]] = {
    "sparse, 75 % hidden": {},
    "conduction pattern": {"pattern": "conduction"},
    "full attention": {"pattern": "full"},
    "50 % hidden": {"mask_ratio": 0.5},
    "65 % hidden": {"mask_ratio": 0.65},
    "80 % hidden": {"mask_ratio": 0.8},
    "not pre-trained": {"epochs": 0},
}
FIRST = next(iter(ARMS))
"""The arm that the others are held against, and whose encoders the heads and fractions are tried on."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Split:
    """Records to learn from and to be judged on, with their labels of all tasks side by side."""

    data: Corpus
    tasks: tuple[Task, ...]
    learned: NDArray[np.int64]
    judged: NDArray[np.int64]
    y: Floats
    truth: Floats

    def words(self, seeds: tuple[int, ...]) -> str:
        """The line above a table."""
        n, m = len(self.learned), len(self.judged)
        return f"{n} records learned from, {m} judged, seeds {list(seeds)}, {PRESET} preset"


def split_of(corpus: Path) -> Split:
    """The labelled records of the folds that are learned from and judged."""
    data = Corpus(corpus)
    tasks = tuple(TASKS[name] for name in NAMES)
    labelled = data.labelled_for(tasks)
    learned, judged = (np.flatnonzero(np.isin(data.fold, folds) & labelled) for folds in (LEARNED, JUDGED))
    return Split(data, tasks, learned, judged, data.labels(tasks, learned), data.labels(tasks, judged))


@torch.inference_mode()
def features(clear: CLEAR, data: Corpus, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """(row, 12, width) lead tokens of a frozen encoder, 0 where a lead is absent; and which are there."""
    tokens, there = [], []
    for part in np.split(rows, range(64, len(rows), 64)):
        encoded = clear.eval().encode(data.beats(part))
        tokens.append(encoded.lead_tokens * encoded.lead_there[..., None])
        there.append(encoded.lead_there)
    return torch.cat(tokens).clone(), torch.cat(there).clone()


class TokensAlone(HUG):
    """HUG with nothing beside the lead tokens."""

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, N_BESIDE)), there)


class MeanToken(nn.Module):
    """The mean lead token and a linear layer."""

    def __init__(self, width: int, n_labels: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, n_labels)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        return self.head(x.sum(1) / there.sum(1, keepdim=True).clamp_min(1))


class MLP(nn.Module):
    """All lead tokens through one hidden layer, with as many parameters as HUG."""

    def __init__(self, width: int, n_labels: int) -> None:
        super().__init__()
        hug = HUG(width, n_labels)
        size = sum(p.numel() for p in hug.parameters()) - hug.rhythm.numel()
        hidden = round(size / (N_LEADS * width + n_labels))
        self.body = nn.Sequential(nn.Linear(N_LEADS * width, hidden), nn.GELU(), nn.Linear(hidden, n_labels))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        return self.body(x.flatten(1))


HEADS: dict[str, Callable[[int, int], nn.Module]] = {
    "HUG, a map a lead": TokensAlone,
    "HUG, a map a group": lambda width, n: TokensAlone(width, n, per_lead=False),
    "mean lead token, linear": MeanToken,
    "MLP of HUG's size": MLP,
}


def learn_head(
    head: nn.Module, x: Tensor, there: Tensor, y: Tensor, seed: int, epochs: int = 40
) -> nn.Module:
    """Train a head on fixed features: AdamW, batches of 32, a learning rate falling to nothing."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * -(-len(x) // 32)
    fall = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(32):
            loss = F.binary_cross_entropy_with_logits(head(x[rows], there[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            fall.step()
    return head.eval()


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    mean, sd = train.mean(0), train.std(0).clamp_min(1e-6)
    return (train - mean) / sd, (test - mean) / sd


def run_arm(split: Split, out: Path, arm: str, seed: int, epochs: int, tune: int) -> dict[str, Floats]:
    """What the arm's models say of the judged records: name of a head or fraction -> logits."""
    name = f"{arm.replace(' %', '').replace(',', '').replace(' ', '-')}-{seed}"
    kept = out / f"{name}.npz"
    if kept.exists():
        with np.load(kept) as saved:
            return dict(saved)
    changed = {"preset": PRESET, "leave_out_folds": (7, 8, 9, 10), "epochs": epochs, "batch_size": 32}
    how = {**changed, "seed": seed, **ARMS[arm]}
    if how["epochs"]:
        pretrain(out / name, split.data.shards[0].parent, PretrainConfig(**how), resume=True)
        clear = load_checkpoint(out / name / "checkpoint").model.clear
    else:
        torch.manual_seed(seed)
        clear = CLEAR(PRESETS[PRESET]).eval()
        save_checkpoint(out / name / "checkpoint", CLEARHUG(clear, HUG(clear.config.width, 0)), ())
    (x, there), (x_test, there_test) = (features(clear, split.data, r) for r in (split.learned, split.judged))
    y = torch.from_numpy(split.y)
    said = {}
    fractions = (0.01, 0.1, 1.0)
    for fraction in fractions:
        some = np.isin(
            split.learned,
            label_fraction(split.learned, split.y, split.data.patients[split.learned], fraction, seed),
        )
        weight, bias = linear_probe(x[some].flatten(1), y[some], RIDGE)
        said[f"linear probe, {100 * fraction:.0f} % of the labels"] = (
            x_test.flatten(1) @ weight.T + bias
        ).numpy()
    if arm == FIRST:
        near, far = standardised(x, x_test)
        for head, make in HEADS.items():
            torch.manual_seed(seed)
            learned = learn_head(make(x.shape[2], y.shape[1]), near, there, y, seed)
            with torch.inference_mode():
                said[head] = learned(far, there_test).numpy()
    if arm in (FIRST, "not pre-trained", "full attention"):
        how = FinetuneConfig(
            tasks=NAMES, train_folds=LEARNED, watch_folds=(), epochs=tune, seed=seed, rebuild=0.0, ridge=0.0
        )
        run = out / f"{name}-tuned"
        finetune(run, split.data.shards[0].parent, str(out / name / "checkpoint"), recipe=how, resume=True)
        model = load_checkpoint(run / "checkpoint").model
        said["fine-tuned end to end"] = predict(model, split.data, split.judged)
    np.savez(kept, **said)
    return said


def scores(split: Split, logits: Floats) -> list[float]:
    """Macro AUROC of each task, then their mean."""
    out = [macro(auroc(said, truth)) for said, truth, _ in of_each_task(split, logits)]
    return [*out, float(np.mean(out))]


def of_each_task(split: Split, logits: Floats) -> Iterator[tuple[Floats, Floats, NDArray[np.bool_]]]:
    """Logits and truth of each task's field subset, of the labels that count, and which records these are."""
    start = 0
    for task in split.tasks:
        part = slice(start, start + len(task.labels))
        start = part.stop
        truth = split.truth[:, part]
        some = truth.any(1)
        counted = truth[some].sum(0) >= JUDGED_FROM
        yield logits[some, part][:, counted], truth[some][:, counted], some


def difference(split: Split, ours: list[Floats], theirs: list[Floats]) -> str:
    """Mean over seeds of ours minus theirs on superdiagnostic labels, its interval over records."""
    n = len(split.tasks[0].labels)
    some = split.truth[:, :n].any(1)
    patients = split.data.patients[split.judged][some]
    every = np.ones(n, dtype=bool)
    rows = [
        paired(a[some, :n], [b[some, :n]], split.truth[some, :n], patients, every)
        for a, b in zip(ours, theirs, strict=True)
    ]
    mean = np.mean([row["difference"] for row in rows])
    low, high = np.mean([row["difference_95"] for row in rows], axis=0)
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def ablations(
    corpus: Path = Path("corpus"),
    out: Path = Path("runs/ablations"),
    seeds: tuple[int, ...] = (0, 1, 2),
    arms: tuple[str, ...] = tuple(ARMS),
    epochs: int = 8,
    tune: int = 4,
) -> None:
    """Run what has not been run and print the table, in Markdown.

    Args:
        corpus: folder of prepared shards
        out: folder of the runs
        seeds: each is a model of its own
        arms: which to run
        epochs: of pre-training
        tune: of fine-tuning
    """
    split = split_of(corpus)
    out.mkdir(parents=True, exist_ok=True)
    said = {arm: [run_arm(split, out, arm, seed, epochs, tune) for seed in seeds] for arm in (FIRST, *arms)}
    (out / "recipe.json").write_text(
        json.dumps({"epochs": epochs, "tune": tune, "seeds": list(seeds)}) + "\n"
    )
    print(split.words(seeds))
    print("| encoder | head or labels | super | sub | form | rhythm | mean of four | super, less the first |")
    print("|---|---|---|---|---|---|---|---|")
    for arm, runs in said.items():
        for what in runs[0]:
            each = np.array([scores(split, run[what]) for run in runs])
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(each.mean(0), each.std(0, ddof=1), strict=True)]
            against = difference(split, [run[what] for run in runs], [run[what] for run in said[FIRST]])
            print(f"| {arm} | {what} | {' | '.join(cells)} | {against if arm != FIRST else ''} |")


if __name__ == "__main__":
    auto_cli(ablations, as_positional=False)
