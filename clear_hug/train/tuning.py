"""How fine-tuning goes: its settings, what it minimises, and how fast each layer learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from clear_hug.masked import MaskedCLEAR, masked_counts, masked_loss, mix
from clear_hug.model import CLEARHUG, DECODER, PRESETS, Encoded
from clear_hug.tasks import Task, of_time, targets_of
from clear_hug.train.augment import OF_LEADS, Augmentation, augment, some_leads
from clear_hug.train.corpus import Corpus
from clear_hug.train.intervals import N_INTERVALS
from clear_hug.train.loop import Average, Objective, decays
from clear_hug.train.plant import SAYS
from clear_hug.train.reading import Batch, read_batch
from clear_hug.train.settings import (
    RunError,
    a_fraction,
    apart,
    at_least,
    each_once,
    how_it_trains,
    one_of,
    shares,
)

AT_ONCE = 64  # records that a frozen encoder reads
HALF = 0.5  # of the records of a batch some leads are left out too


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune.

    Args:
        tasks: label sets, learned at once; of PTB-XL superdiagnostic, subdiagnostic, form, rhythm, diagnostic
            and all, else cpsc2018 or csn
        preset: size of a model that begins untrained: base, small, mini or tiny
        ship: the tasks that the checkpoint answers; all when empty
        train_folds: PTB-XL folds that are learned from
        watch_folds: folds that are looked at after each epoch, and calibrated on; may be empty
        label_fraction: share of the labelled records that are learned from, whole patients, drawn by seed
        stratified: keep the labels' shares in it; else patients are drawn at random
        frozen: leave the encoder as it is and learn the head alone; where nothing is augmented or left out
            (`augment`, `steady`, `additive`) each record (of a long one each window) is encoded once, and its
            lead tokens are kept
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
        augment: how records are changed
        intervals: weight of the squared error of the intervals that HUG reads beside the labels
        steady: weight of the squared gap, over half of the records, between the answer with some leads left
            out and what HUG says of the whole record's lead tokens without theirs: a lead's token, and with
            it the lead's contribution, is then its own, and does not hang on what other leads show
        additive: weight of the squared gap between that answer and what is left of the whole record's
            contributions without theirs; the two pull apart where a group loses some of its leads, for it is
            read by their mean
        ridge: share of ridge regression on the lead tokens in the answer, once all else is learned; 0 is HUG
            alone, which is what the figures of the epochs are of
        rebuild: weight of the masked loss
        rebuild_records: how many records of a batch it is taken over
        few_leads: chance that of such a record one to three whole leads are hidden, not 75 % of the tokens
        average: decay of the averaged weights, which are what is kept
        precision: bf16, no (fp32), or auto: bf16 where the hardware computes it
        taught: tasks whose labels the teachers tell of records without labels; all when empty
        taught_share: share of those records that are read in an epoch, others each time
        seed: of order, augmentation and masks
    """

    tasks: tuple[str, ...] = ("superdiagnostic",)
    preset: str = "small"
    ship: tuple[str, ...] = ()
    train_folds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    watch_folds: tuple[int, ...] = (8,)
    label_fraction: float = 1.0
    stratified: bool = True
    frozen: bool = False
    per_lead: bool = True
    epochs: int = 12
    batch_size: int = 32
    lr: float = 1e-3
    encoder_lr: float = 4e-4
    layer_decay: float = 0.8
    warm_up: float = 1.0
    weight_decay: float = 0.05
    clip: float = 1.0
    dropout: float = 0.1
    augment: Augmentation = Augmentation()
    intervals: float = 0.02
    steady: float = 0.03
    additive: float = 0.01
    ridge: float = 0.5
    rebuild: float = 0.05
    rebuild_records: int = 12
    few_leads: float = 0.5
    average: float = 0.995
    precision: str = "auto"
    taught: tuple[str, ...] = ()
    taught_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        how_it_trains(self)
        shares(self, "dropout", "ridge", "few_leads", "average", "taught_share", "layer_decay")
        at_least(self, encoder_lr=0, intervals=0, steady=0, additive=0, rebuild=0, rebuild_records=1)
        a_fraction(self.label_fraction)
        each_once(self.tasks)
        one_of(self, preset=PRESETS)
        for name in ("ship", "taught"):
            if unknown := set(getattr(self, name)) - set(self.tasks):
                raise RunError(
                    f"{name} names {', '.join(sorted(unknown))}, which is not among the tasks learned."
                )
        apart(train_folds=self.train_folds, watch_folds=self.watch_folds)

    def check_planted(self) -> None:
        """Refuse to plant what is not said to mean anything: it would be taught as absent."""
        if any(self.augment.planted.values()) and (untold := sorted(set(self.tasks) - set(SAYS))):
            raise RunError(
                f"it is not said what a planted change means for {', '.join(untold)}: set premature_wide, "
                "premature_narrow and st_elevation of recipe.augment to 0 (for a task of tasks.py it can "
                "be said in train/plant.py)."
            )


