"""pretrain: CLEAR learns to rebuild hidden beats; no label is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clear_hug.attention import PATTERNS
from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.hug import HUG
from clear_hug.masked import MaskedCLEAR, masked_counts, masked_loss
from clear_hug.model import CLEAR, CLEARHUG, PRESETS, CLEARConfig
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.loop import EngineConfig, Objective, accelerate, epochs, parameter_groups
from clear_hug.train.reading import Batch, read_batch
from clear_hug.train.run import Run, describe
from clear_hug.train.settings import RunError, how_it_trains, one_of, shares

FITTED = 4096  # at most so many records give the regression that the decoder starts from


@dataclass(frozen=True)
class RebuildConfig:
    """How hidden beats are learned from.

    Args:
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
        few_leads: chance that one to three whole leads are hidden instead
        precision: bf16, no (fp32), or auto: bf16 where the hardware computes it
        seed: of weights that are new, order and masks
    """

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
    few_leads: float = 0.0
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        how_it_trains(self)
        shares(self, "whole_lead", "whole_beat", "few_leads")
        if not 0 < self.mask_ratio < 1:
            raise RunError(f"mask_ratio = {self.mask_ratio!r}; expected a share above 0 and below 1.")


@dataclass(frozen=True)
class PretrainConfig(RebuildConfig):
    """How to pre-train.

    Args:
        preset: size of the model: base, small, mini or tiny; where none is given to start from
        pattern: attention pattern; paper, conduction or full; likewise
        regression: let the decoder start from a linear regression over leads
    """

    preset: str = "small"
    pattern: str = "paper"
    regression: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(self, preset=PRESETS, pattern=PATTERNS)


def pretrain(
    run: Path,
    corpus: Path = Path("corpus"),
    recipe: PretrainConfig = PretrainConfig(),  # noqa: B008
    engine: EngineConfig = EngineConfig(),  # noqa: B008
    resume: bool = False,
    init: str | None = None,
) -> None:
    """Pre-train CLEAR and write <run>/checkpoint (with an untrained HUG head without tasks).

    Args:
        run: folder of the run: logs and checkpoint
        corpus: folder of prepared shards
        recipe: how
        engine: by which means
        resume: go on with a run that was cut off, from its last good state
        init: checkpoint to start from; untrained weights when not given
    """
    data = Corpus(corpus)
    rows = rows_of(data, recipe)
    accelerator = accelerate(recipe.precision, engine, run)
    torch.manual_seed(recipe.seed)
    source = load_checkpoint(init) if init else None
    clear = source.model.clear.requires_grad_(True) if source else CLEAR(_size(recipe))
    if (
        source
        and recipe.preset != PretrainConfig.preset
        and replace(clear.config, centres=0) != _size(recipe)
    ):
        raise RunError(
            f"{source.name} is of another size or pattern than {recipe.preset}; leave the preset out."
        )
    if recipe.regression:
        fit_regression(clear, data, rows, recipe.seed)
    objective, optimizer = rebuilding(clear, recipe, in_mv=False)
    probe = read_batch(data, _probe_rows(data))
    probe = replace(probe, drawn=objective.draw(probe)).to(accelerator.device)
    about = describe("pretrain", recipe, engine, data, rows, accelerator)
    about |= {"init": source.training if source else None, "init_digest": source.digest if source else None}
    arguments = {"corpus": corpus, "recipe": about["config"], "engine": about["engine"], "init": init}
    with Run(Path(run), accelerator, about, arguments, resume) as folder:
        if folder.finished:
            return
        for epoch, row in epochs(
            folder, accelerator, objective, optimizer, data, lambda _: rows, recipe, engine
        ):
            if not accelerator.is_main_process:
                continue
            objective.eval()
            with torch.inference_mode(), accelerator.autocast():
                held = objective(probe, probe.drawn["counts"])
            folder.log(epoch, **row, **{f"probe/{name}": float(value) for name, value in held.items()})
            if epoch % 10 == 0 or epoch == recipe.epochs:
                bare = CLEARHUG(clear, HUG(clear.config.width, 0))
                save_checkpoint(folder.folder / "checkpoint", bare, (), training={**about, "epoch": epoch})


def rows_of(data: Corpus, recipe: RebuildConfig) -> NDArray[np.int64]:
    """The records that are learned from."""
    rows = np.flatnonzero(~np.isin(data.fold, recipe.leave_out_folds))
    if not rows.size:
        raise CorpusError(
            f"no record is left in {data.shards[0].parent} without folds {recipe.leave_out_folds}."
        )
    return rows


def rebuilding(clear: CLEAR, recipe: RebuildConfig, in_mv: bool) -> tuple[Rebuilding, torch.optim.Optimizer]:
    """The objective, and the optimizer of what is to be learned."""
    masks = MaskedCLEAR(
        clear, recipe.mask_ratio, recipe.whole_lead, recipe.whole_beat, recipe.few_leads, recipe.seed
    )
    groups = parameter_groups(clear, recipe.weight_decay)
    return Rebuilding(masks, in_mv), torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), fused=True)


def fit_regression(clear: CLEAR, data: Corpus, rows: NDArray[np.int64], seed: int) -> None:
    """Fit the regression that the decoder starts from on `rows`, or as many of them as it needs.

    What the kernel had learned of another regression goes.
    """
    clear.renew_kernel(0)
    some = some_of(rows, seed)
    clear.regression.fit(read_batch(data, part).beats for part in np.split(some, range(64, len(some), 64)))


def some_of(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """As many of the records as the regressions need, in random order."""
    return np.random.default_rng(seed).permutation(rows)[:FITTED]


class Rebuilding(Objective):
    """Rebuild what is hidden of each record."""

    def __init__(self, masks: MaskedCLEAR, in_mv: bool) -> None:
        super().__init__()
        self.masks, self.in_mv = masks, in_mv

    def draw(self, batch: Batch) -> dict[str, Tensor]:
        hidden, told = self.masks.draw(batch.beats.there, torch.from_numpy(batch.rows), batch.epoch)
        return {"hidden": hidden, "told": told, "counts": masked_counts(batch.beats, hidden)}

    def forward(self, batch: Batch, counts: Tensor) -> dict[str, Tensor]:
        hidden, told = batch.drawn["hidden"], batch.drawn["told"]
        return masked_loss(self.masks.clear, batch.beats, hidden, told, counts, self.in_mv)


def _size(recipe: PretrainConfig) -> CLEARConfig:
    return replace(PRESETS[recipe.preset], pattern=recipe.pattern)


def _probe_rows(data: Corpus) -> np.ndarray:
    """Up to 256 records of fold 8, which the log follows; held out where the recipe leaves fold 8 out."""
    held = np.flatnonzero(data.fold == 8)
    return held[:256] if held.size else np.arange(min(256, len(data)))
