"""The loop that every training shares: learning rates, averaged weights, and the steps."""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from clear_hug.attention import Block
from clear_hug.diagnosis import computes_bf16, pick_device
from clear_hug.leads import N_LEADS
from clear_hug.masked import mix
from clear_hug.train.corpus import Corpus
from clear_hug.train.reading import Batch, batches, count_batches, workers_beside
from clear_hug.train.run import Run
from clear_hug.train.settings import RunError


@dataclass(frozen=True)
class EngineConfig:
    """How a run is carried out.

    The gradient of a step is the same for all of it but for rounding; augmentation and dropout are
    drawn for each piece of a batch.

    Args:
        accumulate: pieces in which each process takes its share of a batch, to save memory
        compile: compile the transformer blocks (torch.compile)
        track: tensorboard, none, or another tracker that accelerate knows, as wandb or mlflow
        save_every: steps between saved states; one is saved after each epoch too
        workers: processes that read ahead beside each that trains; 0 is a thread of it. None: beside a GPU as
            many as cores and shared memory allow, at most 10, else 0
    """

    accumulate: int = 1
    compile: bool = False
    track: str = "tensorboard"
    save_every: int = 500
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("accumulate", "save_every"):
            if getattr(self, name) < 1:
                raise RunError(f"engine.{name} = {getattr(self, name)}; expected at least 1.")
        if self.workers is not None and self.workers < 0:
            raise RunError(f"engine.workers = {self.workers}; expected 0 or more.")
        trackers = [str(tracker) for tracker in get_available_trackers()]
        if self.track not in (*trackers, "none"):
            raise RunError(
                f"engine.track = {self.track!r} is not installed; there are {', '.join(trackers)} and none."
            )


class Recipe(Protocol):
    """What the loop reads of a recipe."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def warm_up(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Objective(nn.Module):
    """What is trained, and to what end; `average` of its weights, where one is kept."""

    average: Average | None = None

    def draw(self, batch: Batch) -> dict[str, Tensor]:
        """What the loss needs beside the records, drawn ahead of the step on the CPU.

        "counts" of it is what the means of the loss are taken over; it adds up over parts of a batch.
        """
        raise NotImplementedError

    def forward(self, batch: Batch, counts: Tensor) -> dict[str, Tensor]:
        """The loss and what the log tells of it, as shares that add up over the parts of a batch.

        counts : of the whole batch, over all processes
        """
        raise NotImplementedError

    def after_step(self) -> None:
        """What a step ends with."""


def accelerate(precision: str, engine: EngineConfig, run: Path) -> Accelerator:
    """The engine, in bf16, fp32 ("no"), or ("auto") in bf16 where the hardware computes it."""
    keep_memory()
    device = pick_device()
    if precision == "auto":
        precision = "bf16" if computes_bf16(device) else "no"
    return Accelerator(
        mixed_precision=precision,
        cpu=device.type == "cpu",  # or processes without a GPU would not know of one another
        log_with=None if engine.track == "none" else engine.track,
        project_dir=Path(run).parent,
    )


def keep_memory() -> None:
    """Have glibc keep what is freed: else the system hands out and clears every large tensor anew."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mmap_max, trim_threshold = -4, -1  # as <malloc.h> numbers them
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def learning_rate(step: int, steps: int, peak: float, warm_up: int, floor: float = 0.01) -> float:
    """Linear warm-up, then a cosine down to `floor` of the peak."""
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, steps - warm_up)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Weight decay is on matrices alone, of however few labels.

    It is not on biases, norms, convolutions, learned tokens and what takes few numbers in.
    """
    of_labels = name.endswith(("head.weight", "hug.rhythm"))
    return parameter.ndim > 1 and (min(parameter.shape) > N_LEADS or of_labels)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What is learned in two groups: with weight decay and without (see `decays`)."""
    learned = [(decays(name, p), p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for decayed, p in learned if decayed], "weight_decay": weight_decay},
        {"params": [p for decayed, p in learned if not decayed], "weight_decay": 0.0},
    ]


class Average:
    """Exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self._pairs: list[tuple[list[Tensor], list[Tensor]]] = []

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights of `model`, the same at each call."""
        if not self._pairs:
            values = model.state_dict()
            numbers = [name for name, value in values.items() if value.is_floating_point()]
            counters = [name for name in values if name not in set(numbers)]
            self._pairs = [
                ([self.weights[name] for name in names], [values[name] for name in names])
                for names in (numbers, counters)
            ]
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        numbers_now, counters_now = self._pairs
        torch._foreach_lerp_(*numbers_now, 1 - decay)
        for mine, value in zip(*counters_now, strict=True):
            mine.copy_(value)


def check_finite(
    value: float, step: int, rows: NDArray[np.int64], corpus: Corpus, what: str = "loss"
) -> None:
    if not math.isfinite(value):
        names = ", ".join(corpus.records[int(i)]["record"] for i in rows[:8])
        raise FloatingPointError(
            f"the {what} is {value} at step {step} (records {names}, ...); what was saved is kept. Look at "
            "these records, or run anew with a lower --recipe.lr."
        )


