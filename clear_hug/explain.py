"""explain(checkpoint, tokens, target, method, level) -> Attribution: why this logit.

"hug" is exact: HUG is affine in the lead tokens, so bias + contributions = logit, with nothing left
over. "attention" and "rollout" show where each lead token looked, in the last layer and through all of
them; they are no measure of importance and add up to nothing. "ablation" and "shapley" leave parts out
(`removal.py`): ablation each part alone, which need not add up; Shapley values do, with a standard error.
Integrated gradients (`gradients.py`) go down to the sample, from flat beats to those of the record.
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
from clear_hug.diagnosis import BATCH, Tick, check_hidden, hide, run
from clear_hug.ecg import freeze
from clear_hug.gradients import NOISY, Gradients, integrated_gradients, on_the_trace
from clear_hug.leads import GROUPS, LEADS, N_LEADS, PAIRS
from clear_hug.model import CLEARHUG
from clear_hug.removal import Game, ablation, parts_of
from clear_hug.shapley import shapley

_GROUP_NAMES = tuple(GROUPS)
PATHS: tuple[str, ...] = (
    *_GROUP_NAMES,
    *(f"{_GROUP_NAMES[a]} + {_GROUP_NAMES[b]}" for a, b in PAIRS),
    "all",
)
"""The seven vectors of HUG that are averaged into the logits: three groups, three pairs, all.

What goes straight from a lead to the logits counts as its group's.
"""


Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attribution:
    """An explanation in the shape of what it explains.

    Attributes
    ----------
    values : contributions to the logit (or weights, for "attention"); NaN where there is nothing
        lead (12,), group (3,), beat (beat,), pair (7,) in the order of `PATHS`, level (3,), token (12, beat),
        segment (12, 3) in the order of `beats.SEGMENTS`, sample (12, sample of the record at 100 Hz)
    names : of the rows of `values`
    level, target, method : what was asked;  target is task/label
    against : the label that it is held against, whose logit and values are subtracted; "" for none
    bias : the logit with nothing there (v(empty)), with all segments blanked, or of flat beats: what the
        method starts from; NaN where it has none
    logit : what is explained; diagnose's
    residual : logit - bias - sum of values; NaN where values are not contributions
    error : standard error of `values` where they were sampled, else None
    seconds : spent on the look that it is read from, or on what had to be asked anew
    model, device : names;  note : a sentence or ""
    rhythm, qtc : what the rhythm of the record and its QTc add, alike in every lead; exact contributions
        alone hold them, they are NaN for others

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
    rhythm: float = float("nan")
    qtc: float = float("nan")

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True, eq=False)
class Look:
    """One pass over a record's windows, from which every label, method and level is read.

    Attributes
    ----------
    logits : (label,) and bias : (label,), both float64
    paths : (7, 12, label) contributions, mean over the windows
    rhythm, qtc : (label,) what the rhythm of the record and its QTc add in them, over all leads
    attention : (12, beat) weight of each lead token on its own beats, last layer, mean over heads
    rollout : (12, beat) the same through all layers, each layer's map and the path around it weighed
        alike; each None where it was not asked for
    hidden : (12, beat) bool, the tokens left out
    seconds : spent;  device : where;  note : a sentence or ""

    """

    logits: NDArray[np.float64]
    bias: NDArray[np.float64]
    paths: NDArray[np.float64]
    rhythm: NDArray[np.float64]
    qtc: NDArray[np.float64]
    attention: NDArray[np.float64] | None
    rollout: NDArray[np.float64] | None
    hidden: NDArray[np.bool_]
    seconds: float
    device: str
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)


QTC_NOTE = "The QT interval, by which a long one is told, stays what it is: it is not in this map."

