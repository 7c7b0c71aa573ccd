"""What a run answers for records of a corpus: by its checkpoint, or as it was kept in a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from clear_hug.beats import split_windows
from clear_hug.checkpoint import Checkpoint, load_checkpoint
from clear_hug.diagnosis import collate, pick_device
from clear_hug.model import CLEARHUG
from clear_hug.tasks import TASKS, Task, alike, own_tasks, vocabulary_of
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.fractions import label_fraction

FITTED = "fitted_folds"
"""Of a checkpoint's `training`: the folds that its Platt maps, thresholds and criteria were fitted on."""
FITTED_SETS = "fitted_data_sets"
"""The same: the data sets of these folds."""
PUBLISHED = {"ptbxl": "SCP", "csn": "SNOMED", "cpsc2018": "SNOMED"}
"""Data sets whose records bear these names whatever their folder's, and what their labels are told in."""


def predict(
    model: CLEARHUG, data: Corpus, rows: NDArray[np.int64], batch_size: int = 64, told: bool = True
) -> NDArray[np.float32]:
    """(row, label) logits, the mean over each record's windows, in fp32.

    told : whether the lead scale is told where it is known
    """
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


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits of a run, and the folds that it learned from and was watched on.

    logits : (row, label), NaN for records that the run kept no answer for
    train_folds : None where it is not known what it learned from
    label_fraction : of the labels of its folds that it learned from
    learned : what it tells of the labels that it learned; () where it does not
    how : what made them, in a few words, "" where it is not known
    """

    logits: NDArray[np.float32]
    train_folds: tuple[int, ...] | None
    watch_folds: tuple[int, ...]
    label_fraction: float = 1.0
    learned: tuple[Learned, ...] = ()
    how: str = ""


@dataclass(frozen=True, eq=False)
class Kept:
    """Answers of a run as they lie in a file.

    name : of the run, for sentences;  logits : (record, label);  records, targets : what the axes stand for
    how : what made them, in a few words;  learned : as of `Answers`
    train_folds : None where it is not known what it learned from
    own : the label sets of one's own that it learned, where that is told
    """

    name: str
    records: tuple[str, ...]
    targets: tuple[str, ...]
    logits: NDArray[np.float32]
    train_folds: tuple[int, ...] | None
    watch_folds: tuple[int, ...]
    label_fraction: float = 1.0
    how: str = ""
    learned: tuple[Learned, ...] = ()
    own: tuple[Task, ...] = ()


Source = Path | Kept


def answers(run: Source, data: Corpus, rows: NDArray[np.int64], targets: Sequence[str]) -> Answers:
    """What `run` (of `baseline` or `finetune`, a checkpoint, a table, or kept) says of `rows` for `targets`.

    Raises
    ------
    CorpusError : it holds no answers, not its folds, or not all targets; a label set of one's own that it
        learned is another one in `data`

    """
    kept = (
        run if isinstance(run, Kept) else _table(run, targets) if run.suffix == ".csv" else _predictions(run)
    )
    learned: tuple[Learned, ...] = ()
    if kept:
        name, names = kept.name, kept.targets
        folds: tuple[tuple[int, ...] | None, tuple[int, ...]] = (kept.train_folds, kept.watch_folds)
        share, how, learned = kept.label_fraction, kept.how, kept.learned
        _check_own(name, kept.own, data)
        place = {record: k for k, record in enumerate(kept.records)}
        at = np.array([place.get(data.records[i]["record"], -1) for i in rows], dtype=np.int64)
        logits = np.where(at[:, None] >= 0, kept.logits[at], np.nan).astype(np.float32)
    else:
        assert isinstance(run, Path)
        opened = load_checkpoint(run / "checkpoint" if (run / "checkpoint").is_dir() else run)
        name, names, folds = str(run), opened.targets, folds_of(opened)
        share, how = share_of(opened), _how("finetune", opened.training.get("config", {}))
        learned = tuple(learned_labels(opened.training))
        _check_own(name, opened.tasks, data)
        logits = predict(opened.model.to(pick_device()), data, rows)
    if missing := [target for target in targets if target not in names]:
        raise CorpusError(f"{name} does not answer {', '.join(missing)}; train it on the same tasks.")
    return Answers(logits[:, [names.index(target) for target in targets]], *folds, share, learned, how)


def _check_own(run: str, tasks: Sequence[Task], data: Corpus) -> None:
    """Refuse answers to other labels of the same names."""
    if other := [task.name for task in tasks if not alike(data.tasks.get(task.name, task), task)]:
        raise CorpusError(
            f"{run} learned another label set {other[0]} than that of the corpus, whose labels are called or "
            "mean otherwise; train it on the same."
        )


def _table(path: Path, asked: Sequence[str]) -> Kept:
    """Answers of any model in a CSV file; what it learned from is not known.

    A column `record`, as `prepare` names records, and a column a target, such as superdiagnostic/MI: logits,
    probabilities or any other score that is higher the more probable the label. Others are not read.
    asked : targets that may be of a label set of one's own

    Raises
    ------
    CorpusError : no such columns, a record twice, or a score that is no number, by line
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            names = list(reader.fieldnames or ())
            known = (name for name in names if name.split("/")[0] in TASKS and "/" in name)
            targets = tuple(dict.fromkeys((*known, *(name for name in names if name in asked))))
            if "record" not in names or not targets:
                raise CorpusError(
                    f"{path}: expected a column record and a column a label, such as superdiagnostic/MI."
                )
            found: dict[str, list[float]] = {}
            for row in reader:
                line = f"{path}, line {reader.line_num}"
                if row["record"] in found:
                    raise CorpusError(f"{line}: {row['record']} stands twice; keep one row a record.")
                found[row["record"]] = [_score(line, target, row[target]) for target in targets]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} cannot be read: {error}.") from error
    scores = np.array(list(found.values()), np.float32).reshape(-1, len(targets))
    return Kept(path.name, tuple(found), targets, scores, None, ())


