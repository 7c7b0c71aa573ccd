"""faithfulness: how far the explanations of a checkpoint may be believed, measured once and kept with it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor
from tqdm import tqdm

from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_measured
from clear_hug.diagnosis import diagnose
from clear_hug.explain import METHODS, Attribution, explain, look
from clear_hug.faithfulness import ORDERS, OTHERS, WORDS, Proof, prove, rank_correlation
from clear_hug.gradients import Gradients, integrated_gradients
from clear_hug.hug import HUG
from clear_hug.model import CLEAR, CLEARHUG
from clear_hug.removal import Game, parts_of
from clear_hug.simulate import simulate_ecg
from clear_hug.train.answers import learned_labels, learned_rows
from clear_hug.train.card import faithfulness_lines, model_card
from clear_hug.train.corpus import Corpus, CorpusError
from clear_hug.train.metrics import INTERVAL_FROM, draw_weights, mean_known, number, with_interval

VERSION = 1  # of faithfulness.json
SEED = 0
QUICK = ("hug/lead", "ablation/lead", "ablation/beat", "attention/beat", "rollout/beat")
SLOW = ("shapley/lead", "shapley/beat", "integrated_gradients/lead", "integrated_gradients/beat")
"""method/level; the slow ones are made for one record in ten. Attention is summed over the leads."""
FEWER = 10
LEAD_MAPS = ("hug/lead", "ablation/lead")  # compared between seeds of training
UNMOVED = 0.9  # mean |rank correlation| with the maps of a wholly random model: above, a map is unusable
PLANTED = 70_000  # the first seed of the simulated records
NEAR = 0.1  # s from the planted R peak
Floats = NDArray[np.float64]
Maps = dict[str, Attribution]


def faithfulness(
    checkpoint: str = "small",
    corpus: Path = Path("corpus"),
    folds: tuple[int, ...] = (9,),
    n: int = 100,
    seeds: list[Path] = [],  # noqa: B006
    write: bool = False,
) -> None:
    """Measure how far a checkpoint's explanations may be believed; with --write, keep it with them.

    Args:
        checkpoint: a shipped one's name, or a folder
        corpus: folder of prepared shards
        folds: whose records are explained, each for its most probable called label
        n: records, at most
        seeds: runs or checkpoints that differ in the seed of training alone, whose maps are compared
        write: keep faithfulness.json in the checkpoint, and tell it in the model card
    """
    opened = load_checkpoint(checkpoint)
    figures = measure(opened, Corpus(corpus), folds, n, seeds)
    print("\n".join(faithfulness_lines(figures)))
    if write:
        told = replace(opened, faithfulness=figures)
        card = model_card(told, opened.metrics) if "tasks" in opened.metrics else None
        save_measured(checkpoint, opened, card, faithfulness=figures)


def measure(
    opened: Checkpoint,
    data: Corpus,
    folds: tuple[int, ...] = (9,),
    n: int = 100,
    seeds: Sequence[Path] = (),
) -> dict[str, Any]:
    """Every figure, ready for faithfulness.json; see `faithfulness`."""
    if n < 1:
        raise CorpusError(f"n = {n}; at least one record is needed.")
    rows = np.flatnonzero(np.isin(data.fold, folds) & data.labelled_for(opened.tasks))
    if not rows.size:
        raise CorpusError(data.none_labelled(opened.tasks, folds))
    rows = np.random.default_rng(SEED).permutation(rows)[:n]
    others = [_of_seed(Path(run), opened) for run in seeds]
    if len(others) == 1:
        raise CheckpointError("one seed of training agrees with itself; name at least two in --seeds.")
    slow = -(-len(rows) // FEWER)
    records = []
    for k, row in enumerate(tqdm(rows, desc="maps", unit=" ECG")):
        tokens = data.tokens(int(row))
        records.append(_explained(opened, tokens, (*QUICK, *SLOW) if k < slow else QUICK))
    randomised = _randomised(opened, records[:slow])
    unusable = sorted({name.split("/")[0] for name, row in randomised.items() if not row["usable"]})
    proofs = _proofs(replace(opened, faithfulness={"unusable": unusable}), records)
    return {
        "version": VERSION,
        "command": _command(opened.name, folds, n, seeds),
        "checkpoint": opened.digest,
        "data": data.digest,
        "folds": list(folds),
        "learned_from_them": bool(learned_rows(learned_labels(opened.training), data)[rows].any()),
        "records": len(rows),
        "random_orders": ORDERS,
        "unmoved": UNMOVED,
        "unusable": unusable,
        "maps": {
            name: {**_summary(found, data.patients[rows[: len(found)]]), **randomised[name]}
            for name, found in proofs.items()
        },
        "seeds": _consistency(others, records, data.patients[rows]),
        "planted": _planted(opened, max(1, n // 2)),
    }


def _command(name: str, folds: tuple[int, ...], n: int, seeds: Sequence[Path]) -> str:
    command = f"python -m clear_hug.train faithfulness --checkpoint {name}"
    command += f" --folds '{json.dumps(list(folds))}' --n {n}"
    return command + (f" --seeds '{json.dumps([str(run) for run in seeds])}'" if seeds else "")


@dataclass(frozen=True, eq=False)
class Explained:
    """A record and its maps, by method/level, with the games that they share, by level."""

    tokens: BeatTokens
    target: str
    games: Mapping[str, Game]
    maps: Maps


def _explained(checkpoint: Checkpoint, tokens: BeatTokens, names: Iterable[str]) -> Explained:
    target, games = _target(checkpoint, tokens), _games(checkpoint, tokens)
    return Explained(tokens, target, games, _maps(checkpoint, tokens, target, names, games))


def _target(checkpoint: Checkpoint, tokens: BeatTokens) -> str:
    """The most probable label of those at their threshold; where none is, of all.

    The calibration's thresholds, whether operating.json lies there yet or not: it is measured later.
    """
    p = diagnose(checkpoint, tokens).probabilities
    asked = p >= checkpoint.thresholds
    return checkpoint.targets[int(np.argmax(np.where(asked | ~asked.any(), p, -1.0)))]


def _maps(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    target: str,
    names: Iterable[str],
    games: Mapping[str, Game] | None = None,
) -> Maps:
    """The named maps of one record; what several of them read is computed once."""
    games = games or _games(checkpoint, tokens)
    seen = look(checkpoint, tokens, rollout=True)
    gradients: Gradients | None = None
    found = {}
    for name in names:
        method, level = name.split("/")
        source = METHODS[method].source
        if source is Gradients and gradients is None:
            of = np.eye(len(checkpoint.targets))[checkpoint.row(target)]
            gradients = integrated_gradients(checkpoint, tokens, of)
        told = games[level] if source is Game else gradients if source is Gradients else seen
        if level in METHODS[method].levels:
            found[name] = explain(checkpoint, tokens, target, method, level, seen=told)
        else:
            found[name] = _over_leads(explain(checkpoint, tokens, target, method, "token", seen=told))
    return found


def _games(checkpoint: Checkpoint, tokens: BeatTokens) -> dict[str, Game]:
    return {level: Game(checkpoint, tokens, parts_of(tokens, level)) for level in ("lead", "beat")}


def _over_leads(weights: Attribution) -> Attribution:
    """A map of tokens as one of beats: the sum over the leads."""
    there = np.isfinite(weights.values).any(axis=0)
    values = np.where(there, np.nansum(weights.values, axis=0), np.nan)
    names = tuple(f"beat {k}" for k in range(1, len(values) + 1))
    return replace(weights, values=values, names=names, level="beat")


# Other weights, other maps


def _randomised(opened: Checkpoint, records: Sequence[Explained]) -> dict[str, dict[str, Any]]:
    """Each map held against that of a model whose weights are drawn anew, from the head down."""
    steps: dict[str, list[dict[str, Any]]] = {name: [] for name in (*QUICK, *SLOW)}
    drawn = list(_drawn_anew(opened.model))
    for k, (down_to, model) in enumerate(tqdm(drawn, desc="random weights", unit=" step")):
        names = (
            (*QUICK, *SLOW) if k == len(drawn) - 1 else QUICK
        )  # slow maps of the wholly random model alone
        other = replace(opened, model=model)
        after = [_maps(other, record.tokens, record.target, names) for record in records]
        for name in names:
            pairs = [(a.maps[name].values, b[name].values) for a, b in zip(records, after, strict=True)]
            rho = np.array([rank_correlation(a, b) for a, b in pairs])
            steps[name].append({
                "down_to": down_to,
                "correlation": number(float(mean_known(rho))),
                "absolute_correlation": number(float(mean_known(np.abs(rho)))),
                "change": number(float(np.mean([_change(a, b) for a, b in pairs]))),
            })  # fmt: skip
    return {
        name: {
            "random_weights": {"records": len(records), "steps": rows},
            "usable": (rows[-1]["absolute_correlation"] or 0.0) <= UNMOVED,
        }
        for name, rows in steps.items()
    }


def _change(a: Floats, b: Floats) -> float:
    """Norm of the difference, as a share of the first map's; 1 where that is nothing and the other is not."""
    size, moved = (float(np.linalg.norm(np.nan_to_num(x))) for x in (a, b - a))
    return moved / size if size else float(moved > 0)


