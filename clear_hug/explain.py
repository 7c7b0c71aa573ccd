"""explain(checkpoint, tokens, target, method, level) -> Attribution: why this logit.

"hug" is exact: HUG is affine in the lead tokens, so bias + contributions = logit, with nothing left
over. "attention" and "rollout" show where each lead token looked, in the last layer and through all of
them; they are no measure of importance and add up to nothing. "ablation" and "shapley" leave parts out
(`removal.py`): ablation each part alone, which need not add up; Shapley values do, with a standard error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.beats import BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import BATCH, check_hidden, hide, run
from clear_hug.ecg import freeze
from clear_hug.leads import GROUPS, LEADS, N_LEADS, PAIRS
from clear_hug.model import CLEARHUG
from clear_hug.removal import Game, ablation, parts_of, shapley

_GROUP_NAMES = tuple(GROUPS)
PATHS: tuple[str, ...] = (
    *_GROUP_NAMES,
    *(f"{_GROUP_NAMES[a]} + {_GROUP_NAMES[b]}" for a, b in PAIRS),
    "all",
)
"""The seven vectors of HUG that are averaged into the logits: three groups, three pairs, all."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """An explanation in the shape of what it explains.

    Attributes
    ----------
    values : contributions to the logit (or weights, for "attention"); NaN where there is nothing
        lead (12,), group (3,), beat (beat,), pair (7,) in the order of `PATHS`, level (3,), token (12, beat)
    names : of the rows of `values`
    level, target, method : what was asked;  target is task/label
    against : the label that it is held against, whose logit and values are subtracted; "" for none
    bias : the logit with nothing there (v(empty)); NaN where the method has none
    logit : what is explained; diagnose's
    residual : logit - bias - sum of values; NaN where values are not contributions
    error : standard error of `values` where they were sampled, else None
    seconds : spent on the look that it is read from, or on what had to be asked anew
    model, device : names;  note : a sentence or ""

    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    level: str
    target: str
    method: str
    bias: float
    logit: float
    residual: float
    seconds: float
    model: str
    device: str
    note: str = ""
    against: str = ""
    error: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True, eq=False)
class Look:
    """One pass over a record's windows, from which every label, method and level is read.

    Attributes
    ----------
    logits : (label,) and bias : (label,), both float64
    paths : (7, 12, label) contributions, mean over the windows
    attention : (12, beat) weight of each lead token on its own beats, last layer, mean over heads
    rollout : (12, beat) the same through all layers, each layer's map and the path around it weighed
        alike; each None where it was not asked for
    hidden : (12, beat) bool, the tokens left out
    seconds : spent;  device : where;  note : a sentence or ""

    """

    logits: NDArray[np.float64]
    bias: NDArray[np.float64]
    paths: NDArray[np.float64]
    attention: NDArray[np.float64] | None
    rollout: NDArray[np.float64] | None
    hidden: NDArray[np.bool_]
    seconds: float
    device: str
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)


_Pass = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
_LAST, _THROUGH = range(2)


