"""diagnose(checkpoint, tokens) -> Diagnosis: numpy to torch and back, device and precision.

This is the one place that names a device.
"""

from __future__ import annotations

import copy
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit

from clear_hug.batch import Beats
from clear_hug.beats import TOKEN_SAMPLES, BeatTokens, Window, split_windows
from clear_hug.checkpoint import Checkpoint, CheckpointError
from clear_hug.ecg import freeze
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEARHUG

BATCH = 32  # windows at a time; bounds the memory of a long record
BF16_PAYS = 10_000_000  # parameters; below it a forward pass is too short to gain from bf16
T = TypeVar("T")
Tick = Callable[[float], None]
"""Told the share that is done, now and then, by what takes its time; what it raises ends that."""


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One row a label.

    Attributes
    ----------
    tasks, labels : (label,) names
    logits : (label,) float32; the mean over the record's windows
    probabilities : (label,) float64, calibrated
    thresholds : (label,) float64; a label is called at and above its own, and never where it is NaN: too few
        records tell one
    window_logits : (window, label);  window_spans : (window, 2) s
    model : name of the checkpoint;  device : where it ran;  seconds : how long it took
    note : a sentence where something went another way than asked, else ""

    """

    tasks: tuple[str, ...]
    labels: tuple[str, ...]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    window_logits: NDArray[np.float32]
    window_spans: NDArray[np.float64]
    model: str
    device: str
    seconds: float
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def called(self) -> NDArray[np.bool_]:
        """(label,) True where the probability reaches the label's threshold."""
        return self.probabilities >= self.thresholds

    @property
    def rare(self) -> NDArray[np.bool_]:
        """(label,) True for labels too rare in training to be called: they have a probability alone."""
        return np.isnan(self.thresholds)


def pick_device() -> torch.device:
    """cuda, mps or cpu: the first that is there."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def precision(model: torch.nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bf16 where it pays, else nothing; HUG always runs in fp32."""
    if _in_bf16(model, device):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _in_bf16(model: torch.nn.Module, device: torch.device) -> bool:
    return sum(p.numel() for p in model.parameters()) >= BF16_PAYS and computes_bf16(device)


def computes_bf16(device: torch.device) -> bool:
    """The device multiplies bf16 in hardware; where it does not, bf16 is a hundred times as slow as fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def collate(windows: Sequence[Window]) -> Beats:
    """Windows of records as one batch, padded to the longest with slots that are not there."""
    n, most = len(windows), max(w.tokens.n_beats for w in windows)
    values = np.zeros((n, N_LEADS, most, TOKEN_SAMPLES), dtype=np.float32)
    there = np.zeros((n, N_LEADS, most), dtype=bool)
    seconds = np.zeros((n, most), dtype=np.float32)
    inside = np.zeros((n, most, TOKEN_SAMPLES), dtype=bool)
    for i, window in enumerate(windows):
        tokens = window.tokens
        j = tokens.n_beats
        values[i, :, :j], there[i, :, :j] = tokens.values, tokens.valid
        seconds[i, :j], inside[i, :j] = tokens.r_peaks - window.start, tokens.inside
    known = torch.tensor([w.tokens.units_known for w in windows])
    return Beats(
        torch.from_numpy(values),
        torch.from_numpy(there),
        torch.from_numpy(seconds),
        torch.from_numpy(inside),
        known,
    )


# A copy of a model on a device, made once for each (model, device) and shared by all users.
_copies: weakref.WeakKeyDictionary[torch.nn.Module, dict[str, CLEARHUG]] = weakref.WeakKeyDictionary()
_copies_lock = threading.Lock()


def ready(model: CLEARHUG, device: torch.device) -> CLEARHUG:
    """The model on a device, its encoder's and decoder's linear layers in bf16 where that pays.

    The model itself is never changed; a copy is made once and kept as long as the model lives.
    """
    bf16 = _in_bf16(model, device)
    if next(model.parameters()).device.type == device.type and not bf16:
        return model
    with _copies_lock:
        copies = _copies.setdefault(model, {})
        if device.type not in copies:
            twin = copy.deepcopy(model).to(device).eval().requires_grad_(False)
            if bf16:  # autocast would cast every weight again in every pass
                for module in twin.clear.modules():
                    if isinstance(module, torch.nn.Linear):
                        module.to(torch.bfloat16)
            copies[device.type] = twin
        return copies[device.type]


def run(
    checkpoint: Checkpoint,
    work: Callable[[CLEARHUG, torch.device], T],
    device: torch.device | None = None,
    gradients: bool = False,
) -> tuple[T, str, str]:
    """Do `work(model, device)`; out of GPU memory, do it again on the CPU.

    gradients : of what `work` asks for; no weight is ever given one. Else there are none

    Returns
    -------
    result, device : where it ran in the end;  note : a sentence if that is not where it was asked

    """
    device = device or pick_device()
    mode = torch.enable_grad if gradients else torch.inference_mode
    try:
        model = ready(checkpoint.model, device)  # outside: a copy made in inference mode knows no gradient
        with mode(), precision(model, device):
            return work(model, device), str(device), ""
    except RuntimeError as error:  # MPS and cuBLAS have no class of their own for it
        if device.type == "cpu" or not re.search(r"out of memory|ALLOC_FAILED", str(error)):
            raise
    if device.type == "cuda":
        torch.cuda.empty_cache()
    cpu = torch.device("cpu")
    model = ready(checkpoint.model, cpu)
    with mode(), precision(model, cpu):
        note = f"The {device.type} ran out of memory; this was computed on the CPU."
        return work(model, cpu), "cpu", note


def probabilities(checkpoint: Checkpoint, logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Calibrated probabilities (..., label) of logits (..., label)."""
    z = checkpoint.platt[:, 0] * np.asarray(logits, dtype=np.float64) + checkpoint.platt[:, 1]
    return expit(z)


