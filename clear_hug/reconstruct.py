"""reconstruct(checkpoint, tokens, hidden) -> Reconstruction: hidden beats rebuilt, in mV.

Beside it `rebuild_linear`, what the regression that the decoder starts from would have drawn alone, and
`reconstruct_each`, every token hidden alone and rebuilt from all the others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clear_hug.batch import Beats
from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens, Window, condition, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import BATCH, Tick, check_hidden, collate, hide, run
from clear_hug.ecg import ECG, ECGError, bridge_gaps, freeze
from clear_hug.leads import GROUPS, LEADS, N_LEADS
from clear_hug.model import CLEARHUG, DOUBT

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Signal = NDArray[np.float32]

AT_ONCE = 1200  # tokens in a batch of `reconstruct_each`: more of them leave the processor's cache


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What the model makes of hidden beats.

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

    def only(self, tokens: BeatTokens, hidden: Bools) -> Reconstruction:
        """The same with nothing but these of its hidden tokens."""
        hidden = self.hidden & check_hidden(tokens, hidden)
        values = np.where(hidden[..., None], self.values, tokens.values)
        rmse, r, r2 = _errors(tokens, values, hidden)
        predicted = self.scale_predicted & hidden
        return replace(self, values=values, hidden=hidden, rmse=rmse, r=r, r2=r2, scale_predicted=predicted)


def reconstruct(
    checkpoint: Checkpoint, tokens: BeatTokens, hidden: Bools, device: torch.device | None = None
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
    return reconstruct_both(checkpoint, tokens, hidden, device)[0]


def rebuild_linear(
    checkpoint: Checkpoint, tokens: BeatTokens, hidden: Bools, device: torch.device | None = None
) -> Reconstruction:
    """As `reconstruct`, by the checkpoint's linear regression alone: the same inputs, no correction.

    Where the units are unknown and a lead is wholly hidden a regression knows no scale, and has the model's.
    """
    return reconstruct_both(checkpoint, tokens, hidden, device)[1]


def reconstruct_both(
    checkpoint: Checkpoint, tokens: BeatTokens, hidden: Bools, device: torch.device | None = None
) -> tuple[Reconstruction, Reconstruction]:
    """What `reconstruct` and `rebuild_linear` say, by one pass."""
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

    def work(model: CLEARHUG, device: torch.device) -> tuple[Signal, Signal]:
        guesses = np.zeros((2, N_LEADS, tokens.n_beats, TOKEN_SAMPLES), dtype=np.float32)
        scales = np.zeros((N_LEADS, tokens.n_beats), dtype=np.float32)
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            seen = hide(batch, hidden).to(device)
            whole = hide(batch, np.zeros_like(hidden)).to(device)
            both, scale = _guess(model, seen, whole.there & ~seen.there)
            for k, window in enumerate(batch):
                guesses[:, :, window.beats] = both[:, k, :, : window.beats.size].cpu().numpy()
                scales[:, window.beats] = scale[k, :, None].cpu().numpy()
        return guesses, scales

    found = run(checkpoint, work, device)
    return _told(checkpoint, tokens, hidden, predicted, found, time.perf_counter() - started)


def reconstruct_each(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    beats: Bools | None = None,
    device: torch.device | None = None,
    tick: Tick | None = None,
    doubt: float = DOUBT,
) -> tuple[Reconstruction, Reconstruction]:
    """Each token hidden alone, and rebuilt from all others of its window of 10 s.

    Parameters
    ----------
    checkpoint, tokens : as for `reconstruct`
    beats : (beat,) bool, those whose tokens are asked for; None = all
    tick : told the share that is done
    doubt : as for `CLEAR.rebuild`: how much less counts of what the decoder adds

    Returns
    -------
    ours, linear : `hidden` is every token that was rebuilt; one alone in its window is not

    """
    started = time.perf_counter()
    asked = tokens.valid if beats is None else tokens.valid & np.asarray(beats, dtype=bool)
    windows = split_windows(tokens)
    hidden, predicted = np.zeros_like(tokens.valid), np.zeros_like(tokens.valid)
    for window in windows:
        there = window.tokens.valid
        if there.sum() > 1:
            hidden[:, window.beats] = asked[:, window.beats]
            predicted[:, window.beats] = there.sum(axis=1, keepdims=True) == 1
    predicted &= hidden

    def work(model: CLEARHUG, device: torch.device) -> tuple[Signal, Signal]:
        guesses = np.zeros((2, N_LEADS, tokens.n_beats, TOKEN_SAMPLES), dtype=np.float32)
        scales = np.zeros((N_LEADS, tokens.n_beats), dtype=np.float32)
        done, every = 0, max(int(hidden.sum()), 1)
        for window, lead, beat in _in_turn(windows, hidden):
            seen, wanted = _one_hidden(window, lead, beat, device)
            both, scale = _guess(model, seen, wanted, doubt)
            row, at = torch.arange(len(lead)), window.beats[beat]
            guesses[:, lead, at] = both[:, row, lead, beat].cpu().numpy()
            scales[lead, at] = scale[row, lead].cpu().numpy()
            done += len(lead)
            if tick:
                tick(done / every)
        return guesses, scales

    found = run(checkpoint, work, device)
    return _told(checkpoint, tokens, hidden, predicted, found, time.perf_counter() - started)


def _in_turn(
    windows: Sequence[Window], hidden: Bools
) -> Iterator[tuple[Window, NDArray[np.int64], NDArray[np.int64]]]:
    """A window, and the rows of leads and of its beats that are hidden one by one in a batch."""
    for window in windows:
        lead, beat = np.nonzero(hidden[:, window.beats])
        step = max(1, AT_ONCE // int(window.tokens.valid.sum() + N_LEADS))
        for i in range(0, lead.size, step):
            yield window, lead[i : i + step], beat[i : i + step]


def _one_hidden(
    window: Window, lead: NDArray[np.int64], beat: NDArray[np.int64], device: torch.device
) -> tuple[Beats, Tensor]:
    """The window as often as there are tokens, each time with one of them hidden; and which one."""
    one = collate([window]).to(device)
    fields = {name: getattr(one, name) for name in one.__dataclass_fields__}
    many = Beats(**{name: x.expand(lead.size, *x.shape[1:]) for name, x in fields.items()})
    wanted = torch.zeros_like(many.there)
    wanted[torch.arange(lead.size), torch.from_numpy(lead), torch.from_numpy(beat)] = True
    return many.hide(wanted), wanted


def _guess(model: CLEARHUG, seen: Beats, wanted: Tensor, doubt: float = DOUBT) -> tuple[Tensor, Tensor]:
    """(2, batch, 12, beat, 96) as the model and as its regression alone has the tokens, and (batch, 12)."""
    values, scale, _ = model.clear.rebuild(seen, wanted, doubt)
    own, _ = seen.lead_scale()
    with torch.autocast(values.device.type, enabled=False):
        linear, _ = model.clear.regression(seen, own, wanted)
    known = seen.units_known[:, None, None, None]
    linear = torch.where(known, linear, linear * scale[..., None, None])
    return torch.stack([values.float(), linear]), scale


def _told(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    hidden: Bools,
    predicted: Bools,
    found: tuple[tuple[Signal, Signal], str, str],
    seconds: float,
) -> tuple[Reconstruction, Reconstruction]:
    """What was computed as two values: the model's, and the regression's alone."""
    (guesses, scales), where, note = found
    n_tokens = tokens.valid.sum(axis=1)
    told = scales > 0
    lead_scale = (scales * (tokens.valid & told)).sum(axis=1) / np.maximum(
        (tokens.valid & told).sum(axis=1), 1
    )
    lead_scale = np.where(n_tokens > 0, lead_scale, np.nan).astype(np.float32)
    both = []
    for name, guess in zip((checkpoint.name, f"{checkpoint.name}, regression alone"), guesses, strict=True):
        rebuilt = np.where(tokens.inside, guess, np.float32(0))
        values = np.where(hidden[..., None], rebuilt, tokens.values)
        rmse, r, r2 = _errors(tokens, values, hidden)
        both.append(
            Reconstruction(
                values=values,
                hidden=hidden,
                rmse=rmse,
                r=r,
                r2=r2,
                lead_scale=lead_scale,
                scale_predicted=predicted,
                units_known=tokens.units_known,
                model=name,
                device=where,
                seconds=seconds,
                note=note,
            )
        )
    return both[0], both[1]


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


@dataclass(frozen=True, eq=False)
class LeadErrors:
    """Over all hidden samples of each lead, of the lead alone; NaN where none is hidden.

    tokens : (12,) hidden tokens
    r2 : (12,) 1 - SSE / sum of squares: against 0, where the band-pass puts the base line
    r : (12,) Pearson correlation;  mae : (12,) mean absolute error, mV or the record's own unit
    """

    tokens: NDArray[np.int64]
    r2: Floats
    r: Floats
    mae: Floats

    def __post_init__(self) -> None:
        freeze(self)


def lead_errors(tokens: BeatTokens, rebuilt: Reconstruction) -> LeadErrors:
    """How well each lead's hidden samples were rebuilt."""
    figures = np.full((3, N_LEADS), np.nan)
    for lead, hidden in enumerate(rebuilt.hidden):
        where = hidden[:, None] & tokens.inside
        if not where.any():
            continue
        truth, guess = (x[lead][where].astype(np.float64) for x in (tokens.values, rebuilt.values))
        total = np.square(truth).sum()
        figures[0, lead] = 1 - np.square(guess - truth).sum() / total if total > 0 else np.nan
        if min(truth.std(), guess.std()) > 0:
            figures[1, lead] = np.corrcoef(truth, guess)[0, 1]
        figures[2, lead] = np.abs(guess - truth).mean()
    return LeadErrors(rebuilt.hidden.sum(axis=1), *figures)