def look(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    hidden: NDArray[np.bool_] | None = None,
    attention: bool = True,
    device: torch.device | None = None,
    rollout: bool = False,
) -> Look:
    """The pass that `explain` reads: made once, it answers for all labels, methods and levels.

    Parameters
    ----------
    checkpoint, tokens, hidden : as for `explain`
    attention, rollout : also what the methods of these names read

    """
    started = time.perf_counter()
    hidden = check_hidden(tokens, hidden)
    windows = split_windows(tokens)

    def work(model: CLEARHUG, device: torch.device) -> _Pass:
        logits, paths = [], []
        looked = np.full((2, N_LEADS, tokens.n_beats), np.nan)
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            beats = hide(batch, hidden).to(device)
            layers = len(model.clear.blocks) if rollout else int(attention)
            encoded = model.encode(beats, attention=layers)
            with torch.autocast(device.type, enabled=False):
                logits.append(model.hug(encoded.lead_tokens, encoded.lead_there).double().cpu().numpy())
                parts = model.hug.contributions(encoded.lead_tokens, encoded.lead_there)
                paths.append(parts.double().cpu().numpy())
            maps = [weights.float().mean(1) for weights in encoded.attention]
            ways = {_LAST: maps[-1]} if attention else {}
            ways |= {_THROUGH: _rolled_out(maps)} if rollout else {}
            for way, weights in ways.items():
                own = _own_beats(weights, encoded.index, beats.there.shape[2])
                for k, window in enumerate(batch):
                    looked[way][:, window.beats] = own[k, :, : window.beats.size].double().cpu().numpy()
        with torch.autocast(device.type, enabled=False):
            bias = model.hug.bias().double().cpu().numpy()
        return np.concatenate(logits).mean(axis=0), bias, np.concatenate(paths).mean(axis=0), looked

    (logits, bias, paths, looked), where, note = run(checkpoint, work, device)
    seconds = time.perf_counter() - started
    last, through = looked[_LAST] if attention else None, looked[_THROUGH] if rollout else None
    return Look(logits, bias, paths, last, through, hidden, seconds, where, note)


def _rolled_out(maps: list[torch.Tensor]) -> torch.Tensor:
    """(batch, query, key) product of the layers' maps, half of each passing by (Abnar & Zuidema 2020)."""
    itself = torch.eye(maps[0].shape[-1], device=maps[0].device)
    out = itself.expand_as(maps[0])
    for weights in maps:
        out = (0.5 * weights + 0.5 * itself) @ out
    return out


def _own_beats(weights: torch.Tensor, index: torch.Tensor, n_beats: int) -> torch.Tensor:
    """(batch, 12, beat) of each lead token on its own lead's beats, from weights over the kept sequence."""
    rows = weights[:, :N_LEADS]
    full = rows.new_zeros(len(rows), N_LEADS, N_LEADS * (1 + n_beats))
    full.scatter_(2, index[:, None].expand_as(rows), rows)
    over = full[:, :, N_LEADS:].view(len(rows), N_LEADS, N_LEADS, -1)
    return torch.diagonal(over, dim1=1, dim2=2).transpose(1, 2)


def _hug(seen: Look, of: Floats, tokens: BeatTokens, level: str) -> _Explained:
    paths = seen.paths @ of
    there: NDArray[np.bool_] = np.any(tokens.valid & ~seen.hidden, axis=1)
    if level == "lead":
        return np.where(there, paths.sum(axis=0), np.nan), LEADS
    if level == "group":
        values = [
            paths[:, list(rows)].sum() if there[list(rows)].any() else np.nan for rows in GROUPS.values()
        ]
        return np.array(values), _GROUP_NAMES
    if level == "pair":
        return paths.sum(axis=1), PATHS
    by_path = paths.sum(axis=1)
    values = [by_path[:3].sum(), by_path[3:6].sum(), by_path[6]]
    return np.array(values), ("groups", "pairs of groups", "all groups")


def _share(name: str, seen: Look, tokens: BeatTokens) -> _Explained:
    weights = getattr(seen, name)
    if weights is None:
        raise ValueError(f"this look holds no {name}; take it with look(..., {name}=True).")
    weights = np.where(tokens.valid & ~seen.hidden, weights, np.nan)
    with np.errstate(invalid="ignore"):
        return weights / np.nansum(weights, axis=1, keepdims=True), LEADS


def _attention(seen: Look, of: Floats, tokens: BeatTokens, level: str) -> _Explained:
    return _share("attention", seen, tokens)


def _rollout(seen: Look, of: Floats, tokens: BeatTokens, level: str) -> _Explained:
    return _share("rollout", seen, tokens)


def _ablation(game: Game, of: Floats) -> _Worth:
    return ablation(game, of), None


def _shapley(game: Game, of: Floats) -> _Worth:
    worth = shapley(game, of)
    return worth.values, worth.error if worth.orders else None


Floats = NDArray[np.float64]
_Explained = tuple[Floats, tuple[str, ...]]
_Worth = tuple[Floats, Floats | None]


