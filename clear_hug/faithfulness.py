"""prove(checkpoint, tokens, attribution) -> Proof: how far a map may be believed, for one record.

Parts are taken away, or put back, in the map's order: the logit must fall (rise) faster than in random
orders. Beside that: captum's infidelity (does the map foretell what leaving parts out does?) and
sensitivity_max (does slight noise move it?), its rank correlation with other methods, and what bias and
contributions leave over. One word sums it up, by thresholds that stand below.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr, t

from clear_hug.beats import BeatTokens
from clear_hug.checkpoint import Checkpoint
from clear_hug.ecg import freeze
from clear_hug.explain import METHODS, Attribution, explain
from clear_hug.removal import LEVELS, Game, parts_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SUPPORTED, WEAK, CONTRADICTED = "supported", "weak", "contradicted"
WORDS = (SUPPORTED, WEAK, CONTRADICTED)
NO_BETTER = 0.0  # logit; supported: both gaps' lower bounds lie above, contradicted: deletion's upper below
DISAGREES = 0.0  # rank correlation; below it another method contradicts (that leaves parts out), or doubts
CONFIDENCE = 0.95  # of the intervals of the gaps
OTHERS = ("hug", "ablation")  # that a map is held against where none are named: both are quick

ORDERS = 20  # random orders that a map is held against
STEPS = 12  # of a curve, at most; more parts are taken several at a time
NOISE = 0.02  # of a lead's SD: how far a sample is moved, at most, to see whether the map moves
SAME_LOGIT = 0.05  # between the map's logit and the game's; more, and they speak of different things


class Gap(NamedTuple):
    """How much better than a random order, in logits: above 0 is better.

    low, high : where it lies for 95 of 100 random orders; 0 inside says no better than chance
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Curve:
    """The logit step by step.

    values : (step,) in the map's order;  random : (order, step) in random orders;  gap : Gap
    """

    values: Floats
    random: Floats
    gap: Gap

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def area(self) -> float:
        """Mean logit over the steps."""
        return float(self.values.mean())


@dataclass(frozen=True, eq=False)
class Curves:
    """Deletion and insertion of a record's parts in the order of a map, the most supporting first.

    order : (player,) rows of the parts, as the map orders them
    taken : (step,) how many are taken away, or put back: from none to all
    deletion : Curve from all parts down to none;  insertion : Curve from none up to all

    """

    order: NDArray[np.int64]
    taken: NDArray[np.int64]
    deletion: Curve
    insertion: Curve

    def __post_init__(self) -> None:
        freeze(self)


def curves(game: Game, values: Floats, of: Floats, n_random: int = ORDERS, seed: int = 0) -> Curves:
    """Deletion and insertion curves of a map, and of random orders.

    Parameters
    ----------
    game : Game of the map's level
    values : the map, in the shape of the game's parts; a part that is absent is NaN
    of : (label,) what is explained: a logit (1 at its label), or a difference of two
    n_random : orders drawn by `seed`, each with its reverse: an even number
    """
    players = _players(game, values)
    flat = np.asarray(values, dtype=np.float64).ravel()
    order = players[np.argsort(-flat[players], kind="stable")]
    drawn = _orders(players, n_random, seed)
    taken = _taken(len(players))
    gone = _first(np.concatenate([order[None], drawn]), taken, len(flat))
    there = np.isin(np.arange(len(flat)), players)
    answers = game(np.concatenate([there & ~gone, gone]).reshape(-1, len(flat))) @ of
    deletion, insertion = answers.reshape(2, 1 + len(drawn), len(taken))
    return Curves(
        order,
        taken,
        Curve(deletion[0], deletion[1:], _gap(deletion[1:] - deletion[0])),
        Curve(insertion[0], insertion[1:], _gap(insertion[0] - insertion[1:])),
    )


def _players(game: Game, values: Floats) -> NDArray[np.int64]:
    """Rows of the parts that are there, each of which must have a value."""
    if np.shape(values) != game.parts.shape:
        raise ValueError(f"the map has shape {np.shape(values)}; the game's parts have {game.parts.shape}.")
    there = game.parts.there
    silent = int((there & ~np.isfinite(np.ravel(values))).sum())
    if silent:
        raise ValueError(
            f"the map has no value for {silent} of {int(there.sum())} parts that are there; leave the same "
            "tokens out of both."
        )
    return np.flatnonzero(there)


