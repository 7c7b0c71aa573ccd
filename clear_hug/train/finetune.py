"""finetune: HUG on CLEAR, end to end or on a frozen encoder; CLEAR goes on rebuilding beside it.

One encoder serves both the diagnosis and the reconstruction, so the masked loss stays in the sum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clear_hug.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clear_hug.hug import HUG
from clear_hug.masked import MaskedCLEAR
from clear_hug.model import CLEAR, CLEARHUG, PRESETS
from clear_hug.tasks import Task, of_time, targets_of
from clear_hug.train.answers import FITTED, FITTED_SETS, learned_labels, learned_rows, predict
from clear_hug.train.calibration import calibrate, check_calibration, have_criteria, set_criteria
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.criteria import usual_r_and_s
from clear_hug.train.fractions import label_fraction
from clear_hug.train.intervals import N_INTERVALS, measured
from clear_hug.train.loop import EngineConfig, accelerate, epochs
from clear_hug.train.metrics import auroc, field_subset, macro
from clear_hug.train.rhythm import by_rhythm
from clear_hug.train.ridge import average_with_ridge
from clear_hug.train.run import Run, describe
from clear_hug.train.teachers import LEAST_TAUGHT, learn_from, told_by
from clear_hug.train.tuning import FinetuneConfig, Tuning, layered_groups, rebuilds


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
        init: checkpoint to start from; untrained weights of `recipe.preset` when not given
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
    tasks = data.tasks_of(recipe.tasks)
    recipe.check_planted()
    train = np.flatnonzero(np.isin(data.fold, recipe.train_folds) & data.labelled_for(tasks))
    watch = np.flatnonzero(np.isin(data.fold, recipe.watch_folds) & data.labelled_for(tasks))
    for folds, rows in ((recipe.train_folds, train), (recipe.watch_folds, watch)):
        if not rows.size and (folds or rows is train):
            raise CorpusError(data.none_labelled(tasks, folds))
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
        check_init(source, tasks, recipe, data, train, watch)
    clear = source.model.clear if source else CLEAR(PRESETS[recipe.preset])
    n_labels = sum(len(task.labels) for task in tasks)
    hug = HUG(clear.config.width, n_labels + N_INTERVALS, recipe.per_lead)
    model = CLEARHUG(clear, hug).to(accelerator.device)
    model.requires_grad_(True)
    clear.requires_grad_(not recipe.frozen)
    if not recipe.rebuild:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and not rebuilds(name))
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
    targets = targets_of(tasks)
    of_rhythm = np.flatnonzero(of_time(tasks))
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
    objective = Tuning(model, masks, labels, intervals, tasks, recipe)
    optimizer = torch.optim.AdamW(layered_groups(model, recipe), betas=(0.9, 0.98), fused=True)
    about = describe("finetune", recipe, engine, data, train, accelerator)
    about |= {"init": source.training if source else None, "init_digest": source.digest if source else None}
    about |= {"teachers": [Path(run).name for run in teachers], "pupils": int(pupils.size)}
    about["taught_by"] = told_by(teachers)
    about["data_sets"] = sorted(set(data.data_set[np.concatenate([train, watch])].tolist()))
    about["positives"] = dict(zip(targets, found.sum(axis=0).astype(int).tolist(), strict=True))
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
        for words in unstated(data, train, found, targets):
            folder.say(words)
        every = np.concatenate([train, pupils])
        if recipe.intervals > 0:
            intervals[every] = measured(data, every, accelerator)
        if objective.once:
            with accelerator.autocast():
                objective.keep(data, every)
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


def unstated(
    data: Corpus, rows: NDArray[np.int64], labels: NDArray[np.float32], targets: Sequence[str]
) -> list[str]:
    """A sentence for each data set that never states a label which another one does: it is taught as absent.

    labels : (row, label) 0/1 of some records;  targets : (label,)
    """
    of_set, some = data.data_set[rows], labels.any(axis=0)
    told = []
    for name in sorted(set(of_set.tolist())):
        never = np.flatnonzero(some & ~labels[of_set == name].any(axis=0))
        if never.size:
            which = ", ".join(targets[int(i)] for i in never)
            told.append(
                f"{name} never states {which}, which other data sets do: they count as absent there. Where "
                "it does not look for them, learn from it in a corpus of its own."
            )
    return told


def check_init(
    source: Checkpoint,
    tasks: Sequence[Task],
    recipe: FinetuneConfig,
    data: Corpus,
    train: NDArray[np.int64],
    watch: NDArray[np.int64],
) -> None:
    """Refuse to begin from what has learned labels that this run is watched on, or may not have."""
    for vocabulary in {task.vocabulary for task in tasks}:
        for before in learned_labels(source.training, vocabulary):
            known = learned_rows([replace(before, watch_folds=(), fitted_folds=())], data)
            if (both := watch[known[watch]]).size:
                folds = sorted(set(data.fold[both].tolist()))
                raise CorpusError(
                    f"{source.name} learned the labels of folds {folds}, which this run would watch."
                )
            same = set(data.data_set[train].tolist()) & before.data_sets
            if same and (theirs := before.label_fraction) > recipe.label_fraction:
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
    training, fitted, sets = dict(about), set(), set()
    if calibration and have_criteria(calibration):
        found = set_criteria(final, data, shipped, calibration, recipe.watch_folds)
        training["criteria_from"] = found.words
        fitted |= set(found.folds)
        sets |= set(data.data_set[found.rows].tolist())
    now = calibrate(final, data, shipped, watch, recipe.watch_folds, calibration)
    training |= {"calibrated_on": now.words, FITTED: sorted(fitted | set(now.folds))}
    training[FITTED_SETS] = sorted(sets | set(data.data_set[now.rows].tolist()))
    save_checkpoint(folder, final, shipped, platt=now.platt, thresholds=now.thresholds, training=training)


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
    """Macro AUROC a task on the field's subset."""
    out, start = {}, 0
    for task in tasks:
        truth = data.labels([task], rows)
        some = field_subset(task, truth)
        mine = logits[:, start : start + len(task.labels)]
        out[f"watch/{task.name}"] = macro(auroc(mine[some], truth[some]))
        start += len(task.labels)
    return out


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
