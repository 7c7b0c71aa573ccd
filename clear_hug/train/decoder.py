"""decoder: the decoder learns anew on a frozen encoder, for every way in which beats may be hidden.

Pre-training and fine-tuning hide most of a record, because that is what teaches the encoder. On the page
one lead or one beat is hidden, too: here the decoder learns both, and the diagnosis stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.model import DECODER, MaskedCLEAR
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.loop import EngineConfig, accelerate, epochs, parameter_groups
from clear_hug.train.pretrain import Rebuilding, fit_regression
from clear_hug.train.run import Run, describe


@dataclass(frozen=True)
class DecoderConfig:
    """How the decoder is trained.

    Args:
        leave_out_folds: PTB-XL folds of which no record is read
        epochs: passes over the records
        batch_size: records a step, over all processes
        lr: peak learning rate
        warm_up: epochs of linear warm-up
        weight_decay: on matrices
        clip: norm that gradients are clipped to
        dropout: in the decoder's residual branches
        mask_ratio: share of a record's tokens that are hidden
        whole_lead: chance that they are whole leads first
        whole_beat: chance that they are whole beats first
        few_leads: chance that one to three whole leads are hidden instead
        precision: bf16, no (fp32), or auto: bf16 where the hardware computes it
        seed: of order and masks
    """

    leave_out_folds: tuple[int, ...] = (9, 10)
    epochs: int = 6
    batch_size: int = 32
    lr: float = 1e-3
    warm_up: float = 0.5
    weight_decay: float = 0.05
    clip: float = 3.0
    dropout: float = 0.1
    mask_ratio: float = 0.75
    whole_lead: float = 0.3
    whole_beat: float = 0.2
    few_leads: float = 0.5
    precision: str = "auto"
    seed: int = 0


def decoder(
    run: Path,
    init: str,
    corpus: Path = Path("corpus"),
    recipe: DecoderConfig = DecoderConfig(),  # noqa: B008
    engine: EngineConfig = EngineConfig(),  # noqa: B008
    resume: bool = False,
) -> None:
    """Train the decoder of a checkpoint and write <run>/checkpoint, its answers bit for bit as they were.

    Args:
        run: folder of the run: logs and checkpoint
        init: checkpoint whose encoder and head are kept
        corpus: folder of prepared shards
        recipe: how
        engine: by which means
        resume: go on with a run that was cut off, from its last good state
    """
    data = Corpus(corpus)
    rows = np.flatnonzero(~np.isin(data.fold, recipe.leave_out_folds))
    if not rows.size:
        raise CorpusError(f"no record is left in {corpus} without folds {recipe.leave_out_folds}.")
    accelerator = accelerate(recipe.precision, engine, run)
    torch.manual_seed(recipe.seed)
    source = load_checkpoint(init)
    clear = source.model.clear
    for name, parameter in clear.named_parameters():
        parameter.requires_grad_(name.startswith(DECODER))
    for module in clear.decoder_blocks.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout
    fit_regression(clear, data, rows, recipe.seed)
    masks = MaskedCLEAR(
        clear, recipe.mask_ratio, recipe.whole_lead, recipe.whole_beat, recipe.few_leads, recipe.seed
    )
    objective = Rebuilding(masks)
    optimizer = torch.optim.AdamW(
        parameter_groups(clear, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.98), fused=True
    )
    about = describe("decoder", recipe, engine, data, rows, accelerator) | {"init_digest": source.digest}
    arguments = {"init": init, "corpus": corpus, "recipe": about["config"], "engine": about["engine"]}
    with Run(Path(run), accelerator, about, arguments, resume) as folder:
        if folder.finished:
            return
        for epoch, row in epochs(
            folder, accelerator, objective, optimizer, data, lambda _: rows, recipe, engine
        ):
            if accelerator.is_main_process:
                folder.log(epoch, **row)
        if accelerator.is_main_process:
            save_checkpoint(
                folder.folder / "checkpoint",
                source.model,
                source.tasks,
                platt=source.platt,
                thresholds=source.thresholds,
                training={**source.training, "decoder": about},
            )
