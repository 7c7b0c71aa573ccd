"""What every training loop needs: batches, learning rates, averaged weights, a log."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from clear_hug.diagnosis import collate, computes_bf16, pick_device
from clear_hug.model import Beats
from clear_hug.train.corpus import Corpus


@dataclass(frozen=True, eq=False)
class Batch:
    """beats of some records; rows : (batch,) their numbers in the corpus."""

    beats: Beats
    rows: NDArray[np.int64]


def accelerate(precision: str) -> Accelerator:
    """The engine, in bf16, fp32 ("no"), or ("auto") in bf16 where the hardware computes it."""
    if precision == "auto":
        precision = "bf16" if computes_bf16(pick_device()) else "no"
    return Accelerator(mixed_precision=precision)


def read_batch(corpus: Corpus, rows: NDArray[np.int64], epoch: int = 0) -> Batch:
    """One window of each record, padded to the longest."""
    return Batch(collate([corpus.window(int(i), epoch) for i in rows]), rows)


def batches(
    corpus: Corpus, rows: NDArray[np.int64], size: int, seed: int, epoch: int, share: tuple[int, int] = (0, 1)
) -> Iterator[Batch]:
    """Shuffled batches of about equal beat counts, read ahead by one.

    Records are shuffled by (seed, epoch), sorted by beats within stretches of eight batches, cut,
    and the batches shuffled: padding is small and the order still random.

    Parameters
    ----------
    share : (rank, ranks); each process takes its own slice of every batch

    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows)
    stretch = 8 * size
    parts = [order[i : i + stretch] for i in range(0, len(order), stretch)]
    order = np.concatenate([part[np.argsort(corpus.n_beats[part], kind="stable")] for part in parts])
    cuts = [order[i : i + size] for i in range(0, len(order), size)]
    rank, ranks = share
    cuts = [cuts[i][rank::ranks] for i in rng.permutation(len(cuts)) if len(cuts[i]) >= ranks]
    with ThreadPoolExecutor(1) as pool:
        ahead = None
        for cut in cuts:
            now, ahead = ahead, pool.submit(read_batch, corpus, cut, epoch)
            if now is not None:
                yield now.result()
        if ahead is not None:
            yield ahead.result()


def count_batches(n: int, size: int) -> int:
    return math.ceil(n / size)


def learning_rate(step: int, steps: int, peak: float, warm_up: int, floor: float = 0.01) -> float:
    """Linear warm-up, then a cosine down to `floor` of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices alone; not on biases, norms and learned tokens."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and min(p.shape) > 12]
    others = [p for p in model.parameters() if p.requires_grad and not (p.ndim > 1 and min(p.shape) > 12)]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Average:
    """Exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value.detach(), 1 - decay)
            else:  # a counter
                self.weights[name].copy_(value)


def check_finite(loss: Tensor, step: int, rows: NDArray[np.int64], corpus: Corpus) -> None:
    if not torch.isfinite(loss):
        names = ", ".join(corpus.records[int(i)]["record"] for i in rows[:8])
        raise FloatingPointError(
            f"the loss is {float(loss)} at step {step} (records {names}, ...); "
            "the run so far is kept. Lower --lr, or look at these records."
        )


class Log:
    """One line of JSON a row into <run>/log.jsonl, and the same into TensorBoard."""

    def __init__(self, run: Path) -> None:
        # tensorboard is slow to import and only a log needs it
        from torch.utils.tensorboard import SummaryWriter

        run.mkdir(parents=True, exist_ok=True)
        self.file = (run / "log.jsonl").open("a")
        self.board = SummaryWriter(run)

    def write(self, step: int, **values: float) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.board.close()


def git_revision() -> str:
    """The revision of the code, or "unknown"."""
    try:
        here = Path(__file__).resolve().parent
        run = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        return run.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