_Pass = tuple[Floats, Floats, Floats, Floats, Floats, Floats]
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
        logits: list[Floats] = []
        paths: list[Floats] = []
        rhythm: list[Floats] = []
        qtc: list[Floats] = []
        looked = np.full((2, N_LEADS, tokens.n_beats), np.nan)
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            beats = hide(batch, hidden).to(device)
            layers = len(model.clear.blocks) if rollout else int(attention)
            encoded = model.encode(beats, attention=layers, leads_only=True)
            with torch.autocast(device.type, enabled=False):
                logits.append(model.hug(encoded.lead_tokens, encoded.lead_there).double().cpu().numpy())
                bias, parts = model.hug.decompose(encoded.lead_tokens, encoded.lead_there)
                paths.append(parts.double().cpu().numpy())
                for found, of_record in ((rhythm, model.hug.by_rhythm), (qtc, model.hug.by_qtc)):
                    added = of_record(encoded.lead_tokens, encoded.lead_there).sum(1)
                    found.append(added.double().cpu().numpy())
            maps = [weights.float().mean(1) for weights in encoded.attention]
            ways = {_LAST: maps[-1]} if attention else {}
            ways |= {_THROUGH: _rolled_out(maps)} if rollout else {}
            for way, weights in ways.items():
                own = _own_beats(weights, encoded.index, beats.there.shape[2])
                for k, window in enumerate(batch):
                    looked[way][:, window.beats] = own[k, :, : window.beats.size].double().cpu().numpy()
        start = bias.double().cpu().numpy()
        mean = [np.concatenate(parts).mean(axis=0) for parts in (logits, paths, rhythm, qtc)]
        return mean[0], start, *mean[1:], looked

    (logits, bias, paths, rhythm, qtc, looked), where, note = run(checkpoint, work, device)
    seconds = time.perf_counter() - started
    last, through = looked[_LAST] if attention else None, looked[_THROUGH] if rollout else None
    return Look(logits, bias, paths, rhythm, qtc, last, through, hidden, seconds, where, note)


def _rolled_out(maps: list[torch.Tensor]) -> torch.Tensor:
    """(batch, query, key) product of the layers' maps, half of each passing by (Abnar & Zuidema 2020)."""
    itself = torch.eye(maps[0].shape[-1], device=maps[0].device)
    out = itself.expand_as(maps[0])
    for weights in maps:  # in the last of them lead tokens alone ask
        out = (0.5 * weights + 0.5 * itself[: weights.shape[1]]) @ out
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


def _ablation(game: Game, of: Floats, tick: Tick | None) -> _Worth:
    return ablation(game, of, tick), None


def _shapley(game: Game, of: Floats, tick: Tick | None) -> _Worth:
    worth = shapley(game, of, tick=tick)
    return worth.values, None if worth.exact else worth.error


def _exact_shapley(game: Game, of: Floats, tick: Tick | None) -> _Worth:
    return shapley(game, of, exact=True, tick=tick).values, None


def _summed(values: Floats, tokens: BeatTokens, level: str) -> _Explained:
    """(12, beat, 96) -> the values at a level."""
    if level == "sample":
        return on_the_trace(values, tokens), LEADS
    names = {"beat": tuple(f"beat {k}" for k in range(1, tokens.n_beats + 1))}.get(level, LEADS)
    there: NDArray[np.bool_] = np.any(np.isfinite(values), axis=2)
    summed = np.nansum(values, axis=2)
    over = {"token": None, "beat": 0, "lead": 1}[level]
    if over is None:
        return np.where(there, summed, np.nan), names
    return np.where(np.any(there, axis=over), np.where(there, summed, 0.0).sum(axis=over), np.nan), names


_Explained = tuple[Floats, tuple[str, ...]]
_Worth = tuple[Floats, Floats | None]


@dataclass(frozen=True)
class Method:
    """An explanation method: its levels, the first of them its own, and one of three sources of its values.

    adds_up : bias + values = logit, or up to a residual that is told
    read : (look, of, tokens, level) -> values and names, where one pass tells all
    play : (game, of, tick) -> values and their standard error, where parts are left out
    noisy : how many noisy copies of the record gradients are averaged over, where they are its source
    """

    levels: tuple[str, ...]
    adds_up: bool
    read: Callable[[Look, Floats, BeatTokens, str], _Explained] | None = None
    play: Callable[[Game, Floats, Tick | None], _Worth] | None = None
    noisy: int | None = None

    @property
    def source(self) -> type[Look] | type[Game] | type[Gradients]:
        """What it reads its values from: what `explain` takes as `seen`."""
        return Look if self.read else Game if self.play else Gradients