class Tuning(Objective):
    """Augmentation, both passes and the summed loss, as one module for the engine to wrap."""

    mixes: Tensor

    def __init__(
        self,
        model: CLEARHUG,
        masks: MaskedCLEAR,
        labels: NDArray[np.float32],
        intervals: NDArray[np.float32],
        tasks: Sequence[Task],
        recipe: FinetuneConfig,
    ) -> None:
        super().__init__()
        self.model, self.masks, self.recipe = model, masks, recipe
        self.labels, self.intervals = labels, intervals
        self.average: Average = Average(model, recipe.average)
        self.targets = targets_of(tasks)
        mixes = [not time for time in of_time(tasks)]  # time stays a record's own
        self.register_buffer("mixes", torch.tensor(mixes), persistent=False)
        still = recipe.augment.off and not recipe.steady and not recipe.additive
        self.once = recipe.frozen and still  # each window is encoded once
        self.n_windows: dict[int, int] = {}  # of each record; an epoch reads one of them
        self.place: dict[tuple[int, int], int] = {}  # of a record's window in what is kept
        self.kept: Encoded | None = None

    def train(self, mode: bool = True) -> Tuning:
        """A frozen part is in evaluation mode: no dropout in it."""
        super().train(mode)
        if self.recipe.frozen:
            self.model.clear.eval()
        return self

    def draw(self, batch: Batch) -> dict[str, Tensor]:
        r = self.recipe
        target, intervals = (torch.from_numpy(x[batch.rows]) for x in (self.labels, self.intervals))
        drawn = {"target": target, "intervals": intervals}
        counts = [torch.zeros(2)]
        if r.steady > 0 or r.additive > 0:
            leave = torch.stack([self._of_record(int(row), batch.epoch) for row in batch.rows])
            drawn |= {"leave": leave}
            counts.append((leave[:, -1] < HALF).sum()[None])
        if r.rebuild > 0 and not r.frozen:
            which, of = batch.part
            n = max(1, len(range(which, r.rebuild_records, of)))  # of the whole batch's first records
            some, rows = batch.beats.first(n), torch.from_numpy(batch.rows[:n])
            hidden, told = self.masks.draw(some.there, rows, batch.epoch)
            drawn |= {"hidden": hidden, "told": told}
            counts[0] = masked_counts(some, hidden)
        return {**drawn, "counts": torch.cat(counts)}

    def _of_record(self, row: int, epoch: int) -> Tensor:
        """(OF_LEADS + 1,) random numbers of a record, whatever batch it stands in."""
        generator = torch.Generator().manual_seed(mix(self.recipe.seed, epoch, row, OF_LEADS))
        return torch.rand(OF_LEADS + 1, generator=generator)

    def forward(self, batch: Batch, counts: Tensor) -> dict[str, Tensor]:
        r, beats, drawn = self.recipe, batch.beats, batch.drawn
        generator = torch.Generator().manual_seed(mix(r.seed, batch.epoch, *batch.rows.tolist()))
        seen, target, told, rhythm = augment(
            beats, drawn["target"], self.targets, self.mixes, r.augment, generator
        )
        if self.once:
            encoded = self._encoded_once(batch)
        else:
            encoded = self.model.encode(seen, scale_told=told, leads_only=True, rhythm=rhythm)
        answer = self.model.answer(encoded)
        logits, intervals = answer.split([target.shape[1], N_INTERVALS], dim=1)
        known = target.isfinite()
        each = F.binary_cross_entropy_with_logits(logits.float(), target.nan_to_num(), reduction="none")
        diagnosis = (each * known).mean() * batch.share
        asked = drawn["intervals"]
        off = ((intervals.float() - asked.nan_to_num()) ** 2 * asked.isfinite()).mean() * batch.share
        out = {"loss": diagnosis + r.intervals * off, "diagnosis": diagnosis.detach()}
        out["intervals"] = off.detach()
        if r.steady > 0 or r.additive > 0:
            gone = some_leads(encoded.lead_there, drawn["leave"][:, :OF_LEADS])
            half = (drawn["leave"][:, -1] < HALF).nonzero()[:, 0]
            left = seen.hide(gone[..., None]).take(half)
            without = answer[:0]
            if half.numel():
                without = self.model.answer(
                    self.model.encode(left, scale_told=told[half], leads_only=True, rhythm=rhythm[half])
                )
            for name, weight, foretold in (
                ("steady", r.steady, self.model.answer(encoded, gone)),
                ("additive", r.additive, self.model.foretell(encoded, gone)),
            ):
                gaps = (without - foretold[half])[:, : target.shape[1]].square().mean(1)
                gap = gaps.sum() / counts[2].clamp_min(1)
                out |= {"loss": out["loss"] + weight * gap, name: gap.detach()}
        if "hidden" in drawn:
            some = beats.first(len(drawn["hidden"]))
            rebuilt = masked_loss(self.model.clear, some, drawn["hidden"], drawn["told"], counts[:2])
            out |= {"loss": out["loss"] + r.rebuild * rebuilt["loss"], "r2": rebuilt["r2"]}
        return out

    @torch.no_grad()
    def keep(self, data: Corpus, rows: NDArray[np.int64]) -> None:
        """Encode what windows of some records an epoch reads, whatever batches they will be learned in."""
        self.model.clear.eval()
        device = self.model.clear.summary.device
        n = np.array([data.n_windows(int(row)) for row in rows])
        kept = []
        for window in range(min(n.max(), self.recipe.epochs)):  # a day has thousands
            here = rows[n > window]
            for some in np.split(here, range(AT_ONCE, len(here), AT_ONCE)):
                encoded = self.model.clear.encode(
                    read_batch(data, some, window).to(device).beats, leads_only=True
                )
                kept.append((encoded.lead_tokens, encoded.lead_there, encoded.scale, encoded.told))
                self.place |= {(int(row), window): len(self.place) + k for k, row in enumerate(some)}
        self.n_windows = dict(zip(rows.tolist(), n.tolist(), strict=True))
        tokens, there, scale, told = (torch.cat(one) for one in zip(*kept, strict=True))
        self.kept = replace(encoded, lead_tokens=tokens, lead_there=there, x=tokens, scale=scale, told=told)

    def _encoded_once(self, batch: Batch) -> Encoded:
        """As `CLEARHUG.encode`, the frozen encoder's part of it from what is kept."""
        assert self.kept is not None
        rows = ((row, batch.epoch % self.n_windows[row]) for row in batch.rows.tolist())
        at = torch.tensor([self.place[row] for row in rows], device=self.kept.x.device)
        of = ("lead_tokens", "lead_there", "x", "scale", "told")
        encoded = replace(self.kept, **{name: getattr(self.kept, name)[at] for name in of})
        with torch.autocast(at.device.type, enabled=False):
            return replace(encoded, lead_tokens=self.model.facts(encoded, batch.beats))

    def after_step(self) -> None:
        self.average.update(self.model)


def layered_groups(model: CLEARHUG, r: FinetuneConfig) -> list[dict[str, Any]]:
    """Parameter groups, the learning rate falling from the head down to the embedding."""
    depth = len(model.clear.blocks)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith(("hug.", "facts.")):
            peak = r.lr
        elif rebuilds(name):
            peak = r.encoder_lr
        elif name.startswith("clear.blocks."):
            peak = r.encoder_lr * r.layer_decay ** (depth - 1 - int(name.split(".")[2]))
        elif name.startswith("clear.norm"):
            peak = r.encoder_lr
        else:
            peak = r.encoder_lr * r.layer_decay**depth
        decay = r.weight_decay if decays(name, parameter) else 0.0
        groups.setdefault((peak, decay), []).append(parameter)
    return [
        {"params": params, "peak": peak, "lr": peak, "weight_decay": decay}
        for (peak, decay), params in groups.items()
    ]


def rebuilds(name: str) -> bool:
    """The parameter serves rebuilding alone."""
    return name.removeprefix("clear.").startswith(DECODER)