def epochs(
    run: Run,
    accelerator: Accelerator,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    data: Corpus,
    rows_of: Callable[[int], NDArray[np.int64]],
    recipe: Recipe,
    engine: EngineConfig,
) -> Iterator[tuple[int, dict[str, float]]]:
    """Train, from wherever the run is; yields after each epoch its number, from 1, and its log row.

    rows_of : (epoch) -> the records that are read in it, as many in each

    The gradient of a step is that of its whole batch, in however many processes and pieces it is
    computed. Orders, masks and dropout are drawn by seed, epoch, step and record, so that a resumed
    run does what an uninterrupted one does.
    """
    wrapped, stepper = accelerator.prepare(objective, optimizer)
    if engine.compile:
        for module in objective.modules():
            if isinstance(module, Block):
                module.compile(dynamic=True)
    device, processes, process = accelerator.device, accelerator.num_processes, accelerator.process_index
    n_rows = rows_of(0).size
    steps_an_epoch = count_batches(n_rows, recipe.batch_size)
    if n_rows // steps_an_epoch < processes * engine.accumulate:
        raise RunError(
            f"a batch of {n_rows // steps_an_epoch} records does not go round {processes} processes "
            f"with {engine.accumulate} pieces each; raise recipe.batch_size or lower engine.accumulate."
        )
    steps = recipe.epochs * steps_an_epoch
    warm_up = int(recipe.warm_up * steps_an_epoch)
    if warm_up > steps:
        run.say(
            f"warm_up = {recipe.warm_up:g} epochs of {recipe.epochs}: the learning rate rises to "
            f"{steps / warm_up:.0%} of its peak and never reaches it."
        )
    peaks = [group["lr"] for group in optimizer.param_groups]
    step, sums, tensors = run.restore()
    if tensors:
        unpack(tensors, objective, optimizer)
    if (accelerator.gather(torch.tensor([step], device=device)) != step).any():
        raise RunError(f"the processes see different states in {run.folder}; put it where all see the same.")
    first = step // steps_an_epoch
    run.begin_log(first)
    todo = batches(
        data,
        rows_of,
        recipe.batch_size,
        recipe.seed,
        range(first, recipe.epochs),
        share=(process, processes),
        pieces=engine.accumulate,
        start=step % steps_an_epoch,
        objective=objective,
        workers=workers_beside(engine.workers, device, recipe.batch_size),
    )
    started, n_seen = time.monotonic(), 0
    bar = tqdm(
        total=recipe.epochs * n_rows,
        initial=step * n_rows // steps_an_epoch,
        unit=" ECG",
        disable=not accelerator.is_main_process,
        mininterval=5,
    )
    with closing(todo), bar:
        for epoch in range(first, recipe.epochs):
            bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}", refresh=False)
            wrapped.train()
            for parts in islice(todo, steps_an_epoch - step % steps_an_epoch):
                torch.manual_seed(mix(recipe.seed, step, process))  # of dropout
                factor = learning_rate(step, steps, 1.0, warm_up)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = factor * peak
                counts = torch.stack([part.drawn["counts"] for part in parts]).sum(0)
                counts = accelerator.reduce(counts.to(device), "sum")
                told: dict[str, Tensor] = {}
                for part in parts:
                    with nullcontext() if part is parts[-1] else accelerator.no_sync(wrapped):
                        out = wrapped(part.to(device), counts)
                        # gradients are averaged over processes, and shares are to be summed
                        accelerator.backward(out["loss"] * processes)
                    told = {name: told.get(name, 0) + value.detach() for name, value in out.items()}
                norm = accelerator.clip_grad_norm_(objective.parameters(), recipe.clip)
                values = accelerator.reduce(torch.stack([v.float() for v in told.values()]), "sum")
                *values, norm = torch.cat([values, norm.float()[None]]).tolist()  # waits for a GPU, once
                now = dict(zip(told, values, strict=True))
                taken = np.concatenate([part.rows for part in parts])
                check_finite(now["loss"], step, taken, data)
                check_finite(norm, step, taken, data, "norm of the gradient")
                stepper.step()
                stepper.zero_grad(set_to_none=True)
                objective.after_step()
                sums = {name: sums.get(name, 0.0) + value for name, value in now.items()}
                step += 1
                n = round(len(parts[0].rows) / parts[0].share)
                n_seen += n
                bar.update(n)
                rate = n_seen / (time.monotonic() - started)
                run.progress(
                    step=step,
                    steps=steps,
                    epoch=epoch,
                    epochs=recipe.epochs,
                    loss=now["loss"],
                    ecg_per_second=round(rate, 1),
                    seconds_left=round((bar.total - bar.n) / rate) if rate else None,
                )
                if step % engine.save_every == 0 and step % steps_an_epoch:
                    run.save(step, sums, pack(objective, optimizer))
            row = {f"train/{name}": value / steps_an_epoch for name, value in sums.items()}
            yield epoch + 1, {"lr": max(group["lr"] for group in optimizer.param_groups), **row}
            sums = {}
            run.save(step, sums, pack(objective, optimizer))


def pack(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that a step changes, by name."""
    tensors = {f"model/{name}": tensor for name, tensor in _weights(objective).items()}
    for name, parameter in objective.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{key}"] = value
    if objective.average:
        tensors |= {f"average/{name}": tensor for name, tensor in objective.average.weights.items()}
        tensors["steps"] = torch.tensor(objective.average.steps)
    return tensors


@torch.no_grad()
def unpack(tensors: Mapping[str, Tensor], objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    """Put back what `pack` gave."""
    targets = {f"model/{name}": tensor for name, tensor in _weights(objective).items()}
    if objective.average:
        targets |= {f"average/{name}": tensor for name, tensor in objective.average.weights.items()}
        objective.average.steps = int(tensors["steps"])
    shapes = {name: tensor.shape for name, tensor in targets.items()}
    if shapes != {name: t.shape for name, t in tensors.items() if name.startswith(("model/", "average/"))}:
        raise RunError("the saved state is of another model: it was written by other code; begin a new run.")
    for name, target in targets.items():
        target.copy_(tensors[name])
    parameters = dict(objective.named_parameters())
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, whose, key = name.split("/")
            optimizer.state[parameters[whose]][key] = tensor.to(parameters[whose].device, copy=True)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer once, whatever modules share it."""
    return dict(model.named_parameters()) | dict(model.named_buffers())
