"""finetune: HUG on CLEAR, end to end or on a frozen encoder; CLEAR goes on rebuilding beside it.

One encoder serves both the diagnosis and the reconstruction, so the masked loss stays in the sum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional as F

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.hug import HUG
from clear_hug.masked import MaskedCLEAR, masked_counts, masked_loss, mix
from clear_hug.model import CLEAR, CLEARHUG, DECODER, PRESETS, Encoded
from clear_hug.tasks import TASKS, Task
from clear_hug.train.answers import FITTED, answers, learned_labels, predict
from clear_hug.train.augment import OF_LEADS, Augmentation, augment, some_leads
from clear_hug.train.calibration import calibrate, check_calibration, have_criteria, set_criteria
from clear_hug.train.corpus import Corpus, CorpusError, label_fraction
from clear_hug.train.criteria import usual_r_and_s
from clear_hug.train.intervals import N_INTERVALS, measured
from clear_hug.train.loop import Average, EngineConfig, Objective, accelerate, epochs
from clear_hug.train.metrics import auroc, macro
from clear_hug.train.reading import Batch
from clear_hug.train.rhythm import by_rhythm
from clear_hug.train.ridge import average_with_ridge
from clear_hug.train.run import Run, describe
from clear_hug.train.settings import (
    RunError,
    a_fraction,
    apart,
    at_least,
    how_it_trains,
    of_tasks,
    shares,
)

HALF = 0.5  # of the records of a batch some leads are left out too
LEAST_TAUGHT = 5  # positives that a teacher has learned from; of a label with fewer it knows nothing


@dataclass(frozen=True)
class FinetuneConfig:
    """How to fine-tune.

    Args:
        tasks: label sets, learned at once
        ship: the tasks that the checkpoint answers; all when empty
        train_folds: PTB-XL folds that are learned from
        watch_folds: folds that are looked at after each epoch, and calibrated on; may be empty
        label_fraction: share of the labelled records that are learned from, whole patients, drawn by seed
        stratified: keep the labels' shares in it; else patients are drawn at random
        frozen: leave the encoder as it is and learn the head alone; where nothing is augmented or left out
            (`augment`, `steady`, `additive`) each record is encoded once, and its lead tokens are kept
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
        of_tasks(self, TASKS)
        for name in ("ship", "taught"):
            if unknown := set(getattr(self, name)) - set(self.tasks):
                raise RunError(
                    f"{name} names {', '.join(sorted(unknown))}, which is not among the tasks learned."
                )
        apart(train_folds=self.train_folds, watch_folds=self.watch_folds)


