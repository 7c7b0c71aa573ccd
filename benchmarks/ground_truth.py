"""Explanations against what is known: `python -m benchmarks.ground_truth {simulated,real,infarction} --help`.

simulated: a change is planted in a record, and the record with it is held against the record without.
Where the change moved the label's probability by 0.1 or more, the changed beat should be the top beat and
the changed leads the top leads. real: records labelled PVC, whose ectopic beats are told by RR and shape
(`measure_beats`), explained by models that had not learned from their labels. infarction: which leads carry
the evidence for inferior and for anterior infarction, by the same models. Every rate with its 95 % Wilson
interval, and what chance alone would give.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli
from scipy.stats import binomtest

from clear_hug.beats import BeatTokens, tokenize_beats
from clear_hug.checkpoint import DEFAULT, Checkpoint, load_checkpoint
from clear_hug.diagnosis import diagnose
from clear_hug.ecg import ECG
from clear_hug.explain import explain
from clear_hug.io import read_ecg
from clear_hug.leads import LEADS, N_LEADS
from clear_hug.measure import measure_beats
from clear_hug.simulate import simulate_ecg
from clear_hug.tasks import TASKS
from clear_hug.train.answers import folds_of
from clear_hug.train.corpus import Corpus
from clear_hug.train.metrics import draw_weights, interval

PVC = "form/PVC"
MOVED = 0.1  # of the probability: a smaller move need not be explained
TOP = 3  # leads
NEAR = 0.1  # s; a mark this near to a planted R peak is its beat
SAYS = {"premature beat": PVC, "ST elevation": "form/STE_", "low voltage": "form/LVOLT"}
"""Planted change -> the label that speaks of it."""
KINDS = tuple(SAYS)
TURN = (*KINDS[:2], *KINDS)  # of five records two have a premature beat and two ST elevation
CONTIGUOUS = (
    ("V1", "V2", "V3"), ("V2", "V3", "V4"), ("V3", "V4", "V5"), ("V4", "V5", "V6"),
    ("II", "III", "aVF"), ("I", "aVL"),
)  # fmt: skip
INFERIOR, ANTERIOR = ("II", "III", "aVF"), ("V1", "V2", "V3", "V4")
BEAT_MAPS = ("shapley/beat", "ablation/beat")
LEAD_MAPS = ("hug/lead", "ablation/lead")
RUNS = tuple(Path("runs") / name for name in ("choice", "cv12", "cv34", "cv56"))


@dataclass(frozen=True)
class Rate:
    """Hits in n; chance: what a map without knowledge would hit, on average."""

    hits: int
    n: int
    chance: float = math.nan

    @property
    def value(self) -> float:
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson, 95 %."""
        if not self.n:
            return math.nan, math.nan
        found = binomtest(self.hits, self.n).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        low, high = self.interval
        chance = "" if math.isnan(self.chance) else f"; chance {self.chance:.3f}"
        return f"{self.value:.3f} ({low:.3f} to {high:.3f}), {self.hits} of {self.n}{chance}"


def rate_of(hits: Sequence[bool], chances: Sequence[float] | None = None) -> Rate:
    """The rate of a list of hits and misses, each with its chance."""
    return Rate(sum(hits), len(hits), float(np.mean(chances)) if chances else math.nan)


# Simulated


@dataclass(frozen=True, eq=False)
class Planted:
    """A record with a change and the same record without it.

    beats : indices of the changed R peaks in truth;  leads : names;  each empty where all are changed alike
    """

    kind: str
    plain: ECG
    changed: ECG

    @property
    def beats(self) -> tuple[int, ...]:
        beats: tuple[int, ...] = self.changed.truth["beats"]
        return beats

    @property
    def leads(self) -> tuple[str, ...]:
        leads: tuple[str, ...] = self.changed.truth["leads"]
        return leads


def planted(seed: int, n: int) -> Iterator[Planted]:
    """n records, the kinds of change in turn; heart, rate, noise and change drawn from the seed."""
    rng = np.random.default_rng(seed)
    for k in range(n):
        kind = TURN[k % len(TURN)]
        heart: dict[str, Any] = {
            "seed": int(rng.integers(2**31)),
            "heart_rate": rng.uniform(55, 95),
            "rr_sd": rng.uniform(0.01, 0.05),
            "axis": rng.uniform(-40, 40),
            "gain": rng.uniform(0.7, 1.3),
            "noise_mv": rng.uniform(0.004, 0.02),
            "wander_mv": rng.uniform(0.005, 0.05),
        }
        yield Planted(kind, simulate_ecg(**heart), simulate_ecg(**heart, **_change(kind, rng)))


