"""decoder: the decoder learns anew on a frozen encoder, for every way in which beats may be hidden.

Pre-training and fine-tuning hide most of a record, because that is what teaches the encoder. On the page
one lead or one beat is hidden, too: here the decoder learns both, and the diagnosis stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.model import DECODER
from clear_hug.train.corpus import Corpus
from clear_hug.train.loop import EngineConfig, accelerate, epochs
from clear_hug.train.pretrain import RebuildConfig, fit_regression, rebuilding, rows_of
from clear_hug.train.run import Run, describe


@dataclass(frozen=True)
class DecoderConfig(RebuildConfig):
    """How the decoder is trained.

    Args:
        dropout: in the decoder's residual branches
        in_mv: count the errors of records whose voltage is known in mV, as the figures do
    """

    epochs: int = 6
    batch_size: int = 32
    warm_up: float = 0.5
    whole_beat: float = 0.2
    few_leads: float = 0.5
    dropout: float = 0.3
    in_mv: bool = True


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
    rows = rows_of(data, recipe)
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
    objective, optimizer = rebuilding(clear, recipe, recipe.in_mv)
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
