"""baseline: what our figures are held against, trained on the same records by the same rules.

"resnet": a plain 1-D ResNet on the 100 Hz trace, each lead over its own SD (no voltage: most records
at hand have none). "forest": trees over measured waves (`train/forest.py`). "random": a linear probe on the
lead tokens of a CLEAR that was never trained. "probe": the same of a checkpoint's frozen encoder.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from clear_hug.checkpoint import load_checkpoint
from clear_hug.diagnosis import computes_bf16, pick_device
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEAR, PRESETS
from clear_hug.tasks import Task, targets_of, told_of
from clear_hug.train.answers import learned_labels, learned_rows
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.criteria import evidence, usual_r_and_s, weigh_criteria
from clear_hug.train.forest import forest
from clear_hug.train.fractions import label_fraction
from clear_hug.train.loop import Average, check_finite, learning_rate, parameter_groups
from clear_hug.train.metrics import auroc, field_subset, macro
from clear_hug.train.run import git_revision
from clear_hug.train.settings import RunError, a_fraction, apart, at_least, each_once, one_of, shares

SAMPLES = 1000  # 10 s at 100 Hz
KINDS = ("resnet", "forest", "random", "probe")


@dataclass(frozen=True)
class BaselineConfig:
    """How to train a baseline.

    Args:
        kind: resnet, forest, random or probe
        tasks: label sets, learned at once
        train_folds: learned from
        watch_folds: looked at after each epoch; may be empty
        test_folds: predicted at the end
        label_fraction: share of the labelled records that are learned from, whole patients, drawn by seed
        stratified: keep the labels' shares in it; else patients are drawn at random
        epochs: passes over the records (resnet)
        batch_size: records a step (resnet)
        lr: peak learning rate (resnet)
        weight_decay: of the head's matrix (resnet), or ridge of the probe's weights (random, probe)
        amplitude: SD of the log of a factor on each lead
        shift: largest shift in time, s
        drop_lead: chance that a record loses some leads
        average: decay of the averaged weights, which are what predicts
        teach: predict the records without labels too, for `finetune --teachers`, and add there what voltage
            tells, which neither a ResNet nor a forest can see
        seed: of weights, order and augmentation
    """

    kind: str = "resnet"
    tasks: tuple[str, ...] = ("superdiagnostic",)
    train_folds: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    watch_folds: tuple[int, ...] = (8,)
    test_folds: tuple[int, ...] = (8,)
    label_fraction: float = 1.0
    stratified: bool = True
    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    amplitude: float = 0.1
    shift: float = 1.0
    drop_lead: float = 0.2
    average: float = 0.99
    teach: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(self, kind=KINDS)
        at_least(self, epochs=1, batch_size=1, lr=0, weight_decay=0, amplitude=0, shift=0, seed=0)
        shares(self, "drop_lead", "average")
        a_fraction(self.label_fraction)
        each_once(self.tasks)
        apart(train_folds=self.train_folds, watch_folds=self.watch_folds)
        apart(train_folds=self.train_folds, test_folds=self.test_folds)


class Residual(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(inputs, outputs, 7, stride, 3, bias=False),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
            nn.Conv1d(outputs, outputs, 7, 1, 3, bias=False),
            nn.BatchNorm1d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.Conv1d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm1d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.skip(x))


class ResNet(nn.Module):
    """A plain 1-D ResNet: (batch, 12, sample) at 100 Hz -> (batch, label) logits."""

    def __init__(self, n_labels: int, widths: tuple[int, ...] = (48, 64, 96, 128, 192)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(N_LEADS, widths[0], 15, 2, 7, bias=False), nn.BatchNorm1d(widths[0]), nn.ReLU()
        )
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.body = nn.Sequential(*(Residual(a, b, 2) for a, b in pairs))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * widths[-1], n_labels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        return self.head(self.dropout(torch.cat([x.mean(-1), x.amax(-1)], -1)))


def baseline(
    run: Path,
    corpus: Path = Path("corpus"),
    recipe: BaselineConfig = BaselineConfig(),  # noqa: B008
    init: str | None = None,
) -> None:
    """Train a baseline and write its logits on the test folds to <run>/predictions.npz.

    Args:
        run: folder of the run; what a baseline wrote there before is replaced
        corpus: folder of prepared shards
        recipe: how
        init: checkpoint whose frozen encoder is probed (probe), or whose size the random encoder has (random;
            else it is of the small preset)
    """
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes one trains it
    data, run = Corpus(corpus), Path(run)
    if (run / "run.json").exists() or (run / "checkpoint").exists():
        raise RunError(f"{run} holds another kind of run; name another folder.")
    if (recipe.kind == "probe" and not init) or (init and recipe.kind not in ("probe", "random")):
        raise RunError(
            "--init names the encoder that --recipe.kind probe reads, or whose size --recipe.kind random has."
        )
    tasks = list(data.tasks_of(recipe.tasks))
    rows = {
        name: np.flatnonzero(np.isin(data.fold, folds) & data.labelled_for(tasks))
        for name, folds in (
            ("train", recipe.train_folds),
            ("watch", recipe.watch_folds),
            ("test", recipe.test_folds),
        )
    }
    every = {"train": recipe.train_folds, "watch": recipe.watch_folds, "test": recipe.test_folds}
    for name, folds in every.items():
        if not rows[name].size and (folds or name == "train" or (name == "test" and not recipe.teach)):
            raise CorpusError(f"{data.none_labelled(tasks, folds)} There is nothing to {name} on.")
    judged = rows["test"]
    if recipe.teach:
        rows["test"] = np.concatenate([judged, np.flatnonzero(~data.labelled)])
    rows["train"] = label_fraction(
        rows["train"],
        data.labels(tasks, rows["train"]),
        data.patients[rows["train"]],
        recipe.label_fraction,
        recipe.seed,
        recipe.stratified,
    )
    labels = data.labels(tasks, rows["train"])
    match recipe.kind:
        case "resnet":
            predict = train_resnet(data, rows, labels, tasks, recipe)
        case "forest":
            predict = forest(data, rows["train"], labels, rows["test"], recipe.seed)
        case "random":
            torch.manual_seed(recipe.seed)
            size = load_checkpoint(init).model.clear.config if init else PRESETS["small"]
            predict = probe(CLEAR(replace(size, centres=0)), data, rows, labels, recipe.weight_decay)
        case _:
            opened = load_checkpoint(init or "")
            for before in (b for task in tasks for b in learned_labels(opened.training, task.vocabulary)):
                for which, what in (
                    (replace(before, watch_folds=(), fitted_folds=()), "learned from"),
                    (replace(before, train_folds=(), fitted_folds=()), "was watched on"),
                ):
                    if (both := judged[learned_rows([which], data)[judged]]).size:
                        among = sorted(set(data.fold[both].tolist()))
                        raise CorpusError(f"the encoder {what} folds {among}, which would be judged.")
            predict = probe(opened.model.clear, data, rows, labels, recipe.weight_decay)
    unseen = rows["test"][judged.size :]
    if recipe.teach:
        usual = usual_r_and_s(data, rows["train"])
        weights = weigh_criteria(data, rows["train"], tasks, usual)
        predict[judged.size :] += evidence(data, unseen, usual, weights)
    if not np.isfinite(predict).all():
        raise FloatingPointError(
            f"{recipe.kind} answers with numbers that are not finite; nothing is written."
        )
    names = list(targets_of(tasks))
    about = {
        **asdict(recipe),
        "records": int(rows["train"].size),
        "data_sets": sorted(set(data.data_set[np.concatenate([rows["train"], rows["watch"]])].tolist())),
        "data": data.digest,
        "labels": data.labels_digest,
        "own_tasks": told_of(tasks),
        "revision": git_revision(),
    }
    run.mkdir(parents=True, exist_ok=True)
    aside = run / ".predictions.npz"
    np.savez(
        aside,
        records=[data.records[i]["record"] for i in rows["test"]],
        targets=names,
        logits=predict,
        train_folds=np.array(recipe.train_folds, dtype=np.int64),
        watch_folds=np.array(recipe.watch_folds, dtype=np.int64),
        label_fraction=recipe.label_fraction,
        about=json.dumps(about),
    )
    aside.replace(run / "predictions.npz")
    if judged.size:
        told = _told(data, tasks, judged, predict[: judged.size])
        print(f"{recipe.kind}: {told} on folds {recipe.test_folds}")


def _told(data: Corpus, tasks: list[Task], rows: NDArray[np.int64], logits: NDArray[np.floating]) -> str:
    words, start = [], 0
    for task in tasks:
        truth = data.labels([task], rows)
        some = field_subset(task, truth)
        each = auroc(logits[some, start : start + len(task.labels)], truth[some])
        words.append(f"{task.name} macro AUROC {macro(each):.4f}")
        start += len(task.labels)
    return ", ".join(words)


def _traces(data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(record, 12, 1000): each lead over its SD, cut or padded with zeros to 10 s."""
    out = np.zeros((len(rows), N_LEADS, SAMPLES), dtype=np.float32)
    for k, i in enumerate(rows):
        trace = data.trace(int(i))[:, :SAMPLES]
        sd = trace.std(axis=1, keepdims=True)
        out[k, :, : trace.shape[1]] = trace / np.where(sd > 0, sd, 1)
    return out