def _change(kind: str, rng: np.random.Generator) -> dict[str, Any]:
    if kind == "premature beat":
        return {
            "n_pvc": int(rng.integers(1, 4)),
            "pvc_axis": rng.uniform(-150, 60),
            "pvc_width": rng.uniform(0.7, 1.25),
        }
    if kind == "ST elevation":
        leads = CONTIGUOUS[rng.integers(len(CONTIGUOUS))]
        return {"st_elevation": dict.fromkeys(leads, rng.uniform(0.15, 0.4))}
    return {"lead_gain": {LEADS[rng.integers(N_LEADS)]: rng.uniform(0.1, 0.3)}}


@dataclass(frozen=True)
class Case:
    """What one planted change did, and how far each map saw it.

    move : of the label's probability;  target : the label
    hits : map -> the top beat is a changed one, or the top three leads are changed ones
    chance : of such a hit;  unseen : planted beats that got no R mark
    """

    kind: str
    target: str
    move: float
    hits: dict[str, bool]
    chance: float
    unseen: int


def cases(
    checkpoint: Checkpoint,
    records: Iterable[Planted],
    beat_maps: Sequence[str] = BEAT_MAPS,
    lead_maps: Sequence[str] = LEAD_MAPS,
) -> Iterator[Case]:
    """Each planted change and what the maps say of it; no map is asked where the answer hardly moved."""
    for record in records:
        plain, changed = (tokenize_beats(ecg) for ecg in (record.plain, record.changed))
        moves = diagnose(checkpoint, changed).probabilities - diagnose(checkpoint, plain).probabilities
        row = checkpoint.row(SAYS[record.kind])
        target, move = checkpoint.targets[row], float(moves[row])
        there = _marked(changed, record) if record.beats else np.isin(LEADS, record.leads)
        hits = {}
        if abs(move) >= MOVED and record.beats:
            for name in beat_maps:
                hits[name] = bool(there[top_beat(checkpoint, changed, target, name, np.sign(move))])
        elif abs(move) >= MOVED:
            for name in lead_maps:
                method, level = name.split("/")
                now, before = (
                    np.nan_to_num(explain(checkpoint, tokens, target, method, level).values)
                    for tokens in (changed, plain)
                )
                for what, values in ((name, now), (f"{name} less the map without", now - before)):
                    top = np.argsort(-np.sign(move) * values, kind="stable")[:TOP]
                    hits[what] = int(there[top].sum()) == min(TOP, int(there.sum()))
        unseen = len(record.beats) - int(there.sum()) if record.beats else 0
        chance = float(there.mean()) if record.beats else chance_of_leads(int(there.sum()))
        yield Case(record.kind, target, move, hits, chance, unseen)


def _marked(tokens: BeatTokens, record: Planted) -> np.ndarray:
    """(beat,) True where the mark is that of a planted premature beat."""
    planted_at = record.changed.truth["r_peaks"][list(record.beats)]
    there: np.ndarray = (np.abs(tokens.r_peaks[:, None] - planted_at) <= NEAR).any(axis=1)
    return there


def chance_of_leads(changed: int) -> float:
    """That of three leads drawn blindly as many as can be are changed ones."""
    ways = math.comb(changed, TOP) if changed >= TOP else math.comb(N_LEADS - changed, TOP - changed)
    return ways / math.comb(N_LEADS, TOP)


def top_beat(checkpoint: Checkpoint, tokens: BeatTokens, target: str, name: str, sign: float = 1.0) -> int:
    """The beat that speaks most for the label (sign 1) or against it; a token map is summed over leads."""
    method, level = name.split("/")
    values = sign * explain(checkpoint, tokens, target, method, level).values
    if level == "token":
        values = np.where(np.isnan(values).all(axis=0), np.nan, np.nansum(values, axis=0))
    return int(np.nanargmax(values))


def simulated(
    checkpoint: str = DEFAULT,
    n: int = 200,
    seed: int = 20251125,
    beat_maps: tuple[str, ...] = BEAT_MAPS,
    lead_maps: tuple[str, ...] = LEAD_MAPS,
) -> None:
    """Planted changes: was the answer moved, and did the maps see by what?

    Args:
        checkpoint: a name or a folder
        n: records
        seed: that the changes are drawn from; tests use others
        beat_maps: method/level, level beat or token; "shapley/beat" takes a second or two a record
        lead_maps: method/level lead, each as it is and less that of the record without the change
    """
    found = list(cases(load_checkpoint(checkpoint), planted(seed, n), beat_maps, lead_maps))
    for line in lines(found):
        print(line)


