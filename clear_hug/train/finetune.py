"""finetune: HUG on CLEAR, end to end or on a frozen encoder; CLEAR goes on rebuilding beside it.

One encoder serves both the diagnosis and the reconstruction, so the masked loss stays in the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.diagnosis import collate
from clear_hug.model import CLEAR, CLEARHUG, HUG, PRESETS, Beats, MaskedCLEAR, masked_loss
from clear_hug.tasks import TASKS, Task
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.loop import (
    Average,
    Log,
    accelerate,
    batches,
    check_finite,
    count_batches,
    git_revision,
    learning_rate,
)
from clear_hug.train.metrics import auroc, best_thresholds, fit_platt, macro


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune.

    Args:
        tasks: label sets, learned at once
        ship: the tasks that the checkpoint answers; all when empty
        train_folds: PTB-XL folds that are learned from
        watch_folds: folds that are looked at after each epoch, and calibrated on; may be empty
        frozen: leave the encoder as it is and learn the head alone
        per_lead: one level-1 map of HUG a lead, or one a group
        epochs: passes over the records
        batch_size: records a step
        lr: peak learning rate of the head
        encoder_lr: peak learning rate of the encoder's last layer
        layer_decay: factor on the learning rate from each layer to the one below
        warm_up: epochs of linear warm-up
        weight_decay: on matrices
        clip: norm that gradients are clipped to
        dropout: in the encoder's residual branches
        drop_beat: share of the beats that are left out, in all leads
        drop_token: share of the tokens that are left out
        drop_lead: chance that a record loses some leads
        amplitude: SD of the log of a factor on each lead
        withhold: chance that the lead scale is not told
        rebuild: weight of the masked loss
        rebuild_records: how many records of a batch it is taken over
        average: decay of the averaged weights, which are what is kept
        precision: bf16, no (fp32), or auto: bf16 where the hardware computes it
        seed: of the head, order and augmentation
    """

    tasks: tuple[str, ...] = ("superdiagnostic",)
    ship: tuple[str, ...] = ()
    train_folds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    watch_folds: tuple[int, ...] = (8,)
    frozen: bool = False
    per_lead: bool = True
    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3
    encoder_lr: float = 4e-4
    layer_decay: float = 0.8
    warm_up: float = 1.0
    weight_decay: float = 0.05
    clip: float = 1.0
    dropout: float = 0.1
    drop_beat: float = 0.15
    drop_token: float = 0.1
    drop_lead: float = 0.2
    amplitude: float = 0.1
    withhold: float = 0.5
    rebuild: float = 0.3
    rebuild_records: int = 12
    average: float = 0.99
    precision: str = "auto"
    seed: int = 0