def finetune(
    run: Path,
    corpus: Path = Path("corpus"),
    init: str | None = None,
    calibration: tuple[Path, ...] = (),
    recipe: FinetuneConfig = FinetuneConfig(),  # noqa: B008
    engine: EngineConfig = EngineConfig(),  # noqa: B008
    resume: bool = False,
    teachers: tuple[Path, ...] = (),
) -> None:
    """Fine-tune and write <run>/checkpoint.

    Args:
        run: folder of the run: logs and checkpoint
        corpus: folder of prepared shards
        init: checkpoint to start from; untrained weights of the small preset when not given
        calibration: runs of the same recipe that each watched folds they did not learn from; what they said
            of them together calibrates this one, where it watches none, and weighs its criteria of voltage
            and QTc, where theirs were weighed (`criteria`)
        recipe: how
        engine: by which means
        resume: go on with a run that was cut off, from its last good state
        teachers: runs of `finetune` or of `baseline --recipe.teach true`; their mean probabilities stand in
            for the labels of records that have none
    """
    data = Corpus(corpus)
    tasks = tuple(TASKS[name] for name in recipe.tasks)
    train = np.flatnonzero(np.isin(data.fold, recipe.train_folds) & data.labelled_for(tasks))
    watch = np.flatnonzero(np.isin(data.fold, recipe.watch_folds) & data.labelled_for(tasks))
    for folds, rows in ((recipe.train_folds, train), (recipe.watch_folds, watch)):
        if not rows.size and (folds or rows is train):
            raise CorpusError(f"no labelled record in folds {list(folds)} of {corpus}.")
    train = label_fraction(
        train,
        data.labels(tasks, train),
        data.patients[train],
        recipe.label_fraction,
        recipe.seed,
        recipe.stratified,
    )
    calibrators = check_calibration(
        calibration or (), _shipped(tasks, recipe), asdict(recipe), recipe.watch_folds
    )
    accelerator = accelerate(recipe.precision, engine, run)
    torch.manual_seed(0)  # the head starts alike whatever the seed
    source = load_checkpoint(init) if init else None
    if source:
        check_init(source, tasks, recipe)
    clear = source.model.clear if source else CLEAR(PRESETS["small"])
    n_labels = sum(len(task.labels) for task in tasks)
    hug = HUG(clear.config.width, n_labels + N_INTERVALS, recipe.per_lead)
    model = CLEARHUG(clear, hug).to(accelerator.device)
    model.requires_grad_(True)
    clear.requires_grad_(not recipe.frozen)
    if not recipe.rebuild:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and not _rebuilds(name))
    for module in clear.blocks.modules():
        if isinstance(module, nn.Dropout):
            module.p = recipe.dropout

    model.facts.usual.copy_(torch.from_numpy(usual_r_and_s(data, train)))
    labels = np.full((len(data), n_labels), np.nan, dtype=np.float32)
    found = data.labels(tasks, train)
    if found.shape != (train.size, n_labels):
        raise CorpusError(f"{corpus} gives labels {found.shape}; expected {(train.size, n_labels)}.")
    labels[train] = found
    prior = labels[train].mean(axis=0).clip(1e-3, 1 - 1e-3)
    targets = tuple(f"{task.name}/{label}" for task in tasks for label in task.labels)
    of_rhythm = np.flatnonzero([target.startswith("rhythm/") for target in targets])
    alone = by_rhythm(data, train, found[:, of_rhythm])
    model.facts.usual_rhythm.copy_(torch.from_numpy(alone.usual))
    model.hug.centre(mean_lead_tokens(model, data, train))
    with torch.no_grad():
        model.hug.head.bias[:n_labels] = torch.from_numpy(np.log(prior / (1 - prior)))
        model.hug.head.bias[of_rhythm] = torch.from_numpy(alone.bias)
        model.hug.rhythm[:, of_rhythm] = torch.from_numpy(alone.weights)

    pupils = learn_from(teachers, data, tasks, recipe, labels)
    labels[np.ix_(pupils, np.flatnonzero(found.sum(axis=0) < LEAST_TAUGHT))] = np.nan
    n_pupils = round(recipe.taught_share * pupils.size)

    def rows_of(epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([recipe.seed, epoch, 1])
        return np.concatenate([train, rng.permutation(pupils)[:n_pupils]])

    intervals = np.full((len(data), N_INTERVALS), np.nan, dtype=np.float32)
    masks = MaskedCLEAR(clear, few_leads=recipe.few_leads, seed=recipe.seed)
    objective = _Training(model, masks, labels, intervals, targets, recipe)
    optimizer = torch.optim.AdamW(_layered_groups(model, recipe), betas=(0.9, 0.98), fused=True)
    about = describe("finetune", recipe, engine, data, train, accelerator)
    about |= {"init": source.training if source else None, "init_digest": source.digest if source else None}
    about |= {"teachers": [Path(run).name for run in teachers], "pupils": int(pupils.size)}
    taught = hashlib.sha256(labels[pupils].tobytes()).hexdigest() if pupils.size else None
    about |= {"teachers_digest": taught, "calibration": calibrators}
    arguments = {
        "corpus": corpus,
        "init": init,
        "calibration": calibration,
        "teachers": teachers,
        "recipe": about["config"],
        "engine": about["engine"],
    }
    with Run(Path(run), accelerator, about, arguments, resume) as folder:
        if folder.finished:
            return
        if recipe.intervals > 0:
            every = np.concatenate([train, pupils])
            intervals[every] = measured(data, every)
        for epoch, row in epochs(folder, accelerator, objective, optimizer, data, rows_of, recipe, engine):
            if not accelerator.is_main_process:
                continue
            if watch.size:
                logits = predict(_with_weights(model, objective.average.weights), data, watch)
                row |= watched(logits[:, :n_labels], data, tasks, watch)
            folder.log(epoch, **row)
        if accelerator.is_main_process:
            final = _with_weights(model, objective.average.weights)
            _finish(
                folder.folder / "checkpoint", final, data, tasks, train, watch, recipe, calibration, about
            )


def check_init(source: Checkpoint, tasks: Sequence[Task], recipe: FinetuneConfig) -> None:
    """Refuse to begin from what has learned labels that this run is watched on, or may not have."""
    for vocabulary in {task.vocabulary for task in tasks}:
        for before in learned_labels(source.training, vocabulary):
            if both := sorted(set(before["train_folds"]) & set(recipe.watch_folds)):
                raise CorpusError(
                    f"{source.name} learned the labels of folds {both}, which this run would watch."
                )
            if (theirs := before.get("label_fraction", 1.0)) > recipe.label_fraction:
                raise CorpusError(
                    f"{source.name} learned from {100 * theirs:g} % of the labels, this run may from "
                    f"{100 * recipe.label_fraction:g} % alone; begin from a pre-trained checkpoint."
                )


def _shipped(tasks: Sequence[Task], recipe: FinetuneConfig) -> tuple[Task, ...]:
    """The tasks that the checkpoint answers."""
    return tuple(task for task in tasks if task.name in (recipe.ship or recipe.tasks))


def _finish(
    folder: Path,
    final: CLEARHUG,
    data: Corpus,
    tasks: Sequence[Task],
    train: NDArray[np.int64],
    watch: NDArray[np.int64],
    recipe: FinetuneConfig,
    calibration: Sequence[Path],
    about: dict[str, Any],
) -> None:
    """Centre the head, keep its shipped labels, average it with ridge, calibrate it, write the checkpoint."""
    final.hug.centre(mean_lead_tokens(final, data, train))
    shipped = _shipped(tasks, recipe)
    rows = np.repeat([task in shipped for task in tasks], [len(task.labels) for task in tasks])
    final.hug = _rows_of(final.hug, torch.from_numpy(np.flatnonzero(rows)))
    average_with_ridge(final, data, train, data.labels(shipped, train), recipe.ridge)
    training, fitted = dict(about), set()
    if calibration and have_criteria(calibration):
        found = set_criteria(final, data, shipped, calibration, recipe.watch_folds)
        training["criteria_from"] = found.words
        fitted |= set(found.folds)
    now = calibrate(final, data, shipped, watch, recipe.watch_folds, calibration)
    training |= {"calibrated_on": now.words, FITTED: sorted(fitted | set(now.folds))}
    save_checkpoint(folder, final, shipped, platt=now.platt, thresholds=now.thresholds, training=training)


def learn_from(
    teachers: Sequence[Path],
    data: Corpus,
    tasks: Sequence[Task],
    recipe: FinetuneConfig,
    labels: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Write what the teachers say into `labels` (record, label); the records that they speak of."""
    targets = [f"{task.name}/{label}" for task in tasks for label in task.labels]
    unlabelled, said = np.flatnonzero(~data.labelled), []
    for run in teachers:
        if recipe.label_fraction < 1 and _share(_recipe_of(Path(run))) != _share(asdict(recipe)):
            raise CorpusError(
                f"teacher {run} learned from other labels than {100 * recipe.label_fraction:g} % of them by "
                f"seed {recipe.seed}, which are all that its pupil may; teach by a run of the same share."
            )
        told = answers(Path(run), data, unlabelled, targets)
        if not set(told.train_folds) <= set(recipe.train_folds):
            raise CorpusError(
                f"teacher {run} learned from folds {sorted(told.train_folds)}, its pupil may from "
                f"{list(recipe.train_folds)} alone: it would tell of folds that are judged."
            )
        said.append(expit(told.logits))
    if not said:
        return np.array([], dtype=np.int64)
    mean = np.mean(said, axis=0)
    spoken = np.isfinite(mean).all(axis=1)
    rows = unlabelled[spoken]
    if not rows.size:
        raise CorpusError("no record without labels is told of by every teacher; use --recipe.teach true.")
    taught = [task.name in (recipe.taught or recipe.tasks) for task in tasks]
    columns = np.flatnonzero(np.repeat(taught, [len(task.labels) for task in tasks]))
    labels[np.ix_(rows, columns)] = mean[np.ix_(spoken, columns)]
    return rows


def _recipe_of(run: Path) -> Mapping[str, Any]:
    """The recipe of a run of `finetune` or its checkpoint; {} of a baseline, which took all labels."""
    for path, keys in (("run.json", ("config",)), ("config.json", ("training", "config"))):
        try:
            found = json.loads((run / path).read_text())
            for key in keys:
                found = found[key]
            return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def _share(recipe: Mapping[str, Any]) -> tuple[Any, ...]:
    """What settles which labels are learned from."""
    folds = tuple(recipe.get("train_folds", ()))
    return (folds, *(recipe.get(name) for name in ("label_fraction", "seed", "stratified")))


class _Training(Objective):
    """Augmentation, both passes and the summed loss, as one module for the engine to wrap."""

    mixes: Tensor

    def __init__(
        self,
        model: CLEARHUG,
        masks: MaskedCLEAR,
        labels: NDArray[np.float32],
        intervals: NDArray[np.float32],
        targets: tuple[str, ...],
        recipe: FinetuneConfig,
    ) -> None:
        super().__init__()
        self.model, self.masks, self.recipe = model, masks, recipe
        self.labels, self.intervals = labels, intervals
        self.average: Average = Average(model, recipe.average)
        self.targets = targets
        mixes = [not target.startswith("rhythm/") for target in targets]  # time stays a record's own
        self.register_buffer("mixes", torch.tensor(mixes), persistent=False)
        still = recipe.augment.off and not recipe.steady and not recipe.additive
        self.once = recipe.frozen and still  # each record is encoded once
        self.kept: dict[int, tuple[Tensor, ...]] = {}  # of each, its lead tokens and scales
        self.like: Encoded | None = None

    def train(self, mode: bool = True) -> _Training:
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

    def _encoded_once(self, batch: Batch) -> Encoded:
        """As `CLEARHUG.encode`, the frozen encoder's part of it kept from the first time on."""
        rows = batch.rows.tolist()
        if new := [k for k, row in enumerate(rows) if row not in self.kept]:
            with torch.no_grad():
                beats = batch.beats.take(torch.tensor(new, device=batch.beats.values.device))
                self.like = self.model.clear.encode(beats, leads_only=True)
            of = (self.like.lead_tokens, self.like.lead_there, self.like.scale, self.like.told)
            self.kept |= {rows[k]: tuple(x[i].clone() for x in of) for i, k in enumerate(new)}
        assert self.like is not None
        kept = zip(*(self.kept[row] for row in rows), strict=True)
        tokens, there, scale, told = (torch.stack(one) for one in kept)
        encoded = replace(self.like, lead_tokens=tokens, lead_there=there, x=tokens, scale=scale, told=told)
        with torch.autocast(tokens.device.type, enabled=False):
            return replace(encoded, lead_tokens=self.model.facts(encoded, batch.beats))

    def after_step(self) -> None:
        self.average.update(self.model)


@torch.no_grad()
def mean_lead_tokens(model: CLEARHUG, data: Corpus, rows: NDArray[np.int64]) -> Tensor:
    """(12, width + N_BESIDE) mean lead token over records, each lead over the records that have it."""
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros_like(model.hug.reference)
    count = total.new_zeros(len(total), 1)
    for i in range(0, len(rows), 64):
        beats = data.beats(rows[i : i + 64]).to(device)
        encoded = model.encode(beats)
        there = encoded.lead_there[..., None].float()
        total = total + (encoded.lead_tokens * there).sum(0)
        count = count + there.sum(0)
    return total / count.clamp_min(1)


def watched(
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
        elif _rebuilds(name):
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


def _rebuilds(name: str) -> bool:
    """The parameter serves rebuilding alone."""
    return name.removeprefix("clear.").startswith(DECODER)


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
    for name in ("straight", "voltage", "qtc", "rhythm"):
        state[name] = state[name][..., rows]
    other.load_state_dict(state)
    return other.to(hug.head.weight.device)
