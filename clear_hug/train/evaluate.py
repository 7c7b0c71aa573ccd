"""evaluate: the figures of a checkpoint on folds it did not learn from, and its model card."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clear_hug.checkpoint import BASELINES, Checkpoint, folder_of, load_checkpoint, save_measured
from clear_hug.diagnosis import probabilities
from clear_hug.tasks import Task
from clear_hug.train.answers import (
    Answers,
    Kept,
    Source,
    answers,
    folds_of,
    keep_answers,
    kept_answers,
    learned_from,
    learned_labels,
    learned_rows,
    predict,
    pretrained_on,
    share_of,
)
from clear_hug.train.card import model_card
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.elsewhere import elsewhere_figures
from clear_hug.train.metrics import (
    INTERVAL_FROM,
    auroc,
    draw_weights,
    drawn_auroc,
    field_subset,
    figures,
    macro,
    mean_known,
    number,
    paired,
    with_interval,
)
from clear_hug.train.rebuilt import Judged, reconstruction_figures

COUNTED_FROM = 20  # positives in training: a label with fewer is told, and counts in no macro figure
CALIBRATION_EDGES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
AGE_EDGES = (0, 40, 60, 75, 200)  # years
Runs = Mapping[str, Source | Sequence[Source]]


def evaluate(
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    folds: tuple[int, ...] = (9,),
    baselines: dict[str, Path | list[Path]] = {},  # noqa: B006
    data_sets: tuple[str, ...] = (),
    elsewhere: bool = True,
    write: bool = False,
) -> None:
    """Print the figures of a checkpoint as its model card; with --write, keep them and the card in it.

    Args:
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        folds: that are judged: none of those that the checkpoint learned from, of a data set that it learned
            from; of any other data set all ten may be
        baselines: name to a run of `baseline`, to a checkpoint or its run, or to any model's answers in a CSV
            file (a column `record`, and one of scores a label, such as superdiagnostic/MI); several (of other
            seeds) count as their mean; when not given, the answers of those that the checkpoint keeps
        data_sets: that are judged, by the name before the / of their records; all when not given
        elsewhere: judge the corpus's records in other words than the tasks', too, by what their statements
            mean (`elsewhere.py`)
        write: keep metrics.json, the answers of the baselines and the model card in the checkpoint
    """
    opened, data = load_checkpoint(checkpoint), Corpus(corpus)
    rows = judged(opened, data, folds, data_sets)
    beside = baseline_answers(baselines or _kept(checkpoint, opened, data, rows), opened, data, rows)
    metrics = measure(opened, data, rows, beside, elsewhere)
    metrics["command"] = _command(checkpoint, corpus, folds, {} if write else baselines, data_sets, elsewhere)
    card = model_card(opened, metrics)
    print(card)
    if write:
        records = data.records.column("record")[rows].tolist()
        kept = keep_answers(beside, records, opened.targets) if beside else None
        save_measured(checkpoint, opened, card, metrics=metrics, baselines=kept)


def measure(
    opened: Checkpoint,
    data: Corpus,
    rows: NDArray[np.int64],
    beside: Mapping[str, Sequence[Answers]] = {},  # noqa: B006
    elsewhere: bool = True,
) -> dict[str, Any]:
    """Every figure of a checkpoint on the rows of `judged`, ready for metrics.json; see `evaluate`."""
    trained = learned_from(opened, data)
    positives = _positives(opened, data, trained)
    folds = sorted(set(data.fold[rows].tolist()))
    logits = predict(opened.model, data, rows)
    withheld = predict(opened.model, data, rows, told=False)
    metrics: dict[str, Any] = {
        "command": _command(opened.name, Path("corpus"), folds, {}),
        "folds": folds,
        "pretrained_on_them": bool(pretrained_on(opened, data, rows).any()),
        "data": data.digest,
        "judged": sorted(set(data.source[rows].tolist())),
        "counted_from": COUNTED_FROM,
        "tasks": {},
    }
    start = 0
    for task in opened.tasks:
        part = slice(start, start + len(task.labels))
        start = part.stop
        runs = {
            name: [replace(run, logits=run.logits[:, part]) for run in several]
            for name, several in beside.items()
        }
        metrics["tasks"][task.name] = _task_figures(
            opened, data, task, part, rows, positives, logits[:, part], withheld[:, part], runs
        )
    metrics["scale_flag"] = _scale_flag(data, opened.tasks, rows)
    metrics["unseen"] = _unseen(data, rows)
    fitted = trained if trained.size else np.flatnonzero(~np.isin(data.fold, (0, *folds)))
    metrics["reconstruction"] = reconstruction_figures([Judged(opened.model.clear, rows, fitted)], data)
    metrics["elsewhere"] = elsewhere_figures(opened, data) if elsewhere else {}
    return metrics


def judged(
    opened: Checkpoint, data: Corpus, folds: Sequence[int], data_sets: Sequence[str] = ()
) -> NDArray[np.int64]:
    """The labelled records of some folds and data sets (all when none is named) to judge a checkpoint on.

    Raises
    ------
    CorpusError : it answers no task, learned from these folds, or was chosen or calibrated on them; no record
        of them has labels of its tasks, or a data set is not there
    """
    if not opened.tasks:
        raise CorpusError(f"{opened.name} answers no task; fine-tune it first.")
    asked = np.isin(data.fold, folds) & data.labelled_for(opened.tasks)
    rows = np.flatnonzero(asked & data.of_sets(data_sets))
    if not rows.size:
        raise CorpusError(data.none_labelled(opened.tasks, folds, data_sets))
    chain = learned_labels(opened.training)
    for learned in chain:
        seen = learned.among(data, rows, (*learned.train_folds, *learned.watch_folds))
        for both, what in (
            (seen, "learned from, or was chosen on,"),
            (learned.fitted(data, rows), "was calibrated on"),
        ):
            if both.size:
                of_folds, sets = (sorted(set(of[both].tolist())) for of in (data.fold, data.data_set))
                raise CorpusError(
                    f"{opened.name} {what} folds {of_folds} of {', '.join(sets)}; judge it on others "
                    "(--folds), or on other data sets (--data_sets)."
                )
    # in a set that it learned from, folds tell what may be judged; in any other a recording of them may stand
    own = {name for learned in chain for name in learned.data_sets}
    foreign = ~np.isin(data.data_set[rows], list(own))
    elsewhere = foreign & learned_rows(chain, data)[rows]
    if elsewhere.all():
        raise CorpusError(f"{opened.name} learned all of these recordings, in other sets.")
    if elsewhere.any():
        print(
            f"{int(elsewhere.sum())} recordings are left out: {opened.name} learned from them, or was chosen "
            "or calibrated on them, in other sets.",
            file=sys.stderr,
        )
    return rows[~elsewhere]


def baseline_answers(
    baselines: Runs, opened: Checkpoint, data: Corpus, rows: NDArray[np.int64]
) -> dict[str, list[Answers]]:
    """What each baseline says of the records that `opened` is judged on, in the order of its labels.

    Raises
    ------
    CorpusError : one learned from other folds than `opened`, or has no answer to some of the records

    """
    return {
        name: [_predicted(name, run, opened, data, rows) for run in _several(runs)]
        for name, runs in baselines.items()
    }


def _kept(checkpoint: str, opened: Checkpoint, data: Corpus, rows: NDArray[np.int64]) -> Runs:
    """The baselines whose answers the checkpoint keeps, where they are of its labels, folds and records."""
    kept = kept_answers(folder_of(checkpoint) / BASELINES)
    asked = set(data.records.column("record")[rows].tolist())
    learned, _ = folds_of(opened)

    def fits(run: Kept) -> bool:
        like_ours = set(run.train_folds or ()) == set(learned) and run.label_fraction == share_of(opened)
        same = (run.train_folds is None or like_ours) and set(opened.targets) <= set(run.targets)
        return same and asked <= set(run.records)

    if all(fits(run) for several in kept.values() for run in several):
        return kept
    print(
        f"The baselines that {opened.name} keeps learned from other folds, or did not answer all records "
        "and labels that are judged; name their runs with --baselines to see them beside it.",
        file=sys.stderr,
    )
    return {}


def _positives(opened: Checkpoint, data: Corpus, trained: NDArray[np.int64]) -> Mapping[str, int]:
    """How many positives of each label a checkpoint learned from, wherever those records are."""
    if told := opened.training.get("positives"):
        return told
    if not trained.size and (before := opened.metrics.get("tasks")):
        found = {name: row["positives_in_training"] for name, row in before.items()}
        return {f"{name}/{label}": n for name, labels in found.items() for label, n in labels.items()}
    counts = data.labels(opened.tasks, trained).sum(axis=0).astype(int)
    return dict(zip(opened.targets, counts.tolist(), strict=True))


def _several(runs: Source | Sequence[Source]) -> list[Source]:
    return list(runs) if isinstance(runs, list | tuple) else [runs]  # type: ignore[list-item]


def _command(
    name: str,
    corpus: Path,
    folds: Sequence[int],
    baselines: Runs,
    data_sets: Sequence[str] = (),
    elsewhere: bool = True,
) -> str:
    command = f"python -m clear_hug.train evaluate --checkpoint {name}"
    if Path(corpus) != Path("corpus"):
        command += f" --corpus {corpus}"
    if tuple(folds) != (9,):
        command += f" --folds '{json.dumps(list(folds))}'"
    if data_sets:
        command += f" --data_sets '{json.dumps(list(data_sets))}'"
    if not elsewhere:
        command += " --elsewhere false"
    if baselines:
        runs = {k: [str(p) for p in v] if isinstance(v, list) else str(v) for k, v in baselines.items()}
        command += f" --baselines '{json.dumps(runs)}'"
    return command


def _predicted(
    name: str,
    run: Source,
    opened: Checkpoint,
    data: Corpus,
    rows: NDArray[np.int64],
) -> Answers:
    """What a baseline that learned from the same folds says, in the checkpoint's order."""
    told = answers(run, data, rows, opened.targets)
    if (silent := np.isnan(told.logits).any(axis=1)).any():
        first = data.records[int(rows[silent][0])]["record"]
        raise CorpusError(
            f"baseline {name} has no prediction for {int(silent.sum())} records, such as {first}."
        )
    if told.train_folds is None:
        return told
    itself = np.isin(data.fold[rows], (*told.train_folds, *told.watch_folds))
    if told.learned:
        itself = learned_rows(told.learned, data)[rows]
    if itself.any():
        folds = sorted(set(data.fold[rows][itself].tolist()))
        raise CorpusError(f"baseline {name} learned from, or was chosen on, the folds {folds} themselves.")
    ours, _ = folds_of(opened)
    if ours and sorted(told.train_folds) != sorted(ours):
        raise CorpusError(
            f"baseline {name} learned from folds {list(told.train_folds)}, {opened.name} from {list(ours)}; "
            "train it on the same."
        )
    if ours and told.label_fraction != share_of(opened):
        raise CorpusError(
            f"baseline {name} learned from {100 * told.label_fraction:g} % of the labels, {opened.name} from "
            f"{100 * share_of(opened):g} %; train it on the same."
        )
    return told