def _score(line: str, target: str, cell: Any) -> float:
    try:
        score = float(cell)
    except (TypeError, ValueError):
        score = float("nan")
    if not np.isfinite(score):
        raise CorpusError(f"{line}: {target} is {cell!r}; expected a number.")
    return score


def _predictions(run: Path) -> Kept | None:
    """What `baseline` kept in the folder of its run, if it is one's."""
    path = run / "predictions.npz"
    if not path.exists():
        return None
    try:
        with np.load(path) as saved:
            about = json.loads(str(saved["about"])) if "about" in saved else {}
            return Kept(
                name=str(run),
                records=tuple(saved["records"].tolist()),
                targets=tuple(saved["targets"].tolist()),
                logits=saved["logits"],
                train_folds=tuple(saved["train_folds"].tolist()),
                watch_folds=tuple(saved["watch_folds"].tolist()),
                label_fraction=float(saved["label_fraction"]) if "label_fraction" in saved else 1.0,
                how=_how("baseline", about),
                learned=(learned_of(about),) if "data_sets" in about else (),
                own=tuple(own_tasks(about["own_tasks"]).values()) if about.get("own_tasks") else (),
            )
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise CorpusError(f"{path} cannot be read ({error}); run `baseline` again.") from error


def _how(command: str, recipe: Mapping[str, Any]) -> str:
    """A run in a few words, from its recipe."""
    kind = recipe.get("kind", command)
    passes = f", {recipe['epochs']} epochs" if "epochs" in recipe and kind in (command, "resnet") else ""
    return f"{kind}{passes}, seed {recipe['seed']}" if "seed" in recipe else ""


def keep_answers(
    runs: Mapping[str, Sequence[Answers]], records: Sequence[str], targets: Sequence[str]
) -> bytes:
    """A safetensors file of what runs answered for the same records; `kept_answers` reads it.

    runs : name of a baseline to its runs
    """
    tensors: dict[str, NDArray[np.float32]] = {}
    told: list[dict[str, Any]] = []
    for name, several in runs.items():
        for run in several:
            tensors[str(len(told))] = np.ascontiguousarray(run.logits, dtype=np.float32)
            told.append(
                {
                    "name": name,
                    "train_folds": run.train_folds,
                    "watch_folds": run.watch_folds,
                    "label_fraction": run.label_fraction,
                    "how": run.how,
                }
            )
    about = {"records": list(records), "targets": list(targets), "runs": told}
    return save(tensors, {key: json.dumps(value) for key, value in about.items()})


