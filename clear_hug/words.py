"""Sentences: what is known of a record, what an answer rests on, how an explanation adds up."""

from __future__ import annotations

import numpy as np

from clear_hug.beats import MAX_BEATS, BeatTokens
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import ECG, window_edges
from clear_hug.explain import Attribution
from clear_hug.leads import LEADS
from clear_hug.reconstruct import Reconstruction


def facts(ecg: ECG) -> dict[str, str]:
    """What is known of a record, name -> words."""
    known = {
        "Format": ecg.source or "unknown",
        "Length": f"{ecg.duration:.1f} s at {ecg.fs:g} Hz",
        "Voltage": "in mV" if ecg.units_known else "unknown: arbitrary units, shape only",
        "Leads": "all twelve recorded" if not (ecg.absent_leads or ecg.derived or ecg.flat.any()) else "",
        "Flat": ", ".join(lead for lead, flat in zip(LEADS, ecg.flat, strict=True) if flat),
        "Derived": ", ".join(ecg.derived) + (" from other limb leads" if ecg.derived else ""),
        "Absent": ", ".join(ecg.absent_leads),
        "Beyond the twelve": ", ".join(ecg.extra),
        "Patient": ", ".join(
            part
            for part in (
                f"{ecg.age:g} years" if ecg.age is not None else "",
                {"F": "female", "M": "male"}.get(ecg.sex or "", ""),
            )
            if part
        ),
        "Planted change": str(ecg.truth.get("change", "")) if ecg.simulated else "",
    }
    return {name: value for name, value in known.items() if value}


def coverage(tokens: BeatTokens) -> list[str]:
    """What of the record its beat tokens do not hold, in sentences."""
    said = []
    if tokens.n_dropped:
        said.append(
            f"{_count(tokens.n_dropped, 'beat')} found and given no token: more than {MAX_BEATS} in 10 s, or "
            "no lead with a whole signal there."
        )
    else:
        said.append("No beat was dropped.")
    share = tokens.uncovered / tokens.duration
    if tokens.uncovered < 0.05:
        said.append("Every part of the record lies in a beat's window.")
    else:
        said.append(
            f"{tokens.uncovered:.1f} s of {tokens.duration:.1f} s ({share:.0%}) lie outside every beat's "
            "window (0.96 s around the R peak)"
            + ("; the end of T may be among them." if share > 0.15 else ".")
        )
    return said


def missing(tokens: BeatTokens) -> list[str]:
    """What the model could not see of a record, in sentences that belong beside every answer."""
    there = [lead for lead, here in zip(LEADS, tokens.present, strict=True) if here]
    gone = [lead for lead in LEADS if lead not in there]
    said = []
    if gone:
        said.append(
            f"The model saw {_count(len(there), 'lead')} of 12 ({', '.join(there)}); "
            f"without a usable beat, so left out: {', '.join(gone)}."
        )
    if not tokens.units_known:
        said.append("The voltage is unknown: the model saw the shape alone.")
    return said


def rests_on(ecg: ECG, tokens: BeatTokens, diagnosis: Diagnosis) -> list[str]:
    """What an answer rests on, in sentences."""
    windows = len(diagnosis.window_spans)
    said = [
        f"{_count(tokens.n_beats, 'beat')} in {_count(int(tokens.present.sum()), 'lead')}"
        + (f", read in {windows} windows; the answer is the mean of their logits." if windows > 1 else ".")
    ]
    said += missing(tokens)
    said += _silent_windows(tokens, diagnosis)
    patchy = int((~tokens.valid[tokens.present]).sum())
    if patchy:
        said.append(f"{_count(patchy, 'beat token')} left out: flat, or samples absent.")
    if ecg.derived:
        said.append(f"Derived from other limb leads: {', '.join(ecg.derived)}.")
    said += coverage(tokens)
    said += ecg.warnings
    if ecg.simulated:
        said.append("This ECG is simulated; the model was trained on real ones.")
    return said


def _silent_windows(tokens: BeatTokens, diagnosis: Diagnosis) -> list[str]:
    """The stretches that no window read, neighbours joined, one sentence each."""
    edges = window_edges(tokens.duration)
    read = np.isin(np.round(edges[:-1], 6), np.round(diagnosis.window_spans[:, 0], 6))
    ends = np.flatnonzero(np.diff(np.concatenate([[True], read, [True]])))
    said = []
    for first, last in ends.reshape(-1, 2):
        what = "that window is" if last - first == 1 else f"those {last - first} windows are"
        said.append(f"No beat from {edges[first]:.4g} to {edges[last]:.4g} s: {what} not in the answer.")
    return said


def scale_words(rebuilt: Reconstruction) -> list[str]:
    """How the voltage of what was rebuilt is known, in sentences."""
    predicted = [LEADS[row] for row in np.flatnonzero(rebuilt.scale_predicted.any(axis=1))]
    said = []
    if predicted:
        said.append(
            f"No beat of {', '.join(predicted)} was visible within 10 s: the scale there is the model's "
            "prediction."
        )
    if not rebuilt.units_known:
        said.append("The record's unit is unknown: errors are in its own unit, not in mV.")
    return said


def sum_words(attribution: Attribution) -> str:
    """The proof that contributions add up, as a line of Markdown."""
    values, names = np.nan_to_num(attribution.values), attribution.names
    high, low = int(values.argmax()), int(values.argmin())
    line = (
        f"bias {_signed(attribution.bias, 4)} + sum of contributions {_signed(values.sum(), 4)} "
        f"= logit {_signed(attribution.logit, 4)}; difference {abs(attribution.residual):.7f}"
    )
    if values[high] > 0:
        line += f" · most for: **{names[high]}** ({_signed(values[high], 2)})"
    if values[low] < 0:
        line += f" · most against: **{names[low]}** ({_signed(values[low], 2)})"
    return line


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


LEAD_TOKEN_WORDS = (
    "A contribution belongs to a lead token: the model's summary of a lead, beside it the lead's scale and "
    "the rhythm of the record, which counts with every lead. In the “paper” pattern of attention the beats "
    "it reads have themselves seen other leads."
)
LEFT_OUT_WORDS = (
    "Shapley values: how far the logit moves when the part is left out of the record, the mean over the "
    "orders in which parts can be left out; the line is the standard error where orders were drawn. The "
    "model was trained with beats left out. Unlike a contribution, this counts too what a part tells the "
    "other leads."
)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