def as_the_model_sees_it(ecg: ECG) -> ECG:
    """The trace that tokens are cut from: 100 Hz, 0.67 to 40 Hz; what is absent stays absent."""
    filled, absent = bridge_gaps(ecg.signal, ecg.fs)
    trace = condition(filled, ecg.fs)
    at = np.minimum(np.rint(np.arange(trace.shape[1]) * ecg.fs / TOKEN_FS).astype(int), ecg.n_samples - 1)
    return replace(ecg, signal=np.where(absent[:, at], np.float32(np.nan), trace), fs=TOKEN_FS, extra={})


# What to hide


def hide_at_random(tokens: BeatTokens, share: float, seed: int) -> Bools:
    """(12, beat) bool: that share of the tokens that are there, at least one; the same for the same seed."""
    there = np.flatnonzero(tokens.valid)
    mask = np.zeros(tokens.valid.size, dtype=bool)
    n = min(max(1, int(share * there.size)), there.size)
    mask[np.random.default_rng(seed).choice(there, n, replace=False)] = True
    return mask.reshape(tokens.valid.shape)


def hide_leads(tokens: BeatTokens, leads: Sequence[str]) -> Bools:
    """(12, beat) bool: all tokens of the leads."""
    return tokens.valid & np.isin(LEADS, list(leads))[:, None]