def _orders(players: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """(n, player) orders, each beside its reverse: what one deletes, the other inserts, asked but once."""
    if n < 2 or n % 2:
        raise ValueError(f"n_random = {n}; orders come with their reverse, so an even number from 2 up.")
    rng = np.random.default_rng(seed)
    drawn = np.array([rng.permutation(players) for _ in range(n // 2)]).reshape(n // 2, len(players))
    return np.concatenate([drawn, drawn[:, ::-1]])


def _taken(n: int) -> NDArray[np.int64]:
    """(step,) 0 to n in equal steps, `STEPS` at most, the same seen from either end."""
    lower = np.rint(np.linspace(0, n, min(n, STEPS) + 1)).astype(np.int64)
    lower = lower[lower <= n / 2]
    return np.unique(np.concatenate([lower, n - lower]))


def _first(orders: NDArray[np.int64], taken: NDArray[np.int64], n_parts: int) -> Bools:
    """(order, step, part) True for the first so many parts of each order."""
    first = np.zeros((len(orders), len(taken), n_parts), dtype=bool)
    rows = np.arange(len(orders))[:, None]
    for step, n in enumerate(taken):
        first[rows, step, orders[:, :n]] = True
    return first


def _gap(better: Floats) -> Gap:
    """From (order, step) how much better the map does than each random order.

    The interval is that of one more random order (Student's t, as many degrees of freedom as pairs of
    orders), so that a map without meaning lies outside it in 5 of 100 cases.
    """
    areas = better.mean(axis=1)
    spread = areas.std(ddof=1) * math.sqrt(1 + 1 / len(areas))
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(areas) // 2) * spread)
    value = float(areas.mean())
    return Gap(value, value - half, value + half)


@dataclass(frozen=True)
class Infidelity:
    """How well a map foretells what leaving parts out does.

    missed : captum's infidelity, logit²: mean squared gap between the map's sum over the parts left out and
        the fall of the logit;  change : mean squared fall itself, logit²
    scaled : the map was first scaled as suits it best
    """

    missed: float
    change: float
    scaled: bool


def infidelity(
    game: Game,
    values: Floats,
    of: Floats,
    scaled: bool = False,
    n_random: int = ORDERS,
    seed: int = 0,
) -> Infidelity:
    """Captum's infidelity over the sets of parts that the random orders of `curves` leave out.

    scaled : the map is first scaled as suits it best, as its values are not those of this game
    """
    from captum.metrics import infidelity as captum_infidelity

    players = _players(game, values)
    if not players.size:
        return Infidelity(0.0, 0.0, scaled)
    flat = np.nan_to_num(np.asarray(values, dtype=np.float64)).ravel()
    gone = _first(_orders(players, n_random, seed), _taken(len(players))[1:], len(flat)).reshape(
        -1, len(flat)
    )
    removed = torch.from_numpy(gone.astype(np.float64))

    def answer(present: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(game(present.numpy() > 0.5) @ of)

    missed = captum_infidelity(
        answer,
        lambda present: (removed, present - removed),
        torch.ones(1, len(flat), dtype=torch.float64),
        torch.from_numpy(flat)[None],
        n_perturb_samples=len(removed),
        normalize=scaled,
    )
    fall = (game.whole - game(~gone)) @ of
    return Infidelity(max(0.0, float(missed)), float(np.mean(fall**2)), scaled)


def sensitivity(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    attribution: Attribution,
    hidden: Bools | None = None,
    n: int = 4,
    seed: int = 0,
) -> float:
    """Captum's sensitivity_max: how far slight noise on the trace moves the map, as a share of its size.

    Parameters
    ----------
    hidden : (12, beat) bool, tokens left out of the map
    n : times that each sample is moved by up to 2 % of its lead's SD; each time the map is made anew
    """
    from captum.metrics import sensitivity_max

    inside = tokens.valid[..., None] & tokens.inside
    held = np.maximum(inside.sum(axis=(1, 2)), 1)
    sd = np.sqrt((tokens.values.astype(np.float64) ** 2 * inside).sum(axis=(1, 2)) / held)
    radius = torch.from_numpy((NOISE * sd[:, None, None] * inside).astype(np.float32))
    draw = torch.Generator().manual_seed(seed)

    def disturbed(values: torch.Tensor) -> tuple[torch.Tensor]:
        return (values + radius * (2 * torch.rand(values.shape, generator=draw) - 1),)

    def maps(batch: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        found = []
        with torch.enable_grad():  # captum's metrics forbid what methods by gradient need
            for values in batch[0]:
                why = explain(
                    checkpoint,
                    replace(tokens, values=values.numpy()),
                    attribution.target,
                    attribution.method,
                    attribution.level,
                    hidden,
                    against=attribution.against or None,
                )
                found.append(np.nan_to_num(why.values).ravel())
        return (torch.from_numpy(np.array(found)),)

    values = torch.from_numpy(np.array(tokens.values))[None]
    return float(sensitivity_max(maps, values, perturb_func=disturbed, n_perturb_samples=n))


def agreement(a: Attribution, b: Attribution) -> float:
    """Spearman's rank correlation over the parts both have; NaN below two, or where all are alike."""
    for name in ("level", "target", "against"):
        if getattr(a, name) != getattr(b, name):
            raise ValueError(
                f"maps of different {name} ({getattr(a, name)!r}, {getattr(b, name)!r}) cannot agree."
            )
    return rank_correlation(a.values, b.values)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's over what is finite in both; NaN below two values, or where all are alike."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if a.size < 2 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    return float(spearmanr(a, b).statistic)


@dataclass(frozen=True, eq=False)
class Proof:
    """How far a map may be believed.

    Attributes
    ----------
    word : one of `WORDS`;  reasons : sentences, with the figures
    curves : Curves
    infidelity : Infidelity
    sensitivity : captum's sensitivity_max; None where it was not asked for
    agreement : method -> Spearman's rank correlation with its map, where there is one
    residual : logit - bias - sum of the values; None for a method that does not add up
    seconds : spent

    """

    word: str
    reasons: tuple[str, ...]
    curves: Curves
    infidelity: Infidelity
    sensitivity: float | None
    agreement: Mapping[str, float]
    residual: float | None
    seconds: float
    unusable: bool


def prove(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    attribution: Attribution,
    game: Game | None = None,
    others: Sequence[Attribution] | None = None,
    disturbances: int = 0,
    n_random: int = ORDERS,
    seed: int = 0,
) -> Proof:
    """Put a map to the proof.

    Parameters
    ----------
    checkpoint, tokens : what was explained
    attribution : by any method, of one of `removal.LEVELS`
    game : of that level, with the same tokens left out; None = one with nothing left out
    others : maps by other methods, of the same level and target; None = ablation, and HUG where it knows
        the level
    disturbances : how often the map is made anew with slight noise on the trace; 0 = not at all
    n_random, seed : as for `curves`

    Raises
    ------
    ValueError : a level without parts, or a map and a game that speak of different things
    """
    started = time.perf_counter()
    method, level = attribution.method, attribution.level
    if level not in LEVELS:
        raise ValueError(f"level = {level!r} has no parts to leave out; expected {', '.join(LEVELS)}.")
    if game is None:
        game = Game(checkpoint, tokens, parts_of(tokens, level))
    of = np.zeros(len(checkpoint.targets))
    of[checkpoint.row(attribution.target)] += 1
    if attribution.against:
        of[checkpoint.row(attribution.against)] -= 1
    whole = float(game.whole @ of)
    if abs(whole - attribution.logit) > SAME_LOGIT:
        raise ValueError(
            f"the map explains a logit of {attribution.logit:.3f}, the game's is {whole:.3f}; give the game "
            "of the same record with the same tokens left out."
        )
    hidden = tokens.valid & ~game.parts.tokens.any(axis=0)
    if others is None:
        others = _others(checkpoint, tokens, attribution, game, hidden)
    found = {other.method: agreement(attribution, other) for other in others if other.method != method}
    drawn = curves(game, attribution.values, of, n_random, seed)
    from_nothing = abs(float(game.empty @ of) - attribution.bias) <= SAME_LOGIT  # False for NaN, no bias
    proof = Proof(
        word=WEAK,
        reasons=(),
        curves=drawn,
        infidelity=infidelity(game, attribution.values, of, not from_nothing, n_random, seed),
        sensitivity=(
            sensitivity(checkpoint, tokens, attribution, hidden, disturbances, seed) if disturbances else None
        ),
        agreement={name: rho for name, rho in found.items() if np.isfinite(rho)},
        residual=attribution.residual if METHODS[method].adds_up else None,
        seconds=time.perf_counter() - started,
        unusable=method in checkpoint.faithfulness.get("unusable", ()),
    )
    return replace(proof, word=_word(proof), reasons=tuple(_reasons(proof, attribution)))


def _others(
    checkpoint: Checkpoint, tokens: BeatTokens, attribution: Attribution, game: Game, hidden: Bools
) -> list[Attribution]:
    found = []
    for method in OTHERS:
        if method == attribution.method or attribution.level not in METHODS[method].levels:
            continue
        found.append(
            explain(
                checkpoint,
                tokens,
                attribution.target,
                method,
                attribution.level,
                hidden,
                seen=game if METHODS[method].play else None,
                against=attribution.against or None,
            )
        )
    return found


def _word(proof: Proof) -> str:
    deletion, insertion = proof.curves.deletion.gap, proof.curves.insertion.gap
    n = len(proof.curves.order)
    against = [name for name, rho in proof.agreement.items() if _surely_against(rho, n)]
    if deletion.high < NO_BETTER or any(METHODS[name].play for name in against) or proof.unusable:
        return CONTRADICTED
    doubted = any(rho < DISAGREES for rho in proof.agreement.values())
    return SUPPORTED if min(deletion.low, insertion.low) > NO_BETTER and not doubted else WEAK


def _surely_against(rho: float, n: int) -> bool:
    """The rank correlation of n parts lies below `DISAGREES` with its interval (Fisher's z)."""
    if n < 5:
        return False
    reach = norm.ppf((1 + CONFIDENCE) / 2) * 1.03 / math.sqrt(n - 3)  # 1.06 / (n - 3) for ranks: Fieller 1957
    return bool(math.tanh(math.atanh(min(max(rho, -0.999), 0.999)) + reach) < DISAGREES)


def _reasons(proof: Proof, attribution: Attribution) -> list[str]:
    """Sentences with the figures; what speaks against the map first."""
    said, n = [], len(proof.curves.order)
    parts = {"lead": "leads", "beat": "beats"}.get(attribution.level, "parts")
    if proof.unusable:
        said.append(
            f"{_name(attribution.method)} is marked unusable for this checkpoint: its maps hardly change "
            "when the weights are drawn anew."
        )
    if n < 2:
        said.append(f"The record has {n or 'no'} part at this level: no order to test.")
    else:
        gaps = [
            (f"Removing {parts}", "lowers", proof.curves.deletion.gap),
            (f"Restoring {parts}", "raises", proof.curves.insertion.gap),
        ]
        said += [_gap_words(*gap) for gap in sorted(gaps, key=lambda gap: gap[2].low > NO_BETTER)]
        if math.factorial(n) * (1 - CONFIDENCE) / 2 < 1:
            said.append(
                f"{n} parts have only {math.factorial(n)} orders: too few for one of them to stand out."
            )
    missed, change = math.sqrt(proof.infidelity.missed), math.sqrt(proof.infidelity.change)
    if n:
        scaled = ", scaled as suits it best," if proof.infidelity.scaled else ""
        said.append(
            f"Leaving out random {parts} changes the logit by {change:.3g}; what the map{scaled} foretells "
            f"of it is off by {missed:.3g} (root mean squares)."
        )
    against: list[str] = []
    for name, rho in proof.agreement.items():
        verb = (
            "agrees"
            if rho >= DISAGREES
            else "contradicts it"
            if _surely_against(rho, n)
            else "points weakly the other way"
        )
        (said if rho >= DISAGREES else against).append(
            f"{_name(name)} {verb}: rank correlation {_signed(rho)} over {n} parts."
        )
    said = [*against, *said]
    if proof.residual is not None:
        said.append(f"Bias plus contributions differ from the logit by {abs(proof.residual):.1g}.")
    if proof.sensitivity is not None:
        said.append(
            f"Noise of up to {NOISE:.0%} of each lead's SD moves the map by up to {proof.sensitivity:.1%} of "
            "its size."
        )
    return said


def _gap_words(how: str, moves: str, gap: Gap) -> str:
    more = "more than" if gap.low > 0 else "less than" if gap.high < 0 else "not clearly more than"
    return (
        f"{how} in the map's order, the most supporting first, {moves} the logit {more} in random order: "
        f"mean difference {_signed(gap.value)} (95 % {_signed(gap.low)} to {_signed(gap.high)})."
    )


def _name(method: str) -> str:
    return "HUG" if method == "hug" else method.replace("_", " ").capitalize()


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