@dataclass(frozen=True)
class Method:
    """An explanation method: its levels, the first of them its own, and where it has its values from.

    adds_up : bias + values = logit
    read : (look, of, tokens, level) -> values and names, where one pass tells all
    play : (game, of) -> values and their standard error, where parts are left out
    """

    levels: tuple[str, ...]
    adds_up: bool
    read: Callable[[Look, Floats, BeatTokens, str], _Explained] | None = None
    play: Callable[[Game, Floats], _Worth] | None = None


def explain(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    target: str | None = None,
    method: str = "hug",
    level: str | None = None,
    hidden: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
    seen: Look | Game | None = None,
    against: str | None = None,
) -> Attribution:
    """Explain one logit of one record, or why it is this label rather than that one.

    Parameters
    ----------
    checkpoint : from `load_checkpoint`
    tokens : from `tokenize_beats`; of a record longer than 10 s the mean over its windows is explained
    target : "task/label", or a label; None = the most probable one of the first task
    method : a key of `METHODS`
    level : one of the method's levels; None = its own
    hidden : (12, beat) bool, tokens to leave out
    seen : where many questions are asked of this record and checkpoint: a `Look`, or for a method that
        leaves parts out a `Game` of the level; then `hidden` and `device` are its own
    against : a label; the difference of the two logits is explained

    Raises
    ------
    ValueError : unknown target, method or level, naming the choices

    """
    started = time.perf_counter()
    if method not in METHODS:
        raise ValueError(f"method = {method!r}; expected one of {', '.join(METHODS)}.")
    how = METHODS[method]
    level = level or how.levels[0]
    if level not in how.levels:
        raise ValueError(f"level = {level!r}; {method} explains {', '.join(how.levels)}.")
    row = checkpoint.row(target) if target else None
    other = checkpoint.row(against) if against else None
    if seen is None:
        if how.play:
            seen = Game(checkpoint, tokens, parts_of(tokens, level, hidden), device)
        else:
            asked = {name: name == method for name in ("attention", "rollout")}
            seen = look(checkpoint, tokens, hidden, device=device, **asked)
    if isinstance(seen, Game) != bool(how.play):
        raise ValueError(f"{method} reads a {'Game' if how.play else 'Look'}, not a {type(seen).__name__}.")
    logits, bias = (seen.whole, seen.empty) if isinstance(seen, Game) else (seen.logits, seen.bias)
    if row is None:
        first = len(checkpoint.tasks[0].labels)
        row = int(np.argmax((checkpoint.platt[:, 0] * logits + checkpoint.platt[:, 1])[:first]))
    of = np.zeros(len(logits))
    of[row] += 1
    if other is not None:
        of[other] -= 1
    error = None
    if isinstance(seen, Game):
        assert how.play
        values, error = how.play(seen, of)
        values = values.reshape(seen.parts.shape)
        names, seconds = seen.parts.names, time.perf_counter() - started
    else:
        assert how.read
        (values, names), seconds = how.read(seen, of, tokens, level), seen.seconds
    logit, start = float(logits @ of), float(bias @ of)
    return Attribution(
        values=values,
        names=names,
        level=level,
        target=checkpoint.targets[row],
        method=method,
        bias=start if how.adds_up else float("nan"),
        logit=logit,
        residual=logit - start - float(np.nansum(values)) if how.adds_up else float("nan"),
        seconds=seconds,
        model=checkpoint.name,
        device=seen.device,
        note=seen.note,
        against="" if other is None else checkpoint.targets[other],
        error=None if error is None else error.reshape(values.shape),
    )


METHODS: dict[str, Method] = {
    "hug": Method(("lead", "group", "pair", "level"), True, read=_hug),  # exact contributions
    "attention": Method(("token",), False, read=_attention),  # of each lead token over its beats
    "rollout": Method(("token",), False, read=_rollout),  # the same through all layers
    "ablation": Method(("beat", "lead", "group", "token"), False, play=_ablation),
    "shapley": Method(("beat", "lead", "group"), True, play=_shapley),
}
