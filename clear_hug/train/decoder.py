"""decoder: the decoder learns anew on a frozen encoder, for every way in which beats may be hidden.

Pre-training and fine-tuning hide most of a record, because that is what teaches the encoder. On the page
one lead or one beat is hidden, too: here the decoder learns both, and the diagnosis stays as it is. Then the
kernel regression that stands beside it is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clear_hug.batch import Beats
from clear_hug.checkpoint import load_checkpoint, save_checkpoint
from clear_hug.leads import N_LEADS
from clear_hug.masked import MaskedCLEAR
from clear_hug.model import CLEAR, DECODER
from clear_hug.train.corpus import Corpus
from clear_hug.train.loop import EngineConfig, accelerate, epochs
from clear_hug.train.pretrain import RebuildConfig, fit_regression, rebuilding, rows_of, some_of
from clear_hug.train.reading import read_batch
from clear_hug.train.run import Run, describe
from clear_hug.train.settings import at_least, shares

EVERY = np.arange(N_LEADS)
TURNS = 16
"""So often each record is hidden for the kernel: up to three leads; more of them; all but I, II and one chest
lead, as where few electrodes are worn; leads and tokens until nearly half, or most, of the record is."""


@dataclass(frozen=True)
class DecoderConfig(RebuildConfig):
    """How the decoder is trained.

    Args:
        dropout: in the decoder's residual branches
        in_mv: count the errors of records whose voltage is known in mV, as the figures do
        centres: beats that others are held against by kernel regression beside the decoder; 0 for none
    """

    epochs: int = 6
    batch_size: int = 32
    warm_up: float = 0.5
    whole_beat: float = 0.2
    few_leads: float = 0.5
    dropout: float = 0.3
    in_mv: bool = True
    centres: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        shares(self, "dropout")
        at_least(self, centres=0)


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
            fit_kernel(clear.cpu(), data, rows, recipe)
            save_checkpoint(
                folder.folder / "checkpoint",
                source.model,
                source.tasks,
                platt=source.platt,
                thresholds=source.thresholds,
                training={**source.training, "decoder": about},
            )


def fit_kernel(clear: CLEAR, data: Corpus, rows: NDArray[np.int64], recipe: DecoderConfig) -> None:
    """Give CLEAR a kernel that learned what its regression misses of `rows`, or of as many as it needs."""
    clear.renew_kernel(recipe.centres)
    if not recipe.centres:
        return
    some = some_of(rows, recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    most, half = (MaskedCLEAR(clear, share, 0.5, 0.0, seed=recipe.seed) for share in (0.75, 0.4))

    def parts() -> Iterator[tuple[Beats, Tensor]]:
        for turn in range(TURNS):
            for part in np.split(some, range(64, len(some), 64)):
                beats = read_batch(data, part).beats
                match turn % 8:
                    case 1 | 5:
                        hidden = most.draw(beats.there, torch.from_numpy(part), turn)[0]
                    case 3:
                        hidden = half.draw(beats.there, torch.from_numpy(part), turn)[0]
                    case 6:
                        hidden = _whole(beats.there, lambda: np.setdiff1d(EVERY, [0, 1, rng.integers(6, 12)]))
                    case 2:
                        hidden = _whole(beats.there, lambda: rng.permutation(EVERY)[: rng.integers(4, 11)])
                    case _:
                        hidden = _whole(beats.there, lambda: rng.permutation(EVERY)[: rng.integers(1, 4)])
                yield beats, hidden

    clear.kernel.fit(clear.regression, parts(), recipe.seed)


def _whole(there: Tensor, leads: Callable[[], NDArray[np.int64]]) -> Tensor:
    """(batch, 12, beat) whole leads, drawn for each record."""
    hidden = torch.zeros_like(there)
    for row in hidden:
        row[torch.from_numpy(leads())] = True
    return hidden & there