def _task_figures(
    opened: Checkpoint,
    data: Corpus,
    task: Task,
    part: slice,
    rows: NDArray[np.int64],
    learned: Mapping[str, int],
    logits: NDArray[np.float32],
    withheld: NDArray[np.float32],
    runs: dict[str, list[Answers]],
) -> dict[str, Any]:
    truth = data.labels([task], rows)
    patients = data.patients[rows]
    sliced = Checkpoint(opened.model, opened.name, (task,), opened.platt[part], opened.thresholds[part])
    field = field_subset(task, truth)
    raw = data.units_known[rows]
    positives = np.array([learned.get(f"{task.name}/{label}", 0) for label in task.labels])
    counted: NDArray[np.bool_] = positives >= COUNTED_FROM

    subsets = {
        "field": (field, logits),
        "all_records": (np.ones(len(rows), dtype=bool), logits),
        "raw": (field & raw, logits),
        "raw_scale_withheld": (field & raw, withheld),
        "no_voltage": (field & ~raw, logits),
    }
    out: dict[str, Any] = {
        "positives_in_training": dict(zip(task.labels, positives.tolist(), strict=True)),
        "counted": [label for label, yes in zip(task.labels, counted, strict=True) if yes],
    }
    for key, (some, scores) in subsets.items():
        if some.any():
            p = probabilities(sliced, scores[some])
            out[key] = figures(
                scores[some], p, sliced.thresholds, truth[some], task.labels, patients[some], counted
            )
            out[key]["against"] = {
                name: paired(
                    scores[some],
                    [run.logits[some] for run in several],
                    truth[some],
                    patients[some],
                    counted,
                )
                for name, several in runs.items()
            }
    beside = out["field"].pop("against") if "field" in out else {}
    out["baselines"] = {
        name: {
            "runs": len(several),
            "how": [run.how for run in several],
            "folds_known": all(run.train_folds is not None for run in several),
            **beside[name],
        }
        for name, several in runs.items()
        if beside
    }
    out["calibration"] = _calibration(probabilities(sliced, logits)[:, counted], truth[:, counted])
    out["subgroups"] = {
        name: _subgroup(logits[some], truth[some], patients[some], counted)
        for name, members in _subgroups(data, rows).items()
        if (some := field & members).any()
    }
    return out