def kept_answers(path: Path) -> dict[str, list[Kept]]:
    """Name of a baseline to what its runs answered, from a file of `keep_answers`; empty without the file.

    Raises
    ------
    CorpusError : the file cannot be read

    """
    if not path.exists():
        return {}
    out: dict[str, list[Kept]] = {}
    try:
        with safe_open(path, "numpy") as file:
            about = {key: json.loads(value) for key, value in file.metadata().items()}
            records, targets = tuple(about["records"]), tuple(about["targets"])
            for i, run in enumerate(about["runs"]):
                logits = file.get_tensor(str(i))
                if logits.shape != (len(records), len(targets)):
                    raise ValueError(f"run {i} has {logits.shape} logits")
                kept = Kept(
                    f"{path.name}, {run['name']}",
                    records,
                    targets,
                    logits,
                    None if run["train_folds"] is None else tuple(run["train_folds"]),
                    tuple(run["watch_folds"]),
                    run.get("label_fraction", 1.0),
                    run.get("how", ""),
                )
                out.setdefault(run["name"], []).append(kept)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise CorpusError(f"{path} cannot be read ({error}); name runs with --baselines.") from error
    return out


def folds_of(checkpoint: Checkpoint) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The folds that a checkpoint learned its labels from, and those that it was watched on."""
    recipe = checkpoint.training.get("config", {})
    return tuple(recipe.get("train_folds", ())), tuple(recipe.get("watch_folds", ()))


def share_of(checkpoint: Checkpoint) -> float:
    """The share of the labels of its folds that it learned from."""
    return float(checkpoint.training.get("config", {}).get("label_fraction", 1.0))


def of_share(checkpoint: Checkpoint, data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of labelled records (row,) those that belong to a checkpoint's share of the labels."""
    share, recipe = share_of(checkpoint), checkpoint.training.get("config", {})
    if share == 1 or not rows.size:
        return rows
    learned = data.tasks_of(recipe["tasks"])  # drawn over all of these, whatever ships
    labels, patients = data.labels(learned, rows), data.patients[rows]
    return label_fraction(rows, labels, patients, share, recipe["seed"], recipe["stratified"])


