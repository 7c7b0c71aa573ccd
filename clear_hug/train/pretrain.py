"""pretrain: CLEAR learns to rebuild hidden beats; no label is read."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from clear_hug.checkpoint import save_checkpoint
from clear_hug.model import CLEAR, CLEARHUG, HUG, PRESETS, CLEARConfig, MaskedCLEAR
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.loop import (
    Log,
    accelerate,
    batches,
    check_finite,
    count_batches,
    git_revision,
    learning_rate,
    parameter_groups,
    read_batch,
)


@dataclass(frozen=True)
class PretrainConfig:
    """How to pre-train.

    Args:
        preset: size of the model: base, small or tiny
        pattern: encoder pattern; paper, conduction or full
        leave_out_folds: PTB-XL folds of which no record is read
        epochs: passes over the records
        batch_size: records a step, over all processes
        lr: peak learning rate
        warm_up: epochs of linear warm-up
        weight_decay: on matrices
        clip: norm that gradients are clipped to
        mask_ratio: share of a record's tokens that are hidden
        whole_lead: chance that they are whole leads first
        whole_beat: chance that they are whole beats first
        precision: bf16, no (fp32), or auto: bf16 where the hardware computes it
        seed: of weights, order and masks
    """

    preset: str = "small"
    pattern: str = "paper"
    leave_out_folds: tuple[int, ...] = (9, 10)
    epochs: int = 60
    batch_size: int = 64
    lr: float = 1e-3
    warm_up: float = 2.0
    weight_decay: float = 0.05
    clip: float = 3.0
    mask_ratio: float = 0.75
    whole_lead: float = 0.3
    whole_beat: float = 0.1
    precision: str = "auto"
    seed: int = 0


def pretrain(
    run: Path,
    corpus: Path = Path("corpus"),
    recipe: PretrainConfig = PretrainConfig(),  # noqa: B008
) -> None:
    """Pre-train CLEAR and write <run>/checkpoint (with an untrained HUG head without tasks).

    Args:
        run: folder of the run: logs and checkpoint
        corpus: folder of prepared shards
        recipe: how
    """
    data = Corpus(corpus)
    rows = np.flatnonzero(~np.isin(data.fold, recipe.leave_out_folds))
    if not rows.size:
        raise CorpusError(f"no record is left in {corpus} without folds {recipe.leave_out_folds}.")
    accelerator = accelerate(recipe.precision)
    torch.manual_seed(recipe.seed)
    clear = CLEAR(_size(recipe))
    masked = MaskedCLEAR(clear, recipe.mask_ratio, recipe.whole_lead, recipe.whole_beat, recipe.seed)
    optimizer = torch.optim.AdamW(
        parameter_groups(masked, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98), fused=True
    )
    masked, optimizer = accelerator.prepare(masked, optimizer)
    share = (accelerator.process_index, accelerator.num_processes)
    steps_an_epoch = count_batches(rows.size, recipe.batch_size)
    steps = recipe.epochs * steps_an_epoch
    probe = read_batch(data, _probe_rows(data))
    step = 0
    with Log(Path(run)) if accelerator.is_main_process else nullcontext() as log:
        for epoch in range(recipe.epochs):
            masked.train()
            total = {"mse": 0.0, "r2": 0.0, "scale": 0.0}
            bar = tqdm(
                batches(data, rows, recipe.batch_size, recipe.seed, epoch, share),
                total=steps_an_epoch,
                unit=" step",
                desc=f"epoch {epoch + 1}/{recipe.epochs}",
                disable=not accelerator.is_main_process,
                mininterval=5,
            )
            for batch in bar:
                lr = learning_rate(step, steps, recipe.lr, int(recipe.warm_up * steps_an_epoch))
                for group in optimizer.param_groups:
                    group["lr"] = lr
                with accelerator.autocast():
                    out = masked(batch.beats.to(accelerator.device), torch.from_numpy(batch.rows), epoch)
                check_finite(out["loss"], step, batch.rows, data)
                accelerator.backward(out["loss"])
                accelerator.clip_grad_norm_(masked.parameters(), recipe.clip)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                step += 1
                for name in total:
                    total[name] += float(out[name])
                bar.set_postfix(r2=f"{float(out['r2']):.3f}", ecg_s=f"{_rate(bar) * recipe.batch_size:.0f}")
            if log:
                masked.eval()
                with torch.inference_mode(), accelerator.autocast():
                    held = masked(probe.beats.to(accelerator.device), torch.from_numpy(probe.rows), 0)
                means = {f"train/{k}": v / steps_an_epoch for k, v in total.items()}
                log.write(epoch + 1, lr=lr, **means, **{f"probe/{k}": float(held[k]) for k in total})
                if (epoch + 1) % 10 == 0 or epoch + 1 == recipe.epochs:
                    training = {
                        "stage": "pretrain",
                        "config": asdict(recipe),
                        "epoch": epoch + 1,
                        "records": int(rows.size),
                        "data": data.digest,
                        "revision": git_revision(),
                    }
                    bare = CLEARHUG(accelerator.unwrap_model(masked).clear, HUG(clear.config.width, 0))
                    save_checkpoint(Path(run) / "checkpoint", bare, (), training=training)


def _size(recipe: PretrainConfig) -> CLEARConfig:
    if recipe.preset not in PRESETS:
        raise CorpusError(f"preset = {recipe.preset!r}; expected one of {', '.join(PRESETS)}.")
    return replace(PRESETS[recipe.preset], pattern=recipe.pattern)


def _probe_rows(data: Corpus) -> np.ndarray:
    """Up to 256 records of fold 8 (which is trained on) whose rebuilding the log follows."""
    held = np.flatnonzero(data.fold == 8)
    return held[:256] if held.size else np.arange(min(256, len(data)))


def _rate(bar: tqdm) -> float:
    return bar.format_dict["rate"] or 0.0
