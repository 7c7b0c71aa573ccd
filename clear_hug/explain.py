"""explain(checkpoint, tokens, target, method, level) -> Attribution: why this logit.

"hug" is exact: HUG is affine in the lead tokens, so bias + contributions = logit, with nothing left
over. "attention" shows where each lead token looked; it is no measure of importance and adds up to
nothing.
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
        lead (12,), group (3,), pair (7,) in the order of `PATHS`, level (3,), token (12, beat)
    names : of the rows of `values`
    level, target, method : what was asked;  target is task/label
    bias : the logit with nothing there (v(empty)); NaN where the method has none
    logit : what is explained; diagnose's
    residual : logit - bias - sum of values; NaN where values are not contributions
    seconds : spent on the look that it is read from
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

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True, eq=False)
class Look:
    """One pass over a record's windows, from which every label, method and level is read.

    Attributes
    ----------
    logits : (label,) and bias : (label,), both float64
    paths : (7, 12, label) contributions, mean over the windows
    attention : (12, beat) weight of each lead token on its own beats, last layer, mean over heads;
        None where it was not asked for
    hidden : (12, beat) bool, the tokens left out
    seconds : spent;  device : where;  note : a sentence or ""

    """

    logits: NDArray[np.float64]
    bias: NDArray[np.float64]
    paths: NDArray[np.float64]
    attention: NDArray[np.float64] | None
    hidden: NDArray[np.bool_]
    seconds: float
    device: str
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)


_Pass = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def look(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    hidden: NDArray[np.bool_] | None = None,
    attention: bool = True,
    device: torch.device | None = None,
) -> Look:
    """The pass that `explain` reads: made once, it answers for all labels, methods and levels.

    Parameters
    ----------
    checkpoint, tokens, hidden : as for `explain`
    attention : also what the "attention" method reads

    """
    started = time.perf_counter()
    hidden = check_hidden(tokens, hidden)
    windows = split_windows(tokens)

    def work(model: CLEARHUG, device: torch.device) -> _Pass:
        logits, paths = [], []
        looked = np.full((N_LEADS, tokens.n_beats), np.nan)
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            beats = hide(batch, hidden).to(device)
            encoded = model.encode(beats, attention=int(attention))
            with torch.autocast(device.type, enabled=False):
                logits.append(model.hug(encoded.lead_tokens, encoded.lead_there).double().cpu().numpy())
                parts = model.hug.contributions(encoded.lead_tokens, encoded.lead_there)
                paths.append(parts.double().cpu().numpy())
            if attention:
                weights = encoded.attention[-1][:, :, :N_LEADS].float().mean(1)
                full = torch.zeros(
                    len(batch), N_LEADS, N_LEADS * (1 + beats.there.shape[2]), device=weights.device
                )
                full.scatter_(2, encoded.index[:, None].expand_as(weights), weights)
                over = full[:, :, N_LEADS:].view(len(batch), N_LEADS, N_LEADS, -1)
                own = torch.diagonal(over, dim1=1, dim2=2).transpose(1, 2)
                for k, window in enumerate(batch):
                    looked[:, window.beats] = own[k, :, : window.beats.size].double().cpu().numpy()
        with torch.autocast(device.type, enabled=False):
            bias = model.hug.bias().double().cpu().numpy()
        return np.concatenate(logits).mean(axis=0), bias, np.concatenate(paths).mean(axis=0), looked

    (logits, bias, paths, looked), where, note = run(checkpoint, work, device)
    seconds = time.perf_counter() - started
    return Look(logits, bias, paths, looked if attention else None, hidden, seconds, where, note)


def _hug(seen: Look, row: int, tokens: BeatTokens, level: str) -> _Explained:
    paths = seen.paths[:, :, row]
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


def _attention(seen: Look, row: int, tokens: BeatTokens, level: str) -> _Explained:
    if seen.attention is None:
        raise ValueError("this look holds no attention; take it with look(..., attention=True).")
    weights = np.where(tokens.valid & ~seen.hidden, seen.attention, np.nan)
    with np.errstate(invalid="ignore"):
        return weights / np.nansum(weights, axis=1, keepdims=True), LEADS


_Explained = tuple[NDArray[np.float64], tuple[str, ...]]


@dataclass(frozen=True)
class Method:
    """An explanation method: its levels, the first of them its own, and how it reads a look."""

    levels: tuple[str, ...]
    adds_up: bool
    read: Callable[[Look, int, BeatTokens, str], _Explained]


def explain(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    target: str | None = None,
    method: str = "hug",
    level: str | None = None,
    hidden: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
    seen: Look | None = None,
) -> Attribution:
    """Explain one logit of one record.

    Parameters
    ----------
    checkpoint : from `load_checkpoint`
    tokens : from `tokenize_beats`; of a record longer than 10 s the mean over its windows is explained
    target : "task/label", or a label; None = the most probable one of the first task
    method : a key of `METHODS`
    level : one of the method's levels; None = its own
    hidden : (12, beat) bool, tokens to leave out
    seen : of this record by this checkpoint, from `look`, where many questions are asked; then
        `hidden` and `device` are its own

    Raises
    ------
    ValueError : unknown target, method or level, naming the choices

    """
    if method not in METHODS:
        raise ValueError(f"method = {method!r}; expected one of {', '.join(METHODS)}.")
    how = METHODS[method]
    level = level or how.levels[0]
    if level not in how.levels:
        raise ValueError(f"level = {level!r}; {method} explains {', '.join(how.levels)}.")
    row = checkpoint.row(target) if target else None
    if seen is None:
        seen = look(checkpoint, tokens, hidden, attention=not how.adds_up, device=device)
    if row is None:
        first = len(checkpoint.tasks[0].labels)
        row = int(np.argmax((checkpoint.platt[:, 0] * seen.logits + checkpoint.platt[:, 1])[:first]))
    values, names = how.read(seen, row, tokens, level)
    logit, bias = float(seen.logits[row]), float(seen.bias[row])
    return Attribution(
        values=values,
        names=names,
        level=level,
        target=checkpoint.targets[row],
        method=method,
        bias=bias if how.adds_up else float("nan"),
        logit=logit,
        residual=logit - bias - float(np.nansum(values)) if how.adds_up else float("nan"),
        seconds=seen.seconds,
        model=checkpoint.name,
        device=seen.device,
        note=seen.note,
    )


METHODS: dict[str, Method] = {
    "hug": Method(("lead", "group", "pair", "level"), True, _hug),  # exact contributions
    "attention": Method(("token",), False, _attention),  # of each lead token over its beats
}