def lines(found: Sequence[Case]) -> Iterator[str]:
    """The figures of `simulated`, for reading."""
    yield f"{len(found)} simulated records: the probability moved by {MOVED} or more in {moved(found)}"
    for kind in KINDS:
        some = [case for case in found if case.kind == kind]
        if not some:
            continue
        sizes = np.abs([case.move for case in some])
        yield f"{kind}: moved in {moved(some)}; median move {np.median(sizes):.3f}"
        if unseen := sum(case.unseen for case in some):
            yield f"  {unseen} planted beats got no R mark"
        what = "top beat is a changed one" if kind == KINDS[0] else "top leads are the changed ones"
        for name, rate in seen(some).items():
            yield f"  {what}, {name}: {rate}"


def moved(found: Sequence[Case]) -> Rate:
    """In how many records the answer moved."""
    return rate_of([abs(case.move) >= MOVED for case in found])


def seen(found: Sequence[Case]) -> dict[str, Rate]:
    """map -> how often it saw the change, of the records in which the answer moved."""
    asked = [case for case in found if case.hits]
    names = list(dict.fromkeys(name for case in asked for name in case.hits))
    return {
        name: rate_of(
            [case.hits[name] for case in asked if name in case.hits],
            [case.chance for case in asked if name in case.hits],
        )
        for name in names
    }


# Real


@dataclass(frozen=True)
class Real:
    """Top beats of real records: map -> rate, and how many records have no ectopic beat by RR and shape."""

    rates: dict[str, Rate]
    records: int
    without: int


def out_of_fold(runs: Sequence[Path], data: Corpus) -> Iterator[tuple[Checkpoint, np.ndarray]]:
    """The checkpoint of each run, and the rows of the folds that it was watched on and did not learn."""
    for run in runs:
        checkpoint = load_checkpoint(run / "checkpoint")
        learned, watched = folds_of(checkpoint)
        if not watched or set(learned) & set(watched) or 9 in watched:
            raise SystemExit(f"{run} learned from folds {learned} and was watched on {watched}.")
        yield checkpoint, np.flatnonzero(np.isin(data.fold, watched))


def labelled(data: Corpus, rows: np.ndarray, target: str) -> np.ndarray:
    """(row,) True where the record carries the label."""
    task, label = target.split("/")
    told = data.labelled_for([TASKS[task]])[rows]
    out = np.zeros(len(rows), dtype=bool)
    column = data.labels([TASKS[task]], rows[told])[:, TASKS[task].labels.index(label)]
    out[told] = column > 0
    return out


def pvc_records(runs: Sequence[Path], data: Corpus) -> Iterator[tuple[Checkpoint, BeatTokens]]:
    for checkpoint, rows in out_of_fold(runs, data):
        for row in rows[labelled(data, rows, PVC)]:
            yield checkpoint, data.tokens(int(row))


def ludb_records(folder: Path, words: str = "extrasystole") -> Iterator[BeatTokens]:
    """LUDB's records at hand whose note on extrasystoles holds the words."""
    with (folder / "ludb.csv").open(newline="") as file:
        notes = {row["ID"].strip(): row["Extrasystolies"].lower() for row in csv.DictReader(file)}
    for header in sorted(folder.rglob("*.hea"), key=lambda path: int(path.stem)):
        if words in notes.get(header.stem, ""):
            yield tokenize_beats(read_ecg(header))


def top_beats(records: Iterable[tuple[Checkpoint, BeatTokens]], maps: Sequence[str] = BEAT_MAPS) -> Real:
    """Whether the beat that speaks most for PVC is one of those that are early, and wide or unlike."""
    hits: dict[str, list[bool]] = {name: [] for name in maps}
    chances, without = [], 0
    for checkpoint, tokens in records:
        ectopic = measure_beats(tokens).ectopic
        if not ectopic.any():
            without += 1
            continue
        chances.append(float(ectopic.mean()))
        for name in maps:
            hits[name].append(bool(ectopic[top_beat(checkpoint, tokens, PVC, name)]))
    rates = {name: rate_of(found, chances) for name, found in hits.items()}
    return Real(rates, len(chances) + without, without)