def train_resnet(
    data: Corpus,
    rows: dict[str, NDArray[np.int64]],
    labels: NDArray[np.float32],
    tasks: list,
    r: BaselineConfig,
) -> NDArray[np.float32]:
    """(test row, label) logits of a ResNet learned from rows["train"], watched on rows["watch"]."""
    torch.manual_seed(r.seed)
    rng = np.random.default_rng(r.seed)
    device = pick_device()
    x, y = torch.from_numpy(_traces(data, rows["train"])).to(device), torch.from_numpy(labels).to(device)
    model = ResNet(labels.shape[1]).to(device)
    average_of = ResNet(labels.shape[1]).to(device)
    optimizer = torch.optim.AdamW(parameter_groups(model, r.weight_decay), lr=r.lr)
    kept = Average(model, r.average)
    steps_an_epoch = -(-len(x) // r.batch_size)
    fast = computes_bf16(device)
    step = 0
    for epoch in tqdm(range(r.epochs), desc="resnet", unit=" epoch"):
        model.train()
        for some in np.array_split(rng.permutation(len(x)), steps_an_epoch):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, r.epochs * steps_an_epoch, r.lr, steps_an_epoch)
            rows_now = torch.from_numpy(some).to(device)
            now = _augment(x[rows_now], r)
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                logits = model(now)
            loss = F.binary_cross_entropy_with_logits(logits.float(), y[rows_now])
            check_finite(float(loss.detach()), step, rows["train"][some], data)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            kept.update(model)
            step += 1
        if rows["watch"].size:
            average_of.load_state_dict(kept.weights)
            told = _told(data, tasks, rows["watch"], _logits(average_of, data, rows["watch"]))
            tqdm.write(f"epoch {epoch + 1}: watch {told}")
    average_of.load_state_dict(kept.weights)
    return _logits(average_of, data, rows["test"])


