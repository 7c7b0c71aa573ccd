"""Sentences: what is known of a record, what was measured of it, what an answer rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from clear_hug.beats import MAX_BEATS, BeatTokens
from clear_hug.diagnosis import Diagnosis
from clear_hug.ecg import ECG, STORED, clock, window_edges
from clear_hug.known import Person
from clear_hug.leads import LEADS
from clear_hug.measure import BeatFacts, Measurements
from clear_hug.quality import FLAT, flat_share
from clear_hug.reconstruct import Reconstruction

NOTICE = "For research only: not a medical device, and no basis for a diagnosis or a treatment."


V1 = LEADS.index("V1")
LONG = 120  # s; a longer record is told in minutes


_GUESSED = {
    "fs": "sampling rate", "unit": "unit", "leads": "order of leads", "orientation": "rows or columns",
    "record": "which record",
}  # fmt: skip
_STORED_NAMES = {
    "heart_rate": "rate", "p_duration": "P", "pr": "PR", "qrs": "QRS", "qt": "QT", "qtc": "QTc",
    "p_axis": "P axis", "qrs_axis": "QRS axis", "t_axis": "T axis",
}  # fmt: skip


def facts(ecg: ECG, person: Person | None = None) -> dict[str, str]:
    """What is known of a record, name -> words.

    person : whose it is, where the data set around the file says more than the file
    """
    length = f"{ecg.duration:.1f} s" if ecg.duration < LONG else clock(ecg.duration)
    flat = _flat_leads(ecg)
    known = {
        "Format": ecg.source or "unknown",
        "Length": f"{length} at {ecg.fs:g} Hz",
        "Voltage": "in mV" if ecg.units_known else "unknown: arbitrary units, shape only",
        "Guessed": ", ".join(_GUESSED[what] for what in ecg.guessed),
        "Leads": "all twelve recorded" if not (ecg.absent_leads or ecg.derived or flat) else "",
        "Flat": flat,
        "Derived": ", ".join(ecg.derived) + (" from other limb leads" if ecg.derived else ""),
        "Absent": ", ".join(ecg.absent_leads),
        "Beyond the twelve": ", ".join(ecg.extra),
        "Device": ecg.device,
        "Filters": ecg.filters,
        "Measured by the device": ", ".join(
            f"{_STORED_NAMES[name]} {value:g} {STORED[name]}".replace(" °", "°")
            for name, value in ecg.stored.items()
        ),
        "Patient": _of_patient(person or Person(ecg.age, ecg.sex)),
        "Planted change": str(ecg.truth.get("change", "")) if ecg.simulated else "",
    }
    return {name: value for name, value in known.items() if value}


def _flat_leads(ecg: ECG) -> str:
    """The leads that are flat, as `quality` has it; of a long record those that never move."""
    share = flat_share(ecg.signal, ecg.fs) if ecg.duration < LONG else np.zeros(len(LEADS))
    said = []
    for lead, never, part in zip(LEADS, ecg.flat, share, strict=True):
        if never or part > FLAT:
            said.append(lead if never else f"{lead} ({100 * part:.0f} % of the time)")
    return ", ".join(said)


def _of_patient(person: Person) -> str:
    parts = {
        "age": f"{person.age:g} years" if person.age is not None else "",
        "sex": {"F": "female", "M": "male"}.get(person.sex or "", ""),
    }
    there = [name for name, part in parts.items() if part]
    told = [name for name in there if name in person.told]
    line = ", ".join(parts[name] for name in there)
    if not told:
        return line
    return f"{line} (by the data set)" if told == there else f"{line} ({told[0]} by the data set)"


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


def exclusion_words(called: Mapping[str, str]) -> str:
    """A sentence where a normal ECG is called beside a superclass that it excludes; "" where it is not.

    called : task/label -> words, of each called label
    """
    normal = [words for target, words in called.items() if target.endswith("/NORM")]
    others = [
        f"“{words}”"
        for target, words in called.items()
        if target.startswith("superdiagnostic/") and not target.endswith("/NORM")
    ]
    if not (normal and others):
        return ""
    both, either = ("both are", "either") if len(others) == 1 else ("all are", "any of them")
    return (
        f"By its meaning “{normal[0]}” excludes {listed(others)}, yet {both} called: read the trace before "
        f"you believe {either}."
    )


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


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def runs_of_leads(rows: Iterable[int]) -> str:
    """Leads in words: neighbours in the chest as a run, "V1-V3", others by name."""
    rows = sorted(rows)
    limb = [LEADS[row] for row in rows if row < V1]
    chest: list[list[int]] = []
    for row in rows:
        if row < V1:
            continue
        if chest and chest[-1][-1] == row - 1:
            chest[-1].append(row)
        else:
            chest.append([row])
    for run in chest:
        limb += [LEADS[row] for row in run] if len(run) < 3 else [f"{LEADS[run[0]]}–{LEADS[run[-1]]}"]
    return listed(limb)


def rhythm_words(measured: Measurements) -> str:
    """Rate and regularity, and the beats that the regularity is not told of."""
    m = measured
    rate = f"{m.heart_rate:.0f} beats/min" if np.isfinite(m.heart_rate) else "rate unknown"
    regular = {True: "regular", False: "irregular", None: "regularity unknown"}[m.regular]
    if m.regular and m.n_other:
        regular += " between usual beats"
    kinds = [f"{m.n_other} of {m.n_beats} beats of another shape"] if m.n_other else []
    if m.n_premature and m.regular is False and not m.irregular_without_p:
        kinds.append(f"{m.n_premature} of {m.n_beats} beats of the usual shape come early")
    return "; ".join([f"{rate}, {regular}", *kinds])


def apart_words(first: Measurements, second: Measurements) -> str:
    """How far QRS axis and QTc of two recordings lie apart, and what of QTc to doubt, in sentences."""
    parts = []
    axes = first.qrs_axis, second.qrs_axis
    turned = (axes[1] - axes[0] + 180) % 360 - 180  # the shorter way round
    qtcs = first.qtc_bazett, second.qtc_bazett
    for name, unit, (a, b), apart in (
        ("QRS axis", "°", axes, turned),
        ("QTc (Bazett)", " ms", qtcs, qtcs[1] - qtcs[0]),
    ):
        if np.isfinite(apart):
            said = f"{name} {_signed_only(a)} and {_signed_only(b)}{unit}, {signed(apart, 0)}{unit}"
        else:
            gone = [n for n, value in (("1st", a), ("2nd", b)) if not np.isfinite(value)]
            said = f"{name} not measured in the {listed(gone)}"
        parts.append(said)
    doubts = [
        f" Of the {name}: {one.qtc_doubt}"
        for name, one in (("1st", first), ("2nd", second))
        if one.qtc_doubt and np.isfinite(one.qtc_bazett)
    ]
    return (
        f"Measured in two different recordings, which need not be of one person: {'; '.join(parts)}."
        + "".join(doubts)
    )


def _signed_only(value: float) -> str:
    """A whole number with a true minus sign."""
    return f"{round(value)}".replace("-", "−")  # -0.3 is 0


def qtc_words(read: float, measured: float) -> str:
    """The QTc that the model reads, and that of the trace, each in s and by Bazett; NaN where unknown."""
    one, other = (f"{1000 * value:.0f} ms" if np.isfinite(value) else "unknown" for value in (read, measured))
    return (
        f"QTc (Bazett) as the model reads it from the beats, less what a wide QRS complex adds: {one}; as "
        f"the ECG page measures it on the trace: {other}."
    )


def looks_of(facts: BeatFacts, row: int) -> str:
    """How a beat differs from the usual one, in words."""
    shape = "wide" if facts.wide[row] else "of another shape" if facts.unlike[row] else ""
    return listed([word for word in ("premature" if facts.premature[row] else "", shape) if word])


def beat_marks(facts: BeatFacts) -> dict[int, str]:
    """Row of a beat -> how it differs from the usual one; the usual ones are left out."""
    looks = {row: looks_of(facts, row) for row in range(len(facts.premature))}
    return {row: words for row, words in looks.items() if words}


def beat_reasons(facts: BeatFacts, rr_before: NDArray[np.float64]) -> dict[int, tuple[str, str]]:
    """Row of a beat that differs from the usual one -> how, in a word or two, and why it is said to.

    rr_before : (beat,) s
    """
    usual = facts.duration[~facts.premature & np.isfinite(facts.duration)]
    said: dict[int, tuple[str, str]] = {}
    for row in np.flatnonzero(facts.premature | facts.wide | facts.unlike):
        reasons = {
            "early": (facts.premature[row], f"premature: RR {1000 * rr_before[row]:.0f} ms"),
            "wide": (
                facts.wide[row],
                f"wide: QRS {1000 * facts.duration[row]:.0f} ms, usual "
                f"{1000 * np.median(usual) if usual.size else np.nan:.0f}",
            ),
            "odd": (facts.unlike[row], f"odd: r {facts.resemblance[row]:.2f} with the usual beat"),
        }
        there = {name: why for name, (true, why) in reasons.items() if true}
        short = [name for name in there if name != "odd" or "wide" not in there]
        said[int(row)] = (", ".join(short), "; ".join(there.values()))
    return said


def removed_words(tokens: BeatTokens, hidden: NDArray[np.bool_]) -> str:
    """What was switched off, in a sentence."""
    gone = tokens.valid & hidden
    if not gone.any():
        return "Nothing is switched off."
    return f"Switched off: {_count(int(gone.sum()), 'beat token')} of {int(tokens.valid.sum())}."


def listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


WHAT_IF_WORDS = (
    "Switched off parts are left out, and nothing is put in their place: the model was trained with beats "
    "and leads missing. Open circle: the whole record; filled: without what is switched off."
)
COMPARE_WORDS = {
    "labels": "Both sides on one scale: equal lengths are equal contributions, each to its label's logit.",
    "methods": "Both sides on one scale of the logit. Methods ask different questions: exact contributions "
    "and Shapley values start from an empty record, integrated gradients from flat beats, and values left "
    "out one by one do not add up; compare signs and order before lengths.",
    "records": "Both sides on one scale: equal lengths are equal contributions to the label's logit.",
}


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
