"""reconstruct(checkpoint, tokens, hidden) -> Reconstruction: hidden beats rebuilt, in mV."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.beats import TOKEN_SAMPLES, BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import BATCH, check_hidden, hide, run
from clear_hug.ecg import ECGError, freeze
from clear_hug.leads import GROUPS, N_LEADS
from clear_hug.model import CLEARHUG


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the decoder makes of hidden beats.

    Attributes
    ----------
    values : (12, beat, 96) float32, mV (or the record's own unit)
        Rebuilt where `hidden`; the record's own samples, untouched, elsewhere. 0 outside the beat's
        window.
    hidden : (12, beat) bool; hidden and there to be rebuilt
    rmse : (12, beat) root mean square error against the hidden truth, same unit; NaN where not hidden
    r : (12, beat) Pearson correlation with it; NaN where not hidden
    r2 : 1 - SSE / sum of squares of the hidden samples; NaN where nothing is hidden
    lead_scale : (12,) the scale each lead was painted with; of a long record the mean over its tokens
    scale_predicted : (12, beat) bool; True for a hidden token whose lead is wholly hidden in its
        window of 10 s, so that its scale is the model's
    units_known : bool;  model, device : names;  seconds;  note : a sentence or ""

    """

    values: NDArray[np.float32]
    hidden: NDArray[np.bool_]
    rmse: NDArray[np.float64]
    r: NDArray[np.float64]
    r2: float
    lead_scale: NDArray[np.float32]
    scale_predicted: NDArray[np.bool_]
    units_known: bool
    model: str
    device: str
    seconds: float
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)


def reconstruct(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    hidden: NDArray[np.bool_],
    device: torch.device | None = None,
) -> Reconstruction:
    """Rebuild hidden beats from those left visible; the visible are given back untouched.

    Parameters
    ----------
    checkpoint : from `load_checkpoint`
    tokens : from `tokenize_beats`
    hidden : (12, beat) bool

    Raises
    ------
    ECGError : nothing is left visible

    """
    started = time.perf_counter()
    hidden = check_hidden(tokens, hidden) & tokens.valid
    visible = tokens.valid & ~hidden
    if hidden.any() and not visible.any():
        raise ECGError("every beat is hidden; leave at least one visible to rebuild the others from.")
    windows = split_windows(tokens)
    predicted = hidden.copy()
    for window in windows:
        predicted[:, window.beats] &= ~visible[:, window.beats].any(axis=1, keepdims=True)
        if hidden[:, window.beats].any() and not visible[:, window.beats].any():
            raise ECGError(
                f"every beat from {window.start:.0f} to {window.stop:.0f} s is hidden, which is read at a "
                "time; leave at least one visible to rebuild the others from."
            )

    def work(model: CLEARHUG, device: torch.device) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rebuilt = np.zeros((N_LEADS, tokens.n_beats, TOKEN_SAMPLES), dtype=np.float32)
        scales = np.zeros((N_LEADS, tokens.n_beats), dtype=np.float32)
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            seen = hide(batch, hidden).to(device)
            whole = hide(batch, np.zeros_like(hidden)).to(device)
            wanted = whole.there & ~seen.there
            values, scale, _ = model.clear.rebuild(seen, wanted)
            for k, window in enumerate(batch):
                n = window.beats.size
                rebuilt[:, window.beats] = values[k, :, :n].cpu().numpy()
                scales[:, window.beats] = scale[k, :, None].cpu().numpy()
        return rebuilt, scales

    (rebuilt, scales), where, note = run(checkpoint, work, device)
    rebuilt[:, ~tokens.inside] = 0
    values = np.where(hidden[..., None], rebuilt, tokens.values)
    rmse, r, r2 = _errors(tokens, values, hidden)
    n_tokens = tokens.valid.sum(axis=1)
    lead_scale = (scales * tokens.valid).sum(axis=1) / np.maximum(n_tokens, 1)
    lead_scale = np.where(n_tokens > 0, lead_scale, np.nan).astype(np.float32)
    return Reconstruction(
        values=values,
        hidden=hidden,
        rmse=rmse,
        r=r,
        r2=r2,
        lead_scale=lead_scale,
        scale_predicted=predicted,
        units_known=tokens.units_known,
        model=checkpoint.name,
        device=where,
        seconds=time.perf_counter() - started,
        note=note,
    )


def _errors(
    tokens: BeatTokens, values: NDArray[np.float32], hidden: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """(12, beat) RMSE and Pearson r over the samples of each hidden token, and R2 over all of them."""
    inside = np.broadcast_to(tokens.inside, values.shape).astype(np.float64)
    n = np.maximum(inside.sum(-1), 1)
    truth, guess = tokens.values.astype(np.float64), values.astype(np.float64)
    square = ((guess - truth) ** 2 * inside).sum(-1)
    a = (truth - ((truth * inside).sum(-1) / n)[..., None]) * inside
    b = (guess - ((guess * inside).sum(-1) / n)[..., None]) * inside
    spread = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(hidden & (spread > 0), (a * b).sum(-1) / spread, np.nan)
    rmse = np.where(hidden, np.sqrt(square / n), np.nan)
    total = (truth**2 * inside).sum(-1)[hidden].sum()
    return rmse, r, float(1 - square[hidden].sum() / total) if total > 0 else float("nan")


# Ways to hide beats


def _mask(tokens: BeatTokens, leads: Any = slice(None), beats: Any = slice(None)) -> NDArray[np.bool_]:
    mask = np.zeros_like(tokens.valid)
    mask[leads, beats] = True
    return mask & tokens.valid


def _at_random(tokens: BeatTokens, lead: int, beat: int, seed: int) -> NDArray[np.bool_]:
    """80 % of the tokens that are there, as in the paper's pre-training."""
    there = np.flatnonzero(tokens.valid)
    mask = np.zeros(tokens.valid.size, dtype=bool)
    mask[np.random.default_rng(seed).choice(there, int(0.8 * there.size), replace=False)] = True
    return mask.reshape(tokens.valid.shape)


HIDE: dict[str, tuple[tuple[str, ...], Callable[[BeatTokens, int, int, int], NDArray[np.bool_]]]] = {
    "One lead": (("lead",), lambda tokens, lead, beat, seed: _mask(tokens, lead)),
    "One beat, one lead": (("lead", "beat"), lambda tokens, lead, beat, seed: _mask(tokens, lead, beat)),
    "One beat, all leads": (("beat",), lambda tokens, lead, beat, seed: _mask(tokens, beats=beat)),
    "V1 to V6": ((), lambda tokens, lead, beat, seed: _mask(tokens, list(GROUPS["precordial"]))),
    "80 % at random": (("seed",), _at_random),
}
"""What to hide -> (which of lead, beat, seed it asks for; (tokens, lead, beat, seed) -> (12, beat) bool)."""