def finetune(
    run: Path,
    corpus: Path = Path("corpus"),
    init: str | None = None,
    calibration: Path | None = None,
    recipe: FinetuneConfig = FinetuneConfig(),  # noqa: B008
) -> None:
    """Fine-tune and write <run>/checkpoint.

    Args:
        run: folder of the run: logs, checkpoint, predictions on the watched folds
        corpus: folder of prepared shards
        init: checkpoint to start from; untrained weights of the small preset when not given
        calibration: run whose calibration (from its watched folds) is taken over
        recipe: how
    """
    data = Corpus(corpus)
    tasks = tuple(_task(name) for name in recipe.tasks)
    train = np.flatnonzero(np.isin(data.fold, recipe.train_folds) & data.labelled_for(tasks))
    watch = np.flatnonzero(np.isin(data.fold, recipe.watch_folds) & data.labelled_for(tasks))
    if not train.size:
        raise CorpusError(f"no labelled record in folds {recipe.train_folds} of {corpus}.")
    accelerator = accelerate(recipe.precision)
    device = accelerator.device
    torch.manual_seed(recipe.seed)
    clear = load_checkpoint(init).model.clear if init else CLEAR(PRESETS["small"])
    n_labels = sum(len(task.labels) for task in tasks)
    model = CLEARHUG(clear, HUG(clear.config.width, n_labels, recipe.per_lead)).to(device)
    model.requires_grad_(True)
    clear.requires_grad_(not recipe.frozen)
    for module in clear.blocks.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout

    model.hug.centre(mean_lead_tokens(model, data, train[:512]))
    labels = np.zeros((len(data), n_labels), dtype=np.float32)
    labels[train] = data.labels(tasks, train)
    prior = labels[train].mean(axis=0).clip(1e-3, 1 - 1e-3)
    with torch.no_grad():
        model.hug.head.bias.copy_(torch.from_numpy(np.log(prior / (1 - prior))))

    masks = MaskedCLEAR(clear, seed=recipe.seed)
    optimizer = torch.optim.AdamW(_layered_groups(model, recipe), betas=(0.9, 0.98), fused=True)
    wrapped, optimizer = accelerator.prepare(_Training(model, masks, recipe), optimizer)
    kept = Average(model, recipe.average)
    steps_an_epoch = count_batches(train.size, recipe.batch_size)
    steps = recipe.epochs * steps_an_epoch
    step = 0
    share = (accelerator.process_index, accelerator.num_processes)
    with Log(Path(run)) as log:
        for epoch in range(recipe.epochs):
            _set_training(model, recipe.frozen)
            total: dict[str, float] = {}
            for batch in tqdm(
                batches(data, train, recipe.batch_size, recipe.seed, epoch, share),
                total=steps_an_epoch,
                desc=f"epoch {epoch + 1}/{recipe.epochs}",
                disable=not accelerator.is_main_process,
                mininterval=5,
            ):
                factor = learning_rate(step, steps, 1.0, int(recipe.warm_up * steps_an_epoch))
                for group in optimizer.param_groups:
                    group["lr"] = factor * group["peak"]
                target = torch.from_numpy(labels[batch.rows]).to(device)
                with accelerator.autocast():
                    out = wrapped(batch.beats.to(device), target, torch.from_numpy(batch.rows), epoch)
                check_finite(out["loss"], step, batch.rows, data)
                accelerator.backward(out["loss"])
                accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                kept.update(model)
                step += 1
                for name, value in out.items():
                    total[name] = total.get(name, 0.0) + float(value.detach())
            row = {f"train/{k}": v / steps_an_epoch for k, v in total.items()}
            if watch.size:
                logits = predict(_with_weights(model, kept.weights), data, watch)
                row |= _watched(logits, data, tasks, watch)
            log.write(epoch + 1, **row)
            tqdm.write(", ".join(f"{k} {v:.4f}" for k, v in row.items()))

    final = _with_weights(model, kept.weights)
    final.hug.centre(mean_lead_tokens(final, data, train))
    keep = [name in (recipe.ship or recipe.tasks) for name in recipe.tasks]
    rows = np.repeat(keep, [len(task.labels) for task in tasks])
    shipped = tuple(task for task, yes in zip(tasks, keep, strict=True) if yes)
    final = CLEARHUG(final.clear, _rows_of(final.hug, torch.from_numpy(np.flatnonzero(rows))))
    platt, thresholds, calibrated_on = None, None, "nothing"
    if watch.size:
        logits = predict(final, data, watch)
        truth = data.labels(shipped, watch)
        platt = fit_platt(logits, truth)
        probabilities = 1 / (1 + np.exp(-(platt[:, 0] * logits + platt[:, 1])))
        thresholds = best_thresholds(probabilities, truth)
        calibrated_on = f"folds {list(recipe.watch_folds)}, which it did not learn from"
    elif calibration:
        source = load_checkpoint(Path(calibration) / "checkpoint")
        if source.tasks != shipped:
            raise CorpusError(f"{calibration} answers other tasks; calibrate on a run of the same.")
        platt, thresholds = source.platt, source.thresholds
        theirs = source.training["config"]
        calibrated_on = (
            f"folds {list(theirs['watch_folds'])}, by a model of the same recipe that learned from folds "
            f"{list(theirs['train_folds'])}"
        )
    training: dict[str, Any] = {
        "stage": "finetune",
        "config": asdict(recipe),
        "init": load_checkpoint(init).training if init else None,
        "calibrated_on": calibrated_on,
        "records": int(train.size),
        "sources": [shard.name for shard in data.shards],
        "data": data.digest,
        "revision": git_revision(),
    }
    save_checkpoint(
        Path(run) / "checkpoint", final, shipped, platt=platt, thresholds=thresholds, training=training
    )


class _Training(nn.Module):
    """Augmentation, both passes and the summed loss, as one module for the engine to wrap."""

    def __init__(self, model: CLEARHUG, masks: MaskedCLEAR, recipe: FinetuneConfig) -> None:
        super().__init__()
        self.model, self.masks, self.recipe = model, masks, recipe

    def forward(self, beats: Beats, target: Tensor, rows: Tensor, epoch: int) -> dict[str, Tensor]:
        r = self.recipe
        generator = torch.Generator().manual_seed(hash((r.seed, epoch, *rows.tolist())) & 0x7FFFFFFFFFFFFFFF)
        seen, told = augment(beats, r, generator)
        logits = self.model(seen, scale_told=told)
        diagnosis = F.binary_cross_entropy_with_logits(logits.float(), target)
        out = {"loss": diagnosis, "diagnosis": diagnosis.detach()}
        if r.rebuild > 0 and not r.frozen:
            some, rows = beats.first(r.rebuild_records), rows[: r.rebuild_records]
            rebuilt = masked_loss(self.model.clear, some, *self.masks.draw(some.there, rows, epoch))
            out |= {"loss": diagnosis + r.rebuild * rebuilt["loss"], "r2": rebuilt["r2"]}
        return out