def real(
    corpus: Path = Path("corpus"),
    runs: tuple[Path, ...] = RUNS,
    maps: tuple[str, ...] = BEAT_MAPS,
    data: Path | None = None,
    checkpoint: str = DEFAULT,
) -> None:
    """Records with PVC of folds 1 to 8, each by a model that did not learn its label; LUDB's extrasystoles.

    Args:
        corpus: folder of prepared shards
        runs: of `finetune`, each watching folds of its own
        maps: method/level, level beat or token
        data: folder that holds ludb/; CLEAR_HUG_DATA by default, LUDB is left out without it
        checkpoint: that reads LUDB
    """
    print(_told("PTB-XL, PVC", top_beats(pvc_records(runs, Corpus(corpus)), maps)))
    data = data or (Path(os.environ["CLEAR_HUG_DATA"]) if "CLEAR_HUG_DATA" in os.environ else None)
    if data is None:
        return
    opened = load_checkpoint(checkpoint)
    for words in ("ventricular extrasystole", "atrial extrasystole"):
        records = ((opened, tokens) for tokens in ludb_records(data / "ludb", words))
        print(_told(f"LUDB, {words}", top_beats(records, maps)))


def _told(name: str, found: Real) -> str:
    head = f"{name}: {found.records} records, {found.without} of them without an ectopic beat by RR and shape"
    rows = [f"  top beat is ectopic, {name}: {rate}" for name, rate in found.rates.items() if rate.n]
    return "\n".join([head, *rows])


# Infarction


def infarction(
    corpus: Path = Path("corpus"), runs: tuple[Path, ...] = RUNS, rounds: int = 2000, seed: int = 0
) -> None:
    """Share of the supporting HUG contributions that inferior and anterior leads carry, out of fold.

    Each record is explained for its own label; records with both labels are left out.

    Args:
        corpus: folder of prepared shards
        runs: of `finetune`, each watching folds of its own
        rounds: of the bootstrap, which draws patients
        seed: of the bootstrap
    """
    data = Corpus(corpus)
    shares: dict[str, list[np.ndarray]] = {"IMI": [], "AMI": []}
    patients: dict[str, list[np.ndarray]] = {"IMI": [], "AMI": []}
    for checkpoint, rows in out_of_fold(runs, data):
        has = {label: labelled(data, rows, f"subdiagnostic/{label}") for label in shares}
        for label, found in shares.items():
            own = rows[has[label] & ~(has["IMI"] & has["AMI"])]
            found += [support(checkpoint, data.tokens(int(row)), f"subdiagnostic/{label}") for row in own]
            patients[label].append(data.patients[own])
    values = {label: np.array(found) for label, found in shares.items()}
    who = {label: np.concatenate(found) for label, found in patients.items()}
    means, draws = {}, {}
    for k, (label, table) in enumerate(values.items()):
        known = np.isfinite(table).all(axis=1)
        weights = draw_weights(who[label][known], rounds, seed + k)
        means[label] = table[known].mean(axis=0)
        draws[label] = weights @ table[known] / weights.sum(axis=1, keepdims=True)
        low, high = interval(draws[label])
        print(f"{label}: {known.sum()} records, {(~known).sum()} without any supporting lead")
        for j, leads in enumerate((INFERIOR, ANTERIOR)):
            print(
                f"  {', '.join(leads)} carry {means[label][j]:.3f} ({low[j]:.3f} to {high[j]:.3f}); "
                f"alike in all leads {len(leads) / N_LEADS:.3f}"
            )
    print("IMI minus AMI (95 %, bootstrap over patients)")
    difference, drawn = means["IMI"] - means["AMI"], draws["IMI"] - draws["AMI"]
    low, high = interval(drawn)
    for j, leads in enumerate((INFERIOR, ANTERIOR)):
        print(f"  {', '.join(leads)}: {difference[j]:+.3f} ({low[j]:+.3f} to {high[j]:+.3f})")
    low, high = interval(drawn[:, 0] - drawn[:, 1])
    print(f"  contrast: {difference[0] - difference[1]:+.3f} ({low:+.3f} to {high:+.3f})")


def support(checkpoint: Checkpoint, tokens: BeatTokens, target: str) -> np.ndarray:
    """(2,) shares of the positive HUG contributions that the inferior and the anterior leads carry."""
    positive = np.maximum(np.nan_to_num(explain(checkpoint, tokens, target, "hug", "lead").values), 0)
    total = positive.sum()
    return np.array([
        positive[np.isin(LEADS, leads)].sum() / total if total > 0 else np.nan
        for leads in (INFERIOR, ANTERIOR)
    ])  # fmt: skip


if __name__ == "__main__":
    auto_cli([simulated, real, infarction], as_positional=False)
