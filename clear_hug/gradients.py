"""Integrated gradients: which samples of the beats a logit follows, by captum.

The way runs from flat beats, at the times and with the lead scales of the record, to the record itself; so
what is explained is the shape of the beats, not when they come or how tall the leads are as a whole. R and S
in mV, where HUG reads them, begin at none, and go straight to where their bound lets them be: along the bound
the way would have a bend that no number of steps adds up. The QTc is the record's all the way. Flat beats are
nothing that the model was trained on: that is the price of going down to the sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from clear_hug.batch import Beats
from clear_hug.beats import TOKEN_FS, TOKEN_SAMPLES, BeatTokens, split_windows
from clear_hug.checkpoint import Checkpoint
from clear_hug.diagnosis import Tick, check_hidden, hide, run
from clear_hug.ecg import freeze
from clear_hug.leads import N_LEADS
from clear_hug.model import CLEARHUG

STEPS = 32  # of the Gauss-Legendre rule between flat and true
AT_ONCE = 16  # records a pass; bounds the memory
NOISY, NOISE = 4, 0.05  # copies of the record, and the SD of their noise in lead scales, where it is smoothed
SEED = 0

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gradients:
    """What each sample of each token adds to what is explained.

    Attributes
    ----------
    values : (12, beat, 96); NaN where there is no token, 0 outside the beat's window
    of : (label,) what is explained
    flat, logit : of flat beats, and of the record
    device, note : as of a diagnosis

    """

    values: Floats
    of: Floats
    flat: float
    logit: float
    device: str
    note: str = ""

    def __post_init__(self) -> None:
        freeze(self)


def integrated_gradients(
    checkpoint: Checkpoint,
    tokens: BeatTokens,
    of: Floats,
    hidden: NDArray[np.bool_] | None = None,
    noisy: int = 0,
    steps: int = STEPS,
    device: torch.device | None = None,
    tick: Tick | None = None,
) -> Gradients:
    """Integrated gradients of one logit, or of a difference of two; the mean over a long record's windows.

    Parameters
    ----------
    checkpoint, tokens : as for `diagnose`
    of : (label,) 1 at the logit that is explained
    hidden : (12, beat) bool, tokens to leave out
    noisy : copies of the record with noise of their own (seeded), over which the values are averaged, each
        with as many steps fewer; 0 = the record itself
    steps : between flat and true
    tick : told the share that is done, every now and then; what it raises ends the computation

    """
    hidden = check_hidden(tokens, hidden)
    windows = split_windows(tokens)
    weights = torch.from_numpy(of).float()

    def work(model: CLEARHUG, device: torch.device) -> tuple[Floats, float, float]:
        from captum.attr import IntegratedGradients

        values = np.full((N_LEADS, tokens.n_beats, TOKEN_SAMPLES), np.nan)
        flat = logit = 0.0
        each = max(4, steps // max(1, noisy))
        looks, done = len(windows) * each * max(1, noisy), 0
        for window in windows:
            beats = hide([window], hidden).to(device)
            scale, _ = beats.lead_scale()
            secant, qtc = model.facts.secant(beats), model.facts.qtc(beats)

            def logits(
                x: torch.Tensor,
                beats: Beats = beats,
                scale: torch.Tensor = scale,
                secant: torch.Tensor = secant,
                qtc: torch.Tensor = qtc,
            ) -> torch.Tensor:
                nonlocal done
                n = len(x)
                if tick and torch.is_grad_enabled():
                    done += n
                    tick(min(1.0, done / looks))
                many = {name: getattr(beats, name) for name in Beats.__dataclass_fields__}
                many = {name: field.expand(n, *field.shape[1:]) for name, field in many.items()}
                seen = replace(Beats(**many), values=x)
                secant, qtc = secant.expand(n, -1, -1), qtc.expand(n)
                return model(seen, scale=scale.expand(n, -1), secant=secant, qtc=qtc)

            def answer(
                x: torch.Tensor, logits: Callable[[torch.Tensor], torch.Tensor] = logits
            ) -> torch.Tensor:
                return logits(x) @ weights.to(device)

            x = beats.values.float()
            with torch.no_grad():  # in double, so that a difference of logits is that of the two
                flat += float(logits(torch.zeros_like(x))[0].cpu().double().numpy() @ of)
                logit += float(logits(x)[0].cpu().double().numpy() @ of)
            if noisy:
                noise = torch.randn((noisy, *x.shape[1:]), generator=torch.Generator().manual_seed(SEED))
                x = x + NOISE * (scale[..., None, None] * beats.inside[:, None]) * noise.to(device)
            found = IntegratedGradients(answer).attribute(
                x, torch.zeros_like(x), n_steps=each, internal_batch_size=AT_ONCE
            )
            there = beats.there[0, :, : window.beats.size, None].cpu().numpy()
            mean = found.detach().mean(0)[:, : window.beats.size].double().cpu().numpy()
            values[:, window.beats] = np.where(there, mean, np.nan) / len(windows)
        return values, flat / len(windows), logit / len(windows)

    (values, flat, logit), where, note = run(checkpoint, work, device, gradients=True)
    return Gradients(values, of, flat, logit, where, note)


def on_the_trace(values: Floats, tokens: BeatTokens) -> Floats:
    """(12, beat, 96) of tokens -> (12, sample) of the record at 100 Hz; NaN where no token holds a sample."""
    n = round(tokens.duration * TOKEN_FS)
    out = np.full((N_LEADS, n), np.nan)
    first = np.rint(tokens.r_peaks * TOKEN_FS).astype(int) - TOKEN_SAMPLES // 2
    for beat, start in enumerate(first):
        held = np.flatnonzero(tokens.inside[beat])
        held = held[(start + held >= 0) & (start + held < n)]
        before = out[:, start + held]  # two windows may share the sample in which they meet
        out[:, start + held] = np.where(
            np.isnan(before), values[:, beat, held], before + np.nan_to_num(values[:, beat, held])
        )
    return out