def diagnose(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    hidden: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
) -> Diagnosis:
    """Every label of the checkpoint, for one record.

    Parameters
    ----------
    checkpoint : from `load_checkpoint`
    tokens : from `tokenize_beats`; a record longer than 10 s is read in windows and averaged
    hidden : (12, beat) bool, tokens to leave out; with all of them left out the answer is v(empty)

    """
    if not checkpoint.tasks:
        raise CheckpointError(
            f"{checkpoint.name} was pre-trained alone and answers no label; fine-tune it first."
        )
    started = time.perf_counter()
    windows = split_windows(tokens)
    hidden = check_hidden(tokens, hidden)

    def work(model: CLEARHUG, device: torch.device) -> NDArray[np.float32]:
        parts = []
        for i in range(0, len(windows), BATCH):
            batch = windows[i : i + BATCH]
            parts.append(model(hide(batch, hidden).to(device)).float().cpu().numpy())
        return np.concatenate(parts)

    window_logits, where, note = run(checkpoint, work, device)
    logits = window_logits.mean(axis=0, dtype=np.float64).astype(np.float32)
    return Diagnosis(
        tasks=tuple(task.name for task in checkpoint.tasks for _ in task.labels),
        labels=tuple(label for task in checkpoint.tasks for label in task.labels),
        logits=logits,
        probabilities=probabilities(checkpoint, logits),
        thresholds=checkpoint.call_from,
        window_logits=window_logits,
        window_spans=np.array([[w.start, w.stop] for w in windows]),
        model=checkpoint.name,
        device=where,
        seconds=time.perf_counter() - started,
        note=note,
    )


def check_hidden(tokens: BeatTokens, hidden: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """`hidden` as (12, beat) bool; None hides nothing."""
    if hidden is None:
        return np.zeros_like(tokens.valid)
    hidden = np.asarray(hidden, dtype=bool)
    if hidden.shape != tokens.valid.shape:
        raise ValueError(f"hidden has shape {hidden.shape}; expected (12, beat) = {tokens.valid.shape}.")
    return hidden


def hide(windows: Sequence[Window], hidden: NDArray[np.bool_]) -> Beats:
    """The windows as a batch, with the tokens of `hidden` (12, beat of the record) left out."""
    beats = collate(windows)
    mask = torch.zeros_like(beats.there)
    for i, window in enumerate(windows):
        mask[i, :, : window.beats.size] = torch.from_numpy(hidden[:, window.beats])
    return beats.hide(mask)