def _calibration(p: NDArray[np.float64], truth: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Answers of all counted labels on all records, by probability: how many, what was said, what was so."""
    bins = np.clip(np.digitize(p, CALIBRATION_EDGES) - 1, 0, len(CALIBRATION_EDGES) - 2)
    return [
        {
            "from": low,
            "to": high,
            "answers": int((bins == i).sum()),
            "said": number(p[bins == i].mean()),
            "seen": number(truth[bins == i].mean()),
        }
        for i, (low, high) in enumerate(zip(CALIBRATION_EDGES, CALIBRATION_EDGES[1:], strict=False))
        if (bins == i).any()
    ]


def _subgroups(data: Corpus, rows: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Age bands and sexes, and who has neither told."""
    age = np.array([float(data.records[i]["age"] or "nan") for i in rows])
    sex = np.array([data.records[i]["sex"] or "" for i in rows])
    bands = {
        f"{low} to {high - 1} years" if high < AGE_EDGES[-1] else f"{low} years and over": (age >= low)
        & (age < high)
        for low, high in zip(AGE_EDGES, AGE_EDGES[1:], strict=False)
    }
    return {
        **bands,
        "age not told": np.isnan(age),
        "women": sex == "F",
        "men": sex == "M",
        "sex not told": ~np.isin(sex, ("F", "M")),
    }


def _subgroup(
    logits: NDArray[np.float32],
    truth: NDArray[np.float32],
    patients: NDArray[np.str_],
    counted: NDArray[np.bool_],
) -> dict[str, Any]:
    """Macro AUROC over the counted labels that have enough positives and negatives in the subgroup."""
    positives = truth.sum(axis=0)
    some = counted & (np.minimum(positives, len(truth) - positives) >= INTERVAL_FROM)
    out: dict[str, Any] = {"records": len(truth), "labels": int(some.sum())}
    if some.any():
        draws = drawn_auroc(logits[:, some], truth[:, some], draw_weights(patients))
        out |= with_interval("macro_auroc", macro(auroc(logits[:, some], truth[:, some])), mean_known(draws))
    return out


def _scale_flag(data: Corpus, tasks: tuple[Task, ...], rows: NDArray[np.int64]) -> dict[str, float | None]:
    """AUROC of "the voltage is known" alone for each label: what the flag itself would tell."""
    out: dict[str, float | None] = {}
    for task in tasks:
        truth = data.labels([task], rows)
        flag = np.repeat(data.units_known[rows].astype(np.float64)[:, None], truth.shape[1], axis=1)
        for label, value in zip(task.labels, auroc(flag, truth), strict=True):
            out[f"{task.name}/{label}"] = number(value)
    return out


def _unseen(data: Corpus, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What of the judged records no token holds."""
    tokens = [data.tokens(int(i)) for i in rows]
    seconds = sum(t.duration for t in tokens)
    return {
        "records": len(tokens),
        "share_of_time": number(sum(t.uncovered for t in tokens) / seconds),
        "beats_dropped": sum(t.n_dropped for t in tokens),
        "records_lacking_a_lead": sum(not t.present.all() for t in tokens),
    }