def augment(beats: Beats, r: FinetuneConfig, generator: torch.Generator) -> tuple[Beats, Tensor]:
    """Beats, tokens and leads left out, amplitudes changed; and whether the scale is told."""
    batch, leads, n = beats.there.shape

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator).to(beats.there.device)

    hidden = (draw(batch, 1, n) < r.drop_beat) | (draw(batch, leads, n) < r.drop_token)
    loses = draw(batch, 1, 1) < r.drop_lead
    hidden = hidden | (loses & (draw(batch, leads, 1) < 0.5 * draw(batch, 1, 1)))
    there = beats.there & ~hidden
    nothing = ~there.flatten(1).any(1)
    there = torch.where(nothing[:, None, None], beats.there, there)
    noise = torch.randn((batch, leads, 1, 1), generator=generator).to(beats.values.device)
    values = beats.values * (r.amplitude * noise).exp()
    told = draw(batch) >= r.withhold
    return Beats(values, there, beats.seconds, beats.inside, beats.units_known), told


def predict(
    model: CLEARHUG, data: Corpus, rows: NDArray[np.int64], batch_size: int = 64, told: bool = True
) -> NDArray[np.float32]:
    """(row, label) logits, the mean over each record's windows, in fp32."""
    from clear_hug.beats import split_windows

    model.eval()
    device = next(model.parameters()).device
    out = []
    with torch.inference_mode():
        for i in range(0, len(rows), batch_size):
            windows = [split_windows(data.tokens(int(r))) for r in rows[i : i + batch_size]]
            beats = collate([w for one in windows for w in one]).to(device)
            scale_told = torch.full((len(beats.units_known),), told, device=device)
            logits = model(beats, scale_told=scale_told).float().cpu().numpy()
            ends = np.cumsum([len(one) for one in windows])[:-1]
            out += [part.mean(axis=0) for part in np.split(logits, ends)]
    return np.array(out)


@torch.no_grad()
def mean_lead_tokens(model: CLEARHUG, data: Corpus, rows: NDArray[np.int64]) -> Tensor:
    """(12, width) mean lead token over records, each lead over the records that have it."""
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros_like(model.hug.reference)
    count = total.new_zeros(len(total), 1)
    for i in range(0, len(rows), 64):
        beats = collate([data.window(int(r)) for r in rows[i : i + 64]]).to(device)
        encoded = model.encode(beats)
        there = encoded.lead_there[..., None].float()
        total = total + (encoded.lead_tokens * there).sum(0)
        count = count + there.sum(0)
    return total / count.clamp_min(1)


def _watched(
    logits: NDArray[np.float32], data: Corpus, tasks: Sequence[Task], rows: NDArray[np.int64]
) -> dict[str, float]:
    """Macro AUROC a task on the field's subset: the records with at least one of its labels."""
    out, start = {}, 0
    for task in tasks:
        truth = data.labels([task], rows)
        some = truth.any(axis=1)
        mine = logits[:, start : start + len(task.labels)]
        out[f"watch/{task.name}"] = macro(auroc(mine[some], truth[some]))
        start += len(task.labels)
    return out


def _layered_groups(model: CLEARHUG, r: FinetuneConfig) -> list[dict[str, Any]]:
    """Parameter groups, the learning rate falling from the head down to the embedding."""
    depth = len(model.clear.blocks)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(("hug.", "facts.")):
            peak = r.lr
        elif "decoder" in name or name.startswith(("clear.bridge", "clear.hidden", "clear.to_")):
            peak = r.encoder_lr
        elif name.startswith("clear.blocks."):
            peak = r.encoder_lr * r.layer_decay ** (depth - 1 - int(name.split(".")[2]))
        elif name.startswith("clear.norm"):
            peak = r.encoder_lr
        else:
            peak = r.encoder_lr * r.layer_decay**depth
        decay = r.weight_decay if parameter.ndim > 1 and min(parameter.shape) > 12 else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    return [
        {"params": params, "peak": peak, "lr": peak, "weight_decay": decay}
        for (peak, decay), params in groups.items()
    ]


def _set_training(model: CLEARHUG, frozen: bool) -> None:
    """A frozen part is in evaluation mode: no dropout in it."""
    model.train()
    if frozen:
        model.clear.eval()


def _with_weights(model: CLEARHUG, weights: dict[str, Tensor]) -> CLEARHUG:
    hug = HUG(model.hug.head.in_features, model.hug.head.out_features, model.hug.per_lead)
    other = CLEARHUG(CLEAR(model.clear.config), hug)
    other.load_state_dict(weights)
    return other.to(next(model.parameters()).device).eval()


def _rows_of(hug: HUG, rows: Tensor) -> HUG:
    """The head for some of its labels."""
    other = HUG(hug.head.in_features, len(rows), hug.per_lead)
    state = hug.state_dict()
    state["head.weight"], state["head.bias"] = state["head.weight"][rows], state["head.bias"][rows]
    other.load_state_dict(state)
    return other


def _task(name: str) -> Task:
    if name not in TASKS:
        raise CorpusError(f"task = {name!r}; expected one of {', '.join(TASKS)}.")
    return TASKS[name]