def hide_beats(tokens: BeatTokens, beats: Sequence[int]) -> Bools:
    """(12, beat) bool: all tokens of the beats, counted from 0."""
    return tokens.valid & np.isin(np.arange(tokens.n_beats), list(beats))


KNOWN: dict[str, tuple[str, ...]] = {
    "I, II, V2": ("I", "II", "V2"),
    "limb leads": tuple(LEADS[row] for row in (*GROUPS["limb"], *GROUPS["augmented"])),
    "I alone": ("I",),
}
"""Which leads are known, in words -> their names; the rest is to be rebuilt."""


def hidden_words(tokens: BeatTokens, hidden: Bools) -> str:
    """A hidden set as a link has it: lead V3 whole, beat 5 whole, beats of II: "V3,:5,II:1-3.7"."""
    left, shown = tokens.valid & hidden, tokens.valid & ~hidden
    leads = np.flatnonzero(left.any(axis=1) & ~shown.any(axis=1))
    left[leads] = False
    beats = left.any(axis=0) & ~shown.any(axis=0)
    left[:, beats] = False
    said = [LEADS[lead] for lead in leads]
    some = [("", beats), *zip(LEADS, left, strict=True)]
    return ",".join([*said, *(f"{lead}:{_runs(which)}" for lead, which in some if which.any())])


def _runs(which: Bools) -> str:
    """Where it is True, counted from 1, neighbours joined: "1-3.7"."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], which, [False]])))
    runs = [(first + 1, last) for first, last in edges.reshape(-1, 2).tolist()]
    return ".".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def hidden_of(tokens: BeatTokens, words: str) -> tuple[Bools, list[str]]:
    """The hidden set that a link names, and what of it is not in this record.

    Returns
    -------
    hidden : (12, beat) bool
    left_out : the parts of the words that name no token of the record

    """
    hidden, left_out = np.zeros_like(tokens.valid), []
    for word in filter(None, (part.strip() for part in words.split(","))):
        lead, colon, runs = word.partition(":")
        which = np.array([name == lead or (colon != "" and not lead) for name in LEADS])
        one = tokens.valid & which[:, None]
        if colon:
            one &= np.any([_between(run, tokens.n_beats) for run in runs.split(".")], axis=0)
        hidden |= one
        if not one.any():
            left_out.append(word)
    return hidden, left_out


def _between(run: str, n_beats: int) -> Bools:
    """(beat,) bool of "3" or "3-7", counted from 1; nothing of what is no such words."""
    found = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", run)
    if not found:
        return np.zeros(n_beats, dtype=bool)
    number = np.arange(1, n_beats + 1)
    first, last = int(found[1]), int(found[2] or found[1])
    return (number >= first) & (number <= last)