def explain(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    target: str | None = None,
    method: str = "hug",
    level: str | None = None,
    hidden: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
    seen: Look | Game | Gradients | None = None,
    against: str | None = None,
    tick: Tick | None = None,
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
    seen : where many questions are asked of this record and checkpoint: a `Look`, for a method that leaves
        parts out a `Game` of the level, for gradients those of the target; then `hidden` and `device`
        are its own
    against : a label; the difference of the two logits is explained
    tick : as of `shapley.shapley`

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
    if seen is None and how.source is Game:
        seen = Game(checkpoint, tokens, parts_of(tokens, level, hidden), device)
    elif seen is None and (how.source is Look or row is None):
        asked = {name: name == method for name in ("attention", "rollout")}
        looked = look(checkpoint, tokens, hidden, device=device, **asked)
        if row is None:
            row = _most_probable(checkpoint, looked.logits)
        seen = looked if how.source is Look else None
    if row is None:
        if not isinstance(seen, Look | Game):
            raise ValueError("gradients are those of a target; name it.")
        row = _most_probable(checkpoint, seen.logits if isinstance(seen, Look) else seen.whole)
    of = np.zeros(len(checkpoint.targets))
    of[row] += 1
    if other is not None:
        of[other] -= 1
    if seen is None:
        seen = integrated_gradients(checkpoint, tokens, of, hidden, how.noisy or 0, device=device, tick=tick)
    if not isinstance(seen, how.source):
        raise ValueError(f"{method} reads a {how.source.__name__}, not a {type(seen).__name__}.")
    error = None
    if isinstance(seen, Game):
        assert how.play
        values, error = how.play(seen, of, tick)
        values, names = values.reshape(seen.parts.shape), seen.parts.names
        logit, start = float(seen.whole @ of), float(seen.empty @ of)
    elif isinstance(seen, Look):
        assert how.read
        values, names = how.read(seen, of, tokens, level)
        logit, start = float(seen.logits @ of), float(seen.bias @ of)
    else:
        if not np.array_equal(seen.of, of):
            raise ValueError("these gradients are of another target than the one that is asked for.")
        values, names = _summed(seen.values, tokens, level)
        logit, start = seen.logit, seen.flat
    seconds = seen.seconds if isinstance(seen, Look) else time.perf_counter() - started
    exact = seen if method == "hug" and isinstance(seen, Look) else None
    note = seen.note
    if isinstance(seen, Gradients) and checkpoint.model.hug.qtc.cpu().double().numpy() @ of:
        note = f"{note} {QTC_NOTE}".strip()
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
        note=note,
        against="" if other is None else checkpoint.targets[other],
        error=None if error is None else error.reshape(values.shape),
        rhythm=float(exact.rhythm @ of) if exact else float("nan"),
        qtc=float(exact.qtc @ of) if exact else float("nan"),
    )


def _most_probable(checkpoint: Checkpoint, logits: Floats) -> int:
    """The row of the most probable label of the first task."""
    first = len(checkpoint.tasks[0].labels)
    return int(np.argmax((checkpoint.platt[:, 0] * logits + checkpoint.platt[:, 1])[:first]))


METHODS: dict[str, Method] = {
    "hug": Method(("lead", "group", "pair", "level"), True, read=_hug),  # exact contributions
    "attention": Method(("token",), False, read=_attention),  # of each lead token over its beats
    "rollout": Method(("token",), False, read=_rollout),  # the same through all layers
    "ablation": Method(("beat", "lead", "group", "token", "segment"), False, play=_ablation),
    "shapley": Method(("beat", "lead", "group", "segment"), True, play=_shapley),
    "exact_shapley": Method(("lead", "group"), True, play=_exact_shapley),  # all 4,096 subsets of the leads
    "integrated_gradients": Method(("sample", "token", "beat", "lead"), True, noisy=0),
    "smooth_integrated_gradients": Method(("sample", "token", "beat", "lead"), True, noisy=NOISY),
}