@dataclass(frozen=True)
class Learned:
    """Which labels a checkpoint, one that it began from, or a teacher of theirs learned.

    vocabulary : that they are told in
    data_sets : that they are of, as `Corpus.data_set` names them
    train_folds, watch_folds : of these
    label_fraction : of the labels of its folds
    fitted_sets, fitted_folds : that Platt maps, thresholds and criteria were fitted on
    """

    vocabulary: str
    data_sets: frozenset[str]
    train_folds: tuple[int, ...]
    watch_folds: tuple[int, ...]
    label_fraction: float = 1.0
    fitted_sets: frozenset[str] = frozenset()
    fitted_folds: tuple[int, ...] = ()

    def among(self, data: Corpus, rows: NDArray[np.int64], folds: Sequence[int]) -> NDArray[np.int64]:
        """Of some records (row,) of a corpus those of its words, its data sets and some folds."""
        return self._of(data, rows, self.data_sets, folds)

    def fitted(self, data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of some records those that it was calibrated on."""
        return self._of(data, rows, self.fitted_sets, self.fitted_folds)

    def _of(
        self, data: Corpus, rows: NDArray[np.int64], data_sets: frozenset[str], folds: Sequence[int]
    ) -> NDArray[np.int64]:
        rows = np.asarray(rows)
        some = np.isin(data.data_set[rows], list(data_sets)) & np.isin(data.fold[rows], folds)
        return rows[some & (data.vocabulary[rows] == self.vocabulary)]


def learned_labels(training: Mapping[str, Any], vocabulary: str | None = None) -> list[Learned]:
    """What a checkpoint, its teachers and those it began from learned of labels, its own first.

    vocabulary : that the labels are told in; any when not given
    """
    recipe = training.get("config", {})
    words = set(map(vocabulary_of, recipe.get("tasks", ())))
    mine = []
    for word in sorted(words if vocabulary is None else words & {vocabulary}):
        # a checkpoint of before 0.18 tells of shards alone, which need not bear the names of their sets
        sets = frozenset(training.get("data_sets") or (*training.get("sources", ()), *PUBLISHED))
        mine += [
            Learned(
                word,
                sets,
                tuple(recipe.get("train_folds", ())),
                tuple(recipe.get("watch_folds", ())),
                float(recipe.get("label_fraction", 1.0)),
                frozenset(training.get(FITTED_SETS) or sets),
                tuple(training.get(FITTED, ())),
            ),
            *(learned_of(told) for told in training.get("taught_by", ())),
        ]
    before = training.get("init")
    return mine + (learned_labels(before, vocabulary) if before else [])


def learned_of(told: Mapping[str, Any]) -> Learned:
    """As `taught_by` of a checkpoint or a baseline tells of its run."""
    return Learned(
        vocabulary_of(told["tasks"][0]) if "tasks" in told else told["vocabulary"],
        frozenset(told["data_sets"]),
        tuple(told["train_folds"]),
        tuple(told.get("watch_folds", ())),
    )


def learned_rows(chain: Sequence[Learned], data: Corpus) -> NDArray[np.bool_]:
    """(record,) True where the labels of a recording were learned, watched or calibrated on.

    Wherever it stands: known by its trace, or as a record of PTB-XL or CSN in the challenges by its name.
    Where the corpus does not hold such a record under its own name, it may have been learned, and counts.
    """
    every, mask = np.arange(len(data)), np.zeros(len(data), dtype=bool)
    there = data.records.rows_of(data.in_challenges.values())
    for one in chain:
        folds = (*one.train_folds, *one.watch_folds)
        mask[one.among(data, every, folds)] = True
        mask[one.fitted(data, every)] = True
        for row, name in data.in_challenges.items():
            if PUBLISHED[name.split("/")[0]] != one.vocabulary:
                continue
            of = {
                *(folds if name.split("/")[0] in one.data_sets else ()),
                *(one.fitted_folds if name.split("/")[0] in one.fitted_sets else ()),
            }
            mask[row] |= bool(of) and (name not in there or int(data.fold[row]) in of)
    return mask | np.isin(data.recording, data.recording[mask])


def pretraining(training: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a checkpoint's `training` tells of the pre-training of its encoder, the first run first."""
    before = training.get("init")
    if not before:
        return []
    return pretraining(before) + ([before] if before.get("stage") == "pretrain" else [])


def pretrained_on(opened: Checkpoint, data: Corpus, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(row,) True for a record whose signal a checkpoint was pre-trained on."""
    stages = pretraining(opened.training)
    stages += [opened.training["decoder"]] if "decoder" in opened.training else []
    seen = np.zeros(len(rows), dtype=bool)
    for stage in stages:
        of = np.isin(data.source[rows], stage["sources"]) if "sources" in stage else True
        seen |= of & ~np.isin(data.fold[rows], stage["config"]["leave_out_folds"])
    return seen


def learned_from(opened: Checkpoint, data: Corpus) -> NDArray[np.int64]:
    """The labelled records that a checkpoint was fine-tuned on: of its folds, its share of the labels."""
    for own in learned_labels(opened.training, opened.tasks[0].vocabulary)[:1]:
        rows = own.among(data, np.flatnonzero(data.labelled_for(opened.tasks)), own.train_folds)
        return of_share(opened, data, rows)
    return np.array([], dtype=np.int64)


def learned_by(run: Path) -> tuple[Learned, ...]:
    """What a run of `baseline` or `finetune`, or a checkpoint, tells of the labels that it learned."""
    if kept := _predictions(run):
        return kept.learned
    return tuple(learned_labels(load_checkpoint(run).training))