def _drawn_anew(model: CLEARHUG) -> Iterator[tuple[str, CLEARHUG]]:
    """Copies of the model, with one module more drawn anew in each: HUG, its facts, the layers, the rest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        hug = HUG(model.hug.head.in_features, model.hug.head.out_features, model.hug.per_lead)
        # not learned with the rest, yet weights: none, as before they were fitted
        fresh: dict[str, Tensor] = {
            f"hug.{name}": getattr(hug, name) for name in ("voltage", "qtc", "straight")
        }
        fresh.update(CLEARHUG(CLEAR(model.clear.config), hug).named_parameters())
    layers = [(f"clear.blocks.{k}.", f"layer {k + 1}") for k in range(len(model.clear.blocks))]
    left = set(fresh)
    for start, name in [("hug.", "HUG"), ("facts.", "facts"), *layers[::-1], ("clear.", "embedding")]:
        mine = {key for key in left if key.startswith(start)}
        left -= mine
        model = copy.deepcopy(model)
        with torch.no_grad():
            for key in mine:
                model.state_dict()[key].copy_(fresh[key])
        yield name, model


# Deletion, insertion, and the word


def _proofs(checkpoint: Checkpoint, records: Sequence[Explained]) -> dict[str, list[Proof]]:
    """Map -> its proofs, of every record that has it."""
    found: dict[str, list[Proof]] = {name: [] for name in (*QUICK, *SLOW)}
    for record in tqdm(records, desc="proof", unit=" ECG"):
        for name, attribution in record.maps.items():
            level = attribution.level
            others = [record.maps[f"{m}/{level}"] for m in OTHERS if f"{m}/{level}" in record.maps]
            found[name].append(prove(checkpoint, record.tokens, attribution, record.games[level], others))
    return found


def _summary(proofs: Sequence[Proof], patients: NDArray[np.str_]) -> dict[str, Any]:
    """Mean gaps with their intervals by patient, what the map misses of the changes, and its words."""
    out: dict[str, Any] = {"records": len(proofs)}
    for side in ("deletion", "insertion"):
        gaps = np.array([getattr(proof.curves, side).gap.value for proof in proofs])
        out |= _mean(f"{side}_gap", gaps, patients)
    missed, change = (sum(getattr(proof.infidelity, key) for proof in proofs) for key in ("missed", "change"))
    out["missed"] = number(missed / change) if change else None
    out["words"] = {word: sum(proof.word == word for proof in proofs) for word in WORDS}
    return out


def _mean(name: str, values: Floats, patients: NDArray[np.str_]) -> dict[str, Any]:
    known = np.isfinite(values)
    values, patients = values[known], patients[known]
    if len(values) < INTERVAL_FROM:
        return {name: number(float(mean_known(values))), f"{name}_95": [None, None]}
    weights = draw_weights(patients)
    return with_interval(name, float(values.mean()), weights @ values / weights.sum(axis=1))


# The same training, another seed


def _of_seed(run: Path, opened: Checkpoint) -> Checkpoint:
    other = load_checkpoint(run / "checkpoint" if (run / "checkpoint").is_dir() else run)
    if other.targets != opened.targets:
        raise CheckpointError(f"{run} does not answer the labels of {opened.name}; its maps are of others.")
    return other


def _consistency(
    others: Sequence[Checkpoint], records: Sequence[Explained], patients: NDArray[np.str_]
) -> dict[str, Any]:
    """Mean rank correlation between the lead maps of every two seeds of training."""
    if not others:
        return {}
    found = {name: np.full(len(records), np.nan) for name in LEAD_MAPS}
    for k, record in enumerate(tqdm(records, desc="seeds", unit=" ECG")):
        maps = [_maps(other, record.tokens, record.target, LEAD_MAPS) for other in others]
        for name, rho in found.items():
            pairs = combinations([one[name].values for one in maps], 2)
            rho[k] = mean_known(np.array([rank_correlation(a, b) for a, b in pairs]))
    return {
        "checkpoints": [other.digest for other in others],
        "maps": {name: _mean("correlation", rho, patients) for name, rho in found.items()},
    }


# Planted truth


def _planted(opened: Checkpoint, n: int) -> dict[str, Any]:
    """Simulated records with one premature wide beat: how often it is the top beat of a map."""
    target = next((name for name in opened.targets if name.endswith("/PVC")), "")
    if not target:
        return {}
    names = [name for name in (*QUICK, *SLOW) if name.endswith("/beat")]
    hits: dict[str, list[bool]] = {name: [] for name in names}
    chance = []
    for k in tqdm(range(n), desc="planted beats", unit=" ECG"):
        seed = PLANTED + k
        rate = np.random.default_rng(seed).uniform(55, 95)
        ecg = simulate_ecg("normal", seed, heart_rate=float(rate), n_pvc=1)
        tokens = tokenize_beats(ecg)
        away = np.abs(tokens.r_peaks - ecg.truth["r_peaks"][ecg.truth["beats"][0]])
        if away.min() > NEAR:
            continue  # not found among the beats: no map can point at it
        chance.append(1 / tokens.n_beats)
        asked = names if k % FEWER == 0 else [name for name in names if name in QUICK]
        for name, attribution in _maps(opened, tokens, target, asked).items():
            top = int(np.argmax(np.nan_to_num(attribution.values, nan=-np.inf)))
            hits[name].append(top == int(away.argmin()))
    if not chance:
        return {}
    return {
        "target": target,
        "records": len(chance),
        "chance": number(float(np.mean(chance))),
        "maps": {name: _share(found) for name, found in hits.items() if found},
    }


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    """A share with Wilson's interval."""
    low, high = binomtest(sum(hits), len(hits)).proportion_ci(method="wilson")
    return {
        "records": len(hits),
        "top": number(sum(hits) / len(hits)),
        "top_95": [number(low), number(high)],
    }