def _augment(x: Tensor, r: BaselineConfig) -> Tensor:
    """Drawn on the CPU, the same whatever the device of (batch, 12, sample) x."""
    batch, _, n = x.shape
    x = x * (r.amplitude * torch.randn(batch, N_LEADS, 1).to(x.device)).exp()
    loses = torch.rand(batch, 1, 1) < r.drop_lead
    lost = loses & (torch.rand(batch, N_LEADS, 1) < 0.5 * torch.rand(batch, 1, 1))
    shift = torch.randint(-int(100 * r.shift), int(100 * r.shift) + 1, (batch, 1, 1))
    rolled = ((torch.arange(n) - shift) % n).to(x.device)
    return (x * ~lost.to(x.device)).gather(-1, rolled.expand(x.shape))


@torch.inference_mode()
def _logits(model: ResNet, data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(row, label); the traces of 128 records at a time, however many there are."""
    model.eval()
    device = model.head.weight.device
    out = [np.empty((0, model.head.out_features), np.float32)]
    for i in range(0, len(rows), 128):
        x = torch.from_numpy(_traces(data, rows[i : i + 128])).to(device)
        out.append(model(x).float().cpu().numpy())
    return np.concatenate(out)


def probe(
    clear: CLEAR,
    data: Corpus,
    rows: dict[str, NDArray[np.int64]],
    labels: NDArray[np.float32],
    ridge: float,
) -> NDArray[np.float32]:
    """(test row, label) logits of a linear probe on the lead tokens of a frozen encoder."""
    clear = clear.to(pick_device()).eval()
    train, test = (lead_token_features(clear, data, rows[name]) for name in ("train", "test"))
    weight, bias = linear_probe(train, torch.from_numpy(labels).to(train.device), ridge)
    return (test @ weight.T + bias).cpu().numpy()


@torch.inference_mode()
def lead_token_features(clear: CLEAR, data: Corpus, rows: NDArray[np.int64]) -> Tensor:
    """(row, 12 * width) lead tokens of a frozen encoder, zero where a lead is absent."""
    clear.eval()
    device = clear.summary.device
    parts = []
    for i in range(0, len(rows), 64):
        encoded = clear.encode(data.beats(rows[i : i + 64]).to(device))
        parts.append((encoded.lead_tokens * encoded.lead_there[..., None]).flatten(1))
    return torch.cat(parts).clone()


def linear_probe(features: Tensor, labels: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weight (label, feature) and bias (label,) of a logistic regression, ridge on standardised features."""
    mean, sd = features.mean(0), features.std(0).clamp_min(1e-6)
    x = (features - mean) / sd
    probe = nn.Linear(x.shape[1], labels.shape[1]).to(x.device)
    nn.init.zeros_(probe.weight)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(probe(x), labels) + ridge * (probe.weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight = probe.weight.detach() / sd
    return weight, probe.bias.detach() - weight @ mean
